//! The 1Password Connect REST surface
