//! Regular expressions, numbers, durations, JSON and base64 as Go's standard library reads and prints them, for files
//! and manifests that were written for a program in Go: External Secrets, sops.
//!
//! No I/O. No error quotes the input, except where a function says so.

pub mod base64;
pub mod duration;
pub mod float;
pub mod json;
pub mod regex;
pub mod unicode;
