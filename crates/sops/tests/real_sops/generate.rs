//! Makes random files of each format for a comparison with the real sops. A seed always gives the same file.

use std::fmt::Write as _;

/// The random number generator SplitMix64, which gives the same numbers on every platform.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x5851_f42d_4c95_7f2d)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    /// `true` with a probability of one in `times`.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }
}

/// A file and the creation rule to encrypt it under.
pub(crate) struct File {
    pub(crate) name: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) rule: Vec<String>,
}

pub(crate) const FORMATS: [&str; 5] = ["f.yaml", "f.json", "f.env", "f.ini", "f.bin"];

pub(crate) fn file(name: &'static str, seed: u64) -> File {
    let mut random = Random::new(seed);
    let r = &mut random;
    let mut bytes = match name {
        "f.yaml" => yaml(r).into_bytes(),
        "f.json" => json(r).into_bytes(),
        "f.env" => dotenv(r).into_bytes(),
        "f.ini" => ini(r).into_bytes(),
        _ => binary(r),
    };
    if name != "f.bin" && r.once_in(8) {
        let text = String::from_utf8(bytes).unwrap();
        bytes = text.replace('\n', "\r\n").into_bytes();
    }
    if (name == "f.yaml" || name == "f.ini") && r.once_in(12) {
        bytes.splice(0..0, "\u{feff}".bytes());
    }
    let mut rule = vec![
        r.of(&[
            "",
            "",
            "",
            "encrypted_regex: '^k[0-4]'",
            "unencrypted_regex: '[357]'",
            "unencrypted_suffix: '_u'",
            "encrypted_suffix: '_s'",
            "encrypted_comment_regex: 'seal'",
            "unencrypted_comment_regex: 'open'",
        ])
        .to_owned(),
    ];
    if r.once_in(4) {
        rule.push("mac_only_encrypted: true".to_owned());
    }
    rule.retain(|line| !line.is_empty());
    File { name, bytes, rule }
}

/// Plain scalars of YAML. Not among them is `-0.0`, which sops writes as `-0` and reads as the integer 0.
const PLAIN: &[&str] = &[
    "0",
    "-0",
    "+1",
    "7",
    "42",
    "0x1F",
    "-0x1f",
    "0X1f",
    "0o17",
    "0O17",
    "017",
    "08",
    "-017",
    "0b101",
    "-0b11",
    "0B1",
    "1_000",
    "1__0",
    "_1",
    "1_",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551616",
    "1e3",
    "1E-7",
    "1e+21",
    "1e400",
    "1.5",
    "-.5",
    "5.",
    "+.5",
    "1.0",
    "0.1",
    "1_0.5",
    ".5e1",
    ".",
    "..",
    "0.30000000000000004",
    "5e-324",
    ".inf",
    "-.Inf",
    "+.INF",
    ".nan",
    ".NaN",
    "inf",
    "nan",
    "true",
    "True",
    "TRUE",
    "tRUE",
    "false",
    "yes",
    "No",
    "on",
    "OFF",
    "y",
    "n",
    "null",
    "Null",
    "NULL",
    "nULL",
    "~",
    "",
    "2024-01-31",
    "2024-1-2",
    "2024-02-30",
    "2001-12-14t21:59:43.10-05:00",
    "2001-12-14 21:59:43",
    "2001-12-14T21:59:43Z",
    "2001-12-14 21:59:43.123456789",
    "2001-12-14T21:59:43+00:00",
    "0001-01-01",
    "12:30",
    "190:20:30",
    "1:2.5",
    "0x",
    "0xg",
    "1e",
    "--1",
    "+-1",
    "1.2.3",
    "-",
    "<<",
    "=",
    "hello",
    "hello world",
    "a  b",
    "a#b",
    "a:b",
    "a,b",
    "it's",
    "x\"y",
    "caf\u{e9}",
    "cafe\u{301}",
    "\u{65e5}\u{672c}",
    "\u{1f510}",
    "a\\nb",
    "1,000",
    "1 2",
    "$x",
    "(x)",
    "a=b",
    "/path",
    "^x$",
    "x\u{a0}y",
    "!!str 1",
    "!!int '7'",
    "!!float 1",
    "!custom x",
    "!!binary aGVsbG8=",
    "! 5",
    "!!str",
    "!!null ''",
    "!!bool true",
];

