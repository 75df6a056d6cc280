//! Filters as clients write them, and invalid ones.

use proptest::prelude::*;

use super::*;

fn matches(filter: &Filter, title: &str) -> bool {
    filter.matches(&Attributes {
        title,
        id: "abcdefghijklmnopqrstuvwxyz",
        tags: &["banking".into(), "Home".into()],
        category: Some(Category::Login),
        favorite: true,
        state: None,
    })
}

fn items(filter: &str) -> Filter {
    Filter::parse(filter, Subject::Items).unwrap()
}

fn finds(filter: &str, title: &str) -> bool {
    matches(&items(filter), title)
}

fn refusal(filter: &str) -> String {
    Filter::parse(filter, Subject::Items)
        .err()
        .unwrap_or_else(|| panic!("accepted: {filter}"))
        .to_string()
}

// Checks 46, 47, 48 and 51.
#[test]
fn vaults_are_found_by_title_or_name_in_any_case() {
    for filter in [
        r#"title eq "Homelab""#,
        r#"name eq "homelab""#,
        r#"NAME EQ "HOMELAB""#,
        r#" title  eq"homelab" "#,
    ] {
        let filter = Filter::parse(filter, Subject::Vaults).unwrap();
        assert!(matches(&filter, "Homelab") && !matches(&filter, "Homelab2"));
        assert!(filter.exact_title().unwrap().eq_ignore_ascii_case("homelab"));
    }
    let filter = Filter::parse(r#"title eq "abcdefghijklmnopqrstuvwxyz""#, Subject::Vaults).unwrap();
    assert!(!matches(&filter, "other"));
}

// Checks 59, 62 and 63.
#[test]
fn items_are_found_by_each_attribute() {
    assert!(finds(r#"title eq "Wi-Fi""#, "Wi-Fi"));
    assert!(finds(r#"title co "i-f""#, "Wi-Fi"));
    assert!(finds(r#"title sw "wi""#, "Wi-Fi") && !finds(r#"title sw "fi""#, "Wi-Fi"));
    assert!(finds(r#"title ew "fi""#, "Wi-Fi") && !finds(r#"title ew "wi""#, "Wi-Fi"));
    assert!(finds(r#"title ne "x""#, "Wi-Fi") && !finds(r#"title ne "wi-fi""#, "Wi-Fi"));
    assert!(finds(r#"tag eq "Banking""#, "x") && finds(r#"tags co "om""#, "x") && !finds(r#"tag eq "bank""#, "x"));
    assert!(!finds(r#"tag ne "home""#, "x"));
    assert!(finds(r#"id eq "ABCDEFGHIJKLMNOPQRSTUVWXYZ""#, "x"));
    assert!(finds(r#"category eq "login""#, "x") && !finds(r#"category eq "SERVER""#, "x"));
    assert!(finds("favorite eq true", "x") && finds(r#"favorite eq "TRUE""#, "x") && !finds("favorite eq false", "x"));
    assert!(finds(r#"state eq "active""#, "x") && !finds("state pr", "x") && !finds(r#"state eq "archived""#, "x"));
    assert!(finds("tag pr and title pr and favorite pr", "x") && !finds("title pr", ""));
}

// Check 64.
#[test]
fn quotes_inside_a_value_need_no_escape() {
    for (filter, title) in [
        (r#"title eq "say "hi"""#, r#"say "hi""#),
        (r#"title eq """#, ""),
        (r#"title eq """"#, r#"""#),
        (r#"title eq ""a"""#, r#""a""#),
        (r#"title eq "f("x")""#, r#"f("x")"#),
        (r#"title eq "a" b"c""#, r#"a" b"c"#),
        (r#"title eq "a" and b""#, r#"a" and b"#),
        // A closing parenthesis without an opening one is part of the title.
        (r#"title eq "x") and tag eq "y""#, r#"x") and tag eq "y"#),
        (r#"(title eq "x" or "y")"#, r#"x" or "y"#),
    ] {
        assert_eq!(items(filter).exact_title(), Some(title), "{filter}");
        assert!(finds(filter, title));
    }
    // If the rest after a quote is a filter, the quote ends the value.
    assert!(finds(r#"title eq "a" and tag eq "home""#, "a"));
    // An escaped value matches the title with and without escapes.
    assert!(finds(r#"title eq "say \"hi\"""#, r#"say "hi""#));
    assert!(finds(r#"title eq "say \"hi\"""#, r#"say \"hi\""#));
    assert_eq!(items(r#"title eq "say \"hi\"""#).exact_title(), None);
    assert!(finds(r#"title eq "a\" and tag eq \"b""#, r#"a" and tag eq "b"#));
}

// Check 65.
#[test]
fn backslashes_need_no_escape() {
    assert!(finds(r#"title eq "C:\dir""#, r"C:\dir"));
    assert_eq!(items(r#"title eq "C:\dir""#).exact_title(), Some(r"C:\dir"));
    assert!(finds(r#"title eq "C:\""#, r"C:\"));
    assert!(finds(r#"title eq "C:\\""#, r"C:\"));
    assert!(finds(r#"title eq "a\\b""#, r"a\b") && finds(r#"title eq "a\\b""#, r"a\\b"));
    assert!(!finds(r#"title ne "a\\b""#, r"a\b") && !finds(r#"title ne "a\\b""#, r"a\\b"));
}

// Checks 66 and 69.
#[test]
fn values_may_have_any_characters() {
    assert!(finds(r#"title eq "it's""#, "it's"));
    assert!(finds("title eq \"Zu\u{308}rich \u{1f511}\"", "Zürich \u{1f511}"));
    assert!(finds("title eq \"a & b + c # d % e\"", "a & b + c # d % e"));
    assert!(finds("title eq \" \"", " "));
}

// Checks 55, 67 and 68.
#[test]
fn invalid_filters_are_refused() {
    for bad in [
        r#"""#,
        "'",
        r#"title eq "R"#,
        r#"title eq ""#,
        "title eq",
        "title eq hunter2",
        "title eq 'hunter2'",
        "title",
        r#"title is "x""#,
        r#"title "x""#,
        r#"eq "x""#,
        r#"title eq "x" tag eq"#,
        r#"title eq "x" and"#,
        r#"and title eq "x""#,
        r#"(title eq "x""#,
        r#"title eq "x")"#,
        "()",
        "not",
        "title pr)",
        "titleeq \"x\"",
        "title eq true false",
        "\u{0}",
    ] {
        let message = refusal(bad);
        assert!(
            message.starts_with("Invalid filter: ") && !message.contains("hunter2"),
            "{message}"
        );
    }
}

// Check 56.
#[test]
fn an_unknown_attribute_is_refused() {
    assert!(refusal(r#"hunter2 eq "x""#).contains("unknown attribute"));
    assert!(refusal(r#"title eq "x" and hunter2 eq "y""#).contains("unknown attribute"));
    assert!(!refusal(r#"hunter2 eq "x""#).contains("hunter2"));
    assert!(Filter::parse(r#"tag eq "x""#, Subject::Vaults).is_err());
}

// Check 72.
#[test]
fn an_empty_filter_matches_everything() {
    assert!(finds("", "x") && finds("  ", ""));
    assert_eq!(items("").exact_title(), None);
}

// Check 74.
#[test]
fn and_or_not_and_parentheses() {
    assert!(finds(r#"title eq "x" or title eq "y" and title eq "z""#, "x"));
    assert!(!finds(r#"(title eq "x" or title eq "y") and title eq "z""#, "x"));
    assert!(finds(r#"not title eq "x" and not (title eq "y" OR title eq "z")"#, "w"));
    assert!(finds(r#"not(not(title eq "x"))"#, "x"));
    assert!(finds(r#"((title eq "x") and (tag eq "home"))"#, "x"));
    assert!(items(r#"((title eq "x"))"#).exact_title() == Some("x"));
    assert_eq!(items(r#"title eq "x" or title eq "y""#).exact_title(), None);
    assert_eq!(items(r#"not title eq "x""#).exact_title(), None);
    assert_eq!(items(r#"title co "x""#).exact_title(), None);
}

// Check 75.
#[test]
fn long_and_deep_filters_are_bounded() {
    let long = "x".repeat(10_000);
    assert_eq!(
        items(&format!(r#"title eq "{long}""#)).exact_title(),
        Some(long.as_str())
    );
    assert!(refusal(&"x".repeat(20_000)).contains("16384"));
    assert!(refusal(&"(".repeat(10_000)).contains("nested too deeply"));
    assert!(refusal(&"not ".repeat(4_000)).contains("nested too deeply"));
    assert!(refusal(&format!("{}title pr{}", "(".repeat(33), ")".repeat(33))).contains("nested too deeply"));
    let deep = format!("{}title pr{}", "(".repeat(32), ")".repeat(32));
    assert!(finds(&deep, "x"));
    // The time is linear whatever follows the quotes.
    for part in [
        "\"",
        "\" and title eq \"",
        "\")",
        "\" and ( not ( ",
        "\\\"",
        "\" or title co ",
    ] {
        let count = 16_000 / part.len();
        let _ = Filter::parse(&format!("title eq \"{}", part.repeat(count)), Subject::Items);
    }
}

#[test]
fn debug_hides_values() {
    assert_eq!(format!("{:?}", items(r#"title eq "hunter2""#)), "Filter(…)");
}

fn random_filter() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("title"),
        Just("tag"),
        Just("eq"),
        Just("co"),
        Just("pr"),
        Just("and"),
        Just("or"),
        Just("not"),
        Just("("),
        Just(")"),
        Just("\""),
        Just("\\"),
        Just(" "),
        Just("\"a\""),
        Just("ü"),
        Just("true"),
    ];
    prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.join(" "))
}

proptest! {
    #[test]
    fn never_panics(text in ".*", random in random_filter(), glued in random_filter()) {
        for text in [text, random, glued.replace(' ', "")] {
            for subject in [Subject::Items, Subject::Vaults] {
                if let Ok(filter) = Filter::parse(&text, subject) {
                    let _ = matches(&filter, "a");
                }
            }
        }
    }

    #[test]
    fn an_unescaped_title_finds_itself(title in "\\PC*|[ab\"\\\\() ]{0,12}") {
        let filter = Filter::parse(&format!("title eq \"{title}\""), Subject::Items).unwrap();
        let owned: &'static str = title.clone().leak();
        prop_assert!(matches(&filter, owned));
        if let Some(exact) = filter.exact_title() {
            prop_assert_eq!(exact, title);
        }
    }
}
