//! External Secrets' functions for YAML, as in `sigs.k8s.io/yaml`: the values of JSON in the syntax of YAML 1.1.

mod emit;
mod load;
mod resolve;
mod string_map;

use emit::Yaml;
use load::{Stop, load};
pub use string_map::{YamlError, yaml_string_map};

use super::{Context, Fault, Func, Ran, Ty, any, f, utf8};
use crate::go::json::{self, Style};
use crate::go::val::{Items, Val};

pub(super) const TABLE: &[Func] = &[
    f("toYaml", &[Ty::Any], to_yaml),
    f("fromYaml", &[Ty::Str], |ctx, args| from_yaml(ctx, &utf8(args, 0))),
];

/// As in External Secrets, a value that can't be written results in the empty string.
fn to_yaml(ctx: &mut Context, args: &[Val]) -> Ran {
    let style = Style {
        escape_html: true,
        pretty: false,
    };
    // Converts to JSON first, which determines how numbers and strings with invalid bytes are written.
    let Some(encoded) = json::encode(ctx, &any(args, 0), style)? else {
        return Ok(Val::str(""));
    };
    let encoded = String::from_utf8_lossy(&encoded);
    // YAML does not allow the control characters that JSON does not escape.
    if encoded
        .chars()
        .any(|c| matches!(c, '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}'))
    {
        return Ok(Val::str(""));
    }
    let Ok(value) = serde_json::from_str::<serde_json::Value>(&encoded) else {
        return Err(Fault::Limit("a value is nested too deeply"));
    };
    ctx.work(encoded.len() as u64 / 16)?;
    let mut out = emit::emit(&normal(value));
    if out.ends_with('\n') {
        out.pop();
    }
    ctx.text(out)
}

fn normal(value: serde_json::Value) -> Yaml {
    match value {
        serde_json::Value::Null => Yaml::Plain("null".to_owned()),
        serde_json::Value::Bool(value) => Yaml::Plain(value.to_string()),
        serde_json::Value::Number(number) => Yaml::Plain(match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => int.to_string(),
            (None, Some(int)) => int.to_string(),
            // YAML reads `-0` as an integer.
            _ if number.as_f64() == Some(0.0) => "0".to_owned(),
            _ => resolve::float_text(number.as_f64().unwrap_or_default()),
        }),
        serde_json::Value::String(text) => Yaml::Text(text),
        serde_json::Value::Array(items) => Yaml::List(items.into_iter().map(normal).collect()),
        serde_json::Value::Object(fields) => {
            Yaml::Map(fields.into_iter().map(|(key, value)| (key, normal(value))).collect())
        }
    }
}

/// Parses a map. The result for any other text is a map with the error under `Error`.
fn from_yaml(ctx: &mut Context, source: &str) -> Ran {
    let message = match load(ctx, source, false) {
        Ok(Val::Map(map)) => return Ok(Val::Map(map)),
        Ok(Val::Nil) => return Ok(ctx.map(Items::new())),
        Ok(other) => {
            let kind = match other {
                Val::Str(_) => "string",
                Val::Bool(_) => "bool",
                Val::List(_) => "array",
                _ => "number",
            };
            format!(
                "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
            )
        }
        Err(Stop::Fault(fault)) => return Err(fault),
        Err(Stop::Syntax) => "error converting YAML to JSON: yaml: the text is not valid".to_owned(),
    };
    let mut items = Items::new();
    items.insert(b"Error".as_slice().into(), Val::str(message));
    Ok(ctx.map(items))
}
