//! Typed async client for any server that speaks the 1Password Connect API
