//! Which server, and with which token.

use std::path::Path;

use sidevault_client::{Client, ClientBuilder};

use crate::environment::Environment;
use crate::exit::Failure;
use crate::installation::{TOKEN_FILE, URL_FILE, quickstart_directory};

/// The address if nobody says otherwise and quickstart never ran.
pub(crate) const DEFAULT_HOST: &str = "http://localhost:8080";

/// The server's address: OP_CONNECT_HOST, else where a quickstart on this data directory listened last.
pub(crate) fn host(environment: &Environment, data: &Path) -> Option<String> {
    let noted = || std::fs::read_to_string(data.join(URL_FILE)).ok();
    match environment.get("OP_CONNECT_HOST") {
        Some(host) => Some(host.to_owned()),
        None => noted().map(|url| url.trim().to_owned()),
    }
}

/// The token: OP_CONNECT_TOKEN, else in the file SIDEVAULT_TOKEN_FILE names, else that of a quickstart on this data
/// directory.
pub(crate) fn token(environment: &Environment, data: &Path) -> Result<String, Failure> {
    if let Some(token) = environment.get("OP_CONNECT_TOKEN") {
        return Ok(token.to_owned());
    }
    if let Some(path) = environment.get("SIDEVAULT_TOKEN_FILE") {
        return std::fs::read_to_string(Path::new(path))
            .map_err(|error| Failure::Usage(format!("SIDEVAULT_TOKEN_FILE ({path}): {error}")));
    }
    std::fs::read_to_string(data.join(TOKEN_FILE)).map_err(|_| {
        Failure::Usage(
            "no token: set OP_CONNECT_TOKEN (sidevault token create makes one), or run sidevault quickstart".to_owned(),
        )
    })
}

/// A client for it.
pub(crate) fn connect(environment: &Environment) -> Result<Client, Failure> {
    let data = quickstart_directory(environment);
    let host = host(environment, &data).unwrap_or_else(|| DEFAULT_HOST.to_owned());
    let builder = ClientBuilder::new(host, token(environment, &data)?)
        .user_agent(concat!("sidevault/", env!("CARGO_PKG_VERSION")));
    Ok(builder.build()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn without_variables_the_last_quickstart_is_meant() {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("sidevault");
        let environment = Environment::from([("XDG_DATA_HOME", root.path().to_str().unwrap())]);
        assert_eq!(host(&environment, &data), None);
        assert_eq!(token(&environment, &data).unwrap_err().code(), 2);
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join(URL_FILE), "http://localhost:9").unwrap();
        std::fs::write(data.join(TOKEN_FILE), "t\n").unwrap();
        assert_eq!(host(&environment, &data).unwrap(), "http://localhost:9");
        assert_eq!(token(&environment, &data).unwrap().trim(), "t");
    }
}
