//! Identities of age plugins (`AGE-PLUGIN-NAME-1…`). The program `age-plugin-NAME` decrypts with them, if it is installed.

use std::borrow::Cow;

use age::NoCallbacks;
use age::plugin::{Identity, IdentityPluginV1};

/// Parses `AGE-PLUGIN-NAME-1…`, and finds the program. Returns what decrypts, and its name for messages.
///
/// The plugin can't ask for anything (a PIN, a touch that has to be confirmed), because nobody sits at a server.
pub(super) fn parse(word: &str) -> Result<(IdentityPluginV1<NoCallbacks>, String), Cow<'static, str>> {
    let identity: Identity = word.parse().map_err(|_| "not a valid identity of an age plugin")?;
    let program = format!("age-plugin-{}", identity.plugin());
    let plugin = IdentityPluginV1::new(identity.plugin(), std::slice::from_ref(&identity), NoCallbacks)
        .map_err(|_| format!("the program {program} is not on the PATH; install it, or use another kind of key"))?;
    Ok((plugin, program))
}
