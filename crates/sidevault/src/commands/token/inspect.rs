//! `sidevault token inspect`: what a token says, believed or not. Asks no server; looks into its store if that is here.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::Value;
use sidevault_keys::{Credentials, MAX_TOKEN_LEN, TokenError};
use sidevault_model::{Access, Timestamp};

use crate::cli::Place;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::installation::Installation;
use crate::output;

/// What the token says, and what a server with the keys at hand would make of it.
#[derive(Serialize)]
struct Report {
    header: Value,
    claims: Value,
    /// `valid`, `unchecked`, or `refused`.
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
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
    let (verdict, reason) = match installation.credentials() {
        Ok(credentials) => match credentials.verifier().verify(jwt, Timestamp::now()) {
            Ok(token) => match revoked(&installation, &credentials, &token.jti).await {
                Some(false) => ("valid", None),
                Some(true) => ("refused", Some("it was revoked".to_owned())),
                None => (
                    "valid",
                    Some(
                        "whether it was revoked is not known here (--data names the server's data directory)"
                            .to_owned(),
                    ),
                ),
            },
            Err(error) => {
                let keys = match (&place.session, environment.get("OP_SESSION")) {
                    (None, None) => format!(" (looked at with {}; --session names others)", installation.session()),
                    _ => String::new(),
                };
                ("refused", Some(format!("{error}{keys}")))
            }
        },
        Err(failure) if place.session.is_some() => return Err(failure),
        Err(_) => (
            "unchecked",
            Some("no credentials at hand to check the signature with (--session)".to_owned()),
        ),
    };
    let report = Report {
        header,
        claims,
        verdict,
        reason,
    };
    match json {
        true => output::json(&report)?,
        false => show(&report)?,
    }
    match report.verdict {
        "refused" => Err(Failure::Denied(format!(
            "the server would refuse this token: {}",
            report.reason.unwrap_or_default()
        ))),
        _ => Ok(()),
    }
}

/// Whether the server's store says that a token was revoked, if the store is here.
async fn revoked(installation: &Installation, credentials: &Credentials, jti: &str) -> Option<bool> {
    if !installation.has_store() {
        return None;
    }
    let reader = installation.reader(credentials).await.ok()?;
    let revoked = reader.view().await.ok().map(|view| view.is_revoked(jti));
    reader.close().await;
    revoked
}

fn read_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    // A token is short; whatever is piped in by mistake need not be read to its end.
    std::io::stdin()
        .take(4 * MAX_TOKEN_LEN as u64)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// Header and claims, unchecked.
fn parts(jwt: &str) -> Result<(Value, Value), Failure> {
    let malformed = || Failure::Usage(format!("that is no token: {}", TokenError::Malformed));
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
    let word = |name: &str| claims[name].as_str().map(output::printable).unwrap_or_default();
    output::line(&format!("name     {}", word("name")))?;
    output::line(&format!("jti      {}", word("jti")))?;
    output::line(&format!(
        "kid      {}",
        output::printable(report.header["kid"].as_str().unwrap_or_default())
    ))?;
    output::line(&format!("issued   {}", moment(&claims["iat"]).unwrap_or_default()))?;
    output::line(&format!(
        "expires  {}",
        moment(&claims["exp"]).unwrap_or_else(|| "never".to_owned())
    ))?;
    for vault in claims["1password.com/vts"].as_array().into_iter().flatten() {
        let id = vault["u"].as_str().map(output::printable).unwrap_or_default();
        output::line(&format!("vault    {id} {}", access(vault["a"].as_u64().unwrap_or(0))))?;
    }
    let verdict = match &report.reason {
        Some(reason) => format!("{}: {reason}", report.verdict),
        None => report.verdict.to_owned(),
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
