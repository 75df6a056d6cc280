//! Go templates as External Secrets runs them: Go's `text/template` with `missingkey=error`, sprig's functions without
//! those that read the environment or the network, and External Secrets' own for certificates, keys and YAML.
//!
//! The rule for every observable byte is the real engine; `tests/template` holds a table of templates and what the
//! engine makes of them.
//!
//! Pure: no I/O beyond the clock and randomness that `now`, `uuidv4` and their like ask for, and nothing of Kubernetes.
//! Work is bounded by [`limits`]. The local time zone is UTC, as it is in a container.
//!
//! Where it differs, on purpose or for want of a part:
//!
//! * `keys` and `values` come in the order of the keys; Go's order is a different one at every run.
//! * Errors hold no values. `fail` shows a message that stands in the template, and none that was put together.
//! * `fromYaml` says in words of its own, under `Error`, what is wrong with the syntax. It takes for wrong a tab
//!   between a colon and its value, and a bracket that closes at the margin; and `\/` in double quotes for right.
//!   U+0085, U+2028 and U+2029 end no line.
//! * A regular expression is compiled by the `regex` crate, after its syntax was translated from Go's.
//! * Not supported, and an error: complex constants, DSA keys, certificates with P-521 keys, JWKs of kinds other than
//!   RSA, EC (P-256, P-384, P-521) and Ed25519, methods that change a version in place (`Scan`, `UnmarshalText`,
//!   `UnmarshalJSON`).
//! * Times are those of the years -9999 to 9999, where Go goes on: moving one out of them is an error, and seconds since
//!   1970 that lead out of them are the first or the last of them.
//! * Where Go prints the address of a pointer, this prints what it points to; and of a `*time.Location` never more than
//!   its name.
//! * Certificates carry key identifiers made with SHA-256 (RFC 7093).
//!
//! The crate `gtmpl` does not carry this: its values are not bytes, it knows neither Go's dynamic types (which `eq`,
//! `printf "%T"` and every function's parameters depend on) nor `break`, `else with` and range over integers, and it
//! has no sprig.
//!
//! ```
//! use sidevault_template::{Template, Value, Values};
//!
//! let data = Values::from([("user".to_owned(), Value::from("ada"))]);
//! let template = Template::parse("config", "{{ .user | upper | quote }}")?;
//! assert_eq!(template.render(&data)?, b"\"ADA\"");
//! # Ok::<(), sidevault_template::TemplateError>(())
//! ```

mod ast;
mod error;
mod exec;
mod funcs;
mod go;
mod lex;
pub mod limits;
mod parse;
mod template;
mod value;

pub use error::TemplateError;
pub use funcs::yaml::{YamlError, yaml_string_map};
pub use limits::Budget;
pub use template::{Template, function_names};
pub use value::{Value, Values};
