//! The process's environment, read once, so that tests can bring their own.

use std::collections::BTreeMap;

/// Variables and their values. A variable that is set to nothing counts as not set: that is how
/// compose files and charts leave a variable out.
#[derive(Clone, Default)]
pub(crate) struct Environment(BTreeMap<String, String>);

/// Connect's variables, and the ones its clients read.
const KNOWN: [&str; 22] = [
    "OP_SESSION",
    "OP_HTTP_PORT",
    "OP_HTTPS_PORT",
    "OP_LOG_LEVEL",
    "OP_BUS_PORT",
    "OP_BUS_PEERS",
    "OP_SYNC_TIMEOUT",
    "OP_TLS_CERT_FILE",
    "OP_TLS_KEY_FILE",
    "OP_TLS_USE_LETSENCRYPT",
    "OP_TLS_DOMAIN",
    "OP_MAX_INLINE_FILE_SIZE_KB",
    "OP_PROFILER_OUTPUT_DIR",
    "OP_PROFILER_INTERVAL",
    "OP_PROFILER_KEEP_LAST",
    "OP_CONNECT_HOST",
    "OP_CONNECT_TOKEN",
    "OP_VAULT",
    "OP_ACCOUNT",
    "OP_SERVICE_ACCOUNT_TOKEN",
    "OP_FORMAT",
    "OP_RUN_NO_MASKING",
];

impl Environment {
    /// This process's environment. Variables that are not UTF-8 are left out: none of our settings is.
    pub(crate) fn of_process() -> Self {
        Self(variables_of_process().collect())
    }

    /// A variable's value, without white space around it.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// A warning that names the variables `OP_*` which are not Connect's, if there are any. No error: a Kubernetes Service
    /// named `op-…` sets some.
    pub(crate) fn unknown_variables(&self) -> Option<String> {
        let names = self.0.keys().map(String::as_str);
        let unknown: Vec<&str> = names
            .filter(|name| name.starts_with("OP_") && !KNOWN.contains(name))
            .collect();
        (!unknown.is_empty()).then(|| format!("these variables are not known and are ignored: {}", unknown.join(", ")))
    }
}

/// The variables of this process that are text.
pub(crate) fn variables_of_process() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Self {
        Self(
            variables
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_variables_are_named() {
        let environment = Environment::from([("OP_HTTP_PROT", "1"), ("OP_SESSION", "x"), ("OPAL", "y")]);
        let warning = environment.unknown_variables().unwrap();
        assert!(warning.ends_with(": OP_HTTP_PROT"), "{warning}");
    }
}
