//! Parses the paths of a PATCH, which are JSON Pointers (RFC 6901).

/// The unescaped parts of a path. No parts for `/` and the empty path, which mean the whole item.
pub(super) fn parse(path: &str) -> Result<Vec<String>, &'static str> {
    if path.is_empty() || path == "/" {
        return Ok(Vec::new());
    }
    let Some(rest) = path.strip_prefix('/') else {
        return Err("the path must start with /");
    };
    rest.split('/').map(unescape).collect()
}

/// A field's id or another text as one part of a path: `~` is written as `~0` and `/` as `~1` (RFC 6901, section 3).
pub fn escape(part: &str) -> String {
    part.replace('~', "~0").replace('/', "~1")
}

/// `~1` is `/` and `~0` is `~`; any other `~` is a mistake.
fn unescape(part: &str) -> Result<String, &'static str> {
    let mut pieces = part.split('~');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (character, rest) = match (piece.strip_prefix('0'), piece.strip_prefix('1')) {
            (Some(rest), _) => ('~', rest),
            (_, Some(rest)) => ('/', rest),
            _ => return Err("in the path, ~ must be followed by 0 or 1"),
        };
        text.push(character);
        text.push_str(rest);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // Checks 150 and 154.
    #[test]
    fn escapes_are_decoded_and_invalid_paths_refused() {
        assert_eq!(
            parse("/fields/a~1b~0c~01/value").unwrap(),
            ["fields", "a/b~c~1", "value"]
        );
        assert_eq!(parse("/").unwrap(), parse("").unwrap());
        assert_eq!(parse("/fields//value").unwrap(), ["fields", "", "value"]);
        for bad in ["title", "fields/x", "/fields/~", "/fields/~2", "#/title"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_parts_survive_escaping(parts in prop::collection::vec(".+", 1..4)) {
            let path: String = parts.iter().map(|part| format!("/{}", escape(part))).collect();
            prop_assert_eq!(parse(&path).unwrap(), parts);
        }
    }
}
