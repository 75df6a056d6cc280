//! What Go's standard library makes of regular expressions, numbers, JSON and base64, wherever files and manifests were
//! written for a program in Go: External Secrets, sops.
//!
//! Pure. No error quotes what was given, unless it is asked to.

pub mod base64;
pub mod float;
pub mod json;
pub mod regex;
pub mod unicode;
