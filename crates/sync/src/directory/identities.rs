//! Age keys, from where `sops` looks for them.

use std::path::{Path, PathBuf};

use sidevault_sops::Identities;
use zeroize::Zeroizing;

/// All keys of `file`, SOPS_AGE_KEY, SOPS_AGE_KEY_FILE, and the user's `sops/age/keys.txt`.
/// Read at each look at a tree, so that a new key works without a restart.
pub(crate) fn load(file: Option<&Path>) -> Result<Identities, String> {
    let mut identities = Identities::default();
    if let Some(file) = file {
        identities.extend(read(file)?);
    }
    if let Ok(keys) = std::env::var("SOPS_AGE_KEY").map(Zeroizing::new)
        && !keys.trim().is_empty()
    {
        identities.extend(Identities::parse(&keys).map_err(|error| format!("SOPS_AGE_KEY: {error}"))?);
    }
    match std::env::var_os("SOPS_AGE_KEY_FILE") {
        Some(file) if !file.is_empty() => identities.extend(read(Path::new(&file))?),
        _ => {
            if let Some(file) = users_file().filter(|file| file.exists()) {
                identities.extend(read(&file)?);
            }
        }
    }
    Ok(identities)
}

fn users_file() -> Option<PathBuf> {
    let config = std::env::var_os("XDG_CONFIG_HOME")
        .filter(|dir| !dir.is_empty())
        .map(PathBuf::from);
    let config = config.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")))?;
    Some(config.join("sops/age/keys.txt"))
}

fn read(file: &Path) -> Result<Identities, String> {
    let named = |error: &dyn std::fmt::Display| format!("age keys in {}: {error}", file.display());
    let text = std::fs::read_to_string(file)
        .map(Zeroizing::new)
        .map_err(|error| named(&error))?;
    Identities::parse(&text).map_err(|error| named(&error))
}
