//! `sidevault token inspect`: shows a token's claims, also of a token that the server would refuse. Asks no server; reads the
//! server's store if that is on this machine.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::Value;
use sidevault_keys::{Credentials, MAX_TOKEN_LEN, RevocationList, TokenError};
use sidevault_model::{Access, Timestamp, VaultId};
use sidevault_store::Snapshot;

use crate::cli::Place;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::input;
use crate::installation::Installation;
use crate::output;

/// Whether a server with the keys on this machine would accept the token.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Valid,
    /// There are no keys to check the signature with.
    Unchecked,
    Refused,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Valid => "valid",
            Self::Unchecked => "unchecked",
            Self::Refused => "refused",
        })
    }
}

/// A token's content, and the verdict on it.
#[derive(Serialize)]
struct Report {
    header: Value,
    claims: Value,
    verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    vaults: Vec<Vault>,
}

/// A vault that the token names.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Vault {
    id: String,
    /// The vault's name, if the store can be read, has the vault, and the token opens it.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    access: Access,
    /// Whether the grant was made by the vault's name, without reading the store.
    by_name: bool,
    /// Whether the grant was made by a name whose id is retired: it opens nothing.
    retired: bool,
}

pub(crate) async fn run(
    token: Option<String>,
    place: &Place,
    json: bool,
    environment: &Environment,
) -> Result<(), Failure> {
    let text = match token.as_deref() {
        None | Some("-") => read_stdin()?,
        Some(token) => token.to_owned(),
    };
    let text = text.trim();
    let jwt = text.strip_prefix("Bearer ").unwrap_or(text).trim();
    let (header, claims) = parts(jwt)?;
    let installation = Installation::find(place, environment);
    let credentials = installation.credentials();
    let snapshot = match &credentials {
        Ok(credentials) => look(&installation, credentials).await,
        Err(_) => None,
    };
    let (verdict, reason) = match credentials {
        Ok(credentials) => match credentials.verifier().verify(jwt, Timestamp::now()) {
            Ok(token) => accepted(&installation, &token.jti, snapshot.as_deref()),
            Err(error) => {
                let keys = match (&place.session, environment.get("OP_SESSION")) {
                    (None, None) => format!(" (checked with {}; --session names others)", installation.session()),
                    _ => String::new(),
                };
                (Verdict::Refused, Some(format!("{error}{keys}")))
            }
        },
        Err(failure) if place.session.is_some() => return Err(failure),
        Err(_) => (
            Verdict::Unchecked,
            Some("there are no credentials here to check the signature with (--session)".to_owned()),
        ),
    };
    let report = Report {
        vaults: vaults(&claims, snapshot.as_deref()),
        header,
        claims,
        verdict,
        reason,
    };
    if json {
        output::json(&report)?;
    } else {
        show(&report)?;
    }
    match report.verdict {
        Verdict::Refused => Err(Failure::Denied(format!(
            "the server would refuse this token: {}",
            report.reason.unwrap_or_default()
        ))),
        Verdict::Valid | Verdict::Unchecked => Ok(()),
    }
}

/// The verdict on a token with a good signature: refused if it was revoked.
fn accepted(installation: &Installation, jti: &str, snapshot: Option<&Snapshot>) -> (Verdict, Option<String>) {
    if let Some(path) = listed(installation, jti) {
        let reason = format!("it is on the revocation list {}", path.display());
        return (Verdict::Refused, Some(reason));
    }
    match snapshot.map(|snapshot| snapshot.is_revoked(jti)) {
        Some(false) => (Verdict::Valid, None),
        Some(true) => (Verdict::Refused, Some("it was revoked".to_owned())),
        None => (
            Verdict::Valid,
            Some("whether it was revoked is not known here (--data names the server's data directory)".to_owned()),
        ),
    }
}

