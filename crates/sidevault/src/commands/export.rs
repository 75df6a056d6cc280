//! `sidevault export`: writes the items of vaults in the formats of other programs.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sidevault_client::ClientError;
use sidevault_exchange::export::{
    Bitwarden, Dotenv, ExternalSecrets, FileOrder, Json, KubernetesSecrets, OnePux, SopsTree, Store, Writer,
};
use sidevault_model::{Item, Timestamp, Vault, VaultId, printable};

use crate::cli::{self, ExportFormat, KubernetesForm};
use crate::environment::Environment;
use crate::exit::Failure;
use crate::secrets::output_file::{OutputFile, Unfinished};
use crate::server::Server;
use crate::{input, output};

/// How many items are read at the same time. At most so many are in memory.
const AT_ONCE: usize = 8;

/// What was written.
#[derive(Default)]
struct Counts {
    items: usize,
    files: usize,
    losses: usize,
}

/// Runs the command.
pub(crate) async fn run(arguments: cli::Export, environment: &Environment) -> Result<(), Failure> {
    if arguments.to == ExportFormat::Sops {
        return tree(arguments, environment).await;
    }
    let has_values = arguments.to != ExportFormat::K8s || arguments.form == KubernetesForm::Secrets;
    if has_values && !arguments.plaintext {
        return Err(Failure::Usage(
            "this format has every value unencrypted: say --plaintext if that is what you want".to_owned(),
        ));
    }
    let server = Server::connect(&arguments.connection, environment)?;
    let vaults = vaults(&server, &arguments.vaults).await?;
    if has_values && !arguments.yes {
        let names: Vec<String> = vaults
            .iter()
            .map(|vault| format!("\"{}\"", printable(&vault.name)))
            .collect();
        input::confirm(&format!(
            "Every value in {} will be in {} in plain text.",
            names.join(", "),
            arguments.file().path.display()
        ))?;
    }
    let file = arguments.file().begin()?;
    let mut writer = writer(&arguments, &file)?;
    let counts = write(&server, &vaults, writer.as_mut()).await?;
    writer.finish()?;
    file.finish()?;
    counts.print(&arguments.out, vaults.len())
}

/// Writes a tree of encrypted files. Each appears whole or not at all.
async fn tree(arguments: cli::Export, environment: &Environment) -> Result<(), Failure> {
    let out = &arguments.out;
    let failed = |error: io::Error| Failure::Failed(format!("{}: {error}", out.display()));
    if !arguments.force && std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Failure::Conflict(format!(
            "{} has files already: choose another directory, or say --force to replace files of the same names",
            out.display()
        )));
    }
    let server = Server::connect(&arguments.connection, environment)?;
    let vaults = vaults(&server, &arguments.vaults).await?;
    let write_file = |below: &str, content: &[u8]| {
        let path = out.join(below);
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let file = OutputFile {
            path,
            mode: 0o600,
            force: arguments.force,
        };
        file.write(content)
            .map_err(|failure| io::Error::other(failure.to_string()))
    };
    let mut writer = Box::new(SopsTree::new(
        Box::new(write_file),
        arguments.age_recipients.clone(),
        jiff::Timestamp::now(),
    ));
    let counts = write(&server, &vaults, writer.as_mut()).await?;
    writer.finish().map_err(failed)?;
    counts.print(out, vaults.len())
}

impl Counts {
    fn print(&self, out: &Path, vaults: usize) -> Result<(), Failure> {
        output::line(&format!(
            "{}: {} items and {} files of {vaults} vaults",
            out.display(),
            self.items,
            self.files,
        ))?;
        if self.losses > 0 {
            eprintln!(
                "{} parts of items are not in it, or changed: see the lines above",
                self.losses
            );
        }
        Ok(())
    }
}

/// The vaults with these names or ids, each once.
async fn vaults(server: &Server, names: &[String]) -> Result<Vec<Vault>, Failure> {
    let mut vaults: Vec<Vault> = Vec::new();
    for name in names {
        let id: VaultId = server.vault(name).await?;
        if vaults.iter().all(|vault| vault.id != id) {
            vaults.push(server.client.vault(id).await.map_err(|error| server.failure(error))?);
        }
    }
    Ok(vaults)
}

