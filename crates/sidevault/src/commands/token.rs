//! `sidevault token`: access tokens, made without asking a server.

mod inspect;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sidevault_keys::{Credentials, Issuer, Token, TokenSpec};
use sidevault_model::filter::fold;
use sidevault_model::{Access, Timestamp, VaultId};
use sidevault_store::{Command, DATABASE_FILE, TokenRecord};

use crate::admin;
use crate::cli::{self, Place, TokenCreate};
use crate::commands::vault;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::grants::Grant;
use crate::installation::Installation;
use crate::output::{self, Table};

/// Runs one of the sub-commands.
pub(crate) async fn run(command: cli::Token, environment: &Environment) -> Result<(), Failure> {
    match command {
        cli::Token::Create(arguments) => create(arguments, environment).await,
        cli::Token::List { place, json } => list(&place, json, environment).await,
        cli::Token::Revoke { token, place } => revoke(&token, &place, environment).await,
        cli::Token::Inspect { token, place, json } => inspect::run(token, &place, json, environment).await,
    }
}

/// Prints the token, and nothing else, on stdout, so that it can be piped.
async fn create(arguments: TokenCreate, environment: &Environment) -> Result<(), Failure> {
    let installation = Installation::find(&arguments.place, environment);
    let issuer = Issuer::load(&installation.issuer_file(arguments.issuer.as_deref())?)?;
    let server = server_of(&issuer, &installation, &arguments.place);
    let known = match &server {
        Some(credentials) if installation.has_store() => vault::all(&installation, credentials).await.ok(),
        _ => None,
    };
    let mut vaults: BTreeMap<VaultId, Access> = BTreeMap::new();
    for grant in &arguments.grants {
        let id = resolve(grant, known.as_deref(), &issuer)?;
        let granted = vaults.entry(id).or_default();
        *granted = Access {
            read: granted.read || grant.access.read,
            write: granted.write || grant.access.write,
        };
    }
    let now = Timestamp::now();
    let spec = TokenSpec {
        name: arguments.name,
        vaults,
        expires_at: arguments.expires.map(|after| later(now, after)).transpose()?,
        jti: None,
    };
    let (jwt, token) = issuer.issue(&spec, now)?;
    if let Some(credentials) = server {
        if installation.has_store() && is_name_used(&installation, &credentials, &token.name).await {
            eprintln!(
                "note: another token is named \"{}\", too: each of them is revoked by its jti",
                output::printable(&token.name)
            );
        }
        register(&installation, &credentials, &token).await;
    }
    eprintln!("{}", described(&token));
    output::line(&jwt)
}

/// The keys of the server that will believe this issuer, if they are here. Keys that were found,
/// not named, may belong to another server: then they are none of our business.
fn server_of(issuer: &Issuer, installation: &Installation, place: &Place) -> Option<Credentials> {
    let credentials = match installation.credentials() {
        Ok(credentials) => credentials,
        Err(failure) if place.session.is_some() => {
            eprintln!("note: {failure}");
            return None;
        }
        Err(_) => return None,
    };
    let believes = credentials.verifier().key_ids().any(|kid| kid == issuer.kid());
    if !believes {
        eprintln!("note: the server whose keys are at hand does not accept this issuer's tokens; another one may");
    }
    believes.then_some(credentials)
}

/// A vault's name comes first, for it may look like an id; then its id; then a name that no vault
/// has yet.
fn resolve(grant: &Grant, known: Option<&[vault::Row]>, issuer: &Issuer) -> Result<VaultId, Failure> {
    let folded = fold(&grant.vault);
    let named: Vec<&vault::Row> = known
        .unwrap_or_default()
        .iter()
        .filter(|row| fold(&row.name) == folded)
        .collect();
    match (&named[..], VaultId::parse(&grant.vault)) {
        ([row], _) => Ok(row.id),
        ([], Ok(id)) => Ok(id),
        ([], Err(_)) => {
            if known.is_some() {
                eprintln!(
                    "note: there is no vault \"{}\" yet; the token is good for the one that will get this name",
                    output::printable(&grant.vault)
                );
            }
            Ok(issuer.id_key().vault(&folded))
        }
        _ => Err(Failure::Conflict(format!(
            "several vaults are named \"{}\": say which by its id (sidevault vault list)",
            output::printable(&grant.vault)
        ))),
    }
}

/// `now` and so long, if that can be a date at all.
fn later(now: Timestamp, after: std::time::Duration) -> Result<Timestamp, Failure> {
    i64::try_from(after.as_millis())
        .ok()
        .and_then(|millis| now.as_millis().checked_add(millis))
        .map(Timestamp::from_millis)
        .ok_or_else(|| Failure::Usage("--expires: that is too far away; say `never`".to_owned()))
}

