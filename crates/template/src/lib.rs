//! Go templates as External Secrets renders them: Go's `text/template` with `missingkey=error`, sprig's functions
//! except those that read the environment or the network, and External Secrets' functions for certificates, keys and
//! YAML.
//!
//! The output is meant to be the same to the byte. `tests/template` contains a table of templates with the output of
//! External Secrets.
//!
//! No I/O, except the clock and the random numbers that functions such as `now` and `uuidv4` need. The crate knows
//! nothing of Kubernetes. [`limits`] bounds the work of a rendering. The local time zone is UTC, as in a container.
//!
//! Known differences:
//!
//! * `keys` and `values` return the order of the keys; Go's order changes with every run.
//! * Errors contain no values. `fail` shows its message only if it is a literal of the template.
//! * `fromYaml` describes syntax errors, under `Error`, in other words. It refuses a tab between a colon and its value,
//!   and a closing bracket in the first column. It accepts `\/` in double quotes. U+0085, U+2028 and U+2029 are not
//!   line ends.
//! * Regular expressions are translated from Go's syntax and executed by the crate `regex`.
//! * These are not supported and result in an error: complex constants, DSA keys, certificates with P-521 keys, JWKs
//!   other than RSA, EC (P-256, P-384, P-521) and Ed25519, and methods that change a version in place (`Scan`,
//!   `UnmarshalText`, `UnmarshalJSON`).
//! * Times are limited to the years -9999 to 9999. An addition that leads out of them is an error; a number of seconds
//!   since 1970 that does is read as the first or the last moment.
//! * Where Go prints the address of a pointer, this crate prints the value that it points to, and of a `*time.Location`
//!   only the name.
//! * The key identifiers of generated certificates are made with SHA-256 (RFC 7093).
//!
//! The crate `gtmpl` can't be used: its strings are not bytes; it does not have Go's dynamic types, which `eq`, `printf
//! "%T"` and the parameters of all functions depend on; it lacks `break`, `else with`, `range` over integers, and
//! sprig.
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
