//! What a Go template borrows from Go itself: dynamic values, `fmt`, `strconv`, `time`, `encoding/json`, `net/url`. What
//! others borrow, too, is in `sidevault-go`.

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
