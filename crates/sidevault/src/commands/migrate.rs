//! `sidevault migrate k8s`: Kubernetes Secrets become items, and the ExternalSecrets that make the same Secrets are printed.

use std::path::Path;
use std::process::Stdio;

use sidevault_client::Filter;
use sidevault_exchange::export::Store;
use sidevault_exchange::kubernetes::{self, Manifests, Secret};
use sidevault_model::filter::fold;
use sidevault_model::{Item, VaultId, printable};
use sidevault_sops::{Format, Identities, MAX_FILE_BYTES};
use zeroize::Zeroizing;

use crate::cli::{self, MigrateCommand};
use crate::environment::Environment;
use crate::exit::Failure;
use crate::server::Server;
use crate::{input, output};

/// Runs the command.
pub(crate) async fn run(arguments: cli::Migrate, environment: &Environment) -> Result<(), Failure> {
    let MigrateCommand::K8s(arguments) = arguments.command;
    let manifests = manifests(&arguments, environment).await?;
    let secrets = chosen(manifests, &arguments.names)?;
    let server = Server::connect(&arguments.connection, environment)?;
    let vault = server.vault(&arguments.vault).await?;
    let planned = plan(&server, vault, &secrets).await?;
    for (secret, is_there) in secrets.iter().zip(&planned) {
        let name = printable(&secret.name);
        match is_there {
            true => eprintln!("Secret {name}: the vault has its item"),
            false if arguments.plan => eprintln!("Secret {name}: an item with {} fields", secret.values.len()),
            false => {}
        }
        for key in secret.binary_keys() {
            eprintln!(
                "Secret {name}: {} is not UTF-8, so its field has base64, which the ExternalSecret decodes",
                printable(key)
            );
        }
    }
    if arguments.plan {
        return Ok(());
    }
    let store = Store {
        name: arguments.store.store,
        kind: arguments.store.store_kind,
    };
    let mut text = String::new();
    for (secret, is_there) in secrets.iter().zip(planned) {
        if !is_there {
            let made = server.client.create_item(vault, &secret.item()).await;
            made.map_err(|error| server.failure(error))?;
            eprintln!("Secret {}: made its item", printable(&secret.name));
        }
        text.push_str(&secret.external_secret(&secret.name, &store));
    }
    output::line(text.trim_end())
}

/// Whether the vault has the item of each Secret.
///
/// # Errors
/// [`Failure::Conflict`] if one has other values, or several items have the title: an ExternalSecret finds its item by the title.
async fn plan(server: &Server, vault: VaultId, secrets: &[Secret]) -> Result<Vec<bool>, Failure> {
    let mut planned = Vec::new();
    let mut names = std::collections::HashSet::new();
    for secret in secrets {
        let name = printable(&secret.name);
        if !names.insert(fold(&secret.name)) {
            return Err(Failure::Conflict(format!(
                "two Secrets are named {name}: put them into different vaults, one at a time (--name, or a file for each)"
            )));
        }
        let same = server.client.items(vault, Some(&Filter::title(&secret.name))).await;
        let same = same.map_err(|error| server.failure(error))?;
        let mut same = same.iter().filter(|item| fold(&item.title) == fold(&secret.name));
        planned.push(match (same.next(), same.next()) {
            (None, _) => false,
            (Some(summary), None) => {
                let item: Item = server
                    .client
                    .item(vault, summary.id)
                    .await
                    .map_err(|error| server.failure(error))?;
                if !secret.is_in(&item) {
                    return Err(Failure::Conflict(format!(
                        "the vault has an item {name} ({}) with other values than the Secret, and nothing was changed: rename or \
                         delete it, or choose another vault",
                        item.id
                    )));
                }
                true
            }
            (Some(_), Some(_)) => {
                return Err(Failure::Conflict(format!(
                    "the vault has several items with the title {name}, and nothing was changed: an ExternalSecret would find none of them"
                )));
            }
        });
    }
    Ok(planned)
}

/// The Secrets with these names; without names, all. Those that are left out are named.
fn chosen(manifests: Manifests, names: &[String]) -> Result<Vec<Secret>, Failure> {
    let Manifests { mut secrets, skipped } = manifests;
    if names.is_empty() {
        for line in &skipped {
            eprintln!("left out: {}", printable(line));
        }
    } else {
        secrets.retain(|secret| names.contains(&secret.name));
        if let Some(name) = names
            .iter()
            .find(|name| secrets.iter().all(|secret| secret.name != **name))
        {
            return Err(Failure::NotFound(format!(
                "there is no Secret {} that can be migrated",
                printable(name)
            )));
        }
    }
    match secrets.is_empty() {
        true => Err(Failure::NotFound("there is no Secret to migrate".to_owned())),
        false => Ok(secrets),
    }
}

async fn manifests(arguments: &cli::MigrateK8s, environment: &Environment) -> Result<Manifests, Failure> {
    let (name, format, bytes) = match (&arguments.file, &arguments.namespace) {
        (Some(path), _) => {
            let (name, bytes) = input::file_or_stdin(Some(path), "the Secrets", MAX_FILE_BYTES as u64)?;
            (name, format(path), bytes)
        }
        (None, Some(namespace)) => (
            format!("namespace {namespace}"),
            Format::Json,
            from_cluster(namespace).await?,
        ),
        (None, None) => return Err(Failure::Usage("name a namespace (-n) or a file (-f)".to_owned())),
    };
    let bytes = Zeroizing::new(bytes);
    let identities = identities(arguments, environment)?;
    let file = sidevault_sops::read(format, &bytes, &identities)
        .map_err(|error| Failure::Failed(format!("{name}: {error}")))?;
    kubernetes::read(&file.document).map_err(|why| Failure::Failed(format!("{name}: {why}")))
}

fn format(path: &Path) -> Format {
    match path.extension() {
        Some(extension) if extension == "json" => Format::Json,
        _ => Format::Yaml,
    }
}

/// Asks kubectl, because only it understands every way to log in to a cluster.
async fn from_cluster(namespace: &str) -> Result<Vec<u8>, Failure> {
    let output = tokio::process::Command::new("kubectl")
        .args(["get", "secrets", "--output=json", "--namespace", namespace])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .await
        .map_err(|error| {
            Failure::Failed(format!(
                "kubectl can't be started ({error}): install it, or give the Secrets in a file (-f FILE)"
            ))
        })?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(Failure::Failed(format!("kubectl failed: {}", output.status))),
    }
}

/// The age keys of `--age-key-file`, or of the file that SOPS_AGE_KEY_FILE names.
fn identities(arguments: &cli::MigrateK8s, environment: &Environment) -> Result<Identities, Failure> {
    let named = environment.get("SOPS_AGE_KEY_FILE").map(Path::new);
    let Some(path) = arguments.age_key_file.as_deref().or(named) else {
        return Ok(Identities::default());
    };
    let text = std::fs::read(path).map_err(|error| Failure::Config(format!("{}: {error}", path.display())))?;
    let (identities, _) = Identities::parse(&Zeroizing::new(text), None);
    match identities.is_empty() {
        true => Err(Failure::Config(format!(
            "{} has no age key that can be used",
            path.display()
        ))),
        false => Ok(identities),
    }
}
