//! Parses times in the notations of go-yaml v3. sops writes all of them in RFC 3339.

/// Parses `2001-1-31`, `2001-01-31 10:00:00.5` or `2001-01-31T10:00:00.5+02:00`, and returns the time in RFC 3339 with up to
/// nine decimals; `None` for anything else.
pub(crate) fn parse(text: &str) -> Option<String> {
    let mut input = Input(text.as_bytes());
    let year = input.digits(4, 4)?;
    input.expect(b"-")?;
    let month = input.digits(1, 2)?;
    input.expect(b"-")?;
    let day = input.digits(1, 2)?;
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    let date = format!("{year:04}-{month:02}-{day:02}");
    let Some(separator) = input.next() else {
        return Some(format!("{date}T00:00:00Z"));
    };

    let hour = input.digits(1, 2)?;
    input.expect(b":")?;
    let minute = input.digits(1, 2)?;
    input.expect(b":")?;
    let second = input.digits(1, 2)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let fraction = input.fraction();
    let zone = match separator {
        // After a space there must be no zone; after a `T` there must be one.
        b' ' => "Z".to_owned(),
        b'T' | b't' => input.zone()?,
        _ => return None,
    };
    input
        .0
        .is_empty()
        .then(|| format!("{date}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}"))
}

fn days_in(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn expect(&mut self, one_of: &[u8]) -> Option<u8> {
        self.next().filter(|byte| one_of.contains(byte))
    }

    /// A number of `least` to `most` digits.
    fn digits(&mut self, least: usize, most: usize) -> Option<u32> {
        let count = self
            .0
            .iter()
            .take(most)
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if count < least {
            return None;
        }
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        Some(
            digits
                .iter()
                .fold(0, |number, digit| number * 10 + u32::from(digit - b'0')),
        )
    }

    /// Decimals with their point, cut to nine and without trailing zeros.
    fn fraction(&mut self) -> String {
        let Some((b'.' | b',', rest)) = self.0.split_first() else {
            return String::new();
        };
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return String::new();
        }
        let (digits, rest) = rest.split_at(count);
        self.0 = rest;
        let kept: String = digits.iter().take(9).map(|digit| char::from(*digit)).collect();
        match kept.trim_end_matches('0') {
            "" => String::new(),
            kept => format!(".{kept}"),
        }
    }

    fn zone(&mut self) -> Option<String> {
        let sign = self.expect(b"Z+-")?;
        if sign == b'Z' {
            return Some("Z".to_owned());
        }
        let hours = self.digits(2, 2)?;
        self.expect(b":")?;
        let minutes = self.digits(2, 2)?;
        match (hours, minutes) {
            (0, 0) => Some("Z".to_owned()),
            (0..=23, 0..=59) => Some(format!("{}{hours:02}:{minutes:02}", char::from(sign))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn times_become_rfc_3339() {
        for (text, time) in [
            ("2001-12-14", "2001-12-14T00:00:00Z"),
            ("2001-1-2", "2001-01-02T00:00:00Z"),
            ("2024-02-29", "2024-02-29T00:00:00Z"),
            ("2001-12-14 21:59:43.10", "2001-12-14T21:59:43.1Z"),
            ("2001-12-14t1:2:3Z", "2001-12-14T01:02:03Z"),
            (
                "2001-12-14T21:59:43.1234567899-05:00",
                "2001-12-14T21:59:43.123456789-05:00",
            ),
            ("2001-12-14T21:59:43+00:00", "2001-12-14T21:59:43Z"),
        ] {
            assert_eq!(parse(text).as_deref(), Some(time), "{text}");
        }
    }

    #[test]
    fn other_text_is_not_a_time() {
        for text in [
            "2023-02-29",
            "1900-02-29",
            "2001-13-01",
            "2001-00-01",
            "2001-01-32",
            "2001-01-00",
            "2001-01",
            "201-01-01",
            "2001-01-01T24:00:00Z",
            "2001-01-01T10:00:00",
            "2001-01-01 10:00:00Z",
            "2001-01-01T10:00:00+2:00",
            "2001-01-01x",
            "2001-01-01T10:00:00Zx",
            "12-01-2001",
            "",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
