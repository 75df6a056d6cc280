//! Bodies that are not valid items.

use super::{Case, HostileFixture, case};

pub(super) fn cases(fixture: &HostileFixture) -> Vec<Case> {
    [syntax(fixture), types(fixture), rules(fixture)]
        .into_iter()
        .flatten()
        .collect()
}

fn post(fixture: &HostileFixture, name: impl Into<String>, body: impl Into<Vec<u8>>, message: &str) -> Case {
    case(
        name,
        fixture
            .ask("POST", fixture.items())
            .header("Content-Type", "application/json")
            .body(body),
        400,
        message,
    )
}

fn syntax(fixture: &HostileFixture) -> Vec<Case> {
    let item = r#"{"title":"x","category":"LOGIN"}"#;
    let utf16: Vec<u8> = item.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let bodies: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing", b"".to_vec(), "cut short"),
        ("blanks", b" \n\t ".to_vec(), "cut short"),
        ("an open brace", b"{".to_vec(), "cut short"),
        ("cut in a key", b"{\"tit".to_vec(), "cut short"),
        ("cut in a value", b"{\"title\":\"x".to_vec(), "cut short"),
        (
            "cut before the brace",
            item.as_bytes()[..item.len() - 1].to_vec(),
            "cut short",
        ),
        ("a list", b"[]".to_vec(), "must be a JSON object"),
        (
            "a list of one item",
            format!("[{item}]").into_bytes(),
            "must be a JSON object",
        ),
        ("null", b"null".to_vec(), "must be a JSON object"),
        ("true", b"true".to_vec(), "must be a JSON object"),
        ("a number", b"5".to_vec(), "must be a JSON object"),
        ("text", b"\"x\"".to_vec(), "must be a JSON object"),
        ("words", b"title=x&category=LOGIN".to_vec(), "not valid JSON"),
        (
            "XML",
            b"<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><x>&e;</x>".to_vec(),
            "not valid JSON",
        ),
        ("YAML", b"title: x\ncategory: LOGIN\n".to_vec(), "not valid JSON"),
        ("two items", format!("{item}{item}").into_bytes(), "not valid JSON"),
        ("something behind", format!("{item} x").into_bytes(), "not valid JSON"),
        (
            "a trailing comma",
            br#"{"title":"x","category":"LOGIN",}"#.to_vec(),
            "not valid JSON",
        ),
        (
            "a comment",
            br#"{/**/"title":"x","category":"LOGIN"}"#.to_vec(),
            "not valid JSON",
        ),
        ("single quotes", b"{'title':'x'}".to_vec(), "not valid JSON"),
        ("NaN", br#"{"favorite":NaN}"#.to_vec(), "not valid JSON"),
        ("a leading zero", br#"{"version":012}"#.to_vec(), "not valid JSON"),
        ("a plus sign", br#"{"version":+1}"#.to_vec(), "not valid JSON"),
        (
            "a number beyond all",
            br#"{"version":1e999}"#.to_vec(),
            "not valid JSON",
        ),
        (
            "a key twice",
            br#"{"title":"a","title":"b","category":"LOGIN"}"#.to_vec(),
            "twice",
        ),
        (
            "a key twice, once escaped",
            br#"{"title":"a","\u0074itle":"b","category":"LOGIN"}"#.to_vec(),
            "twice",
        ),
        (
            "a key twice, deep down",
            br#"{"x":[{"y":1,"y":2}],"category":"LOGIN"}"#.to_vec(),
            "twice",
        ),
        (
            "bytes that are not UTF-8",
            b"{\"title\":\"\xff\xfe\"}".to_vec(),
            "not UTF-8",
        ),
        ("over-long UTF-8", b"{\"title\":\"\xc0\x80\"}".to_vec(), "not UTF-8"),
        (
            "a surrogate in UTF-8",
            b"{\"title\":\"\xed\xa0\x80\"}".to_vec(),
            "not UTF-8",
        ),
        ("UTF-16", utf16, ""),
        ("a lone surrogate", br#"{"title":"\ud800"}"#.to_vec(), "not valid JSON"),
        (
            "surrogates the wrong way round",
            br#"{"title":"\udc00\ud800"}"#.to_vec(),
            "not valid JSON",
        ),
        ("a bad escape", br#"{"title":"\x41"}"#.to_vec(), "not valid JSON"),
        ("half an escape", br#"{"title":"\u12"}"#.to_vec(), "not valid JSON"),
        ("a NUL in text", b"{\"title\":\"a\0b\"}".to_vec(), "not valid JSON"),
        ("a NUL before", b"\0{}".to_vec(), "not valid JSON"),
        ("a new line in text", b"{\"title\":\"a\nb\"}".to_vec(), "not valid JSON"),
        (
            "a byte order mark",
            [b"\xef\xbb\xbf", item.as_bytes()].concat(),
            "not valid JSON",
        ),
        ("lists 10,000 deep", "[".repeat(10_000).into_bytes(), "recursion limit"),
        (
            "lists 100,000 deep",
            "[".repeat(100_000).into_bytes(),
            "recursion limit",
        ),
        (
            "objects 10,000 deep",
            "{\"a\":".repeat(10_000).into_bytes(),
            "recursion limit",
        ),
        (
            "objects 100,000 deep",
            "{\"a\":".repeat(100_000).into_bytes(),
            "recursion limit",
        ),
        (
            "depth in an unknown member",
            format!("{{\"x\":{}{}}}", "[".repeat(5000), "]".repeat(5000)).into_bytes(),
            "recursion limit",
        ),
        (
            "a megabyte of opening quotes",
            "\"".repeat(1 << 20).into_bytes(),
            "not valid JSON",
        ),
        ("a megabyte of zeros", vec![0; 1 << 20], "not valid JSON"),
        ("gzip", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03".to_vec(), ""),
    ];
    let mut cases: Vec<Case> = bodies
        .into_iter()
        .map(|(name, body, message)| post(fixture, format!("body: {name}"), body, message))
        .collect();
    cases.push(case(
        "PUT with a list",
        fixture.ask("PUT", fixture.item_path()).body("[]"),
        400,
        "must be a JSON object",
    ));
    cases
}

fn types(fixture: &HostileFixture) -> Vec<Case> {
    let members = [
        ("id", "5"),
        ("title", "5"),
        ("title", "{}"),
        ("title", "[\"x\"]"),
        ("title", "true"),
        ("title", "123456789012345678901234567890123456789012345678901234567890"),
        ("vault", "\"x\""),
        ("vault", "[]"),
        ("vault", "{\"id\":5}"),
        ("category", "5"),
        ("category", "[\"LOGIN\"]"),
        ("favorite", "\"yes\""),
        ("favorite", "1"),
        ("tags", "\"x\""),
        ("tags", "{}"),
        ("tags", "[1]"),
        ("tags", "[null]"),
        ("tags", "[[\"x\"]]"),
        ("urls", "\"http://x\""),
        ("urls", "[\"http://x\"]"),
        ("urls", "[{}]"),
        ("urls", "[{\"href\":5}]"),
        ("urls", "[{\"href\":\"x\",\"primary\":\"yes\"}]"),
        ("urls", "[{\"href\":\"x\",\"label\":[]}]"),
        ("sections", "{}"),
        ("sections", "[5]"),
        ("sections", "[{\"id\":5}]"),
        ("sections", "[{\"id\":\"x\",\"label\":{}}]"),
        ("fields", "{}"),
        ("fields", "\"x\""),
        ("fields", "[5]"),
        ("fields", "[null]"),
        ("fields", "[[]]"),
    ];
    let fields = [
        ("id", "5"),
        ("type", "5"),
        ("type", "\"NOPE\""),
        ("type", "\"TOTP\""),
        ("purpose", "\"ROOT\""),
        ("purpose", "{}"),
        ("label", "5"),
        ("value", "5"),
        ("value", "true"),
        ("value", "{\"a\":1}"),
        ("value", "1e400"),
        ("section", "\"x\""),
        ("section", "{\"id\":5}"),
        ("generate", "\"yes\""),
        ("recipe", "5"),
        ("recipe", "{\"length\":\"x\"}"),
        ("recipe", "{\"length\":0}"),
        ("recipe", "{\"length\":65}"),
        ("recipe", "{\"length\":-1}"),
        ("recipe", "{\"length\":1e9}"),
        ("recipe", "{\"characterSets\":\"LETTERS\"}"),
        ("recipe", "{\"characterSets\":[\"EMOJI\"]}"),
        ("recipe", "{\"characterSets\":[5]}"),
        (
            "recipe",
            "{\"characterSets\":[\"DIGITS\"],\"excludeCharacters\":\"0123456789\"}",
        ),
        ("recipe", "{\"excludeCharacters\":5}"),
    ];
    let mut cases = Vec::new();
    for (member, value) in members {
        let rest = match member {
            "category" => "\"title\":\"x\"",
            "title" => "\"category\":\"LOGIN\"",
            _ => "\"title\":\"x\",\"category\":\"LOGIN\"",
        };
        let shown: String = value.chars().take(40).collect();
        cases.push(post(
            fixture,
            format!("{member} is {shown}"),
            format!("{{{rest},\"{member}\":{value}}}"),
            member,
        ));
    }
    for (member, value) in fields {
        let body = format!("{{\"title\":\"x\",\"category\":\"LOGIN\",\"fields\":[{{\"{member}\":{value}}}]}}");
        let message = if value == "1e400" {
            "not valid JSON"
        } else {
            "fields[0]"
        };
        cases.push(post(fixture, format!("a field's {member} is {value}"), body, message));
    }
    cases
}

fn rules(fixture: &HostileFixture) -> Vec<Case> {
    let with = |name: &str, members: &str, message: &str| {
        post(
            fixture,
            name,
            format!("{{\"title\":\"x\",\"category\":\"LOGIN\",{members}}}"),
            message,
        )
    };
    let fields = |count: usize| vec!["{}"; count].join(",");
    let many: Vec<String> = (0..1001).map(|n| format!("\"{n}\"")).collect();
    let urls = vec!["{\"href\":\"x\"}"; 1001].join(",");
    let sections: Vec<String> = (0..1001).map(|n| format!("{{\"id\":\"s{n}\"}}")).collect();
    let date = |kind: &str, value: &str| format!("\"fields\":[{{\"type\":\"{kind}\",\"value\":\"{value}\"}}]");
    vec![
        post(fixture, "no category", r#"{"title":"x"}"#, "category"),
        post(fixture, "an empty object", "{}", "category"),
        post(
            fixture,
            "an unknown category",
            r#"{"title":"x","category":"FOO"}"#,
            "Invalid item category",
        ),
        post(
            fixture,
            "category CUSTOM",
            r#"{"title":"x","category":"CUSTOM"}"#,
            "CUSTOM",
        ),
        post(
            fixture,
            "category DOCUMENT",
            r#"{"title":"x","category":"DOCUMENT"}"#,
            "DOCUMENT",
        ),
        with(
            "a vault that is not the path's",
            &format!("\"vault\":{{\"id\":\"{}\"}}", "z".repeat(26)),
            "vault",
        ),
        with(
            "two equal field ids",
            "\"fields\":[{\"id\":\"a\"},{\"id\":\"a\"}]",
            "fields[1] has the id of another",
        ),
        with(
            "two passwords",
            "\"fields\":[{\"purpose\":\"PASSWORD\"},{\"purpose\":\"PASSWORD\"}]",
            "You can only use one",
        ),
        with(
            "two usernames",
            "\"fields\":[{\"purpose\":\"USERNAME\"},{\"purpose\":\"USERNAME\"}]",
            "You can only use one",
        ),
        with("a date of words", &date("DATE", "abc"), "fields[0]"),
        with("a date that is none", &date("DATE", "2024-02-30"), "fields[0]"),
        with(
            "a date beyond all years",
            &date("DATE", "99999999999999999999"),
            "fields[0]",
        ),
        with("a 13th month", &date("MONTH_YEAR", "202213"), "fields[0]"),
        with("a month of words", &date("MONTH_YEAR", "May"), "fields[0]"),
        with(
            "a long field id",
            &format!("\"fields\":[{{\"id\":\"{}\"}}]", "i".repeat(257)),
            "fields[0]",
        ),
        with(
            "a long label",
            &format!("\"fields\":[{{\"label\":\"{}\"}}]", "l".repeat(1025)),
            "fields[0]",
        ),
        with("a long tag", &format!("\"tags\":[\"{}\"]", "t".repeat(257)), "tags"),
        with("many tags", &format!("\"tags\":[{}]", many.join(",")), "tags"),
        with("many urls", &format!("\"urls\":[{urls}]"), "urls"),
        with(
            "many sections",
            &format!("\"sections\":[{}]", sections.join(",")),
            "sections",
        ),
        with("10,001 fields", &format!("\"fields\":[{}]", fields(10_001)), "fields"),
        with(
            "a million fields",
            &format!("\"fields\":[{}]", fields(1_000_000)),
            "too many values",
        ),
        with(
            "objects that are small as text alone",
            &format!("\"fields\":[{}]", ["{\"\":0}"; 500_000].join(",")),
            "too many values",
        ),
        post(
            fixture,
            "a long title",
            format!("{{\"title\":\"{}\",\"category\":\"LOGIN\"}}", "t".repeat(1025)),
            "title",
        ),
        case(
            "a PUT with another id",
            fixture.ask("PUT", fixture.item_path()).body(format!(
                "{{\"id\":\"{}\",\"title\":\"x\",\"category\":\"LOGIN\"}}",
                "y".repeat(26)
            )),
            400,
            "id",
        ),
        case(
            "a PUT without a category",
            fixture.ask("PUT", fixture.item_path()).body("{\"title\":\"x\"}"),
            400,
            "category",
        ),
    ]
}
