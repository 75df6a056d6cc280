//! h2spec, a conformance test for HTTP/2 (RFC 7540 and RFC 7541).

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use sidevault_tests::pair::{Process, ServerPair, binary};

/// The case that fails, as docs/api.md explains.
const FAILS: &str = "http2/3.5: Sends invalid connection preface";

/// A case that fails if the server is fast: docs/api.md explains that, too.
const MAY_FAIL: &str =
    "http2/6.9.1: Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream";

/// The names of the failed cases in a report in JUnit's format.
fn failed(report: &str) -> BTreeSet<String> {
    let mut failed = BTreeSet::new();
    let attribute = |element: &str, name: &str| {
        let (_, rest) = element.split_once(&format!("{name}=\"")).unwrap_or_default();
        rest.split('"').next().unwrap_or_default().to_owned()
    };
    for case in report.split("<testcase ").skip(1) {
        let head = case.split('>').next().unwrap_or_default();
        let body = case.split("</testcase>").next().unwrap_or_default();
        if body.contains("<failure") || body.contains("<error") {
            failed.insert(format!(
                "{}: {}",
                attribute(head, "package"),
                attribute(head, "classname")
            ));
        }
    }
    failed
}

#[test]
fn h2spec_passes_except_for_the_documented_cases() {
    let target = binary();
    let tools = target.parent().and_then(|debug| debug.parent()).unwrap().join("tools");
    let tool = std::env::var_os("H2SPEC").map_or_else(|| tools.join("h2spec"), Into::into);
    assert!(tool.is_file(), "no h2spec at {}: tests/tools/build.sh", tool.display());
    let pair = ServerPair::start(&["--vault", "apps"], &[]);
    let report = pair.path("tmp/h2spec.xml");
    let output = Command::new(tool)
        .args(["--host", "127.0.0.1", "--path", "/heartbeat", "--timeout", "5"])
        .args(["--port", &pair.address().port().to_string()])
        .args(["--junit-report", &report.to_string_lossy()])
        .output()
        .expect("h2spec runs");
    let report = fs::read_to_string(report).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let ran = report.matches("<testcase ").count();
    assert!(ran >= 140, "{ran} cases ran");
    let mut failed = failed(&report);
    failed.remove(MAY_FAIL);
    let output = String::from_utf8_lossy(&output.stdout);
    assert_eq!(failed, BTreeSet::from([FAILS.to_owned()]), "{output}");
    assert!(!pair.log(Process::Api).contains("panicked"));
}
