//! `sidevault token`: access tokens.

mod create;
mod inspect;
mod revoke;

use sidevault_keys::{Credentials, RevocationList};
use sidevault_model::Timestamp;
use sidevault_store::{Snapshot, TokenRecord};

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
        cli::Token::Revoke { tokens, file, place } => {
            let installation = Installation::find(&place, environment);
            match file {
                Some(file) => revoke::on_list(&tokens, &file, &installation).await,
                None => revoke::in_store(&tokens, &installation).await,
            }
        }
        cli::Token::Revoked { out, place } => {
            revoke::export(out.as_deref(), &Installation::find(&place, environment)).await
        }
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
    let (snapshot, tokens) = (reader.snapshot().await?, reader.tokens().await?);
    reader.close().await;
    if json {
        return output::json(&tokens);
    }
    let names = vault::rows(&snapshot);
    let listed = installation.revoked_file().map(|path| RevocationList::read(&path).ids);
    let listed = listed.unwrap_or_default();
    let mut table = Table::new(["JTI", "NAME", "VAULTS", "ISSUED", "EXPIRES", "STATE"]);
    let now = Timestamp::now();
    for token in tokens {
        let state = match (token.revoked_at, token.expires_at) {
            (None, _) if listed.contains(&token.jti) => "on the revocation list".to_owned(),
            (Some(at), _) => format!("revoked {at}"),
            (None, Some(at)) if at <= now => "expired".to_owned(),
            _ => "valid".to_owned(),
        };
        table.row([
            token.jti.clone(),
            token.name.clone(),
            rights(&token, &names, &snapshot),
            token.issued_at.to_string(),
            token.expires_at.map_or_else(|| "never".to_owned(), |at| at.to_string()),
            state,
        ]);
    }
    table.print()
}

/// A token's rights, `secrets=read apps=read,write`: vaults that it opens by name, others by id.
fn rights(token: &TokenRecord, names: &[vault::Row], snapshot: &Snapshot) -> String {
    let words = token.vaults.iter().map(|(id, access)| {
        if token.by_name.contains(id) && snapshot.is_retired(*id) {
            format!("{id}={access} (no vault any more)")
        } else {
            format!("{}={access}", vault::name_of(names, *id))
        }
    });
    words.collect::<Vec<String>>().join(" ")
}
