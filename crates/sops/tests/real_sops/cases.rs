//! Documents to encrypt with the real sops: every type, format and option.

pub(crate) struct Case {
    /// The file's name. Its ending gives the format.
    pub(crate) file: &'static str,
    pub(crate) plain: &'static str,
    /// Lines of the creation rule in `.sops.yaml`.
    pub(crate) rule: &'static [&'static str],
}

const fn case(file: &'static str, plain: &'static str) -> Case {
    Case { file, plain, rule: &[] }
}

const fn with(file: &'static str, rule: &'static [&'static str], plain: &'static str) -> Case {
    Case { file, plain, rule }
}

const SECRET: &str = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: db # which\n  labels: {app: web}\ndata:\n  user: YWRtaW4=\n  port: 5432\nstringData:\n  pass: hunter2\n";
const COMMENTED: &str = "# top\n\n# about a\na: 1 # beside a\n# secret\nb: 2\nc:\n  # secret\n  d: x\n  e: y # secret\n  f:\n    - one\n    # secret\n    - two\n    - three # beside\n# secret\n# more\ng:\n  h: z\n  i: [q, r]\nj: last\n# end\n";

pub(crate) const CASES: &[Case] = &[
    // Scalars of YAML.
    case(
        "string.yaml",
        "a: hello\nb: 'single ''quoted'''\nc: \"double \\\"quoted\\\" \\t \\u00e9\"\n",
    ),
    case("empty-string.yaml", "a: ''\nb: \"\"\nc: x\n"),
    case("spaces.yaml", "a: ' lead'\nb: 'trail '\nc: '   '\nd: \"\\n\"\n"),
    case(
        "looks-typed.yaml",
        "a: 'true'\nb: '1'\nc: 'null'\nd: '1.5'\ne: '2024-01-01'\nf: '~'\ng: '0x1f'\n",
    ),
    case("int.yaml", "a: 0\nb: 42\nc: -7\nd: +8\n"),
    case(
        "int-bases.yaml",
        "a: 0x1F\nb: 0o17\nc: 017\nd: 0b101\ne: -0x10\nf: 1_000_000\ng: -0b11\n",
    ),
    case("int-limits.yaml", "a: 9223372036854775807\nb: -9223372036854775808\n"),
    case("int-leading-zero.yaml", "pin: 0123\nphone: 0912\nzip: '01234'\n"),
    case("int-too-big.yaml", "a: 18446744073709551616\nb: -9223372036854775809\n"),
    case(
        "float.yaml",
        "a: 0.1\nb: 1.0\nc: -2.50\nd: 1e10\ne: 1E-10\nf: .5\ng: 5.\nh: 123456789.123456789\n",
    ),
    case(
        "float-edges.yaml",
        "a: 1e21\nb: 1e20\nc: 1e-6\nd: 9.99e-7\ne: 1.7976931348623157e308\nf: 5e-324\ng: -0.0\nh: 1e300\n",
    ),
    case(
        "float-precision.yaml",
        "a: 0.30000000000000004\nb: 3.141592653589793\nc: 2.2250738585072014e-308\nd: 1_0.5\n",
    ),
    case("float-overflow.yaml", "a: 1e400\nb: x\n"),
    case("bool.yaml", "a: true\nb: False\nc: TRUE\nd: yes\ne: off\nf: n\n"),
    case("null.yaml", "a: null\nb: ~\nc:\nd: Null\ne: x\n"),
    case("only-null.yaml", "a: ~\n"),
    case(
        "date.yaml",
        "a: 2024-01-31\nb: 2001-12-14t21:59:43.10-05:00\nc: 2001-12-15 2:59:43.1\nd: 2024-1-2\ne: 2001-12-14T21:59:43Z\n",
    ),
    case(
        "not-date.yaml",
        "a: 2024-13-01\nb: 2023-02-29\nc: 12:30\nd: 1:2:3\ne: 2001-12-14 21:59:43.10 -5\n",
    ),
    case(
        "tags.yaml",
        "a: !!str 1\nb: !!float 1\nc: !!int '7'\nd: !custom x\ne: !!binary aGVsbG8=\nf: ! 5\n",
    ),
    // Text over several lines.
    case(
        "literal.yaml",
        "a: |\n  one\n  two\n\n  three\nb: |-\n  strip\nc: |+\n  keep\n\n",
    ),
    case("folded.yaml", "a: >\n  one\n  two\n\n  three\nb: >-\n  x\n  y\n"),
    case(
        "plain-multiline.yaml",
        "a: one\n  two\n  three\nb: \"one\n  two\n\n  three\"\n",
    ),
    case("indented-literal.yaml", "a: |2\n    indented\n  less\n"),
    case(
        "pem.yaml",
        "key: |\n  -----BEGIN PRIVATE KEY-----\n  MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n  -----END PRIVATE KEY-----\n",
    ),
    case("crlf.yaml", "a: one\r\nb:\r\n  - two\r\n  - three\r\n"),
    case(
        "crlf-block.yaml",
        "a: |\r\n  one\r\n  two\r\nb: >\r\n  one\r\n  two\r\nc: \"x\r\n  y\"\r\n",
    ),
    case("byte-order-mark.yaml", "\u{feff}a: one\n"),
    case("no-break-space.yaml", "a: \u{a0}one\u{a0}\n'\u{a0}': b\n"),
    case("next-line.yaml", "a: 'x \u{85} y'\nb: x\u{85}\u{85}  y\n"),
    case("normal-forms.yaml", "caf\u{e9}: caf\u{e9}\ncafe\u{301}: cafe\u{301}\n"),
    // Unicode.
    case(
        "unicode.yaml",
        "ключ: значение\n名前: 値\nemoji: 🔐 ok\nn: \"\\u0000\\u001f\\u007f\"\nsep: \"\\u2028\\u2029\\ufeff\"\n",
    ),
    case("html.yaml", "a: <b>&amp;</b>\nb: a\\b\n"),
    with(
        "separators.yaml",
        &["unencrypted_suffix: '_u'"],
        "a_u: \"x\\Ly\\Pz\\Nw\\_v\"\n\"k\\L\\P_u\": z\n\"s\\L\": \"\\P\"\n",
    ),
    with(
        "separators-in-blocks.yaml",
        &["unencrypted_suffix: '_u'"],
        "a_u: \"c\\n\\Ld\"\nb_u: \"\\P\\n\\n\"\nc_u: [{d: \"x\\L  y\\n\"}, \"x\\P\\ny\"]\n\"k\\n\\Ll_u\": z\ns: x\n",
    ),
    // Structure.
    case("nested.yaml", "a:\n  b:\n    c:\n      d: deep\n  e: 1\nf: top\n"),
    case(
        "list.yaml",
        "a:\n- 1\n- two\n- 3.5\n- true\n- ~\n- [x, [y, z]]\n- {k: v}\n-\n  - nested\n",
    ),
    case(
        "list-of-maps.yaml",
        "users:\n  - name: a\n    pass: x\n  - name: b\n    pass: y\n",
    ),
    case("empty-things.yaml", "a: {}\nb: []\nc: ''\nd: [{}, [], '']\n"),
    case("flow.yaml", "{a: 1, b: [x, 'y', \"z\"], c: {d: e}}\n"),
    case(
        "anchors.yaml",
        "base: &base\n  user: admin\n  port: 1\ncopy: *base\nname: &n text\nlist: [*n, *n]\n",
    ),
    case(
        "odd-keys.yaml",
        "'a:b': 1\n'a.b': 2\n'': 3\n' c ': 4\n'1': 5\n'true': 6\n\"q\\\"x\": 7\n'#h': 8\n",
    ),
    case(
        "long-key.yaml",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: x\n",
    ),
    case("document-marker.yaml", "---\na: 1\n...\n"),
    case("directive.yaml", "%YAML 1.1\n---\na: 1\n"),
    case("multi.yaml", "a: 1\n---\nb: 2\n---\nc: [x, 3]\n"),
    case("multi-empty.yaml", "a: 1\n---\n---\nb: 2\n"),
    case("kubernetes.yaml", SECRET),
    // Comments.
    case("comments.yaml", COMMENTED),
    case(
        "comments-in-lists.yaml",
        "a:\n  # first\n  - 1 # one\n  # second\n  - 2\n  # last\nb: x\n",
    ),
    case(
        "comments-only-list.yaml",
        "a:\n  - x\n  # alone\n\n# foot\nb:\n  # in\n  c: 1\n",
    ),
    case("comment-unicode.yaml", "# ключ 🔐 \"quoted\"\na: 1\n"),
    // Rules.
    case(
        "default-suffix.yaml",
        "a: secret\nnote_unencrypted: plain\nb_unencrypted:\n  c: 1\n  d: [x, 2.5, true, 2024-01-01]\n",
    ),
    with(
        "unencrypted-suffix.yaml",
        &["unencrypted_suffix: '_plain'"],
        "a: s\nb_plain: 1.0\nc:\n  d_plain: {e: true, f: [x, ~]}\n  g: h\n",
    ),
    with(
        "encrypted-suffix.yaml",
        &["encrypted_suffix: '_secret'"],
        "a: plain\nb_secret: s\nc:\n  d_secret: [1, x]\n  e: 2.50\n",
    ),
    with(
        "encrypted-regex.yaml",
        &["encrypted_regex: '^(data|stringData)$'"],
        SECRET,
    ),
    with(
        "encrypted-regex-types.yaml",
        &["encrypted_regex: '^pass'"],
        "a: 1\nb: 1e21\nc: true\nd: ~\ne: 2024-01-31\nf: |\n  x\n  y\ng: '1'\nh: 2001-12-14 21:59:43.10\ni: ''\npass: x\nk: 0x1f\n",
    ),
    with(
        "encrypted-regex-class.yaml",
        &["encrypted_regex: '^\\w+_[\\d-]+$'"],
        "clé_1: plain\nkey_1-2: s\n",
    ),
    with("unencrypted-regex.yaml", &["unencrypted_regex: '(?i)^META'"], SECRET),
    with(
        "mac-only-encrypted.yaml",
        &["mac_only_encrypted: true", "encrypted_regex: '^data$'"],
        SECRET,
    ),
    with(
        "mac-only-encrypted-default.yaml",
        &["mac_only_encrypted: true"],
        "a: 1\nb_unencrypted: 2\n",
    ),
    with(
        "encrypted-comment.yaml",
        &["encrypted_comment_regex: 'secret'"],
        COMMENTED,
    ),
    with(
        "unencrypted-comment.yaml",
        &["unencrypted_comment_regex: 'secret'"],
        COMMENTED,
    ),
    with(
        "encrypted-comment-mac.yaml",
        &["encrypted_comment_regex: 'secret'", "mac_only_encrypted: true"],
        COMMENTED,
    ),
    // JSON.
    case(
        "types.json",
        r#"{"s": "x", "i": 1, "n": -5, "f": 1.5, "t": true, "z": null, "l": [1, "a", {}, []], "m": {"k": ""}}"#,
    ),
    case(
        "numbers.json",
        r#"{"a": 9223372036854775807, "b": 1e10, "c": 1.0, "d": 0.1, "e": 9007199254740993, "f": 1E-7}"#,
    ),
    case(
        "big-number.json",
        r#"{"a": 12345678901234567890123, "b": 9223372036854775808}"#,
    ),
    case("negative-zero.json", "{\"a\": -0, \"b_unencrypted\": [-0]}"),
    case(
        "order.json",
        r#"{"z": 1, "a": {"y": 2, "b": 3}, "m": [{"q": 1, "c": 2}]}"#,
    ),
    case(
        "unicode.json",
        "{\"ключ\": \"\\u00e9\\ud83d\\udd10\", \"html\": \"<&>\", \"ctl\": \"\\u0001\\b\\f\\n\"}",
    ),
    with(
        "separators.json",
        &["unencrypted_suffix: '_u'"],
        "{\"a_u\": \"x\u{2028}y\\u2029z\", \"k\u{2028}\u{2029}_u\": \"z\", \"s\u{2029}\": \"\u{2028}\", \"t\": [\"\u{85}\u{a0}\"]}",
    ),
    case("normal-forms.json", "{\"caf\u{e9}\": \"a\", \"cafe\u{301}\": \"b\"}"),
    case("crlf.json", "{\r\n\"a\": \"x\",\r\n\"b\": \"\\r\\n\"\r\n}\r\n"),
    case("empty.json", "{\"a\": {}, \"b\": [], \"c\": \"\"}"),
    case("minimal.json", "{\"a\": \"\"}"),
    with(
        "regex.json",
        &["encrypted_regex: '^s'"],
        r#"{"plain": [1, 2.5, "x", true, null], "secret": {"a": 1}, "t": 1e21}"#,
    ),
    with(
        "mac-only.json",
        &["mac_only_encrypted: true", "unencrypted_suffix: '_u'"],
        r#"{"a_u": 1, "b": 2}"#,
    ),
    // dotenv.
    case("simple.env", "USER=admin\nPASS=hunter2\nEMPTY=\n"),
    case(
        "quotes.env",
        "A=\"double\"\nB='single'\nC=a b  c\nD= lead\nE=x=y=z\nF=a # not a comment\n",
    ),
    case("multiline.env", "KEY=one\\ntwo\\nthree\nB=tab\\tstays\n"),
    case("comments.env", "# first\nA=1\n\n# second\n#third\nB=2\n"),
    case("unicode.env", "A=é🔐\nЖ=1\nexport B=2\n"),
    case("no-final-newline.env", "A=1\nB=2"),
    with("regex.env", &["encrypted_regex: '^SECRET'"], "PLAIN=1\nSECRET_A=x\n"),
    with(
        "mac-only.env",
        &["mac_only_encrypted: true", "encrypted_suffix: '_S'"],
        "PLAIN=1\nA_S=x\n",
    ),
    case("default-suffix.env", "A=1\nB_unencrypted=open\n"),
    with(
        "encrypted-comment.env",
        &["encrypted_comment_regex: 'seal'"],
        "A=1\n# seal\nB=2\nC=3\n",
    ),
    // INI.
    case("simple.ini", "[db]\nuser = admin\npass = hunter2\n"),
    case("top.ini", "global = 1\n\n[a]\nb = 2\n[c]\nd=\n"),
    case(
        "comments.ini",
        "; top\n[a]\n; about b\nb = 1\n# about c\nc = 2 ; beside\n",
    ),
    case(
        "quotes.ini",
        "[a]\nb = \"x y\"\nc = 'z'\nd = `q;r`\ne = \"\"\"one\ntwo\"\"\"\nf: colon\ng = x=y\n",
    ),
    case("continued.ini", "[a]\nb = one \\\n  two\nc = 3\nb = again\n"),
    case("unicode.ini", "[секция]\nключ = значение 🔐\n"),
    case(
        "crlf.ini",
        "[a]\r\nb = 1\r\nc = \"\"\"one\r\ntwo\"\"\"\r\nd = x \\\r\n y\r\n",
    ),
    case("byte-order-mark.ini", "\u{feff}[a]\nb = 1\n"),
    case(
        "no-break-space.ini",
        "[a]\nb =\u{a0}1\u{a0}\n\u{2003}c\u{2003}=\u{2028}x\u{2028}\n",
    ),
    case("keys.ini", "[a.b]\n\"quoted=key\" = 1\nx y = 2\n"),
    with(
        "regex.ini",
        &["encrypted_regex: '^secret'"],
        "[a]\nplain = 1 2\nquoted = \" x \"\nhash = `a#b`\nmulti = \"\"\"l1\nl2\"\"\"\nsecret = x\n",
    ),
    with(
        "unencrypted-comment.ini",
        &["unencrypted_comment_regex: 'open'"],
        "[a]\nb = 1\n; open\nc = 2\nd = 3\n",
    ),
    // Binary.
    case("text.txt", "just text\nwith lines\n"),
    case("bytes.bin", "not utf-8 follows in the test"),
    case(
        "key.pem",
        "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n",
    ),
    case("json-inside.bin", "{\"data\": \"x\", \"sops\": 1}"),
];

/// Files that the real sops encrypts but decrypts to other content.
pub(crate) const LOST_BY_SOPS: &[Case] = &[
    // A negative zero that is not encrypted becomes the integer 0.
    with(
        "negative-zero.yaml",
        &["encrypted_regex: '^pass'"],
        "a: -0.0\npass: x\n",
    ),
    // An entry without a name becomes a comment.
    case("nameless.ini", "[a]\n- = first\n"),
];
