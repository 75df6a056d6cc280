use std::collections::BTreeMap;
use std::fmt;

/// What `.` is: names to values. If all of them are strings it is Go's `map[string]string`, as External Secrets has it
/// (so `get . "key"` is a type error, as there); otherwise a `map[string]interface {}`.
pub type Values = BTreeMap<String, Value>;

/// A value given to a template. `Debug` shows its kind only: values are secrets.
#[derive(Clone, PartialEq, Default)]
#[non_exhaustive]
pub enum Value {
    /// Go's `nil`.
    #[default]
    Nil,
    /// A `bool`.
    Bool(bool),
    /// An `int`.
    Int(i64),
    /// A `float64`.
    Float(f64),
    /// A `string`: in Go any bytes, and so here.
    String(Vec<u8>),
    /// A `[]interface {}`.
    List(Vec<Value>),
    /// A `map[string]interface {}`.
    Map(BTreeMap<String, Value>),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nil => "Nil",
            Self::Bool(_) => "Bool(..)",
            Self::Int(_) => "Int(..)",
            Self::Float(_) => "Float(..)",
            Self::String(_) => "String(..)",
            Self::List(_) => "List(..)",
            Self::Map(_) => "Map(..)",
        })
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.as_bytes().to_vec())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text.into_bytes())
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::String(bytes.to_vec())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::String(bytes)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        Self::List(items)
    }
}

impl From<BTreeMap<String, Value>> for Value {
    fn from(items: BTreeMap<String, Value>) -> Self {
        Self::Map(items)
    }
}
