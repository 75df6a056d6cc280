//! Requests that are larger than the limits.

use super::{Case, HostileFixture, any, case};

const MIB: usize = 1 << 20;

pub(super) fn cases(fixture: &HostileFixture) -> Vec<Case> {
    let post = || fixture.ask("POST", fixture.items());
    let get = |target: String| fixture.ask("GET", target);
    let big = format!("{{\"title\":\"{}\"}}", "x".repeat(5 * MIB));
    let mut chunks = Vec::new();
    for _ in 0..80 {
        chunks.extend_from_slice(format!("{:x}\r\n", 64 << 10).as_bytes());
        chunks.extend(std::iter::repeat_n(b' ', 64 << 10));
        chunks.extend_from_slice(b"\r\n");
    }
    chunks.extend_from_slice(b"0\r\n\r\n");
    let mut many_headers = fixture.ask("GET", "/v1/vaults");
    for n in 0..300 {
        many_headers = many_headers.header(&format!("X-{n}"), "y");
    }
    let filter = |text: String| get(format!("{}?filter={text}", fixture.items()));
    let comparisons = vec!["title+eq+%22x%22"; 500].join("+and+");
    vec![
        case("a body of 5 MiB", post().body(big), 413, "larger than"),
        case(
            "a body of 5 MiB in chunks",
            post().header("Transfer-Encoding", "chunked").raw_body(chunks),
            413,
            "larger",
        ),
        case(
            "a body said to have 5 GB",
            post().header("Content-Length", "5000000000").raw_body("{"),
            413,
            "larger than",
        ),
        case(
            "a URI of 40 KB",
            get(format!("/{}", "a".repeat(40_000))),
            414,
            "longer than",
        ),
        case(
            "a query of 40 KB",
            get(format!("/v1/vaults?x={}", "a".repeat(40_000))),
            414,
            "longer than",
        ),
        any(
            "a URI of 100 KB",
            get(format!("/{}", "a".repeat(100_000))),
            &[414, 431],
            "",
        ),
        any(
            "a URI of 300 KB",
            get(format!("/{}", "a".repeat(300_000))),
            &[414, 431, 0],
            "",
        ),
        case(
            "a header of 60 KB",
            get("/v1/vaults".into()).header("X-Long", "a".repeat(60_000)),
            431,
            "longer than",
        ),
        any(
            "a header of 300 KB",
            get("/v1/vaults".into()).header("X-Long", "a".repeat(300_000)),
            &[431, 0],
            "",
        ),
        any("300 headers", many_headers, &[431], ""),
        any(
            "a header name of 70 KB",
            get("/v1/vaults".into()).header(&"x".repeat(70_000), "y"),
            &[400, 431, 0],
            "",
        ),
        any(
            "a method of 10 KB",
            fixture.ask(&"M".repeat(10_000), "/v1/vaults"),
            &[400, 405, 0],
            "",
        ),
        case(
            "a filter of 20 KB",
            filter(format!("title+eq+%22{}%22", "x".repeat(20_000))),
            400,
            "longer than",
        ),
        case(
            "a filter of 33 parentheses",
            filter(format!("{}title+pr{}", "(".repeat(33), ")".repeat(33))),
            400,
            "deeply",
        ),
        case(
            "a filter of 10,000 parentheses",
            filter("(".repeat(10_000)),
            400,
            "deeply",
        ),
        case(
            "a filter of 3,000 nots",
            filter(format!("{}title+pr", "not+".repeat(3_000))),
            400,
            "deeply",
        ),
        case("a filter of 500 comparisons", filter(comparisons), 200, "[]"),
        case(
            "a filter of 8,000 quotes",
            filter(format!("title+eq+{}", "%22".repeat(8_000))),
            200,
            "[]",
        ),
        case(
            "a vault name of 20 KB",
            get(format!("/v1/vaults/{}", "v".repeat(20_000))),
            400,
            "Invalid Vault UUID",
        ),
        case(
            "an item name of 20 KB",
            get(format!("{}/{}", fixture.items(), "i".repeat(20_000))),
            400,
            "Invalid Item UUID",
        ),
        case(
            "a path of 5,000 parts",
            get("/v1/vaults".to_owned() + &"/x".repeat(5_000)),
            404,
            "path not found",
        ),
        case(
            "a long If-None-Match",
            get(fixture.item_path()).header("If-None-Match", "\"x\",".repeat(10_000)),
            200,
            "title",
        ),
        case(
            "a long Range",
            get(fixture.content()).header("Range", format!("bytes={}", "0-1,".repeat(10_000))),
            200,
            "",
        ),
        case(
            "a long request id",
            get("/v1/vaults".into()).header("X-Request-Id", "r".repeat(10_000)),
            200,
            "[",
        ),
        case(
            "a long user agent",
            get("/v1/vaults".into()).header("User-Agent", "u".repeat(40_000)),
            200,
            "[",
        ),
        case(
            "5,000 parameters",
            get(format!("/v1/vaults?{}", "a=b&".repeat(5_000))),
            200,
            "[",
        ),
    ]
}