/// The server's store, if this machine has it.
async fn look(installation: &Installation, credentials: &Credentials) -> Option<Arc<Snapshot>> {
    if !installation.has_store() {
        return None;
    }
    let reader = installation.reader(credentials).await.ok()?;
    let snapshot = reader.snapshot().await.ok();
    reader.close().await;
    snapshot
}

/// The revocation list that the token is on, if it is.
fn listed(installation: &Installation, jti: &str) -> Option<PathBuf> {
    let path = installation.revoked_file()?;
    RevocationList::read(&path).ids.contains(jti).then_some(path)
}

fn vaults(claims: &Value, snapshot: Option<&Snapshot>) -> Vec<Vault> {
    let named = claims["1password.com/vts"].as_array().into_iter().flatten();
    let read = named.map(|vault| {
        let id = vault["u"].as_str().map(sidevault_model::printable).unwrap_or_default();
        let by_name = vault["by"] == "name";
        let known = snapshot.zip(VaultId::parse(&id.to_ascii_lowercase()).ok());
        let retired = by_name && known.is_some_and(|(snapshot, id)| snapshot.is_retired(id));
        let entry = known.and_then(|(snapshot, id)| snapshot.vault(id)).filter(|_| !retired);
        Vault {
            name: entry.map(|entry| sidevault_model::printable(&entry.vault.name)),
            id,
            access: access(vault["a"].as_u64().unwrap_or(0)),
            by_name,
            retired,
        }
    });
    read.collect()
}

fn read_stdin() -> Result<String, Failure> {
    // A token is short; more is not read.
    let bytes = input::all_of_stdin("a token", 4 * MAX_TOKEN_LEN as u64)?;
    String::from_utf8(bytes).map_err(|_| Failure::Usage("standard input holds no token: it is not text".to_owned()))
}

/// A token's header and claims. The signature is not checked.
pub(super) fn parts(jwt: &str) -> Result<(Value, Value), Failure> {
    let malformed = || Failure::Usage(format!("this is no token: {}", TokenError::Malformed));
    let mut parts = jwt.split('.');
    let (Some(header), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(malformed());
    };
    let decode = |part: &str| -> Option<Value> { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok() };
    Ok((
        decode(header).ok_or_else(malformed)?,
        decode(claims).ok_or_else(malformed)?,
    ))
}

fn show(report: &Report) -> Result<(), Failure> {
    let claims = &report.claims;
    let word = |name: &str| {
        claims[name]
            .as_str()
            .map(sidevault_model::printable)
            .unwrap_or_default()
    };
    output::line(&format!("name     {}", word("name")))?;
    output::line(&format!("jti      {}", word("jti")))?;
    output::line(&format!(
        "kid      {}",
        sidevault_model::printable(report.header["kid"].as_str().unwrap_or_default())
    ))?;
    output::line(&format!("issued   {}", moment(&claims["iat"]).unwrap_or_default()))?;
    output::line(&format!(
        "expires  {}",
        moment(&claims["exp"]).unwrap_or_else(|| "never".to_owned())
    ))?;
    for vault in &report.vaults {
        let what = match &vault.name {
            Some(name) => format!("\"{name}\" ({})", vault.id),
            None => vault.id.clone(),
        };
        let how = match (vault.by_name, vault.retired) {
            (_, true) => ", by name: opens nothing, since the vault of this name was renamed or deleted",
            (true, false) => ", by name",
            (false, false) => "",
        };
        output::line(&format!("vault    {what} {}{how}", vault.access))?;
    }
    let verdict = match &report.reason {
        Some(reason) => format!("{}: {reason}", report.verdict),
        None => report.verdict.to_string(),
    };
    output::line(&format!("verdict  {verdict}"))
}

/// Connect's permission bits.
fn access(bits: u64) -> Access {
    Access {
        read: bits & 16 != 0,
        write: bits & 32 != 0,
    }
}

fn moment(seconds: &Value) -> Option<String> {
    Some(Timestamp::from_millis(seconds.as_i64()?.checked_mul(1000)?).to_string())
}