fn writer(arguments: &cli::Export, file: &Unfinished) -> Result<Box<dyn Writer>, Failure> {
    let out: BufWriter<File> = BufWriter::new(file.file().try_clone()?);
    let namespace = arguments.namespace.clone();
    Ok(match (arguments.to, arguments.form) {
        (ExportFormat::Json, _) => Box::new(Json::new(out)?),
        (ExportFormat::Dotenv, _) => Box::new(Dotenv::new(out)),
        (ExportFormat::K8s, KubernetesForm::Secrets) => Box::new(KubernetesSecrets::new(out, namespace)),
        (ExportFormat::K8s, KubernetesForm::ExternalSecrets) => {
            let store = Store {
                name: arguments.store.store.clone(),
                kind: arguments.store.store_kind.clone(),
            };
            Box::new(ExternalSecrets::new(out, namespace, store))
        }
        (ExportFormat::Bitwarden, _) => Box::new(Bitwarden::new(out)?),
        (ExportFormat::Sops, _) => {
            return Err(Failure::Failed("a tree of SOPS files is not one file".to_owned()));
        }
        (ExportFormat::OnePux, _) => Box::new(OnePux::new(out, Timestamp::now())?),
    })
}

/// Reads the vaults and writes them.
async fn write(server: &Server, vaults: &[Vault], writer: &mut dyn Writer) -> Result<Counts, Failure> {
    let client = &server.client;
    let mut counts = Counts::default();
    // Items whose files are still to be written: their ids, names and sizes.
    let mut waiting: Vec<Item> = Vec::new();
    for vault in vaults {
        let summaries = client
            .items(vault.id, None)
            .await
            .map_err(|error| server.failure(error))?;
        writer.vault(vault, &summaries)?;
        let mut items = stream::iter(&summaries)
            .map(|summary| async move { (summary, client.item(vault.id, summary.id).await) })
            .buffered(AT_ONCE);
        while let Some((summary, read)) = items.next().await {
            let item = match read {
                Ok(item) => item,
                Err(error) if error.is_not_found() => {
                    eprintln!("item {} was deleted while the vault was read", summary.id);
                    continue;
                }
                Err(error) => return Err(server.failure(error)),
            };
            let losses = writer.item(&item)?;
            counts.items += 1;
            counts.losses += losses.len();
            for loss in losses {
                eprintln!("item {} \"{}\": {loss}", item.id, printable(&item.title));
            }
            match writer.file_order() {
                FileOrder::WithItem => counts.files += write_files(server, &item, writer).await?,
                FileOrder::AfterItems if !item.files.is_empty() => waiting.push(Item {
                    fields: Vec::new(),
                    ..item
                }),
                FileOrder::AfterItems | FileOrder::Never => {}
            }
        }
    }
    for item in &waiting {
        counts.files += write_files(server, item, writer).await?;
    }
    Ok(counts)
}

/// Copies the contents of an item's files into the export, and returns how many.
async fn write_files(server: &Server, item: &Item, writer: &mut dyn Writer) -> Result<usize, Failure> {
    let mut count = 0;
    for file in &item.files {
        if !writer.file(file)? {
            continue;
        }
        let failure = |error: ClientError| match error {
            error if error.is_not_found() => changed(item),
            error => server.failure(error),
        };
        let mut content = server
            .client
            .file_content(item.vault, item.id, file.id, None)
            .await
            .map_err(failure)?;
        let mut size = 0;
        while let Some(bytes) = content.try_next().await.map_err(failure)? {
            size += bytes.len() as u64;
            writer.content(&bytes)?;
        }
        // The format has the size at another place.
        if size != file.size {
            return Err(changed(item));
        }
        count += 1;
    }
    Ok(count)
}

fn changed(item: &Item) -> Failure {
    Failure::Conflict(format!(
        "item {} \"{}\" changed while its files were read, and nothing was written: export again",
        item.id,
        printable(&item.title)
    ))
}
