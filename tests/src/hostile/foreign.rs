//! Vaults, items and files that are out of the token's scope, by every path.

use super::{Case, HostileFixture, any, case};
use crate::wire::Request;

const SCOPE: &str = "is not in scope";
const NEW: &str = r#"{"title":"x","category":"LOGIN"}"#;

pub(super) fn cases(fixture: &HostileFixture) -> Vec<Case> {
    [
        vaults(fixture),
        items(fixture),
        filters(fixture),
        spellings(fixture),
        rights(fixture),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The foreign vaults themselves, and what is below them.
fn vaults(fixture: &HostileFixture) -> Vec<Case> {
    let (vault, item) = (&fixture.foreign, &fixture.foreign_item);
    let at = |rest: &str| format!("/v1/vaults/{vault}{rest}");
    let one = format!("/items/{item}");
    let files = format!(
        "/v1/vaults/{}/items/{}/files",
        fixture.foreign_files, fixture.foreign_document
    );
    let mut cases = vec![
        case("a foreign vault", fixture.ask("GET", at("")), 403, SCOPE),
        case("its items", fixture.ask("GET", at("/items")), 403, SCOPE),
        case("its item", fixture.ask("GET", at(&one)), 403, SCOPE),
        case("its item, HEAD", fixture.ask("HEAD", at(&one)), 403, ""),
        case(
            "its item's old version",
            fixture.ask("GET", at(&format!("{one}?version=1"))),
            403,
            SCOPE,
        ),
        case(
            "its item's versions",
            fixture.ask("GET", at(&format!("{one}/versions"))),
            403,
            SCOPE,
        ),
        case(
            "its item restored",
            fixture.ask("POST", at(&format!("{one}/versions/1/restore"))),
            403,
            SCOPE,
        ),
        case(
            "a new item in it",
            fixture.ask("POST", at("/items")).body(NEW),
            403,
            SCOPE,
        ),
        case(
            "nonsense in it",
            fixture.ask("POST", at("/items")).body("{"),
            403,
            SCOPE,
        ),
        case("its item replaced", fixture.ask("PUT", at(&one)).body(NEW), 403, SCOPE),
        case(
            "its item patched",
            fixture.ask("PATCH", at(&one)).body("[]"),
            403,
            SCOPE,
        ),
        case("its item deleted", fixture.ask("DELETE", at(&one)), 403, SCOPE),
        case("a foreign item's files", fixture.ask("GET", &files), 403, SCOPE),
        case(
            "a foreign file",
            fixture.ask("GET", format!("{files}/{}", fixture.foreign_file)),
            403,
            SCOPE,
        ),
        case(
            "a foreign content",
            fixture.ask("GET", format!("{files}/{}/content", fixture.foreign_file)),
            403,
            SCOPE,
        ),
        case(
            "a foreign vault filtered",
            fixture.ask("GET", at("/items?filter=title%20pr")),
            403,
            SCOPE,
        ),
    ];
    // The answer does not show whether the vault exists.
    cases.push(case(
        "no vault at all",
        fixture.ask("GET", format!("/v1/vaults/{}", "q".repeat(26))),
        403,
        SCOPE,
    ));
    for name in [
        &fixture.foreign_name,
        "*",
        "%25",
        "null",
        "0",
        "-1",
        "..",
        ".",
        "'%20OR%20'1'='1",
    ] {
        let path = format!("/v1/vaults/{name}/items");
        cases.push(case(
            format!("a vault named {name}"),
            fixture.ask("GET", path),
            400,
            "Invalid Vault UUID",
        ));
    }
    cases
}

/// Items and files of a foreign vault, asked for in the token's own vault.
fn items(fixture: &HostileFixture) -> Vec<Case> {
    let (item, theirs) = (&fixture.foreign_item, &fixture.foreign_document);
    let missing = format!("item {item} not found");
    let at = |rest: &str| format!("{}/{item}{rest}", fixture.items());
    let document = format!("/v1/vaults/{}/items/{}", fixture.own_files, fixture.document);
    let no_file = format!("file {} not found", fixture.foreign_file);
    let file = &fixture.foreign_file;
    let moved = format!(
        r#"{{"title":"x","category":"LOGIN","vault":{{"id":"{}"}}}}"#,
        fixture.foreign
    );
    vec![
        case(
            "a foreign item through the own vault",
            fixture.ask("GET", at("")),
            404,
            &missing,
        ),
        case(
            "its version through the own vault",
            fixture.ask("GET", at("?version=1")),
            404,
            "not found",
        ),
        case(
            "its versions through the own vault",
            fixture.ask("GET", at("/versions")),
            404,
            &missing,
        ),
        case(
            "its restore through the own vault",
            fixture.ask("POST", at("/versions/1/restore")),
            404,
            &missing,
        ),
        case(
            "its files through the own vault",
            fixture.ask("GET", at("/files")),
            404,
            &missing,
        ),
        case(
            "put through the own vault",
            fixture.ask("PUT", at("")).body(NEW),
            404,
            &missing,
        ),
        case(
            "patched through the own vault",
            fixture.ask("PATCH", at("")).body("[]"),
            404,
            &missing,
        ),
        case(
            "deleted through the own vault",
            fixture.ask("DELETE", at("")),
            404,
            &missing,
        ),
        case(
            "a foreign file of an own item",
            fixture.ask("GET", format!("{document}/files/{file}")),
            404,
            &no_file,
        ),
        case(
            "a foreign content of an own item",
            fixture.ask("GET", format!("{document}/files/{file}/content")),
            404,
            &no_file,
        ),
        case(
            "an own file of another item",
            fixture.ask("GET", format!("{}/files/{}", fixture.item_path(), fixture.file)),
            404,
            "not found",
        ),
        case(
            "a foreign document through the own directory",
            fixture.ask(
                "GET",
                format!("/v1/vaults/{}/items/{theirs}/files/{file}/content", fixture.own_files),
            ),
            404,
            "not found",
        ),
        case(
            "a new item for a foreign vault",
            fixture.ask("POST", fixture.items()).body(moved.clone()),
            400,
            "vault",
        ),
        case(
            "an item moved to a foreign vault",
            fixture.ask("PUT", fixture.item_path()).body(moved),
            400,
            "vault",
        ),
        case(
            "an item patched into a foreign vault",
            fixture.ask("PATCH", fixture.item_path()).body(format!(
                r#"[{{"op":"replace","path":"/vault","value":{{"id":"{}"}}}}]"#,
                fixture.foreign
            )),
            400,
            "operations[0]",
        ),
        case(
            "a file name that climbs",
            fixture.ask("GET", format!("{document}/files/..%2f..%2fx/content")),
            400,
            "File",
        ),
    ]
}

/// Filters show nothing of foreign vaults.
fn filters(fixture: &HostileFixture) -> Vec<Case> {
    let vaults = |filter: String| fixture.ask("GET", format!("/v1/vaults?filter={filter}"));
    let items = |filter: String| fixture.ask("GET", format!("{}?filter={filter}", fixture.items()));
    vec![
        case(
            "a foreign vault by name",
            vaults(format!("name+eq+%22{}%22", fixture.foreign_name)),
            200,
            "[]",
        ),
        case(
            "a foreign vault by title",
            vaults(format!("title+eq+%22{}%22", fixture.foreign_name)),
            200,
            "[]",
        ),
        case(
            "a foreign vault by id",
            vaults(format!("id+eq+%22{}%22", fixture.foreign)),
            200,
            "[]",
        ),
        case(
            "a foreign vault by id as a name",
            vaults(format!("name+eq+%22{}%22", fixture.foreign)),
            200,
            "[]",
        ),
        case(
            "a foreign item by id",
            items(format!("id+eq+%22{}%22", fixture.foreign_item)),
            200,
            "[]",
        ),
        case(
            "a foreign item by id as a title",
            items(format!("title+eq+%22{}%22", fixture.foreign_item)),
            200,
            "[]",
        ),
        case(
            "a foreign item by its title",
            items("title+eq+%22theirs%22".to_owned()),
            200,
            "[]",
        ),
        case("a lone quote", items("%22".to_owned()), 400, "filter"),
        case(
            "a filter that never ends",
            items("title+eq+%22R".to_owned()),
            400,
            "closing quote",
        ),
        case(
            "an unknown attribute",
            items("password+eq+%22x%22".to_owned()),
            400,
            "unknown attribute",
        ),
        case(
            "an unknown operator",
            items("title+like+%22x%22".to_owned()),
            400,
            "expected eq",
        ),
        case(
            "SQL in a filter",
            items("title+eq+%22x%22;+DROP+TABLE+items;--".to_owned()),
            400,
            "filter",
        ),
        case(
            "SQL in a value",
            items("title+eq+%22x'+OR+'1'='1%22".to_owned()),
            200,
            "[]",
        ),
        case(
            "an unclosed parenthesis",
            items("(title+eq+%22x%22".to_owned()),
            400,
            "filter",
        ),
        case("nothing but operators", items("and+or+not".to_owned()), 400, "filter"),
        case(
            "a filter of control characters",
            items("%00%01%02".to_owned()),
            400,
            "filter",
        ),
        case("a filter that is not UTF-8", items("%ff%fe".to_owned()), 400, "filter"),
        case(
            "a vault filter with an item's attribute",
            vaults("tag+eq+%22x%22".to_owned()),
            400,
            "unknown attribute",
        ),
    ]
}

/// One path, written in ways that a server may decode differently for routing and for authorisation.
fn spellings(fixture: &HostileFixture) -> Vec<Case> {
    let (own, theirs, item) = (&fixture.own, &fixture.foreign, &fixture.foreign_item);
    let no_path = "path not found";
    let bad_vault = "Invalid Vault UUID";
    let get = |target: String| fixture.ask("GET", target);
    let mut cases = vec![
        case(
            "dots up",
            get(format!("/v1/vaults/{own}/../{theirs}/items/{item}")),
            404,
            no_path,
        ),
        case(
            "coded dots up",
            get(format!("/v1/vaults/{own}/%2e%2e/{theirs}/items")),
            404,
            no_path,
        ),
        case(
            "coded dots as an item",
            get(format!("{}/%2e%2e", fixture.items())),
            400,
            "Invalid Item UUID",
        ),
        case(
            "coded dots and slashes",
            get(format!("{}/%2e%2e%2f%2e%2e%2f{theirs}", fixture.items())),
            400,
            "Item UUID",
        ),
        case(
            "twice coded",
            get(format!("{}/%252e%252e%252f{theirs}", fixture.items())),
            400,
            "Invalid Item UUID",
        ),
        case(
            "a coded slash in the vault",
            get(format!("/v1/vaults/{own}%2fitems%2f{item}")),
            400,
            bad_vault,
        ),
        case(
            "a coded slash to climb",
            get(format!("/v1/vaults/{own}%2f..%2f{theirs}")),
            400,
            bad_vault,
        ),
        case("a backslash", get(format!("/v1/vaults/{own}\\..\\{theirs}")), 400, ""),
        case(
            "doubled slashes",
            get(format!("//v1//vaults//{theirs}//items")),
            403,
            SCOPE,
        ),
        case("doubled slashes at home", get(format!("//v1//vaults//{own}")), 200, own),
        case("a trailing slash", get(format!("/v1/vaults/{theirs}/")), 403, SCOPE),
        case("nothing but slashes", get("/".repeat(500)), 404, no_path),
        case("an empty vault", get("/v1/vaults//items".to_owned()), 400, bad_vault),
        case(
            "a vault id in capitals",
            get(format!("/v1/vaults/{}", theirs.to_uppercase())),
            400,
            bad_vault,
        ),
        case("a path in capitals", get(format!("/V1/VAULTS/{own}")), 404, no_path),
        case("a coded letter", get(format!("/%76%31/vaults/{own}")), 404, no_path),
        case("a parameter", get(format!("/v1/vaults/{own};x=y")), 400, bad_vault),
        case("a coded NUL", get(format!("/v1/vaults/{own}%00")), 400, bad_vault),
        case(
            "a coded new line",
            get(format!("/v1/vaults/{own}%0d%0aX-Evil:%201")),
            400,
            bad_vault,
        ),
        case(
            "coded bytes that are not UTF-8",
            get("/v1/vaults/%ff%fe".to_owned()),
            400,
            "",
        ),
        case(
            "over-long UTF-8",
            get(format!("/v1/vaults/{own}/items/%c0%ae%c0%ae")),
            400,
            "",
        ),
        any("a half percent", get("/v1/vaults/%".to_owned()), &[400], ""),
        any("a percent of letters", get("/v1/vaults/%zz".to_owned()), &[400], ""),
        case("a NUL in the path", fixture.ask("GET", b"/v1/vaults/\0"), 400, ""),
        case(
            "a byte over 127 in the path",
            fixture.ask("GET", b"/v1/vaults/\xff\xff"),
            400,
            "",
        ),
        any("a fragment", get(format!("/v1/vaults/{own}#{theirs}")), &[200, 400], ""),
        any(
            "a second question mark",
            get(format!("/v1/vaults/{own}?a?b=c&&=&%")),
            &[200],
            own,
        ),
        case(
            "an override of the path",
            get("/v1/vaults".to_owned()).header("X-Original-URL", "/metrics"),
            200,
            own,
        ),
        case(
            "an override of the method",
            fixture
                .ask("GET", fixture.item_path())
                .header("X-HTTP-Method-Override", "DELETE"),
            200,
            own,
        ),
        case("an unknown path", get("/admin".to_owned()), 404, no_path),
        case("another version", get("/v2/vaults".to_owned()), 404, no_path),
        case(
            "something below an item",
            get(format!("{}/secrets", fixture.item_path())),
            404,
            no_path,
        ),
        case(
            "a restore of nothing",
            fixture.ask("POST", format!("{}/versions//restore", fixture.item_path())),
            404,
            "",
        ),
    ];
    for path in [
        "/.env",
        "/.git/config",
        "/etc/passwd",
        "/1password.sqlite",
        "/debug/pprof",
        "/v1/files",
        "/v1",
    ] {
        cases.push(case(format!("GET {path}"), get(path.to_owned()), 404, no_path));
    }
    cases
}

/// Rights that the token does not have in its own vault.
fn rights(fixture: &HostileFixture) -> Vec<Case> {
    let (items, item) = (fixture.items(), fixture.item_path());
    let only_read = |method: &str, path: &str| Request::new(method, path).bearer(&fixture.reader);
    let only_write = |method: &str, path: &str| Request::new(method, path).bearer(&fixture.writer);
    let write = "does not have write access";
    let read = "does not have read access";
    vec![
        case("a reader creates", only_read("POST", &items).body(NEW), 403, write),
        case("a reader replaces", only_read("PUT", &item).body(NEW), 403, write),
        case("a reader patches", only_read("PATCH", &item).body("[]"), 403, write),
        case("a reader deletes", only_read("DELETE", &item), 403, write),
        case(
            "a reader restores",
            only_read("POST", &format!("{item}/versions/1/restore")),
            403,
            write,
        ),
        case("a writer lists", only_write("GET", &items), 403, read),
        case("a writer reads", only_write("GET", &item), 403, read),
        case(
            "a writer reads files",
            only_write("GET", &format!("{item}/files")),
            403,
            read,
        ),
        case(
            "a writer reads versions",
            only_write("GET", &format!("{item}/versions")),
            403,
            read,
        ),
        case(
            "a writer patches to read",
            only_write("PATCH", &item).body("[]"),
            403,
            read,
        ),
        case(
            "a writer restores to read",
            only_write("POST", &format!("{item}/versions/1/restore")),
            403,
            read,
        ),
        case(
            "a write to a directory's vault",
            fixture
                .ask("POST", format!("/v1/vaults/{}/items", fixture.own_files))
                .body(NEW),
            403,
            write,
        ),
    ]
}
