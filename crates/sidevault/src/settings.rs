//! The daemons' settings, read from environment variables. The variables are Connect's own
//! (`docs/configuration.md` of 1Password/connect); ours are called `SIDEVAULT_*`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sidevault_api::{Acme, DnsName, RevokedFile};
use sidevault_keys::RevocationList;
use sidevault_store::Database;
use sidevault_sync::LowDisk;

use crate::duration;
use crate::environment::Environment;
use crate::exit::Failure;

/// Where the credentials are unless OP_SESSION is set. The path does not depend on `$HOME`, which is often `/` in a
/// container.
pub(crate) const DEFAULT_SESSION: &str = "/home/opuser/.op/1password-credentials.json";

/// Where `.op/data` is if `XDG_DATA_HOME` is not set.
const DEFAULT_HOME: &str = "/home/opuser";

/// The api's bus port: the one the deployment examples of Connect use.
pub(crate) const API_BUS_PORT: u16 = 11220;

/// One of the two processes of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Api,
    Sync,
}

/// The settings of a daemon.
#[derive(Debug)]
pub(crate) struct Settings {
    /// OP_SESSION: a path, JSON, or base64.
    pub(crate) session: String,
    pub(crate) data: PathBuf,
    /// SIDEVAULT_STORE, else the data directory.
    pub(crate) database: Database,
    /// SIDEVAULT_REPLICA.
    pub(crate) replica: Option<PathBuf>,
    /// SIDEVAULT_STORE_CONNECTIONS.
    pub(crate) store_connections: u32,
    pub(crate) http_port: u16,
    pub(crate) https_port: u16,
    /// The port on which the bus listens; `None`: it does not listen.
    pub(crate) bus_port: Option<u16>,
    /// The peers that the bus dials, as `host:port`.
    pub(crate) bus_peers: Vec<String>,
    pub(crate) sync_timeout: Duration,
    pub(crate) inline_file_bytes: u64,
    pub(crate) tls: TlsSetting,
    pub(crate) passphrase_file: Option<PathBuf>,
    /// The revocation list: SIDEVAULT_REVOKED_FILE, else the file beside the credentials.
    pub(crate) revoked: Option<RevokedFile>,
    pub(crate) sync_config: Option<PathBuf>,
    pub(crate) low_disk: LowDisk,
    /// SIDEVAULT_HEALTH_DETAILS.
    pub(crate) health_details: bool,
    /// SIDEVAULT_UI.
    pub(crate) page: bool,
}

/// Where the api's certificate comes from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TlsSetting {
    Off,
    Files {
        certificate: PathBuf,
        key: PathBuf,
    },
    Acme {
        domain: DnsName<'static>,
        /// SIDEVAULT_ACME_DIRECTORY.
        directory: String,
        /// SIDEVAULT_ACME_CA_FILE.
        authority: Option<PathBuf>,
    },
}

impl Settings {
    /// Reads the settings for a role.
    ///
    /// # Errors
    /// A value that is not valid; the message names the variable.
    pub(crate) fn read(environment: &Environment, role: Role) -> Result<Self, Failure> {
        let (http_port, bus_port) = match role {
            Role::Api => (8080, Some(API_BUS_PORT)),
            Role::Sync => (8081, None),
        };
        let bus_port = port(environment, "OP_BUS_PORT")?.or(bus_port);
        let bus_peers = match environment.get("OP_BUS_PEERS") {
            Some(list) => peers(list)?,
            None if bus_port.is_none() => vec![format!("localhost:{API_BUS_PORT}")],
            None => Vec::new(),
        };
        let session = environment.get("OP_SESSION").unwrap_or(DEFAULT_SESSION).to_owned();
        let data = data_directory(environment);
        let database = database(environment, &data)?;
        let replica = environment.get("SIDEVAULT_REPLICA").map(PathBuf::from);
        if replica.is_some() && database.is_in_directory() {
            return Err(Failure::Config(
                "SIDEVAULT_REPLICA: only a store in PostgreSQL can be copied: set SIDEVAULT_STORE to its URL"
                    .to_owned(),
            ));
        }
        Ok(Self {
            revoked: revoked_file(environment, &session),
            session,
            database,
            replica,
            store_connections: store_connections(environment)?,
            data,
            http_port: port(environment, "OP_HTTP_PORT")?.unwrap_or(http_port),
            https_port: port(environment, "OP_HTTPS_PORT")?.unwrap_or(8443),
            bus_port,
            bus_peers,
            sync_timeout: match environment.get("OP_SYNC_TIMEOUT") {
                Some(text) => {
                    duration::parse(text).map_err(|error| Failure::Config(format!("OP_SYNC_TIMEOUT: {error}")))?
                }
                None => Duration::from_secs(10),
            },
            inline_file_bytes: match environment.get("OP_MAX_INLINE_FILE_SIZE_KB") {
                Some(text) => number::<u32>("OP_MAX_INLINE_FILE_SIZE_KB", text, "a number of kilobytes")?,
                None => 100,
            } as u64
                * 1024,
            tls: tls(environment)?,
            passphrase_file: environment.get("SIDEVAULT_PASSPHRASE_FILE").map(PathBuf::from),
            sync_config: environment.get("SIDEVAULT_SYNC_CONFIG").map(PathBuf::from),
            low_disk: low_disk(environment)?,
            health_details: health_details(environment)?,
            page: switch(environment, "SIDEVAULT_UI", false)?,
        })
    }
}

