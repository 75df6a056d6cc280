//! The settings that the AWS tools have, and the HTTP client.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{HttpClient, HttpConnector};
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, RetryConfig};
use sidevault_net::Authorities;

/// The environment variables of the AWS tools that the crate reads in the same way. The first that is set wins, where two mean the same.
const VARIABLES: [(&str, AmazonS3ConfigKey); 14] = [
    (ACCESS_KEY, AmazonS3ConfigKey::AccessKeyId),
    ("AWS_SECRET_ACCESS_KEY", AmazonS3ConfigKey::SecretAccessKey),
    ("AWS_SESSION_TOKEN", AmazonS3ConfigKey::Token),
    ("AWS_REGION", AmazonS3ConfigKey::Region),
    ("AWS_DEFAULT_REGION", AmazonS3ConfigKey::DefaultRegion),
    ("AWS_ENDPOINT_URL", AmazonS3ConfigKey::Endpoint),
    ("AWS_ENDPOINT_URL_S3", AmazonS3ConfigKey::S3Endpoint),
    ("AWS_ENDPOINT_URL_STS", AmazonS3ConfigKey::StsEndpoint),
    (WEB_IDENTITY, AmazonS3ConfigKey::WebIdentityTokenFile),
    ("AWS_ROLE_ARN", AmazonS3ConfigKey::RoleArn),
    ("AWS_ROLE_SESSION_NAME", AmazonS3ConfigKey::RoleSessionName),
    (CONTAINER, AmazonS3ConfigKey::ContainerCredentialsRelativeUri),
    (POD_IDENTITY, AmazonS3ConfigKey::ContainerCredentialsFullUri),
    (
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        AmazonS3ConfigKey::ContainerAuthorizationTokenFile,
    ),
];

const ACCESS_KEY: &str = "AWS_ACCESS_KEY_ID";
const WEB_IDENTITY: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";
const CONTAINER: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const POD_IDENTITY: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";

/// A request is repeated after an error of the connection or the server, at most so often and so long.
const RETRIES: usize = 4;
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// The longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// The longest wait for an answer, while a part is sent, too: 8 MiB in this time are 70 kB a second.
const ANSWER: Duration = Duration::from_secs(120);

pub(super) struct Connection {
    pub(super) client: AmazonS3,
    pub(super) http: reqwest::Client,
    pub(super) has_credentials: bool,
}

/// # Errors
/// What is wrong with the settings. Never quotes a key.
pub(super) fn open(bucket: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Connection, String> {
    let mut authorities = Authorities::default();
    if let Some(file) = variable("AWS_CA_BUNDLE") {
        let failed = |error: &dyn ToString| format!("AWS_CA_BUNDLE={file}: {}", error.to_string());
        let bundle = fs::read(&file).map_err(|error| failed(&error))?;
        authorities.add(&bundle).map_err(|error| failed(&error))?;
    }
    let http = client(authorities.clone(), CONNECT)?;
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_retry(RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(200),
                max_backoff: Duration::from_secs(5),
                base: 2.0,
            },
            max_retries: RETRIES,
            retry_timeout: LONGEST_RETRY,
        })
        .with_http_connector(Connector {
            authorities,
            http: http.clone(),
        });
    for (name, key) in VARIABLES {
        if let Some(value) = variable(name) {
            builder = builder.with_config(key, value);
        }
    }
    let named = [ACCESS_KEY, WEB_IDENTITY, CONTAINER, POD_IDENTITY];
    let mut has_credentials = named.into_iter().any(|name| variable(name).is_some());
    if !has_credentials && let Some(profile) = profile(variable)? {
        for (key, value) in profile {
            builder = builder.with_config(key, value);
        }
        has_credentials = true;
    }
    let client = builder.build().map_err(|error| error.to_string())?;
    Ok(Connection {
        client,
        http,
        has_credentials,
    })
}