fn text(r: &mut Random, line_breaks: bool) -> String {
    const CHARS: &[char] = &[
        'a',
        'b',
        'Z',
        '0',
        '9',
        ' ',
        ' ',
        '\'',
        '"',
        '\\',
        '#',
        ':',
        '{',
        '}',
        '[',
        ']',
        ',',
        '&',
        '*',
        '!',
        '|',
        '>',
        '%',
        '@',
        '`',
        '=',
        ';',
        '-',
        '?',
        '<',
        '.',
        '~',
        '/',
        '$',
        '\t',
        '\u{e9}',
        '\u{301}',
        '\u{a0}',
        '\u{2003}',
        '\u{1f510}',
        '\u{65e5}',
        '\u{2028}',
        '\u{2029}',
        '\u{85}',
        '\u{7f}',
        '\u{1}',
        '\u{feff}',
        '\u{fffd}',
        '\u{10ffff}',
    ];
    let common = if r.once_in(3) { CHARS.len() } else { CHARS.len() - 8 };
    (0..r.below(12))
        .map(|_| {
            if line_breaks && r.once_in(8) {
                '\n'
            } else {
                CHARS[r.below(common)]
            }
        })
        .collect()
}

/// Text for YAML, without two kinds that sops can't read back: characters beyond 16 bits in JSON's escapes, which YAML takes for
/// two characters, and, in a list, text of several lines that starts with white space.
fn yaml_text(r: &mut Random) -> String {
    let text: String = text(r, true).chars().filter(|c| u32::from(*c) <= 0xffff).collect();
    if text.contains('\n') {
        text.trim_start_matches([' ', '\t', '\n']).to_owned()
    } else {
        text
    }
}

