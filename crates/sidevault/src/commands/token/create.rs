//! `sidevault token create`: works beside the server's store, and also where there is only the issuer's file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use sidevault_keys::{Credentials, Issuer, Token, TokenSpec};
use sidevault_model::filter::fold;
use sidevault_model::{Access, Timestamp, VaultId};
use sidevault_store::{Command, DATABASE_FILE, Snapshot, TokenRecord};

use crate::admin;
use crate::cli::{Place, TokenCreate};
use crate::commands::vault;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::grants::Grant;
use crate::installation::Installation;
use crate::output::printable;

/// Prints the token, and nothing else, on stdout, so that it can be piped.
pub(super) async fn run(arguments: TokenCreate, environment: &Environment) -> Result<(), Failure> {
    let installation = Installation::find(&arguments.place, environment);
    let issuer = Issuer::load(&installation.issuer_file(arguments.issuer.as_deref())?)?;
    let server = server_of(&issuer, &installation, &arguments.place, environment)?;
    let known = match &server {
        Some(credentials) if installation.has_store() => look(&installation, credentials).await,
        _ => None,
    };
    let mut vaults: BTreeMap<VaultId, Access> = BTreeMap::new();
    let mut by_name = BTreeSet::new();
    let mut names = BTreeMap::new();
    for grant in &arguments.grants {
        let meant = resolve(grant, known.as_ref(), &issuer)?;
        let granted = vaults.entry(meant.id).or_default();
        *granted = Access {
            read: granted.read || grant.access.read,
            write: granted.write || grant.access.write,
        };
        if meant.by_name {
            by_name.insert(meant.id);
        }
        names.insert(meant.id, meant.name);
    }
    let now = Timestamp::now();
    let spec = TokenSpec {
        name: arguments.name,
        vaults,
        by_name,
        expires_at: arguments.expires.map(|after| later(now, after)).transpose()?,
        jti: None,
    };
    let (jwt, token) = issuer.issue(&spec, now)?;
    if let Some(credentials) = server {
        let same_name = |other: &TokenRecord| other.name == token.name && other.revoked_at.is_none();
        if known.is_some_and(|known| known.tokens.iter().any(same_name)) {
            eprintln!(
                "note: another token is named \"{}\", too: each of them is revoked by its jti",
                printable(&token.name)
            );
        }
        register(&installation, &credentials, &token).await;
    }
    eprintln!("{}", described(&token, &names));
    crate::output::line(&jwt)
}

/// The keys of the server that will accept this issuer's tokens, if they are here.
///
/// Keys that were found and not named may belong to another server: then they don't matter.
fn server_of(
    issuer: &Issuer,
    installation: &Installation,
    place: &Place,
    environment: &Environment,
) -> Result<Option<Credentials>, Failure> {
    let credentials = match installation.credentials() {
        Ok(credentials) => credentials,
        Err(failure) if place.session.is_some() => {
            eprintln!("note: {failure}");
            return Ok(None);
        }
        Err(_) => return Ok(None),
    };
    if credentials.verifier().key_ids().any(|kid| kid == issuer.kid()) {
        return Ok(Some(credentials));
    }
    let what = format!(
        "the server of {} does not accept this issuer's tokens",
        installation.session_for_people()
    );
    if place.session.is_some() || place.data.is_some() || environment.get("OP_SESSION").is_some() {
        return Err(Failure::Config(format!(
            "{what}: name the issuer.json that was made with it (--issuer), or the credentials of the server that the \
             token is for (--session)"
        )));
    }
    eprintln!("note: {what}; another server may");
    Ok(None)
}

/// The vaults, tokens and retired ids of the store, if this machine has it.
struct Known {
    vaults: Vec<vault::Row>,
    tokens: Vec<TokenRecord>,
    snapshot: std::sync::Arc<Snapshot>,
}

