//! Compares this crate with the real sops: files that sops encrypts must be read as sops decrypts them.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod cases;
mod edits;
mod fuzz;
mod generate;
mod keys;
mod reports;
mod tools;

use std::path::Path;

use cases::{CASES, LOST_BY_SOPS};
use sidevault_sops::{Decrypted, Document, Format, SopsError, Value, read, scalar_text};
use tools::World;

fn format_of(file: &str) -> Format {
    Format::from_path(Path::new(file))
}

/// Normalizes Go's JSON: removes white space and escapes that are not needed.
fn compact(json: &[u8]) -> String {
    let text = std::str::from_utf8(json).unwrap();
    let (mut out, mut quoted, mut escaped) = (String::new(), false, false);
    for c in text.chars() {
        if quoted || !c.is_ascii_whitespace() {
            out.push(c);
        }
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
    }
    for (escape, plain) in [
        ("\\u003c", "<"),
        ("\\u003e", ">"),
        ("\\u0026", "&"),
        ("\\u2028", "\u{2028}"),
        ("\\u2029", "\u{2029}"),
    ] {
        out = out.replace(escape, plain);
    }
    // sops shows the INI section without a name even if it is empty; this crate does not.
    out.replace("{\"DEFAULT\":{},", "{").replace("{\"DEFAULT\":{}}", "{}")
}

fn documents(file: &Decrypted) -> &[Value] {
    match &file.document {
        Document::Tree(documents) => documents,
        Document::Binary(_) => panic!("a tree was expected"),
    }
}

fn first_json(file: &Decrypted) -> String {
    documents(file).first().map(scalar_text).unwrap_or_default()
}

#[test]
fn every_document_reads_as_sops_decrypts_it() {
    let Some(world) = World::new(1) else { return };
    let identities = world.identities(&[0]);
    let mut failures = Vec::new();
    for case in CASES {
        let plain = match case.file {
            "bytes.bin" => (0..=255).collect(),
            _ => case.plain.as_bytes().to_vec(),
        };
        let sealed = match world.try_encrypt(case.file, &plain, case.rule) {
            Ok(sealed) => sealed,
            Err(said) => {
                failures.push(said);
                continue;
            }
        };
        let format = format_of(case.file);
        let ours = match read(format, &sealed, &identities) {
            Ok(ours) => ours,
            Err(error) => {
                failures.push(format!("{}: {error}\n{}", case.file, String::from_utf8_lossy(&sealed)));
                continue;
            }
        };
        assert!(ours.encrypted && ours.lastmodified.is_some(), "{}", case.file);
        if let Document::Binary(bytes) = &ours.document {
            assert_eq!(bytes, &plain, "{}", case.file);
            continue;
        }
        let theirs = compact(&world.decrypt(case.file, &sealed, "json", &[0]).expect(case.file));
        if first_json(&ours) != theirs {
            failures.push(format!("{}:\n ours {}\n sops {theirs}", case.file, first_json(&ours)));
        }
        // The file before encryption must have the same content.
        match read(format, &plain, &identities) {
            Ok(read_plain) if !read_plain.encrypted => {
                // An empty document is null before encryption and an empty mapping after it.
                let shown = |file: &Decrypted| {
                    documents(file)
                        .iter()
                        .map(scalar_text)
                        .map(|text| if text.is_empty() { "{}".into() } else { text })
                        .collect::<Vec<String>>()
                };
                if shown(&read_plain) != shown(&ours) {
                    failures.push(format!(
                        "{}:\n plain {:?}\n ours  {:?}",
                        case.file,
                        shown(&read_plain),
                        shown(&ours)
                    ));
                }
            }
            other => failures.push(format!("{}: plain: {other:?}", case.file)),
        }
    }
    assert!(CASES.len() >= 60);
    assert!(
        failures.is_empty(),
        "{} of {} differ:\n{}",
        failures.len(),
        CASES.len(),
        failures.join("\n")
    );
}

#[test]
fn what_sops_cannot_read_back_is_refused_here_too() {
    let Some(world) = World::new(1) else { return };
    for case in LOST_BY_SOPS {
        let sealed = world.encrypt(case.file, case.plain.as_bytes(), case.rule);
        let ours = read(format_of(case.file), &sealed, &world.identities(&[0]));
        assert_eq!(ours.unwrap_err(), SopsError::MacMismatch, "{}", case.file);
        assert_eq!(world.decrypt(case.file, &sealed, "json", &[0]), None, "{}", case.file);
    }
}

