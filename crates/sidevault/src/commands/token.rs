//! `sidevault token`: access tokens, made without asking a server.

mod create;
mod inspect;

use sidevault_keys::Credentials;
use sidevault_model::Timestamp;
use sidevault_store::{Command, TokenRecord, View};

use crate::admin;
use crate::cli::{self, Place};
use crate::commands::vault;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::installation::Installation;
use crate::output::{self, Table};

/// Runs one of the sub-commands.
pub(crate) async fn run(command: cli::Token, environment: &Environment) -> Result<(), Failure> {
    match command {
        cli::Token::Create(arguments) => create::run(arguments, environment).await,
        cli::Token::List { place, json } => list(&place, json, environment).await,
        cli::Token::Revoke { token, place } => revoke(&token, &place, environment).await,
        cli::Token::Inspect { token, place, json } => inspect::run(token, &place, json, environment).await,
    }
}

/// The tokens that the store knows.
pub(crate) async fn tokens(
    installation: &Installation,
    credentials: &Credentials,
) -> Result<Vec<TokenRecord>, Failure> {
    let reader = installation.reader(credentials).await?;
    let tokens = reader.tokens().await?;
    reader.close().await;
    Ok(tokens)
}

async fn list(place: &Place, json: bool, environment: &Environment) -> Result<(), Failure> {
    let installation = Installation::find(place, environment);
    let credentials = installation.credentials()?;
    let reader = installation.reader(&credentials).await?;
    let (view, tokens) = (reader.view().await?, reader.tokens().await?);
    reader.close().await;
    if json {
        return output::json(&tokens);
    }
    let names = vault::rows(&view);
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
            rights(&token, &names, &view),
            token.issued_at.to_string(),
            token.expires_at.map_or_else(|| "never".to_owned(), |at| at.to_string()),
            state,
        ]);
    }
    table.print()
}

/// `secrets=read apps=read,write`, by name where the token opens a vault.
fn rights(token: &TokenRecord, names: &[vault::Row], view: &View) -> String {
    let words = token.vaults.iter().map(
        |(id, access)| match token.by_name.contains(id) && view.is_retired(*id) {
            true => format!("{id}={access} (no vault any more)"),
            false => format!("{}={access}", vault::name_of(names, *id)),
        },
    );
    words.collect::<Vec<String>>().join(" ")
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
