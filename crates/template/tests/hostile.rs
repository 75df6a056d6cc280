//! Hostile templates: none may panic, hang or exhaust the memory.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use sidevault_template::{Budget, Template, TemplateError, Value, Values, function_names};

fn data() -> Values {
    Values::from([
        ("a".to_owned(), Value::from("text")),
        ("n".to_owned(), Value::from("42")),
        ("raw".to_owned(), Value::from(vec![0xff, 0x00, 0xc3])),
        ("j".to_owned(), Value::from(r#"{"x":[1,{"y":null}],"s":"<"}"#)),
    ])
}

fn render(source: &str) -> Result<Vec<u8>, TemplateError> {
    Template::parse("t", source)?.render(&data())
}

/// Renders on a thread whose stack is as small as that of a Tokio worker.
fn on_a_small_stack(source: &str) -> Result<Vec<u8>, TemplateError> {
    let source = source.to_owned();
    std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(move || render(&source))
        .expect("a thread")
        .join()
        .expect("no panic")
}

fn refused(source: &str) {
    match on_a_small_stack(source) {
        Err(TemplateError::Limit(_)) => {}
        Ok(output) => panic!("{} bytes of output", output.len()),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn recursion_is_bounded() {
    refused(r#"{{ define "r" }}{{ template "r" . }}{{ end }}{{ template "r" . }}"#);
    refused(
        r#"{{ define "r" }}{{ if 1 }}{{ with 1 }}{{ range list 1 }}{{ template "r" . }}{{ end }}{{ end }}{{ end }}{{ end }}{{ template "r" . }}"#,
    );
}

#[test]
fn loops_are_bounded() {
    refused("{{ range until 100000000 }}{{ end }}");
    refused("{{ range 9223372036854775807 }}{{ end }}");
    refused("{{ $l := until 2000 }}{{ range $l }}{{ range $l }}{{ range $l }}{{ end }}{{ end }}{{ end }}");
}

#[test]
fn output_is_bounded() {
    refused(r#"{{ repeat 100000000 "x" }}"#);
    refused(r#"{{ now.Format (repeat 4000000 "January") }}"#);
    refused(r#"{{ now.AppendFormat nil (repeat 500000 "x") }}"#);
    refused(r#"{{ $x := "0123456789" }}{{ range until 100 }}{{ $x = print $x $x }}{{ end }}"#);
    refused(r#"{{ $x := repeat 1000000 "y" }}{{ range until 100 }}{{ $x }}{{ end }}"#);
    refused(r#"{{ $x := repeat 3000 "y" }}{{ replace "" $x $x }}"#);
    refused(r#"{{ $l := list 1 }}{{ range until 60 }}{{ $l = list $l $l }}{{ end }}{{ $l }}"#);
    refused(r#"{{ $l := list 1 }}{{ range until 60 }}{{ $l = list $l $l }}{{ end }}{{ toJson $l }}"#);
    refused(r#"{{ $l := list 1 }}{{ range until 60 }}{{ $l = list $l $l }}{{ end }}{{ deepEqual $l (deepCopy $l) }}"#);
    refused(r#"{{ printf "%999999999d" 1 }}{{ range until 100 }}{{ printf "%999999d" 1 }}{{ end }}"#);
    refused("{{ range until 100 }}{{ bcrypt \"x\" }}{{ end }}");
}

#[test]
fn functions_of_quadratic_time_are_bounded() {
    refused(r#"{{ $b := repeat 400000 "a" }}{{ $_ := regexFindAll "a*b|a" $b -1 }}"#);
    refused(r#"{{ $b := repeat 400000 "a" }}{{ $_ := regexReplaceAll "a*b|a" $b "" }}"#);
    refused(r#"{{ $b := repeat 400000 "a" }}{{ $_ := regexSplit "a*b|a" $b -1 }}"#);
    // Begin lines without an end line take linear time.
    assert!(on_a_small_stack(r#"{{ repeat 200000 "-----BEGIN A-----\n" | filterPEM "A" | len }}"#).is_err());
    let empty = r#"{{ repeat 20000 "-----BEGIN A-----\n-----END B-----\n" | filterPEM "A" }}"#;
    assert!(matches!(on_a_small_stack(empty), Err(TemplateError::Execute(_))));
}

#[test]
fn reading_long_arguments_takes_work() {
    let long = r#"{{ $b := print (repeat 4000000 "x") "*" }}"#;
    for call in ["b64dec $b", "atoi $b", "shuffle $b", "toDate $b $b", "hasSuffix $b $b"] {
        refused(&format!(
            "{long}{{{{ range until 1000 }}}}{{{{ $_ := {call} }}}}{{{{ end }}}}"
        ));
    }
    let map = r#"{{ $d := dict }}{{ range $i := until 20000 }}{{ $_ := set $d (toString $i) 1 }}{{ end }}"#;
    for call in ["values $d", "keys $d", "omit $d", "len (keys $d $d $d)"] {
        refused(&format!(
            "{map}{{{{ range until 1000 }}}}{{{{ $_ := {call} }}}}{{{{ end }}}}"
        ));
    }
    refused(&format!(
        "{map}{{{{ range until 1000 }}}}{{{{ range $d }}}}{{{{ break }}}}{{{{ end }}}}{{{{ end }}}}"
    ));
}

#[test]
fn the_memory_of_values_is_bounded() {
    let plenty = || Budget::new(1 << 40, Duration::from_secs(3600));
    let held = |source: &str| {
        let template = Template::parse("t", source).unwrap();
        let ran = template.render_with(&data(), SystemTime::now(), &mut plenty());
        let error = ran.unwrap_err().to_string();
        assert!(error.ends_with("the values of the template are too big"), "{error}");
    };
    let long = r#"{{ $b := repeat 4000000 "x" }}{{ $d := dict }}"#;
    for copy in [
        "splitList `,` $b",
        "split `,` $b",
        "dict $b 1",
        "toStrings (list $b)",
        "print $b",
    ] {
        held(&format!(
            "{long}{{{{ range $i := until 150 }}}}{{{{ $_ := set $d (toString $i) ({copy}) }}}}{{{{ end }}}}"
        ));
    }
    held(r#"{{ $_ := splitList "," (repeat 4000000 ",") }}"#);
    held(r#"{{ $_ := fromJson (print "[" (repeat 1300000 "[],") "0]") }}"#);
    held(
        "{{ $d := dict }}{{ range $i := until 150 }}{{ $_ := set $d (toString $i) (until 20000 | concat (until 20000)) }}{{ end }}",
    );
    let map = r#"{{ $d := dict }}{{ range $i := until 20000 }}{{ $_ := set $d (toString $i) 1 }}{{ end }}"#;
    refused(&format!("{map}{{{{ len (keys {}) }}}}", "$d ".repeat(500)));
    // Values that were dropped do not count.
    let dropped = format!("{long}{{{{ range until 30 }}}}{{{{ $_ := splitList `,` $b }}}}{{{{ end }}}}");
    let dropped = Template::parse("t", &dropped).unwrap();
    assert!(dropped.render_with(&data(), SystemTime::now(), &mut plenty()).is_ok());
}

#[test]
fn key_derivation_of_a_pkcs12_store_takes_work_first() {
    let key = |store: &[u8]| {
        let data = Values::from([("s".to_owned(), Value::from(store.to_vec()))]);
        Template::parse("t", "{{ pkcs12key .s }}")
            .unwrap()
            .render(&data)
            .unwrap_err()
    };
    let sealed = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d".repeat(100);
    assert!(matches!(key(&sealed), TemplateError::Limit(_)));
    let scrypt = key(b"\x06\x09\x2b\x06\x01\x04\x01\xda\x47\x04\x0b").to_string();
    assert!(scrypt.ends_with("a key derivation that is not supported"), "{scrypt}");
}

#[test]
fn renderings_can_share_a_budget() {
    let loops = Template::parse("t", "{{ range until 1000 }}{{ end }}").unwrap();
    let hour = Duration::from_secs(3600);
    let now = SystemTime::now();
    let mut budget = Budget::new(3000, hour);
    assert!(loops.render_with(&data(), now, &mut budget).is_ok());
    let second = loops.render_with(&data(), now, &mut budget);
    assert!(matches!(second, Err(TemplateError::Limit(_))), "{second:?}");
    assert!(loops.render_with(&data(), now, &mut Budget::new(3000, hour)).is_ok());
    let mut no_time = Budget::new(1_000_000, Duration::ZERO);
    let late = loops.render_with(&data(), now, &mut no_time).unwrap_err();
    assert!(late.to_string().ends_with("the template takes too long"), "{late}");
}

#[test]
fn deep_values_are_refused_where_they_are_traversed() {
    let deep = "{{ $l := list 1 }}{{ range until 20000 }}{{ $l = list $l }}{{ end }}";
    for walk in [
        "{{ $l }}",
        "{{ toJson $l }}",
        "{{ toYaml $l }}",
        "{{ deepCopy $l }}",
        "{{ deepEqual $l $l }}",
        "{{ printf \"%v\" $l }}",
        "{{ join \",\" $l }}",
    ] {
        refused(&format!("{deep}{walk}"));
    }
    // A deep value that is only made and dropped is accepted.
    assert!(on_a_small_stack(deep).is_ok());
    let chain = "{{ $d := dict }}{{ $c := $d }}{{ range until 20000 }}{{ $n := dict }}{{ $_ := set $c \"k\" $n }}{{ $c = $n }}{{ end }}";
    assert!(on_a_small_stack(chain).is_ok());
}

#[test]
fn a_map_that_contains_itself_is_refused_where_it_is_traversed() {
    let ring = "{{ $d := dict }}{{ $_ := set $d \"d\" $d }}";
    assert!(on_a_small_stack(ring).is_ok());
    for walk in [
        "{{ $d }}",
        "{{ toJson $d }}",
        "{{ toYaml $d }}",
        "{{ deepCopy $d }}",
        "{{ merge (dict \"d\" (dict)) $d }}",
    ] {
        let answer = on_a_small_stack(&format!("{ring}{walk}"));
        assert!(!matches!(answer, Err(TemplateError::Parse(_))), "{answer:?}");
    }
    refused(&format!("{ring}{{{{ $d }}}}"));
}

#[test]
fn nesting_in_the_source_is_bounded() {
    refused(&format!("{{{{ {}1{} }}}}", "(".repeat(5000), ")".repeat(5000)));
    refused(&"{{ if 1 }}".repeat(5000));
    let fits = format!("{}x{}", "{{ if 1 }}".repeat(99), "{{ end }}".repeat(99));
    assert_eq!(on_a_small_stack(&fits).unwrap(), b"x");
    let parens = format!("{{{{ {}1{} }}}}", "(".repeat(99), ")".repeat(99));
    assert_eq!(on_a_small_stack(&parens).unwrap(), b"1");
    let json = format!("{{{{ fromJson `{}{}` }}}}", "[".repeat(50_000), "]".repeat(50_000));
    assert!(on_a_small_stack(&json).is_ok());
    let yaml = format!("{{{{ fromYaml `a: {}{}` }}}}", "[".repeat(5000), "]".repeat(5000));
    // Whether the YAML is accepted does not matter, as long as nothing overflows.
    let _ = on_a_small_stack(&yaml);
    let aliases: String = (1..40)
        .map(|i| format!("a{i}: &a{i} [*a{}, *a{}]\n", i - 1, i - 1))
        .collect();
    refused(&format!("{{{{ fromYaml `a0: &a0 x\n{aliases}` | toJson }}}}"));
    assert!(
        on_a_small_stack(&format!(
            "{{{{ regexFind \"{}a{}\" \"a\" }}}}",
            "(".repeat(3000),
            ")".repeat(3000)
        ))
        .is_err()
    );
}

#[test]
fn chains_of_else_if_are_bounded() {
    let row = |count: usize, inner: &str| {
        let last = "{{ else if .a }}".repeat(count);
        format!(
            "{{{{ if not .a }}}}{}{{{{ else if .a }}}}{inner}{{{{ end }}}}",
            last.replace(".a", "not .a")
        )
    };
    assert_eq!(on_a_small_stack(&row(400, "x")).unwrap(), b"x");
    refused(&row(1000, "x"));
    refused(&row(400, &row(400, "x")));
    assert_eq!(on_a_small_stack(&row(200, &row(200, "x")).repeat(3)).unwrap(), b"xxx");
}

#[test]
fn errors_and_debug_contain_no_value() {
    let secret = "hunter2-hunter2";
    let data = Values::from([("s".to_owned(), Value::from(secret))]);
    for source in [
        "{{ range .s }}{{ end }}",
        "{{ fail .s }}",
        "{{ printf \"%s\" .s | fail }}",
        "{{ index .s .s }}",
        "{{ mustToDate \"2006\" .s }}",
        "{{ .s.x }}",
        "{{ mustRegexMatch (print \"[\" .s) \"a\" }}",
        "{{ urlParse (print \"%zz\" .s) }}",
        "{{ mustFromJson .s }}",
        "{{ decryptAES \"k\" .s }}",
        "{{ semver .s }}",
        "{{ jwkPrivateKeyPem .s }}",
        "{{ dig .s .s .s .s }}",
        "{{ urlJoin (dict \"host\" (list .s)) }}",
        "{{ genSelfSignedCertWithKey \"x\" (list .s) nil 1 (genPrivateKey \"ecdsa\") }}",
    ] {
        let error = Template::parse("t", source).unwrap().render(&data).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
    assert!(!format!("{data:?}").contains("hunter2"));
}

#[test]
fn fail_shows_only_a_literal_message() {
    let error = render(r#"{{ fail "set a password" }}"#).unwrap_err();
    assert!(
        error.to_string().ends_with("error calling fail: set a password"),
        "{error}"
    );
}

#[test]
fn delimiters_can_be_set() {
    let template = Template::parse_with_delimiters("t", "{{ x }} [[ .a ]] [[- /* c */ -]] !", "[[", "]]").unwrap();
    assert_eq!(template.render(&data()).unwrap(), b"{{ x }} text!");
}

#[test]
fn data_of_strings_has_another_type_than_mixed_data() {
    let data = Values::from([
        ("n".to_owned(), Value::Int(3)),
        (
            "l".to_owned(),
            Value::List(vec![Value::Bool(true), Value::Nil, Value::Float(1.5)]),
        ),
    ]);
    let rendered = Template::parse("t", "{{ add .n 1 }} {{ .l }} {{ get . \"n\" }} {{ typeOf . }}")
        .unwrap()
        .render(&data);
    assert_eq!(rendered.unwrap(), b"4 [true <nil> 1.5] 3 map[string]interface {}");
}

#[test]
fn a_template_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + Clone>(_: &T) {}
    shared(&Template::parse("t", "").unwrap());
}

fn operand() -> impl Strategy<Value = String> {
    let atom = prop_oneof![
        Just(".a".to_owned()),
        Just(".n".to_owned()),
        Just(".raw".to_owned()),
        Just("(fromJson .j)".to_owned()),
        Just(".".to_owned()),
        Just("$".to_owned()),
        Just("nil".to_owned()),
        Just("true".to_owned()),
        Just("now".to_owned()),
        Just("(list 1 \"x\" nil)".to_owned()),
        Just("(dict \"k\" (list 1 2))".to_owned()),
        Just("(semver \"1.2.3\")".to_owned()),
        Just("(semver \"1.2.3-a\").IncMinor".to_owned()),
        Just("now.Weekday".to_owned()),
        Just("now.Location".to_owned()),
        Just("(now.Sub now)".to_owned()),
        Just("now.MarshalText".to_owned()),
        (-5..70_i64).prop_map(|n| n.to_string()),
        Just("9223372036854775807".to_owned()),
        Just("-9223372036854775808".to_owned()),
        any::<f64>()
            .prop_filter("Go's literals", |f| f.is_finite())
            .prop_map(|f| format!("{f:e}")),
        "[a-z%0-9\\[\\]{}.*+?|()^$:/@ -]{0,12}".prop_map(|s| format!("`{s}`")),
        "\\PC{0,8}"
            .prop_filter("no back quote", |s| !s.contains('`'))
            .prop_map(|s| format!("`{s}`")),
    ];
    atom.prop_recursive(3, 24, 4, |inner| {
        (call_name(), prop::collection::vec(inner, 0..5))
            .prop_map(|(name, args)| format!("({name} {})", args.join(" ")))
    })
}

/// The name of any function, except those that are slow by design.
fn call_name() -> impl Strategy<Value = &'static str> {
    let names: Vec<&'static str> = function_names()
        .iter()
        .copied()
        .filter(|name| !name.starts_with("gen") && !matches!(*name, "bcrypt" | "htpasswd" | "derivePassword"))
        .collect();
    prop::sample::select(names)
}

fn source() -> impl Strategy<Value = String> {
    let action = (operand(), "[a-z \n]{0,4}").prop_map(|(operand, text)| format!("{{{{ {operand} }}}}{text}"));
    action.prop_recursive(4, 16, 3, |inner| {
        let list = prop::collection::vec(inner, 0..3).prop_map(|parts| parts.concat());
        (
            prop::sample::select(vec!["if", "with", "range", "range $i, $v :="]),
            operand(),
            list.clone(),
            list,
        )
            .prop_map(|(word, operand, body, other)| {
                format!("{{{{ {word} {operand} }}}}{body}{{{{ else }}}}{other}{{{{- end }}}}")
            })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_template_of_the_grammar_panics(source in source()) {
        let _ = render(&source);
    }

    #[test]
    fn no_text_panics(source in "(\\{\\{|\\}\\}|-|/\\*|\\*/| |\n|\"|`|'|\\$|\\.|:=|\\||\\(|\\)|,|if|end|range|else|define|\\PC){0,40}") {
        let _ = render(&source);
    }

    #[test]
    fn no_function_panics_on_odd_arguments(name in call_name(), args in prop::collection::vec(operand(), 0..6)) {
        let _ = render(&format!("{{{{ {name} {} }}}}", args.join(" ")));
    }

    #[test]
    fn no_method_panics_on_odd_numbers(years in any::<i64>(), nanos in any::<i64>(), step in any::<i64>(), seconds in any::<i64>()) {
        let time = format!("((toDate `2006` `2024`).AddDate {} 0 {})", years % 9000, step % 1000);
        for source in [
            format!("{{{{ {time}.Add {nanos} }}}}{{{{ ({time}.Round {step}).Truncate {nanos} }}}}"),
            format!("{{{{ $d := {time}.Sub (toDate `2006` `x`) }}}}{{{{ ($d.Round {step}).Abs.Truncate {nanos} }}}}"),
            format!("{{{{ {time}.AddDate {years} {nanos} {step} }}}}"),
            format!("{{{{ {time}.MarshalBinary }}}}{{{{ printf `%#v` {time} }}}}{{{{ {time}.UnixNano }}}}"),
            format!("{{{{ date `2006` {seconds} }}}}{{{{ (toDate `2006` `9999`).Add {nanos} }}}}"),
        ] {
            let _ = render(&source);
        }
    }

    #[test]
    fn no_format_panics(format in "[%a-zA-Z0-9.*#+ \\[\\]-]{0,20}", n in any::<i64>(), f in any::<f64>(), s in any::<Vec<u8>>()) {
        let data = Values::from([
            ("f".to_owned(), Value::from(format.as_str())),
            ("n".to_owned(), Value::Int(n)),
            ("x".to_owned(), Value::Float(f)),
            ("s".to_owned(), Value::from(s)),
        ]);
        let _ = Template::parse("t", "{{ printf .f .n .x .s nil }}{{ printf .f .s .n .x }}{{ printf .f .x (list .n .s) }}").unwrap().render(&data);
    }

    #[test]
    fn no_data_panics(s in any::<Vec<u8>>(), t in "\\PC{0,30}") {
        let data = Values::from([("s".to_owned(), Value::from(s)), ("t".to_owned(), Value::from(t))]);
        for name in function_names().iter().filter(|name| !name.starts_with("gen") && !matches!(**name, "bcrypt" | "htpasswd" | "derivePassword")) {
            for source in [format!("{{{{ {name} .s }}}}"), format!("{{{{ {name} .t .s }}}}"), format!("{{{{ {name} 3 .s }}}}"), format!("{{{{ {name} .t .s .t }}}}")] {
                let _ = Template::parse("t", &source).unwrap().render(&data);
            }
        }
    }

    #[test]
    fn text_comes_out_as_it_was(bytes in any::<Vec<u8>>()) {
        let data = Values::from([("s".to_owned(), Value::from(bytes.clone()))]);
        prop_assert_eq!(Template::parse("t", "{{ .s }}").unwrap().render(&data).unwrap(), bytes.clone());
        prop_assert_eq!(Template::parse("t", "{{ .s | b64enc | b64dec }}").unwrap().render(&data).unwrap(), bytes);
    }
}
