//! Which server, and with which token.

use std::path::Path;

use sidevault_client::{Client, ClientBuilder};

use crate::environment::Environment;
use crate::exit::Failure;
use crate::installation::{TOKEN_FILE, URL_FILE, quickstart_directory};

/// The address if nobody says otherwise and quickstart never ran.
const DEFAULT_HOST: &str = "http://localhost:8080";

/// The server's address: OP_CONNECT_HOST, else where quickstart listened last.
pub(crate) fn host(environment: &Environment) -> String {
    let noted = quickstart_directory(environment).join(URL_FILE);
    match environment.get("OP_CONNECT_HOST") {
        Some(host) => host.to_owned(),
        None => std::fs::read_to_string(noted).map_or(DEFAULT_HOST.to_owned(), |url| url.trim().to_owned()),
    }
}

/// The token: OP_CONNECT_TOKEN, else in the file SIDEVAULT_TOKEN_FILE names, else quickstart's.
pub(crate) fn token(environment: &Environment) -> Result<String, Failure> {
    if let Some(token) = environment.get("OP_CONNECT_TOKEN") {
        return Ok(token.to_owned());
    }
    if let Some(path) = environment.get("SIDEVAULT_TOKEN_FILE") {
        return std::fs::read_to_string(Path::new(path))
            .map_err(|error| Failure::Usage(format!("SIDEVAULT_TOKEN_FILE ({path}): {error}")));
    }
    std::fs::read_to_string(quickstart_directory(environment).join(TOKEN_FILE)).map_err(|_| {
        Failure::Usage(
            "no token: set OP_CONNECT_TOKEN (sidevault token create makes one), or run sidevault quickstart".to_owned(),
        )
    })
}

/// A client for it.
pub(crate) fn connect(environment: &Environment) -> Result<Client, Failure> {
    let builder = ClientBuilder::new(host(environment), token(environment)?)
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
        assert_eq!(host(&environment), DEFAULT_HOST);
        assert_eq!(token(&environment).unwrap_err().code(), 2);
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join(URL_FILE), "http://localhost:9").unwrap();
        std::fs::write(data.join(TOKEN_FILE), "t\n").unwrap();
        assert_eq!(host(&environment), "http://localhost:9");
        assert_eq!(token(&environment).unwrap().trim(), "t");
    }
}
