//! PATCH: operations that can't be carried out, and paths that lead nowhere.

use super::{Case, HostileFixture, case};

pub(super) fn cases(fixture: &HostileFixture) -> Vec<Case> {
    let send = |name: String, body: String, message: &str| {
        case(name, fixture.ask("PATCH", fixture.item_path()).body(body), 400, message)
    };
    let mut cases = Vec::new();
    for (name, body, message) in [
        (
            "an object",
            "{\"op\":\"remove\",\"path\":\"/title\"}",
            "list of operations",
        ),
        ("null", "null", "list of operations"),
        ("text", "\"x\"", "list of operations"),
        ("nothing", "", "cut short"),
        ("cut", "[{\"op\":", "cut short"),
        ("a list of numbers", "[1]", "operations[0]"),
        ("a list of lists", "[[]]", "operations[0]"),
        ("an empty operation", "[{}]", "has no op"),
        ("no op", "[{\"path\":\"/title\",\"value\":\"x\"}]", "has no op"),
        ("no path", "[{\"op\":\"remove\"}]", "has no path"),
        ("op a number", "[{\"op\":5,\"path\":\"/title\"}]", "operations[0]"),
        ("path a number", "[{\"op\":\"remove\",\"path\":5}]", "operations[0]"),
        ("path null", "[{\"op\":\"remove\",\"path\":null}]", "has no path"),
        (
            "op twice",
            "[{\"op\":\"add\",\"op\":\"remove\",\"path\":\"/title\"}]",
            "twice",
        ),
    ] {
        cases.push(send(format!("patch: {name}"), body.to_owned(), message));
    }
    for op in ["test", "move", "copy", "merge", "Add ", "", "delete", "__proto__"] {
        let body = format!("[{{\"op\":\"{op}\",\"path\":\"/title\",\"from\":\"/fields\",\"value\":\"x\"}}]");
        cases.push(send(
            format!("patch: op {op:?}"),
            body,
            "op other than add, remove and replace",
        ));
    }
    for path in [
        "title",
        "#/title",
        "/id",
        "/version",
        "/vault",
        "/vault/id",
        "/createdAt",
        "/updatedAt",
        "/lastEditedBy",
        "/state",
        "/files",
        "/files/0",
        "/..",
        "/../title",
        "//",
        "/title/",
        "/title/x",
        "/nothing",
        "/Title",
        "/__proto__/x",
        "/constructor",
        "/fields/nope",
        "/fields/nope/value",
        "/fields/username/id",
        "/fields/username/totp",
        "/fields/username/entropy",
        "/fields/username/nope",
        "/fields/username/value/x",
        "/fields/~",
        "/fields/~2",
        "/tags/x",
        "/tags/-1",
        "/tags/99",
        "/tags/01",
        "/tags/1e0",
        "/tags/0/x",
        "/tags/18446744073709551616",
        "/urls/99",
        "/urls/0/nope",
        "/sections/nope",
        "/sections/nope/label",
        "/fields/0",
        "/\u{0}",
        "/\u{202e}eltit",
        "/%74itle",
    ] {
        let path = serde_json::Value::from(path);
        let body = format!("[{{\"op\":\"replace\",\"path\":{path},\"value\":\"x\"}}]");
        cases.push(send(format!("patch: replace {path}"), body, "operations[0]"));
    }
    for (path, value) in [
        ("/title", "5"),
        ("/favorite", "\"yes\""),
        ("/category", "\"FOO\""),
        ("/category", "\"DOCUMENT\""),
        ("/tags", "\"x\""),
        ("/tags", "[1]"),
        ("/tags/0", "{}"),
        ("/urls", "5"),
        ("/fields", "{}"),
        ("/fields", "[{\"id\":\"a\"},{\"id\":\"a\"}]"),
        ("/fields/username", "5"),
        ("/fields/username", "{\"id\":\"other\"}"),
        ("/fields/username/value", "5"),
        ("/fields/username/type", "\"NOPE\""),
        ("/fields/username/purpose", "\"ROOT\""),
        ("/", "[]"),
        ("/", "5"),
        ("/", "{\"category\":\"FOO\"}"),
        ("", "null"),
    ] {
        let body = format!("[{{\"op\":\"replace\",\"path\":\"{path}\",\"value\":{value}}}]");
        cases.push(send(format!("patch: {path} becomes {value}"), body, "operations[0]"));
    }
    for (op, path) in [
        ("add", "/title"),
        ("replace", "/fields/username/value"),
        ("add", "/tags/0"),
        ("replace", "/"),
    ] {
        let body = format!("[{{\"op\":\"{op}\",\"path\":\"{path}\"}}]");
        cases.push(send(
            format!("patch: {op} {path} without a value"),
            body,
            "value is missing",
        ));
    }
    for path in ["/fields/nope", "/tags/99", "/sections/nope", "/urls/5"] {
        let body = format!("[{{\"op\":\"remove\",\"path\":\"{path}\"}}]");
        cases.push(send(format!("patch: remove {path}"), body, "operations[0]"));
    }
    // All or nothing: the first one is good. That it was not carried out is checked at the end.
    let second = r#"[{"op":"replace","path":"/title","value":"half"},{"op":"remove","path":"/fields/nope"}]"#;
    cases.push(send(
        "patch: the second of two is bad".to_owned(),
        second.to_owned(),
        "operations[1]",
    ));
    let many = vec![r#"{"op":"add","path":"/tags/-","value":"x"}"#; 1001].join(",");
    cases.push(send(
        "patch: 1,001 operations".to_owned(),
        format!("[{many}]"),
        "more than 1000 operations",
    ));
    let growing =
        vec![r#"{"op":"add","path":"/fields","value":[{},{},{},{},{},{},{},{},{},{},{},{}]}"#; 1000].join(",");
    cases.push(send(
        "patch: 12,000 fields".to_owned(),
        format!("[{growing}]"),
        "fields",
    ));
    cases
}
