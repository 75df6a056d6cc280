//! References of `/v1/resolve` to what is out of the token's scope, and requests that are no references.

use super::{Case, HostileFixture, case};
use crate::wire::Request;

const PATH: &str = "/v1/resolve";

fn body(references: &[String]) -> String {
    serde_json::json!({ "references": references }).to_string()
}

pub(super) fn cases(fixture: &HostileFixture) -> Vec<Case> {
    let ask = |reference: String| fixture.ask("POST", PATH).body(body(&[reference]));
    let as_token = |token: &str, reference: &str| {
        Request::new("POST", PATH)
            .bearer(token)
            .body(body(&[reference.to_owned()]))
    };
    let (own, item) = (&fixture.own, &fixture.item);
    let mine = format!("op://{own}/{item}/username");
    let no_vault = "vaultNotFound";
    let mut cases = vec![
        case("an own reference", ask(mine.clone()), 200, "\"value\""),
        case(
            "an own reference in upper case",
            ask(mine.to_uppercase()),
            200,
            "\"value\"",
        ),
        case(
            "an own reference, read only",
            as_token(&fixture.reader, &mine),
            200,
            "\"value\"",
        ),
        // The answer is that for a vault which does not exist.
        case(
            "an own reference, write only",
            as_token(&fixture.writer, &mine),
            200,
            no_vault,
        ),
        case(
            "a foreign item",
            ask(format!("op://{}/{}/username", fixture.foreign, fixture.foreign_item)),
            200,
            no_vault,
        ),
        case(
            "a foreign vault by its name",
            ask(format!(
                "op://{}/{}/username",
                fixture.foreign_name, fixture.foreign_item
            )),
            200,
            no_vault,
        ),
        case(
            "a foreign item in the own vault",
            ask(format!("op://{own}/{}/username", fixture.foreign_item)),
            200,
            "itemNotFound",
        ),
        case(
            "a foreign file",
            ask(format!(
                "op://{}/{}/{}",
                fixture.foreign_files, fixture.foreign_document, fixture.foreign_file
            )),
            200,
            no_vault,
        ),
        case(
            "a foreign file in the own vault",
            ask(format!(
                "op://{}/{}/{}",
                fixture.own_files, fixture.document, fixture.foreign_file
            )),
            200,
            "fieldNotFound",
        ),
        case(
            "a reference like a path",
            ask("op://../../etc/passwd".to_owned()),
            200,
            no_vault,
        ),
        case(
            "no token",
            Request::new("POST", PATH).body(body(std::slice::from_ref(&mine))),
            401,
            "",
        ),
        case(
            "no references",
            fixture.ask("POST", PATH).body(body(&[])),
            200,
            "\"results\":[]",
        ),
        case(
            "1,000 references",
            fixture.ask("POST", PATH).body(body(&vec![mine.clone(); 1000])),
            200,
            "\"value\"",
        ),
        case(
            "1,001 references",
            fixture.ask("POST", PATH).body(body(&vec![mine.clone(); 1001])),
            413,
            "1001 references",
        ),
        case(
            "300 KiB of references",
            fixture.ask("POST", PATH).body(body(&vec!["x".repeat(300); 1000])),
            413,
            "longer than",
        ),
        case("GET", fixture.ask("GET", PATH), 405, "is not allowed"),
        case(
            "a reference below the path",
            fixture
                .ask("POST", "/v1/resolve/x")
                .body(body(std::slice::from_ref(&mine))),
            404,
            "path not found",
        ),
    ];
    for text in [
        "",
        "null",
        "[]",
        "{}",
        "{",
        "{\"references\":null}",
        "{\"references\":{}}",
        "{\"references\":[null]}",
        "{\"references\":[1]}",
    ] {
        cases.push(case(
            format!("references {text}"),
            fixture.ask("POST", PATH).body(text),
            400,
            "the body is not",
        ));
    }
    for text in [
        "",
        "op://",
        "op://a/b",
        "op://a/b/c/d/e",
        "op://a/\u{0}/c",
        "op://a/b/c?x",
        "op://a/b/%",
    ] {
        cases.push(case(
            format!("the reference {text:?}"),
            ask(text.to_owned()),
            200,
            "\"parsing\"",
        ));
    }
    cases
}