#[test]
fn every_document_of_a_stream_reads_as_sops_decrypts_it() {
    let Some(world) = World::new(1) else { return };
    let sealed = world.encrypt("multi.yaml", b"a: 1\n---\nb: 2.50\n---\nc: [x, true]\n", &[]);
    let ours = read(Format::Yaml, &sealed, &world.identities(&[0])).unwrap();
    let theirs = world.decrypt("multi.yaml", &sealed, "yaml", &[0]).unwrap();
    let theirs = sidevault_sops::yaml::parse(&theirs).unwrap();
    assert_eq!(documents(&ours), theirs);
    assert_eq!(documents(&ours).len(), 3);
}

#[test]
fn infinities_and_binary_tags_read_though_json_cannot_say_them() {
    let Some(world) = World::new(1) else { return };
    let sealed = world.encrypt(
        "odd.yaml",
        b"a: .inf\nb: -.Inf\nc: .nan\nd: !!binary /w==\ne_unencrypted: [.inf, -.inf]\n",
        &[],
    );
    let ours = read(Format::Yaml, &sealed, &world.identities(&[0])).unwrap();
    let texts: Vec<_> = ["a", "b", "c", "d"]
        .iter()
        .map(|key| scalar_text(documents(&ours)[0].get(key).unwrap()))
        .collect();
    assert_eq!(texts, [".inf", "-.inf", ".nan", "/w=="]);
}

#[test]
fn any_recipient_opens_the_file() {
    let Some(world) = World::new(3) else { return };
    let recipients = format!("{},{}", world.recipient(0), world.recipient(1));
    let sealed = world.encrypt("a.yaml", b"a: 1\n", &[&format!("age: {recipients}")]);
    for held in [&[0][..], &[1], &[2, 1], &[0, 1, 2]] {
        assert_eq!(
            first_json(&read(Format::Yaml, &sealed, &world.identities(held)).unwrap()),
            r#"{"a":1}"#
        );
    }
    let error = read(Format::Yaml, &sealed, &world.identities(&[2])).unwrap_err();
    assert!(matches!(error, SopsError::NoMatchingIdentity { .. }));
    for key in 0..3 {
        assert!(error.to_string().contains(world.recipient(key)), "{error}");
    }
}

#[test]
fn key_groups_open_at_their_threshold() {
    let Some(world) = World::new(5) else { return };
    // Three groups, the first with two recipients; two groups suffice.
    let [a, b, c, d] = [0, 1, 2, 3].map(|key| world.recipient(key));
    let groups = format!("key_groups: [{{age: [{a}, {b}]}}, {{age: [{c}]}}, {{age: [{d}]}}]");
    let rule = ["shamir_threshold: 2", &groups];
    for (file, plain) in [
        ("a.yaml", "x: 1\n"),
        ("a.json", "{\"x\": 1}"),
        ("a.env", "x=1\n"),
        ("a.ini", "[x]\ny = 1\n"),
        ("a.bin", "x"),
    ] {
        let sealed = world.encrypt(file, plain.as_bytes(), &rule);
        for held in [&[0, 2][..], &[1, 3], &[2, 3], &[0, 1, 2, 3]] {
            let ours = read(format_of(file), &sealed, &world.identities(held)).unwrap();
            assert!(ours.encrypted);
            assert!(
                world
                    .decrypt(file, &sealed, if file == "a.bin" { "binary" } else { "json" }, held)
                    .is_some()
            );
        }
        for held in [&[0][..], &[0, 1], &[3, 4]] {
            let error = read(format_of(file), &sealed, &world.identities(held)).unwrap_err();
            assert!(
                matches!(
                    error,
                    SopsError::KeyGroups {
                        opened: 1,
                        needed: 2,
                        ..
                    }
                ),
                "{error}"
            );
        }
        let error = read(format_of(file), &sealed, &world.identities(&[4])).unwrap_err();
        assert!(matches!(error, SopsError::NoMatchingIdentity { .. }), "{error}");
    }
}

#[test]
fn three_of_three_groups_are_needed_without_a_threshold() {
    let Some(world) = World::new(3) else { return };
    let groups = [0, 1, 2].map(|key| format!("{{age: [{}]}}", world.recipient(key)));
    let rule = format!("key_groups: [{}]", groups.join(", "));
    let sealed = world.encrypt("a.yaml", b"x: 1\n", &[&rule]);
    assert!(read(Format::Yaml, &sealed, &world.identities(&[2, 0, 1])).is_ok());
    let error = read(Format::Yaml, &sealed, &world.identities(&[0, 1])).unwrap_err();
    assert!(
        matches!(
            error,
            SopsError::KeyGroups {
                opened: 2,
                needed: 3,
                ..
            }
        ),
        "{error}"
    );
}

const RECORD: &str = "user: admin\npass: hunter2\nport: 5432\nhosts:\n  - one\n  - two\nplain_unencrypted: open\n";