/// SIDEVAULT_LOW_DISK_MB, in MiB.
pub(crate) fn low_disk(environment: &Environment) -> Result<LowDisk, Failure> {
    const NAME: &str = "SIDEVAULT_LOW_DISK_MB";
    let megabytes = environment
        .get(NAME)
        .map(|text| number::<u32>(NAME, text, "a number of megabytes"))
        .transpose()?;
    Ok(LowDisk {
        below: megabytes.map(|megabytes| u64::from(megabytes) << 20),
    })
}

/// Where the revocation list is. A file that SIDEVAULT_REVOKED_FILE names must exist; the default one may be missing.
pub(crate) fn revoked_file(environment: &Environment, session: &str) -> Option<RevokedFile> {
    if let Some(path) = environment.get("SIDEVAULT_REVOKED_FILE") {
        return Some(RevokedFile {
            path: path.into(),
            required: true,
        });
    }
    RevocationList::default_path(session).map(|path| RevokedFile { path, required: false })
}

/// SIDEVAULT_HEALTH_DETAILS: whether `/health` and `/metrics` show everything without a token.
///
/// # Errors
/// If it is neither `true` or `1` nor `false` or `0`.
pub(crate) fn health_details(environment: &Environment) -> Result<bool, Failure> {
    switch(environment, "SIDEVAULT_HEALTH_DETAILS", false)
}

/// A variable that is `true` or `1`, or `false` or `0`.
///
/// # Errors
/// If it is something else.
pub(crate) fn switch(environment: &Environment, name: &str, default: bool) -> Result<bool, Failure> {
    match environment.get(name) {
        None => Ok(default),
        Some("false" | "0") => Ok(false),
        Some("true" | "1") => Ok(true),
        Some(other) => Err(Failure::Config(format!(
            "{name}: \"{}\" is neither true nor false",
            shortened(other)
        ))),
    }
}

/// The daemons' data directory.
pub(crate) fn data_directory(environment: &Environment) -> PathBuf {
    PathBuf::from(environment.get("XDG_DATA_HOME").unwrap_or(DEFAULT_HOME)).join(".op/data")
}

/// The store that SIDEVAULT_STORE names, else the one in the data directory.
pub(crate) fn database(environment: &Environment, data: &Path) -> Result<Database, Failure> {
    match environment.get("SIDEVAULT_STORE") {
        Some(setting) => Ok(Database::from_setting(setting)?),
        None => Ok(Database::Sqlite(data.to_owned())),
    }
}

fn port(environment: &Environment, name: &str) -> Result<Option<u16>, Failure> {
    environment
        .get(name)
        .map(|text| number(name, text, "a port, 0 to 65535"))
        .transpose()
}

fn number<T: std::str::FromStr>(name: &str, text: &str, what: &str) -> Result<T, Failure> {
    text.parse()
        .map_err(|_| Failure::Config(format!("{name}: \"{}\" is not {what}", shortened(text))))
}

/// How many connections to the database an api may have.
fn store_connections(environment: &Environment) -> Result<u32, Failure> {
    const NAME: &str = "SIDEVAULT_STORE_CONNECTIONS";
    const WHAT: &str = "a number from 1 to 100";
    let Some(text) = environment.get(NAME) else {
        return Ok(5);
    };
    match number(NAME, text, WHAT)? {
        connections @ 1..=100 => Ok(connections),
        _ => Err(Failure::Config(format!("{NAME}: \"{text}\" is not {WHAT}"))),
    }
}

