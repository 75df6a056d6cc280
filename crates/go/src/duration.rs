//! Go's `time.Duration`: a signed number of nanoseconds, up to 292 years.

/// Nanoseconds in a unit.
type Unit = (&'static str, i128);

const UNITS: [Unit; 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Days and weeks, which Go does not read.
const DAYS: [Unit; 2] = [("d", 86_400_000_000_000), ("w", 604_800_000_000_000)];

/// `time.ParseDuration`: nanoseconds, or `None` if Go refuses the text.
pub fn parse(text: &str) -> Option<i64> {
    parse_units(text, &[])
}

/// As [`parse`], and also reads `d` (24 hours) and `w` (7 days).
pub fn parse_with_days(text: &str) -> Option<i64> {
    parse_units(text, &DAYS)
}

fn parse_units(text: &str, more: &[Unit]) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0_i128;
    while !rest.is_empty() {
        let (nanos, after) = one_unit(rest, more)?;
        total += nanos;
        if total > i128::from(i64::MAX) + 1 {
            return None;
        }
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

/// Reads one number with its unit, such as `1.5h`. Returns its nanoseconds and the text after it.
fn one_unit<'a>(text: &'a str, more: &[Unit]) -> Option<(i128, &'a str)> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = rest.strip_prefix('.').map_or(("", rest), digits);
    if whole.is_empty() && fraction.is_empty() || whole.len() > 19 {
        return None;
    }
    let unit_ends = rest
        .find(|c: char| c == '.' || c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (name, rest) = rest.split_at(unit_ends);
    let (_, scale) = UNITS.iter().chain(more).find(|(unit, _)| *unit == name)?;
    let mut nanos = match whole {
        "" => 0,
        whole => whole.parse::<i128>().ok()? * scale,
    };
    // More digits than these are below a nanosecond, whatever the unit.
    let fraction = &fraction[..fraction.len().min(18)];
    if !fraction.is_empty() {
        nanos += fraction.parse::<i128>().ok()? * scale / 10_i128.pow(fraction.len() as u32);
    }
    Some((nanos, rest))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// `Duration.String`.
pub fn format(nanos: i64) -> String {
    if nanos == 0 {
        return "0s".to_owned();
    }
    let sign = if nanos < 0 { "-" } else { "" };
    let n = nanos.unsigned_abs();
    let small = [
        (1_000, "ns", 1),
        (1_000_000, "µs", 1_000),
        (1_000_000_000, "ms", 1_000_000),
    ];
    for (below, unit, scale) in small {
        if n < below {
            return format!("{sign}{}{unit}", decimal(n, scale));
        }
    }
    let seconds = n / 1_000_000_000;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let rest = decimal(n % 60_000_000_000, 1_000_000_000);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{rest}s"),
        (0, _) => format!("{sign}{minutes}m{rest}s"),
        _ => format!("{sign}{hours}h{minutes}m{rest}s"),
    }
}

fn decimal(n: u64, scale: u64) -> String {
    let (whole, part) = (n / scale, n % scale);
    if part == 0 {
        return whole.to_string();
    }
    let width = scale.to_string().len() - 1;
    let digits = format!("{part:0width$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

/// `Duration.Round`: to a multiple of `step`, halves away from zero.
pub fn round(nanos: i64, step: i64) -> i64 {
    if step <= 0 {
        return nanos;
    }
    let rest = nanos % step;
    let down = nanos - rest;
    if i128::from(rest).abs() * 2 >= i128::from(step) {
        down.saturating_add(step * rest.signum())
    } else {
        down
    }
}

/// `Duration.Truncate`
pub fn truncate(nanos: i64, step: i64) -> i64 {
    if step <= 0 { nanos } else { nanos - nanos % step }
}

/// `Duration.Hours` and its like.
pub fn in_units(nanos: i64, unit: i64) -> f64 {
    (nanos / unit) as f64 + (nanos % unit) as f64 / unit as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected values are the output of Go 1.26.
    #[test]
    fn durations_are_read_as_in_go() {
        for (text, nanos) in [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("+5s", Some(5_000_000_000)),
            ("-5s", Some(-5_000_000_000)),
            ("1h0m0s", Some(3_600_000_000_000)),
            ("1.5h", Some(5_400_000_000_000)),
            (".5s", Some(500_000_000)),
            ("1.s", Some(1_000_000_000)),
            ("100ms", Some(100_000_000)),
            ("1µs", Some(1_000)),
            ("9223372036854775807ns", Some(i64::MAX)),
            ("-9223372036854775808ns", Some(i64::MIN)),
            ("9223372036854775808ns", None),
            ("", None),
            ("-", None),
            ("1", None),
            ("h", None),
            ("1d", None),
            ("1h ", None),
            (" 1h", None),
            ("1..5s", None),
            (".s", None),
            ("s1", None),
            ("1e9s", None),
            ("99999999999999999999h", None),
        ] {
            assert_eq!(parse(text), nanos, "{text:?}");
        }
    }

    #[test]
    fn days_and_weeks_are_read_on_request() {
        assert_eq!(parse_with_days("1w2d"), Some(9 * 86_400_000_000_000));
        assert_eq!(parse_with_days("1.5d"), parse("36h"));
        assert_eq!(parse("1w"), None);
    }

    /// The expected values are the output of Go 1.26.
    #[test]
    fn durations_are_printed_as_in_go() {
        for (text, printed) in [
            ("0", "0s"),
            ("1ns", "1ns"),
            ("1500ns", "1.5µs"),
            ("100ms", "100ms"),
            ("1.5s", "1.5s"),
            ("60s", "1m0s"),
            ("1h", "1h0m0s"),
            ("-90s", "-1m30s"),
        ] {
            assert_eq!(format(parse(text).unwrap()), printed);
        }
        assert_eq!(format(i64::MIN), "-2562047h47m16.854775808s");
    }
}