async fn look(installation: &Installation, credentials: &Credentials) -> Option<Known> {
    let looked = async {
        let reader = installation.reader(credentials).await?;
        let snapshot = reader.snapshot().await?;
        let tokens = reader.tokens().await?;
        reader.close().await;
        Ok::<_, Failure>(Known {
            vaults: vault::rows(&snapshot),
            tokens,
            snapshot,
        })
    };
    looked
        .await
        .inspect_err(|failure| eprintln!("note: the store can't be read ({failure})"))
        .ok()
}

/// The vault that a grant means.
struct Meant {
    id: VaultId,
    /// What the maker calls it.
    name: String,
    /// See [`Token::by_name`].
    by_name: bool,
}

/// A vault's name comes first, for it may look like an id; then its id; then a name that no vault has yet.
fn resolve(grant: &Grant, known: Option<&Known>, issuer: &Issuer) -> Result<Meant, Failure> {
    let folded = fold(&grant.vault);
    let shown = printable(&grant.vault);
    let named: Vec<&vault::Row> = known
        .iter()
        .flat_map(|known| &known.vaults)
        .filter(|row| fold(&row.name) == folded)
        .collect();
    let id = match (&named[..], VaultId::parse(&grant.vault)) {
        ([row], _) => {
            return Ok(Meant {
                id: row.id,
                name: row.name.clone(),
                by_name: false,
            });
        }
        ([], Ok(id)) => {
            let name = known.map_or_else(|| id.to_string(), |known| vault::name_of(&known.vaults, id));
            return Ok(Meant {
                id,
                name,
                by_name: false,
            });
        }
        ([], Err(_)) => issuer.id_key().vault(&folded),
        _ => {
            return Err(Failure::Conflict(format!(
                "several vaults are named \"{shown}\": say which by its id (sidevault vault list)"
            )));
        }
    };
    match known {
        Some(known) if known.snapshot.is_retired(id) => {
            return Err(Failure::NotFound(format!(
                "there is no vault \"{shown}\", and one of this name was renamed or deleted: so a token can't be made by \
                 the name alone. Make the vault first, or name the other one (sidevault vault list)"
            )));
        }
        Some(_) => {
            eprintln!("note: there is no vault \"{shown}\" yet; the token is good for the first one of this name")
        }
        None => eprintln!(
            "note: no store to look into, so \"{shown}\" is the first vault of this name; the token opens nothing if that \
             one is, or was, renamed or deleted"
        ),
    }
    Ok(Meant {
        id,
        name: grant.vault.clone(),
        by_name: true,
    })
}

/// `now` plus the given time, if a date can be that late.
fn later(now: Timestamp, after: std::time::Duration) -> Result<Timestamp, Failure> {
    i64::try_from(after.as_millis())
        .ok()
        .and_then(|millis| now.as_millis().checked_add(millis))
        .map(Timestamp::from_millis)
        .ok_or_else(|| Failure::Usage("--expires: that is too far away; say `never`".to_owned()))
}

/// Registers the token's name in the store. A token whose name is not registered works all the same.
async fn register(installation: &Installation, credentials: &Credentials, token: &Token) {
    let until = format!(
        "until it is used, it is not listed, and is revoked by its jti ({})",
        token.jti
    );
    if !installation.has_store() {
        eprintln!(
            "note: there is no {DATABASE_FILE} in {} yet: {until}",
            installation.data.display()
        );
        return;
    }
    let command = Command::RegisterToken(TokenRecord::from(token));
    if let Err(failure) = admin::command(installation, credentials, command).await {
        eprintln!("note: the store did not take down the token's name ({failure}): {until}");
    }
}

fn described(token: &Token, names: &BTreeMap<VaultId, String>) -> String {
    let mut text = format!("token \"{}\", jti {}", printable(&token.name), token.jti);
    for (vault, access) in &token.vaults {
        let name = names.get(vault).map(|name| printable(name)).unwrap_or_default();
        // Writing to a String never fails.
        let _ = match name == vault.as_str() {
            true => write!(text, ", vault {vault} {access}"),
            false => write!(text, ", vault \"{name}\" ({vault}) {access}"),
        };
    }
    match token.expires_at {
        Some(at) => text + &format!(", expires {at}"),
        None => text + ", never expires",
    }
}