#[test]
fn moved_swapped_and_edited_values_are_refused() {
    let Some(world) = World::new(1) else { return };
    let identities = world.identities(&[0]);
    let sealed = String::from_utf8(world.encrypt("a.yaml", RECORD.as_bytes(), &[])).unwrap();
    let lines: Vec<&str> = sealed.lines().collect();
    let line = |start: &str| {
        lines
            .iter()
            .position(|line| line.trim_start().starts_with(start))
            .unwrap()
    };
    let (user, pass, first) = (line("user:"), line("pass:"), line("- ENC"));
    let value = |index: usize| lines[index].split_once("ENC[").unwrap().1;

    let mut swapped: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    swapped[user] = format!("user: ENC[{}", value(pass));
    swapped[pass] = format!("pass: ENC[{}", value(user));
    let error = read(Format::Yaml, swapped.join("\n").as_bytes(), &identities).unwrap_err();
    assert!(
        matches!(&error, SopsError::Value { path, .. } if path == "user"),
        "{error}"
    );

    let mut reordered = lines.clone();
    reordered.swap(user, pass);
    let mut items_swapped = lines.clone();
    items_swapped.swap(first, first + 1);
    let mut item_lost = lines.clone();
    item_lost.remove(first);
    for changed in [
        reordered.join("\n"),
        items_swapped.join("\n"),
        item_lost.join("\n"),
        sealed.replace("open", "opem"),
    ] {
        let error = read(Format::Yaml, changed.as_bytes(), &identities).unwrap_err();
        assert_eq!(error, SopsError::MacMismatch, "{changed}");
    }

    let added = format!("extra: added\n{sealed}");
    let error = read(Format::Yaml, added.as_bytes(), &identities).unwrap_err();
    assert!(
        error.to_string().contains("extra") && !error.to_string().contains("added\n"),
        "{error}"
    );

    let no_mac: String = sealed
        .split_inclusive('\n')
        .filter(|line| !line.trim_start().starts_with("mac:"))
        .collect();
    assert_eq!(
        read(Format::Yaml, no_mac.as_bytes(), &identities).unwrap_err(),
        SopsError::MissingMac
    );
}

#[test]
fn a_file_cut_anywhere_is_refused_or_whole() {
    let Some(world) = World::new(1) else { return };
    let identities = world.identities(&[0]);
    for (file, plain) in [
        ("a.yaml", RECORD),
        ("a.json", "{\"a\": \"x\", \"b\": [1, 2]}"),
        ("a.env", "A=1\nB=2\n"),
        ("a.ini", "[a]\nb = 1\nc = 2\n"),
        ("a.bin", "content"),
    ] {
        let sealed = world.encrypt(file, plain.as_bytes(), &[]);
        let whole = read(format_of(file), &sealed, &identities).unwrap();
        // The file is cut in the ciphertext of the first value or later: before it, nothing is encrypted.
        let start = sealed
            .windows(24)
            .position(|window| window.starts_with(b"ENC[AES256_GCM,data:"))
            .unwrap()
            + 20;
        for end in (start..sealed.len()).step_by(5) {
            if let Ok(cut) = read(format_of(file), &sealed[..end], &identities) {
                assert_eq!(cut.document, whole.document, "{file} cut at {end}");
                assert!(cut.encrypted);
            }
        }
    }
}

#[test]
fn whatever_we_accept_of_a_mutated_file_sops_reads_alike() {
    let Some(world) = World::new(1) else { return };
    let identities = world.identities(&[0]);
    let mut state = 0x5eed_u64;
    let mut random = move |bound: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % bound
    };
    for (file, plain) in [
        ("a.yaml", COMMON_YAML),
        ("a.json", "{\"a\": \"x\", \"b_unencrypted\": [1, 2.5, true]}"),
        ("a.env", "A=1\nB_unencrypted=2\n"),
        ("a.ini", "[a]\nb = 1\nc_unencrypted = 2 3\n"),
    ] {
        let sealed = world.encrypt(file, plain.as_bytes(), &[]);
        // Change the content rather than the metadata, which is much longer.
        let content = sealed.windows(4).position(|window| window == b"sops").unwrap();
        for _ in 0..150 {
            let mut mutated = sealed.clone();
            mutated[random(content)] = b"aZ09 \n:#-[]{},\"'=_&*!|>;"[random(24)];
            let Ok(ours) = read(format_of(file), &mutated, &identities) else {
                continue;
            };
            if !ours.encrypted {
                continue;
            }
            let theirs = world.decrypt(file, &mutated, "json", &[0]);
            let theirs = theirs.unwrap_or_else(|| panic!("sops refuses {}", String::from_utf8_lossy(&mutated)));
            assert_eq!(
                first_json(&ours),
                compact(&theirs),
                "{}",
                String::from_utf8_lossy(&mutated)
            );
        }
    }
}

const COMMON_YAML: &str =
    "# note\na: x\nb_unencrypted: 1.50\nc:\n  - y # z\n  - d_unencrypted: [true, 2024-01-01, 0x1f, text]\n";
