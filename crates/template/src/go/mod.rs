//! The parts of Go's standard library that only templates need: dynamic values, `fmt`, `strconv`, `time`,
//! `encoding/json`, `net/url`. Parts that other crates need too are in `sidevault-go`.

pub(crate) mod fmt;
pub(crate) mod held;
pub(crate) mod json;
pub(crate) mod layout;
pub(crate) mod path;
pub(crate) mod pem;
pub(crate) mod strconv;
pub(crate) mod time;
pub(crate) mod url;
pub(crate) mod val;

pub(crate) use sidevault_go::{base64, duration, float, regex, unicode};