fn quoted(r: &mut Random, text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20
                || (u32::from(c) > 0x7e
                    && (r.once_in(2) || c == '\u{7f}' || "\u{85}\u{2028}\u{2029}\u{feff}".contains(c))) =>
            {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

// YAML

fn yaml(r: &mut Random) -> String {
    let mut out = String::new();
    if r.once_in(6) {
        out.push_str(r.of(&["---\n", "%YAML 1.1\n---\n", "# head\n---\n"]));
    }
    let documents = if r.once_in(8) { 2 + r.below(2) } else { 1 };
    for document in 0..documents {
        if document > 0 {
            out.push_str(r.of(&["---\n", "--- # next\n", "...\n---\n"]));
        }
        let mut anchors = Anchors::default();
        mapping(r, &mut out, &mut anchors, 0, 0);
    }
    if r.once_in(8) {
        out.push_str(r.of(&["# foot\n", "\n\n", "...\n"]));
    }
    out
}

#[derive(Default)]
struct Anchors {
    count: usize,
    any: Vec<String>,
    mappings: Vec<String>,
}

impl Anchors {
    fn name(&mut self) -> String {
        self.count += 1;
        format!("n{}", self.count)
    }
}

/// A comment. It is never empty: sops turns an empty comment in a list into an empty text.
fn comment(r: &mut Random) -> String {
    let words = r.of(&["note", "seal", "open", "a: b # c", "caf\u{e9} \u{1f510}", " - x", "\"q"]);
    format!("#{}{words}", if r.once_in(4) { "" } else { " " })
}

fn key(r: &mut Random, number: usize) -> String {
    let ending = r.of(&["", "", "", "_u", "_s", "_unencrypted"]);
    match r.below(12) {
        0 => format!("'k{number} x{ending}'"),
        1 => {
            let text = format!("k{number}{}{ending}", yaml_text(r));
            quoted(r, &text)
        }
        2 => format!("k{number}.caf\u{e9}{ending}"),
        3 => format!("k{number} with words{ending}"),
        4 => format!("\u{65e5}{number}{ending}"),
        5 => format!("k{number}:x{ending}"),
        6 => format!("'k{number}''q{ending}'"),
        _ => format!("k{number}{ending}"),
    }
}

fn scalar(r: &mut Random, flow: bool) -> String {
    match r.below(8) {
        0..4 => {
            let plain = r.of(PLAIN);
            // YAML 1.1 and YAML 1.2, which this crate follows, differ in where these scalars end in a list in brackets.
            let ends_otherwise = plain.is_empty() || plain.contains([',', ':', '#']) || ["-", "!!str"].contains(&plain);
            if flow && ends_otherwise {
                "x".to_owned()
            } else {
                plain.to_owned()
            }
        }
        4 => {
            let text = text(r, false).replace('\t', " ");
            format!("'{}'", text.replace('\'', "''"))
        }
        _ => {
            let text = yaml_text(r);
            quoted(r, &text)
        }
    }
}

fn indented(out: &mut String, indent: usize) {
    (0..indent).for_each(|_| out.push(' '));
}

fn mapping(r: &mut Random, out: &mut String, anchors: &mut Anchors, indent: usize, depth: usize) {
    for number in 0..1 + r.below(5) {
        if r.once_in(5) {
            indented(out, indent);
            out.push_str(&comment(r));
            out.push('\n');
        }
        indented(out, indent);
        if number == 1 && !anchors.mappings.is_empty() && r.once_in(4) {
            let name = anchors.mappings[r.below(anchors.mappings.len())].clone();
            let other = anchors.mappings[r.below(anchors.mappings.len())].clone();
            match r.below(3) {
                0 => out.push_str(&format!("<<: [*{name}, *{other}]\n")),
                1 => out.push_str("!!merge <<: {m: 1, k0: 2}\n"),
                _ => out.push_str(&format!("<<: *{name}\n")),
            }
            continue;
        }
        out.push_str(&key(r, number));
        out.push(':');
        value(r, out, anchors, indent, depth);
    }
}

fn value(r: &mut Random, out: &mut String, anchors: &mut Anchors, indent: usize, depth: usize) {
    match r.below(if depth < 4 { 14 } else { 9 }) {
        0 if !anchors.any.is_empty() => {
            let name = anchors.any[r.below(anchors.any.len())].clone();
            out.push_str(&format!(" *{name}\n"));
        }
        1 => {
            let name = anchors.name();
            out.push_str(&format!(" &{name} {}\n", r.of(&["text", "12", "'q'", "1.50", "true"])));
            anchors.any.push(name);
        }
        2 => {
            out.push_str(r.of(&[" |\n", " |-\n", " |+\n", " >\n", " >-\n"]));
            for _ in 0..1 + r.below(3) {
                let line: String = text(r, false).replace('\t', " ");
                let line: String = line
                    .trim_start()
                    .chars()
                    .filter(|c| !c.is_control() && !"\u{2028}\u{2029}\u{feff}".contains(*c))
                    .collect();
                indented(out, indent + 2);
                out.push_str(&format!("x{line}\n"));
                if r.once_in(4) {
                    out.push('\n');
                }
            }
        }
        3 => {
            let inner = (0..r.below(3))
                .map(|n| format!("f{n}: {}", scalar(r, true)))
                .collect::<Vec<_>>();
            out.push_str(&format!(" {{{}}}\n", inner.join(", ")));
        }
        4 => {
            let inner = (0..r.below(4)).map(|_| scalar(r, true)).collect::<Vec<_>>();
            out.push_str(&format!(" [{}]\n", inner.join(", ")));
        }
        9 | 10 => {
            let anchored = r.once_in(3).then(|| anchors.name());
            if let Some(name) = &anchored {
                out.push_str(&format!(" &{name}"));
            }
            out.push('\n');
            mapping(r, out, anchors, indent + 2, depth + 1);
            if let Some(name) = anchored {
                anchors.mappings.push(name.clone());
                anchors.any.push(name);
            }
        }
        11..14 => {
            out.push('\n');
            for _ in 0..1 + r.below(3) {
                if r.once_in(5) {
                    indented(out, indent + 2);
                    out.push_str(&format!("{}\n", comment(r)));
                }
                indented(out, indent + 2);
                if depth < 3 && r.once_in(4) {
                    out.push_str(&format!("- {}:", key(r, 0)));
                    value(r, out, anchors, indent + 4, depth + 2);
                } else {
                    out.push_str(&format!("- {}\n", scalar(r, false)));
                }
            }
        }
        _ => {
            out.push(' ');
            out.push_str(&scalar(r, false));
            if r.once_in(8) {
                out.push_str(&format!(" {}", comment(r)));
            }
            out.push('\n');
        }
    }
}

// JSON

fn json(r: &mut Random) -> String {
    let mut out = String::new();
    json_object(r, &mut out, 0);
    out.push_str(r.of(&["", "\n", "\n\n"]));
    out
}

fn space(r: &mut Random) -> &'static str {
    r.of(&["", "", " ", "\n", "\t", "\n  "])
}

fn json_object(r: &mut Random, out: &mut String, depth: usize) {
    out.push('{');
    for number in 0..r.below(5) {
        if number > 0 {
            out.push(',');
        }
        out.push_str(space(r));
        let ending = r.of(&["", "", "_u", "_s", "_unencrypted"]);
        let name = if r.once_in(3) {
            format!("k{number}{}{ending}", text(r, true))
        } else {
            format!("k{number}{ending}")
        };
        out.push_str(&quoted(r, &name));
        out.push_str(space(r));
        out.push(':');
        json_value(r, out, depth);
        out.push_str(space(r));
    }
    out.push('}');
}

/// Not among the numbers is `-0.0`, which sops writes as `-0` and reads as the integer 0.
fn json_value(r: &mut Random, out: &mut String, depth: usize) {
    match r.below(if depth < 5 { 10 } else { 6 }) {
        0..2 => {
            let text = text(r, true);
            out.push_str(&quoted(r, &text));
        }
        2..6 => out.push_str(r.of(&[
            "0",
            "-0",
            "1",
            "-1",
            "42",
            "9223372036854775807",
            "-9223372036854775808",
            "9223372036854775808",
            "12345678901234567890123",
            "1.0",
            "0.1",
            "1e3",
            "1E-7",
            "1e+21",
            "5e-324",
            "1.7976931348623157e308",
            "0.30000000000000004",
            "true",
            "false",
            "null",
            "\"\"",
            "\"\\/\"",
            "\"\\b\\f\\r\"",
            "\"\\ud83d\\udd10\"",
        ])),
        6..8 => json_object(r, out, depth + 1),
        _ => {
            out.push('[');
            for number in 0..r.below(4) {
                if number > 0 {
                    out.push(',');
                }
                out.push_str(space(r));
                json_value(r, out, depth + 1);
            }
            out.push(']');
        }
    }
}

// dotenv

fn dotenv(r: &mut Random) -> String {
    let mut out = String::new();
    for number in 0..1 + r.below(8) {
        match r.below(8) {
            0 => out.push_str(&format!("{}\n", comment(r))),
            1 => out.push('\n'),
            _ => {
                let ending = r.of(&["", "", "_u", "_s", "_unencrypted"]);
                let name = r.of(&["k", "K", "export k", " k", "k.", "\u{e9}"]);
                let value = match r.below(4) {
                    0 => format!("one\\n{}", text(r, false)),
                    1 => r
                        .of(&[
                            "",
                            "\"q\"",
                            "'q'",
                            " lead",
                            "trail ",
                            "a # b",
                            "a=b",
                            "\\r",
                            "$x",
                            "\u{a0}x\u{a0}",
                        ])
                        .to_owned(),
                    _ => text(r, false),
                };
                out.push_str(&format!("{name}{number}{ending}={value}\n"));
            }
        }
    }
    // sops does not encrypt a file that has comments only.
    out.push_str("k9=x");
    out.push_str(r.of(&["", "\n", "\n\n"]));
    out
}

// INI

fn ini(r: &mut Random) -> String {
    let mut out = String::new();
    let twice = r.once_in(8);
    for section in 0..1 + r.below(4) {
        if section > 0 || r.once_in(2) {
            if r.once_in(4) {
                out.push_str(r.of(&["; note\n", "# seal\n", "; open\n; two\n"]));
            }
            let number = if twice { section % 2 } else { section };
            out.push_str(&format!(
                "{}{}\n",
                r.of(&["[s", " [s", "[s.", "[\u{e9} "]),
                format_args!("{number}{}", r.of(&["]", "] ; beside", "] "]))
            ));
        }
        for number in 0..1 + r.below(4) {
            if r.once_in(5) {
                out.push_str(r.of(&["; note\n", "# seal\n", "\n", "  # open\n"]));
            }
            let ending = r.of(&["", "", "_u", "_s", "_unencrypted"]);
            let name = r.of(&["k", "K", "\u{e9}", "k x", "\"k\"", "k'"]);
            let delimiter = r.of(&[" = ", "=", ": ", " =", "\u{a0}=\u{a0}"]);
            let value = match r.below(7) {
                0 => r
                    .of(&[
                        "",
                        "\"a b\"",
                        "'a b'",
                        "`a;b#c`",
                        "\"\"\"one\ntwo\"\"\"",
                        "x ; note",
                        "x # note",
                        "one \\\n  two",
                        "\"half",
                        "a=b",
                        "a:b",
                        "\"a\" b",
                        "''",
                        "\\",
                        "`a`b`",
                        "\"\"\"a\"\"\" b",
                        "x\\n",
                        "'a\"b'",
                    ])
                    .to_owned(),
                1 => format!("\"{}\"", text(r, false)),
                2 => format!("`{}`", text(r, false)),
                _ => text(r, false),
            };
            let name = if name.ends_with('"') {
                format!("\"k{number}{ending}\"")
            } else {
                format!("{name}{number}{ending}")
            };
            out.push_str(&format!("{name}{delimiter}{value}\n"));
        }
    }
    out
}

// Binary

fn binary(r: &mut Random) -> Vec<u8> {
    match r.below(4) {
        0 => yaml(r).into_bytes(),
        1 => json(r).into_bytes(),
        2 => text(r, true).into_bytes(),
        _ => (0..r.below(200)).map(|_| u8::try_from(r.below(256)).unwrap()).collect(),
    }
}