/// The first 40 characters of a wrong value: enough to recognise it.
fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

fn peers(list: &str) -> Result<Vec<String>, Failure> {
    list.split(',')
        .map(str::trim)
        .filter(|peer| !peer.is_empty())
        .map(|peer| {
            let port = peer.rsplit_once(':').filter(|(host, _)| !host.is_empty());
            match port.and_then(|(_, port)| port.parse::<u16>().ok()) {
                Some(_) => Ok(peer.to_owned()),
                None => Err(Failure::Config(format!(
                    "OP_BUS_PEERS: \"{}\" is not host:port",
                    shortened(peer)
                ))),
            }
        })
        .collect()
}

fn tls(environment: &Environment) -> Result<TlsSetting, Failure> {
    let file = |name| environment.get(name).map(PathBuf::from);
    let refuse = |message: &str| Err(Failure::Config(message.to_owned()));
    let domain = environment.get("OP_TLS_DOMAIN");
    match (
        file("OP_TLS_CERT_FILE"),
        file("OP_TLS_KEY_FILE"),
        environment.get("OP_TLS_USE_LETSENCRYPT"),
        domain,
    ) {
        (Some(_), None, ..) => refuse("OP_TLS_CERT_FILE is set but OP_TLS_KEY_FILE is not: TLS needs both"),
        (None, Some(_), ..) => refuse("OP_TLS_KEY_FILE is set but OP_TLS_CERT_FILE is not: TLS needs both"),
        (Some(_), Some(_), Some(_), _) => {
            refuse("OP_TLS_CERT_FILE and OP_TLS_USE_LETSENCRYPT are both set: choose one source of certificates")
        }
        (Some(certificate), Some(key), None, _) => Ok(TlsSetting::Files { certificate, key }),
        (None, None, Some(_), None) => {
            refuse("OP_TLS_USE_LETSENCRYPT is set but OP_TLS_DOMAIN is not: a certificate is for a name")
        }
        // As with Connect, the name alone turns it on.
        (None, None, _, Some(domain)) => acme(environment, domain),
        (None, None, None, None) => Ok(TlsSetting::Off),
    }
}

