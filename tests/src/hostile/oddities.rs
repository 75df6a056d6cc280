//! Parameters and headers whose values are nonsense, which must be ignored.

use super::{Case, HostileFixture, any, case};

pub(super) fn cases(fixture: &HostileFixture) -> Vec<Case> {
    [
        ranges(fixture),
        pages(fixture),
        conditions(fixture),
        events(fixture),
        request_ids(fixture),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn ranges(fixture: &HostileFixture) -> Vec<Case> {
    let ranges = [
        ("bytes=0-0", 206, "a"),
        ("bytes=-1", 206, "z"),
        ("bytes=25-99999999", 206, "z"),
        ("bytes=0-18446744073709551615", 206, "abc"),
        ("bytes=-18446744073709551615", 206, "abc"),
        ("bytes=26-", 416, "outside the file's 26 bytes"),
        ("bytes=18446744073709551615-", 416, "outside"),
        ("bytes=18446744073709551615-18446744073709551615", 416, "outside"),
        ("bytes=-0", 416, "outside"),
        ("bytes=5-2", 200, "abc"),
        ("bytes=0-99999999999999999999999999", 200, "abc"),
        ("bytes=", 200, "abc"),
        ("bytes=-", 200, "abc"),
        ("bytes=a-b", 200, "abc"),
        ("bytes=0--5", 200, "abc"),
        ("bytes=0-1,3-4,6-7", 200, "abc"),
        ("lines=1-2", 200, "abc"),
        ("nonsense", 200, "abc"),
        ("bytes=\u{663}-\u{664}", 200, "abc"),
        ("", 200, "abc"),
    ];
    ranges
        .into_iter()
        .map(|(range, status, text)| {
            case(
                format!("Range {range:?}"),
                fixture.ask("GET", fixture.content()).header("Range", range),
                status,
                text,
            )
        })
        .collect()
}

fn pages(fixture: &HostileFixture) -> Vec<Case> {
    let mut cases = Vec::new();
    for query in [
        "limit=0",
        "limit=-1",
        "limit=abc",
        "limit=",
        "limit=1e3",
        "limit=1.5",
        "limit=0x10",
        "limit=%00",
        "limit=99999999999999999999999999",
        "limit=1;DROP",
        "offset=-1",
        "offset=abc",
        "offset=99999999999999999999999999",
        "limit=%D9%A1",
    ] {
        cases.push(case(
            format!("activity?{query}"),
            fixture.ask("GET", format!("/v1/activity?{query}")),
            400,
            "must be",
        ));
    }
    for query in [
        "limit=4294967296",
        "limit=18446744073709551615",
        "offset=4294967296",
        "limit=1&limit=x",
    ] {
        cases.push(case(
            format!("activity?{query}"),
            fixture.ask("GET", format!("/v1/activity?{query}")),
            200,
            "[",
        ));
    }
    for query in [
        "offset=9223372036854775807",
        "offset=9223372036854775808",
        "offset=18446744073709551615",
    ] {
        let request = fixture.ask("GET", format!("/v1/activity?{query}"));
        cases.push(any(format!("activity?{query}"), request, &[200, 400], ""));
    }
    for version in ["abc", "-1", "1e3", "", "4294967296", "1%00", "1;x"] {
        let request = fixture.ask("GET", format!("{}?version={version}", fixture.item_path()));
        cases.push(case(
            format!("version={version}"),
            request,
            400,
            "version must be a number",
        ));
    }
    for version in ["0", "99999", "4294967295"] {
        let request = fixture.ask("GET", format!("{}?version={version}", fixture.item_path()));
        cases.push(case(format!("version={version}"), request, 404, "not found"));
        let request = fixture.ask("POST", format!("{}/versions/{version}/restore", fixture.item_path()));
        cases.push(case(format!("restore {version}"), request, 404, "not found"));
    }
    let request = fixture.ask("POST", format!("{}/versions/latest/restore", fixture.item_path()));
    cases.push(case("restore latest", request, 400, "version must be a number"));
    for inline in ["banana", "TRUE", "2", "%00"] {
        let target = format!(
            "/v1/vaults/{}/items/{}/files?inline_files={inline}",
            fixture.own_files, fixture.document
        );
        cases.push(case(
            format!("inline_files={inline}"),
            fixture.ask("GET", target),
            400,
            "must be true or false",
        ));
    }
    cases
}

fn conditions(fixture: &HostileFixture) -> Vec<Case> {
    let mut cases = Vec::new();
    for tag in [
        "\"",
        "W/",
        "\"\"",
        "x",
        "\"1",
        ",,,,",
        "W/W/\"x\"",
        "\"\u{fc}\"",
        "",
        "**",
    ] {
        let request = fixture.ask("GET", fixture.item_path()).header("If-None-Match", tag);
        cases.push(case(format!("If-None-Match {tag:?}"), request, 200, "\"title\""));
    }
    let star = fixture.ask("GET", fixture.item_path()).header("If-None-Match", "*");
    cases.push(case("If-None-Match *", star, 304, ""));
    for (name, value) in [
        ("If-Modified-Since", "yesterday"),
        ("If-Range", "nonsense"),
        ("Accept", "text/html;q=banana"),
        ("Accept-Encoding", "gzip;q=999, br, *;q=-1"),
        ("Content-Type", "text/\"; drop"),
        ("Cookie", "a=b; a=b; ;;;="),
        ("X-Forwarded-For", "127.0.0.1, ${jndi:ldap://x}"),
        ("User-Agent", "() { :;}; echo vulnerable"),
        ("Origin", "http://evil.example"),
    ] {
        let request = fixture.ask("GET", fixture.item_path()).header(name, value);
        cases.push(case(format!("{name}: {value}"), request, 200, "\"title\""));
    }
    cases
}

fn events(fixture: &HostileFixture) -> Vec<Case> {
    let mut cases = Vec::new();
    for id in ["abc", "", "1e3", "1.5", "99999999999999999999", "-", "1 OR 1=1", "0x1"] {
        let request = fixture.ask("GET", "/v1/events").header("Last-Event-ID", id);
        cases.push(case(
            format!("Last-Event-ID {id:?}"),
            request,
            400,
            "Last-Event-ID must be",
        ));
    }
    for id in ["-1", "-9223372036854775808", "9223372036854775807", "999999"] {
        let request = fixture.ask("GET", "/v1/events").header("Last-Event-ID", id);
        cases.push(any(format!("Last-Event-ID {id:?}"), request, &[200, 400], ""));
    }
    cases.push(case(
        "lastEventId=x",
        fixture.ask("GET", "/v1/events?lastEventId=x"),
        400,
        "Last-Event-ID must be",
    ));
    cases
}

/// The test checks that no answer repeats these texts.
fn request_ids(fixture: &HostileFixture) -> Vec<Case> {
    let mut cases = Vec::new();
    for id in [
        "evil evil",
        "evil\"evil",
        "{\"evil\":1}",
        "evil%0d%0aSet-Cookie:%20evil=1",
        "evil\tevil",
        "evil\u{fc}",
        "evil;evil",
        "<evil>",
        "evil\\nevil",
    ] {
        let request = fixture.ask("GET", "/v1/vaults").header("X-Request-Id", id);
        cases.push(case(format!("X-Request-Id {id:?}"), request, 200, &fixture.own));
    }
    cases
}
