//! What a Go template borrows from Go itself, beside what others do, too (`sidevault-go`): dynamic values, `fmt`, `strconv`, `time`, `encoding/json`, `net/url`.

pub(crate) mod duration;
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

pub(crate) use sidevault_go::{base64, float, regex, unicode};