fn acme(environment: &Environment, domain: &str) -> Result<TlsSetting, Failure> {
    let domain = domain.trim_end_matches('.');
    // `*.` needs another proof than this server can give, and no authority certifies one label.
    let name = DnsName::try_from(domain.to_owned())
        .ok()
        .filter(|_| domain.contains('.'));
    let domain = name.ok_or_else(|| {
        let shown = shortened(domain);
        Failure::Config(format!(
            "OP_TLS_DOMAIN: \"{shown}\" is not a full domain name, such as vault.example.com"
        ))
    })?;
    let directory = environment
        .get("SIDEVAULT_ACME_DIRECTORY")
        .unwrap_or(Acme::LETS_ENCRYPT);
    if !directory.starts_with("https://") {
        return Err(Failure::Config(
            "SIDEVAULT_ACME_DIRECTORY: not an https:// URL".to_owned(),
        ));
    }
    Ok(TlsSetting::Acme {
        domain: domain.to_lowercase_owned(),
        directory: directory.to_owned(),
        authority: environment.get("SIDEVAULT_ACME_CA_FILE").map(PathBuf::from),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_variables_api_and_sync_use_matching_ports() {
        let none = Environment::default();
        let api = Settings::read(&none, Role::Api).unwrap();
        let sync = Settings::read(&none, Role::Sync).unwrap();
        assert_eq!(
            (api.http_port, api.bus_port, api.bus_peers.len()),
            (8080, Some(11220), 0)
        );
        assert_eq!((sync.http_port, sync.bus_port), (8081, None));
        assert_eq!(sync.bus_peers, ["localhost:11220"]);
        assert_eq!(api.data, PathBuf::from("/home/opuser/.op/data"));
        assert_eq!(api.session, DEFAULT_SESSION);
        assert_eq!(api.inline_file_bytes, 102_400);
    }

    #[test]
    fn a_sync_with_a_port_waits_for_apis_and_connects_to_none() {
        let environment = Environment::from([("OP_BUS_PORT", "11220")]);
        let sync = Settings::read(&environment, Role::Sync).unwrap();
        assert_eq!((sync.bus_port, sync.bus_peers.len()), (Some(11220), 0));
    }

    #[test]
    fn the_revocation_list_is_named_or_beside_the_credentials() {
        let found = |variables: [(&'static str, &'static str); 2]| {
            let settings = Settings::read(&Environment::from(variables), Role::Api).unwrap();
            settings.revoked.map(|file| (file.path, file.required))
        };
        let path = PathBuf::from;
        let session = ("OP_SESSION", "/keys/c.json");
        assert_eq!(
            found([session, ("SIDEVAULT_REVOKED_FILE", "/list")]),
            Some((path("/list"), true))
        );
        assert_eq!(found([session, ("X", "")]), Some((path("/keys/revoked-tokens"), false)));
        let beside_default = Some((path("/home/opuser/.op/revoked-tokens"), false));
        assert_eq!(found([("X", ""), ("Y", "")]), beside_default);
        assert_eq!(found([("OP_SESSION", "eyJmb3JtYXQiOiJ4In0="), ("X", "")]), None);
    }

    #[test]
    fn variables_as_the_helm_chart_sets_them_are_read() {
        let environment = Environment::from([
            ("OP_BUS_PORT", "11221"),
            ("OP_BUS_PEERS", "localhost:11220, [::1]:11222,"),
            ("XDG_DATA_HOME", "/data"),
            ("OP_SYNC_TIMEOUT", "1m"),
            ("OP_HTTP_PORT", ""),
        ]);
        let sync = Settings::read(&environment, Role::Sync).unwrap();
        assert_eq!(sync.bus_port, Some(11221));
        assert_eq!(sync.bus_peers, ["localhost:11220", "[::1]:11222"]);
        assert_eq!(sync.data, PathBuf::from("/data/.op/data"));
        assert_eq!(sync.sync_timeout, Duration::from_secs(60));
        assert_eq!(sync.http_port, 8081);
    }

    #[test]
    fn an_error_names_the_variable() {
        for (name, value) in [
            ("OP_HTTP_PORT", "80a"),
            ("OP_BUS_PORT", "70000"),
            ("OP_BUS_PEERS", "localhost"),
            ("OP_SYNC_TIMEOUT", "10"),
            ("OP_MAX_INLINE_FILE_SIZE_KB", "-1"),
            ("SIDEVAULT_LOW_DISK_MB", "64Mi"),
            ("SIDEVAULT_HEALTH_DETAILS", "perhaps"),
            ("SIDEVAULT_UI", "yes"),
            ("SIDEVAULT_STORE", "postgres://db:port/vaults"),
            ("SIDEVAULT_STORE", "/missing"),
            ("SIDEVAULT_REPLICA", "/var/lib/replica"),
            ("SIDEVAULT_STORE_CONNECTIONS", "0"),
            ("OP_TLS_CERT_FILE", "/c.pem"),
            ("OP_TLS_KEY_FILE", "/k.pem"),
            ("OP_TLS_USE_LETSENCRYPT", "1"),
            ("OP_TLS_DOMAIN", "*.example.com"),
            ("OP_TLS_DOMAIN", "localhost"),
            ("OP_TLS_DOMAIN", "https://vault.example.com"),
        ] {
            let failure = Settings::read(&Environment::from([(name, value)]), Role::Api).unwrap_err();
            assert!(failure.to_string().contains(name), "{failure}");
            assert_eq!(failure.code(), 78);
        }
    }

    #[test]
    fn a_domain_means_lets_encrypt_unless_another_server_is_named() {
        let tls = |directory| {
            let environment = Environment::from([
                ("OP_TLS_USE_LETSENCRYPT", "yes"),
                ("OP_TLS_DOMAIN", "Vault.Example.com."),
                ("SIDEVAULT_ACME_DIRECTORY", directory),
            ]);
            Settings::read(&environment, Role::Api).map(|settings| settings.tls)
        };
        let TlsSetting::Acme {
            domain,
            directory,
            authority,
        } = tls("").unwrap()
        else {
            panic!("not ACME");
        };
        assert_eq!(domain.as_ref(), "vault.example.com");
        assert_eq!((directory.as_str(), authority), (Acme::LETS_ENCRYPT, None));
        let failure = tls("http://ca.internal/dir").unwrap_err();
        assert!(failure.to_string().contains("SIDEVAULT_ACME_DIRECTORY"), "{failure}");
    }
}
