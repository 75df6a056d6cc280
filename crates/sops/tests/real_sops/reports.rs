//! Reports about other programs that read SOPS files, reproduced with the real sops.

use sidevault_sops::{Document, Format, SopsError, read, scalar_text};

use crate::tools::World;
use crate::{documents, first_json, format_of};

/// A file of each format before encryption, and its content as JSON.
const FORMATS: [(&str, &str, &str); 4] = [
    (
        "a.yaml",
        "user: admin\nlist:\n  - 1\n",
        r#"{"user":"admin","list":[1]}"#,
    ),
    (
        "a.json",
        "{\"user\": \"admin\", \"list\": [1]}",
        r#"{"user":"admin","list":[1]}"#,
    ),
    ("a.env", "USER=admin\nB=x=y\n", r#"{"USER":"admin","B":"x=y"}"#),
    ("a.ini", "[a]\nuser = admin\n", r#"{"a":{"user":"admin"}}"#),
];

fn utf16(text: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
    format!("\u{feff}{text}").encode_utf16().flat_map(unit).collect()
}

#[test]
fn a_sealed_file_is_recognized_whatever_its_name() {
    let Some(world) = World::new(1) else { return };
    for (file, plain, json) in FORMATS {
        let sealed = world.encrypt(file, plain.as_bytes(), &[]);
        for name in [
            "b.yaml.enc",
            "config.env.encrypted",
            "values.yml.sops",
            "app.conf",
            "Y.YAML",
            "no-ending",
        ] {
            let ours = read(format_of(name), &sealed, &world.identities(&[0]))
                .unwrap_or_else(|error| panic!("{file} as {name}: {error}"));
            assert!(ours.encrypted);
            assert_eq!(first_json(&ours), json, "{file} as {name}");
        }
    }
    // sops encrypts a file of another format as a binary file.
    for name in ["b.yaml.enc", "Y.YAML", "key.pem"] {
        let sealed = world.encrypt(name, b"\xef\xbb\xbfa: 1\r\n", &[]);
        for mark in ["", "\u{feff}"] {
            let ours = read(
                format_of(name),
                &[mark.as_bytes(), &sealed].concat(),
                &world.identities(&[0]),
            )
            .unwrap();
            assert_eq!(ours.document, Document::Binary(b"\xef\xbb\xbfa: 1\r\n".to_vec()));
        }
    }
}

#[test]
fn ciphertext_is_never_a_value() {
    let Some(world) = World::new(1) else { return };
    let identities = world.identities(&[0]);
    let sealed = String::from_utf8(world.encrypt("a.yaml", b"user: admin\n", &[])).unwrap();
    let value = sealed.lines().next().unwrap().strip_prefix("user: ").unwrap();
    // An encrypted file without its metadata, under any name.
    let cut = sealed.split("sops:").next().unwrap();
    for name in ["a.yaml", "b.yaml.enc", "app.conf"] {
        let error = read(format_of(name), cut.as_bytes(), &identities).unwrap_err();
        assert_eq!(error, SopsError::MissingMetadata, "{name}");
    }
    // A file that was encrypted twice; an encrypted value that the rule no longer covers; a whole encrypted file in a value.
    let mut indented = String::from("app.yaml: |\n");
    sealed
        .lines()
        .for_each(|line| indented.push_str(&format!("  {line}\n")));
    for (plain, path) in [
        (format!("twice: {value}\n"), "twice"),
        (format!("open_unencrypted: ['{value}']\n"), "open_unencrypted[0]"),
        (indented, "app.yaml"),
    ] {
        let outer = world.encrypt("b.yaml", plain.as_bytes(), &[]);
        let error = read(Format::Yaml, &outer, &identities).unwrap_err();
        assert!(
            matches!(&error, SopsError::Value { path: at, .. } if at == path),
            "{error}"
        );
        assert!(!error.to_string().contains("data:"), "{error}");
    }
}

#[test]
fn merge_keys_are_merged_after_the_mac_is_checked() {
    let Some(world) = World::new(1) else { return };
    let plain = "common: &c\n  A: \"1\"\n  B: \"1\"\nstringData:\n  <<: *c\n  B: \"2\"\n  C: \"3\"\n\
                 list:\n  - <<: [*c, {D: 4}]\n";
    let expected =
        r#"{"common":{"A":"1","B":"1"},"stringData":{"A":"1","B":"2","C":"3"},"list":[{"A":"1","B":"1","D":4}]}"#;
    let sealed = world.encrypt("a.yaml", plain.as_bytes(), &[]);
    let identities = world.identities(&[0]);
    assert_eq!(first_json(&read(Format::Yaml, &sealed, &identities).unwrap()), expected);
    // Before encryption, and as sops decrypts it, the file has the same content.
    let theirs = world.decrypt("a.yaml", &sealed, "yaml", &[0]).unwrap();
    for text in [plain.as_bytes(), &theirs] {
        assert_eq!(first_json(&read(Format::Yaml, text, &identities).unwrap()), expected);
    }
    // The MAC covers the entries under a merge key, too.
    let text = String::from_utf8(sealed).unwrap();
    let at = text.find("!!merge").unwrap();
    let changed = format!("{}{}", &text[..at], text[at..].replacen("A: ENC", "Z: ENC", 1));
    assert!(read(Format::Yaml, changed.as_bytes(), &identities).is_err());
}

#[test]
fn documents_that_were_sealed_one_by_one_open_each_by_its_own_block() {
    let Some(world) = World::new(2) else { return };
    let identities = world.identities(&[0]);
    let one = String::from_utf8(world.encrypt("a.yaml", b"a: 1\n", &[])).unwrap();
    let two = String::from_utf8(world.encrypt("b.yaml", b"b: 2\n---\nc: 3\n", &[])).unwrap();
    let shown = |text: &str| {
        let ours = read(Format::Yaml, text.as_bytes(), &identities).map_err(|error| error.to_string())?;
        assert!(ours.encrypted);
        Ok::<_, String>(documents(&ours).iter().map(scalar_text).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(
        shown(&format!("{one}---\n{two}")).unwrap(),
        r#"{"a":1} {"b":2} {"c":3}"#
    );
    assert_eq!(
        shown(&format!("{two}---\nplain: x\n---\n{one}---\n")).unwrap(),
        r#"{"b":2} {"c":3} {"plain":"x"} {"a":1} "#
    );
    assert_eq!(
        shown(&format!("plain: x\n---\n{one}")).unwrap(),
        r#"{"plain":"x"} {"a":1}"#
    );
    // sops reads the first block only, so a later document that lost the same block can still be decrypted.
    let second = two.split("\n---\n").nth(1).unwrap();
    let lost = two.replace(second, second.split("sops:").next().unwrap());
    assert_eq!(shown(&lost).unwrap(), r#"{"b":2} {"c":3}"#);
    assert!(world.decrypt("b.yaml", lost.as_bytes(), "yaml", &[0]).is_some());

    let foreign =
        String::from_utf8(world.encrypt("a.yaml", b"a: 1\n", &[&format!("age: {}", world.recipient(1))])).unwrap();
    for (text, words) in [
        (format!("{one}---\n{foreign}"), "document 2: no age identity"),
        (
            format!("{one}---\n{}", two.replacen("b: ENC", "d: ENC", 1)),
            "document 2: value at d",
        ),
        (
            format!("{one}---\n{}\n", two.split("\n---\n").next().unwrap()),
            "document 2: the file's content does not match its MAC",
        ),
        (
            format!("{}---\n{one}", one.split("sops:").next().unwrap()),
            "document 1: the file holds encrypted values",
        ),
    ] {
        let error = shown(&text).unwrap_err();
        assert!(error.starts_with(words), "{error}");
    }
}

#[test]
fn ini_sections_given_twice_are_read_as_sops_reads_them() {
    let Some(world) = World::new(1) else { return };
    let plain = "[a]\nx = 1\n[Peer]\nkey = one\n[a]\ny = 2\n[Peer]\nkey = two\n";
    let sealed = world.encrypt("a.ini", plain.as_bytes(), &[]);
    let theirs = world.decrypt("a.ini", &sealed, "ini", &[0]).unwrap();
    for text in [&sealed[..], &theirs, plain.as_bytes()] {
        assert_eq!(
            first_json(&read(Format::Ini, text, &world.identities(&[0])).unwrap()),
            r##"{"a":{"x":"1","y":"2"},"Peer":{"key":"one"},"Peer#2":{"key":"two"}}"##
        );
    }
    let twice = [&sealed[..], b"[sops]\nmac = x\n"].concat();
    let error = read(Format::Ini, &twice, &world.identities(&[0])).unwrap_err();
    assert!(matches!(error, SopsError::Metadata { .. }), "{error}");
}

#[test]
fn windows_line_ends_and_marks_are_in_no_value() {
    let Some(world) = World::new(1) else { return };
    let identities = world.identities(&[0]);
    for (file, plain, json) in FORMATS {
        let windows = plain.replace('\n', "\r\n");
        let sealed = world.encrypt(file, plain.as_bytes(), &[]);
        let sealed_text = String::from_utf8(sealed.clone()).unwrap();
        let sealed_windows = world.encrypt(file, windows.as_bytes(), &[]);
        // sops encrypts text with a byte order mark in every format except JSON.
        let marked = if file == "a.json" {
            sealed.clone()
        } else {
            world.encrypt(file, format!("\u{feff}{windows}").as_bytes(), &[])
        };
        for (case, bytes) in [
            ("plain", windows.clone().into_bytes()),
            ("plain with a mark", format!("\u{feff}{windows}").into_bytes()),
            ("plain UTF-16 LE", utf16(&windows, u16::to_le_bytes)),
            ("plain UTF-16 BE", utf16(plain, u16::to_be_bytes)),
            ("sealed from Windows text", sealed_windows),
            ("sealed from text with a mark", marked),
            (
                "converted after it was sealed",
                sealed_text.replace('\n', "\r\n").into_bytes(),
            ),
            (
                "sealed, UTF-16",
                utf16(&sealed_text.replace('\n', "\r\n"), u16::to_le_bytes),
            ),
        ] {
            let ours =
                read(format_of(file), &bytes, &identities).unwrap_or_else(|error| panic!("{file}, {case}: {error}"));
            assert_eq!(first_json(&ours), json, "{file}, {case}");
        }
        if file != "a.env" {
            // sops takes the byte order mark for a part of the first name.
            let bytes = format!("\u{feff}{sealed_text}");
            let ours = read(format_of(file), bytes.as_bytes(), &identities).unwrap();
            assert_eq!(first_json(&ours), json, "{file}");
        }
    }
    // The MAC covers a value that is not encrypted in the form that it had when sops encrypted the file.
    let plain = "A_unencrypted=x\r\nB=y\r\n";
    let sealed = world.encrypt("a.env", plain.as_bytes(), &[]);
    let ours = read(Format::Dotenv, &sealed, &identities).unwrap();
    assert_eq!(first_json(&ours), r#"{"A_unencrypted":"x","B":"y"}"#);
}

#[test]
fn separators_beside_sealed_values_read_as_in_sops() {
    let Some(world) = World::new(1) else { return };
    let identities = world.identities(&[0]);
    for separator in ["\u{2028}", "\u{2029}", "\u{85}", "\u{a0}"] {
        let plain = format!("{{\"a{separator}_unencrypted\": \"x{separator}y\", \"b{separator}\": \"{separator}\"}}");
        let sealed = String::from_utf8(world.encrypt("a.json", plain.as_bytes(), &[])).unwrap();
        // The characters as sops writes them, and as an editor does.
        let unescaped = sealed.replace("\\u2028", "\u{2028}").replace("\\u2029", "\u{2029}");
        for text in [sealed, unescaped] {
            let ours = read(Format::Json, text.as_bytes(), &identities)
                .unwrap_or_else(|error| panic!("{separator:?}: {error}"));
            let theirs = world.decrypt("a.json", text.as_bytes(), "json", &[0]).unwrap();
            assert_eq!(first_json(&ours), crate::compact(&theirs), "{separator:?}");
        }
    }
}

#[test]
fn a_long_key_over_many_values_costs_no_more_than_is_bounded() {
    let Some(world) = World::new(1) else { return };
    let identities = world.identities(&[0]);
    let sealed = |name: usize, values: usize| {
        let values: Vec<_> = (0..values).map(|at| format!("\"k{at}\": \"x\"")).collect();
        let plain = format!("{{\"{}\": {{{}}}}}", "k".repeat(name), values.join(", "));
        world.encrypt("a.json", plain.as_bytes(), &[])
    };
    // Each value is authenticated with the names above it, which are not copied for each value.
    let allocated = |size: usize| {
        let sealed = sealed(100 * size, size);
        let info = allocation_counter::measure(|| assert!(read(Format::Json, &sealed, &identities).is_ok()));
        info.bytes_total
    };
    let (small, large) = (allocated(100), allocated(800));
    assert!(large < 2 * 8 * small, "{small} become {large}");
    let error = read(Format::Json, &sealed(3_000_000, 100), &identities).unwrap_err();
    assert!(
        matches!(
            error,
            SopsError::Limit {
                what: "bytes of key paths",
                ..
            }
        ),
        "{error}"
    );
}