fn client(authorities: Authorities, connect: Duration) -> Result<reqwest::Client, String> {
    let builder = sidevault_net::client_builder(authorities).map_err(|error| error.to_string())?;
    let built = builder
        .connect_timeout(connect)
        .read_timeout(ANSWER)
        .redirect(reqwest::redirect::Policy::none())
        .build();
    built.map_err(|error| error.to_string())
}

/// Gives the crate our HTTP client.
#[derive(Debug)]
struct Connector {
    authorities: Authorities,
    http: reqwest::Client,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        // Only for the metadata service of the machine or container does the crate set this. It answers at once, or there is none.
        let is_metadata = options.get_config_value(&ClientConfigKey::AllowHttp).as_deref() == Some("true");
        if !is_metadata {
            return Ok(HttpClient::new(self.http.clone()));
        }
        let client = client(self.authorities.clone(), Duration::from_secs(1));
        let client = client.map_err(|error| object_store::Error::Generic {
            store: "S3",
            source: error.into(),
        })?;
        Ok(HttpClient::new(client))
    }
}

/// The keys of the profile AWS_PROFILE, or `default`, in the credentials file of the AWS tools. None if there is no file.
fn profile(variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Vec<(AmazonS3ConfigKey, String)>>, String> {
    let named = variable("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from);
    let usual = || Some(PathBuf::from(variable("HOME")?).join(".aws/credentials"));
    let wanted = variable("AWS_PROFILE");
    let is_named = named.is_some() || wanted.is_some();
    let Some(path) = named.or_else(usual) else {
        return Ok(None);
    };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(_) if !is_named => return Ok(None),
        Err(error) => return Err(format!("the credentials file {}: {error}", path.display())),
    };
    let wanted = wanted.as_deref().unwrap_or("default");
    let keys = keys_of(&text, wanted);
    if keys.is_empty() && is_named {
        let why = format!("has no profile {wanted} with aws_access_key_id and aws_secret_access_key");
        return Err(format!("the credentials file {} {why}", path.display()));
    }
    Ok((!keys.is_empty()).then_some(keys))
}

/// The keys of a profile; nothing if one of the two that are needed is missing.
fn keys_of(text: &str, profile: &str) -> Vec<(AmazonS3ConfigKey, String)> {
    let mut section = "";
    let mut keys = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.trim();
        }
        let Some((name, value)) = line.split_once('=').filter(|_| section == profile) else {
            continue;
        };
        let key = match name.trim() {
            "aws_access_key_id" => AmazonS3ConfigKey::AccessKeyId,
            "aws_secret_access_key" => AmazonS3ConfigKey::SecretAccessKey,
            "aws_session_token" => AmazonS3ConfigKey::Token,
            _ => continue,
        };
        keys.push((key, value.trim().to_owned()));
    }
    let has = |wanted| keys.iter().any(|(key, _)| *key == wanted);
    match has(AmazonS3ConfigKey::AccessKeyId) && has(AmazonS3ConfigKey::SecretAccessKey) {
        true => keys,
        false => Vec::new(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_read_from_the_credentials_file() {
        let text = "# mine\n[default]\naws_access_key_id = AK1\naws_secret_access_key=s/1=\n\n[ other ]\n\
                    aws_access_key_id=AK2\naws_secret_access_key = s2\naws_session_token = t2\nregion = x\n[half]\naws_access_key_id=AK3\n";
        let values = |profile| {
            let keys = keys_of(text, profile).into_iter();
            keys.map(|(_, value)| value).collect::<Vec<_>>()
        };
        assert_eq!(values("default"), ["AK1", "s/1="]);
        assert_eq!(values("other"), ["AK2", "s2", "t2"]);
        assert!(values("half").is_empty() && values("none").is_empty());
    }

    #[test]
    fn a_file_that_is_named_has_to_be_there() {
        let named = |name: &str| (name == "AWS_SHARED_CREDENTIALS_FILE").then(|| "/nowhere/credentials".to_owned());
        assert!(profile(&named).unwrap_err().contains("/nowhere/credentials"));
        let home = |name: &str| (name == "HOME").then(|| "/nowhere".to_owned());
        assert!(profile(&home).unwrap().is_none());
    }
}