/// A server knows a token's name only if it is told; the token works all the same.
async fn register(installation: &Installation, credentials: &Credentials, token: &Token) {
    if !installation.has_store() {
        eprintln!(
            "note: there is no {DATABASE_FILE} in {} yet, so the token is not listed until it is used",
            installation.data.display()
        );
        return;
    }
    let command = Command::RegisterToken(TokenRecord::from(token));
    if let Err(failure) = admin::command(installation, credentials, command).await {
        eprintln!("note: the token is not listed until it is used ({failure})");
    }
}

/// Whether a token that was not revoked has this name.
async fn is_name_used(installation: &Installation, credentials: &Credentials, name: &str) -> bool {
    let known = tokens(installation, credentials).await.unwrap_or_default();
    known
        .iter()
        .any(|token| token.name == name && token.revoked_at.is_none())
}

fn described(token: &Token) -> String {
    let mut text = format!("token \"{}\", jti {}", output::printable(&token.name), token.jti);
    for (vault, access) in &token.vaults {
        // Writing to a String never fails.
        let _ = write!(text, ", {vault} {access}");
    }
    match token.expires_at {
        Some(at) => text + &format!(", expires {at}"),
        None => text + ", never expires",
    }
}

async fn tokens(installation: &Installation, credentials: &Credentials) -> Result<Vec<TokenRecord>, Failure> {
    let reader = installation.reader(credentials).await?;
    let tokens = reader.tokens().await?;
    reader.close().await;
    Ok(tokens)
}

async fn list(place: &Place, json: bool, environment: &Environment) -> Result<(), Failure> {
    let installation = Installation::find(place, environment);
    let credentials = installation.credentials()?;
    let tokens = tokens(&installation, &credentials).await?;
    if json {
        return output::json(&tokens);
    }
    let names = vault::all(&installation, &credentials).await?;
    let mut table = Table::new(["JTI", "NAME", "VAULTS", "ISSUED", "EXPIRES", "STATE"]);
    let now = Timestamp::now();
    for token in tokens {
        let state = match (token.revoked_at, token.expires_at) {
            (Some(at), _) => format!("revoked {at}"),
            (None, Some(at)) if at <= now => "expired".to_owned(),
            _ => "valid".to_owned(),
        };
        table.row([
            token.jti.clone(),
            token.name.clone(),
            rights(&token.vaults, &names),
            token.issued_at.to_string(),
            token.expires_at.map_or_else(|| "never".to_owned(), |at| at.to_string()),
            state,
        ]);
    }
    table.print()
}

/// `secrets=read apps=read,write`, by name where there is one.
fn rights(vaults: &BTreeMap<VaultId, Access>, names: &[vault::Row]) -> String {
    let words: Vec<String> = vaults
        .iter()
        .map(|(id, access)| match names.iter().find(|row| row.id == *id) {
            Some(row) => format!("{}={access}", row.name),
            None => format!("{id}={access}"),
        })
        .collect();
    words.join(" ")
}

async fn revoke(wanted: &str, place: &Place, environment: &Environment) -> Result<(), Failure> {
    let installation = Installation::find(place, environment);
    let credentials = installation.credentials()?;
    let known = tokens(&installation, &credentials).await?;
    let by_id = known.iter().find(|token| token.jti == wanted);
    let by_name: Vec<&TokenRecord> = known
        .iter()
        .filter(|token| token.name == wanted && token.revoked_at.is_none())
        .collect();
    let (jti, expires_at) = match (by_id, by_name.as_slice()) {
        (Some(token), _) | (None, &[token]) => (token.jti.clone(), token.expires_at),
        // A token that was never used or listed is known by its id only.
        (None, []) if is_jti(wanted) => (wanted.to_owned(), None),
        (None, []) => {
            return Err(Failure::NotFound(format!(
                "token \"{}\" not found (sidevault token list shows those that are known)",
                output::printable(wanted)
            )));
        }
        (None, several) => {
            let ids: Vec<&str> = several.iter().map(|token| token.jti.as_str()).collect();
            return Err(Failure::Conflict(format!(
                "several tokens have this name: revoke each by its jti ({})",
                ids.join(", ")
            )));
        }
    };
    let command = Command::RevokeToken {
        jti: jti.clone(),
        expires_at: expires_at.map(Timestamp::as_millis),
    };
    admin::command(&installation, &credentials, command).await?;
    output::line(&format!("revoked {jti}"))
}

/// See [`TokenSpec::jti`].
fn is_jti(text: &str) -> bool {
    text.len() == 26 && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
}
