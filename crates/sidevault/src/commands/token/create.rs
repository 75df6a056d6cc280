//! `sidevault token create`: works beside the server's store, and also where only the issuer's file is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use sidevault_keys::{Credentials, CredentialsError, Issuer, Token, TokenSpec, write_new};
use sidevault_model::filter::fold;
use sidevault_model::{Access, Timestamp, VaultId, printable};
use sidevault_store::{Command, Snapshot, TokenRecord};

use crate::admin;
use crate::cli::TokenCreate;
use crate::commands::vault;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::grants::Grant;
use crate::installation::{Installation, ServerOf};

/// Prints the token, and nothing else, on stdout, so that it can be piped; or writes it to `--out`.
pub(super) async fn run(arguments: TokenCreate, environment: &Environment) -> Result<(), Failure> {
    if let Some(path) = &arguments.out
        && path.symlink_metadata().is_ok()
    {
        return Err(exists(path));
    }
    let installation = Installation::find(&arguments.place, environment);
    let issuer_file = installation.issuer_file(arguments.issuer.as_deref())?;
    let issuer = Issuer::load(&issuer_file)?;
    let server = if arguments.offline {
        None
    } else {
        server_of(&issuer, &issuer_file, &installation)?
    };
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
    match (&server, &known) {
        (Some(credentials), Some(known)) => register(&installation, credentials, &token, known).await,
        _ => eprintln!(
            "note: the store of the token's server is not in {}, so the token's name is not registered: until the token is \
             used, `token list` does not show it, and it can be revoked by its jti only ({})",
            installation.data.display(),
            token.jti
        ),
    }
    eprintln!("{}", described(&token, &names));
    match &arguments.out {
        None => crate::output::line(&jwt),
        Some(path) => {
            // Without a line end: a Kubernetes Secret that is made from the file holds the token and nothing else.
            write_new(path, jwt.as_bytes()).map_err(|error| match error {
                CredentialsError::AlreadyExists { path } => exists(&path),
                error => error.into(),
            })?;
            crate::output::line(&format!("wrote the token to {}", path.display()))
        }
    }
}

fn exists(path: &Path) -> Failure {
    Failure::Conflict(format!(
        "{} exists already, and no file is overwritten: remove it, or name another file with --out",
        path.display()
    ))
}

/// The keys of the server that will accept this issuer's tokens, if they are here.
///
/// # Errors
/// If the keys here are those of a server that does not accept this issuer's tokens.
fn server_of(issuer: &Issuer, issuer_file: &Path, installation: &Installation) -> Result<Option<Credentials>, Failure> {
    match installation.server_of(issuer, issuer_file)? {
        ServerOf::Issuer(credentials) => Ok(Some(credentials)),
        ServerOf::Unknown => Ok(None),
        ServerOf::Another => Err(Failure::Config(format!(
            "the server of {} does not accept tokens of {}, so no token was made. Name the issuer.json that was made with \
             that server's credentials (--issuer), or the credentials of the token's server (--session); if the token's \
             server is on another machine, say --offline",
            installation.session_for_people(),
            issuer_file.display()
        ))),
    }
}

/// The vaults, tokens and retired ids of the store, if this machine has it.
struct Known {
    vaults: Vec<vault::Row>,
    tokens: Vec<TokenRecord>,
    snapshot: std::sync::Arc<Snapshot>,
}

/// The store's content; `None` if the store is another server's.
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
    match looked.await {
        Ok(known) => Some(known),
        Err(Failure::Integrity(_)) => None,
        Err(failure) => {
            eprintln!("note: the store can't be read ({failure})");
            None
        }
    }
}

/// The vault that a grant means.
struct Meant {
    id: VaultId,
    /// The vault's name in the store, or as the arguments have it.
    name: String,
    /// See [`Token::by_name`].
    by_name: bool,
}

/// Finds the vault: by its name, which may look like an id; else by its id; else as a name that no vault has yet.
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
        (several, _) => {
            let ids: Vec<String> = several.iter().map(|row| row.id.to_string()).collect();
            return Err(Failure::Conflict(format!(
                "several vaults are named \"{shown}\": use the id of one of them ({})",
                ids.join(", ")
            )));
        }
    };
    match known {
        Some(known) if known.snapshot.is_retired(id) => {
            return Err(Failure::NotFound(format!(
                "there is no vault \"{shown}\", and a vault of this name was renamed or deleted, so that the name alone does not \
                 tell which vault the token opens. Make the vault first, or use another vault's name (sidevault vault list)"
            )));
        }
        Some(_) => {
            eprintln!("note: there is no vault \"{shown}\" yet; the token is good for the first one of this name")
        }
        None => eprintln!(
            "note: the store can't be asked for \"{shown}\", so the token is for the first vault of this name; it opens nothing if \
             that vault is, or was, renamed or deleted"
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
async fn register(installation: &Installation, credentials: &Credentials, token: &Token, known: &Known) {
    let is_namesake = |other: &TokenRecord| other.name == token.name && other.revoked_at.is_none();
    if known.tokens.iter().any(is_namesake) {
        eprintln!(
            "note: another token is named \"{}\", too: each of them is revoked by its jti",
            printable(&token.name)
        );
    }
    let command = Command::RegisterToken(TokenRecord::from(token));
    if let Err(failure) = admin::command(installation, credentials, command).await {
        eprintln!(
            "note: the token's name could not be registered ({failure}): until the token is used, `token list` does not show \
             it, and it is revoked by its jti ({})",
            token.jti
        );
    }
}

fn described(token: &Token, names: &BTreeMap<VaultId, String>) -> String {
    let mut text = format!("token \"{}\", jti {}", printable(&token.name), token.jti);
    for (vault, access) in &token.vaults {
        let name = names.get(vault).map(|name| printable(name)).unwrap_or_default();
        // Writing to a String never fails.
        let _ = if name == vault.as_str() {
            write!(text, ", vault {vault} {access}")
        } else {
            write!(text, ", vault \"{name}\" ({vault}) {access}")
        };
    }
    match token.expires_at {
        Some(at) => text + &format!(", expires {at}"),
        None => text + ", never expires",
    }
}
