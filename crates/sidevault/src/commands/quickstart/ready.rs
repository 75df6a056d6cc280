//! What quickstart prints when it is ready, and the sample item of its first start.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use sidevault_keys::write_new;
use sidevault_model::filter::fold;
use sidevault_model::{CharacterSet, FieldInput, FieldType, ItemInput, Purpose, Recipe, VaultId};
use sidevault_store::{Command, CommandAnswer, DATABASE_FILE, LOCAL_SOURCE, VaultEntry};
use sidevault_sync::Queue;
use zeroize::Zeroizing;

use super::Lifetime;
use super::token::Issued;
use crate::cli;
use crate::exit::Failure;
use crate::installation::{CREDENTIALS_FILE, ISSUER_FILE, TOKEN_FILE};
use crate::output::{self, shell_word};

/// Printed on stderr with `--dev-token`.
pub(super) const DEV_BANNER: &str = "\
******************************************************************
*  DEVELOPMENT KEYS: everybody knows them. Whoever reaches this  *
*  port can read and change everything in it. No real secrets!   *
******************************************************************";

/// The title of the sample item.
const SAMPLE: &str = "postgres-database";

/// The sample's password with the published keys, where tests want the same value in every run.
const DEV_PASSWORD: &str = "correct-horse-battery-staple";

/// A running quickstart. `--json` prints this.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ready {
    url: String,
    #[serde(serialize_with = "text")]
    token: Zeroizing<String>,
    vaults: Vec<Vault>,
    data_dir: PathBuf,
    #[serde(skip)]
    lifetime: Lifetime,
    /// Whether this is the first start.
    #[serde(skip)]
    is_new: bool,
    /// The vault in which the sample item was made now.
    #[serde(skip)]
    sample: Option<VaultId>,
    /// Whether clients may change the files of directories.
    #[serde(skip)]
    has_writable_files: bool,
    /// The address of the page, with the one-time code that opens it. None if no page is served.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_text")]
    page: Option<Zeroizing<String>>,
}

fn optional_text<S: serde::Serializer>(text: &Option<Zeroizing<String>>, serializer: S) -> Result<S::Ok, S::Error> {
    text.as_deref().serialize(serializer)
}

fn text<S: serde::Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

#[derive(Serialize)]
struct Vault {
    id: VaultId,
    name: String,
    #[serde(skip)]
    is_local: bool,
}

impl Ready {
    pub(super) fn new(
        url: &str,
        token: &Issued,
        vaults: &[Arc<VaultEntry>],
        (data_dir, lifetime): (&Path, Lifetime),
        is_new: bool,
        sample: Option<VaultId>,
    ) -> Self {
        let mut vaults: Vec<Vault> = vaults
            .iter()
            .map(|entry| Vault {
                id: entry.vault.id,
                name: entry.vault.name.clone(),
                is_local: entry.source == LOCAL_SOURCE,
            })
            .collect();
        vaults.sort_by_cached_key(|vault| (fold(&vault.name), vault.id));
        Self {
            url: url.to_owned(),
            token: token.jwt.clone(),
            vaults,
            data_dir: data_dir.to_owned(),
            lifetime,
            is_new,
            sample,
            has_writable_files: false,
            page: None,
        }
    }

    /// The ids of the vaults that the token covers.
    pub(super) fn vault_ids(&self) -> BTreeSet<VaultId> {
        self.vaults.iter().map(|vault| vault.id).collect()
    }

    /// Prints it in the form that the arguments ask for, and writes the token to `--token-out`.
    pub(super) fn announce(&self, arguments: &cli::Quickstart) -> Result<(), Failure> {
        if arguments.token_out.as_deref() == Some(Path::new("-")) {
            return output::line(&self.token);
        }
        write_token_out(arguments, &self.token)?;
        if arguments.json {
            output::json(self)
        } else {
            output::line(&self.words(&output::program()))
        }
    }

    pub(super) fn with_writable_files(self, has_writable_files: bool) -> Self {
        Self {
            has_writable_files,
            ..self
        }
    }

    pub(super) fn with_page(self, code: &str) -> Self {
        Self {
            page: Some(Zeroizing::new(format!("{}/ui#code={code}", self.url))),
            ..self
        }
    }

    /// The explanation for a person. `program` is what they type to call this binary.
    fn words(&self, program: &str) -> String {
        let heading = |text: &str| output::styled(text, "1");
        let command = |text: String| format!("  {}\n", output::styled(&text, "36"));
        let data = self.data_dir.display().to_string();
        let mut text = format!(
            "{} {}\n\n",
            heading("Sidevault is ready at"),
            output::styled(&self.url, "1;32")
        );
        match (self.lifetime, self.is_new) {
            (Lifetime::Ephemeral, _) => text += &heading("Made, and deleted again when this process ends:"),
            (_, true) => text += &heading(&format!("Made in {data}:")),
            (_, false) => text += &heading(&format!("Continues with the keys and vaults in {data}:")),
        }
        text += "\n";
        if self.lifetime != Lifetime::Ephemeral {
            for (file, what) in [
                (CREDENTIALS_FILE, "the server's keys"),
                (ISSUER_FILE, "signs tokens: whoever has it can read everything"),
                (DATABASE_FILE, "the encrypted store"),
                (TOKEN_FILE, "a token for all vaults"),
            ] {
                text += &format!("  {file:<28} {what}\n");
            }
        }
        for vault in &self.vaults {
            let kind = if vault.is_local {
                "local"
            } else {
                match self.has_writable_files {
                    true => "from a directory, writable",
                    false => "from a directory, read-only",
                }
            };
            text += &format!(
                "  {:<28} {kind}\n",
                format!("vault {}", sidevault_model::printable(&vault.name))
            );
        }
        if self.vaults.is_empty() {
            text += "  no vault yet\n";
        }
        let token = match self.lifetime {
            Lifetime::Ephemeral => self.token.to_string(),
            _ => format!(
                "\"$(cat {})\"",
                shell_word(&self.data_dir.join(TOKEN_FILE).to_string_lossy())
            ),
        };
        let export = command(format!("export OP_CONNECT_HOST={} OP_CONNECT_TOKEN={token}", self.url));
        let with_sample = self.vaults.iter().find(|vault| Some(vault.id) == self.sample);
        let shown = with_sample.or(self.vaults.first());
        let vault = shown.map_or("VAULT", |vault| vault.name.as_str());
        let title = if with_sample.is_some() { SAMPLE } else { "TITLE" };

        if let Some(page) = &self.page {
            // Where the output is no terminal, it may be kept, as the log of a container is: then without the code.
            let (address, hint) = match (std::io::stdout().is_terminal(), page.split_once('#')) {
                (false, Some((address, _))) => (address, "It asks for a token."),
                _ => (
                    page.as_str(),
                    "The address works once, for 10 minutes. Later, the page asks for a token.",
                ),
            };
            text += &format!("\n{}\n", heading("Look at it in a browser:"));
            text += &command(address.to_owned());
            text += &format!("  {hint}\n");
        }
        text += &format!("\n{}\n", heading("Read it, in another terminal:"));
        if self.lifetime != Lifetime::Default {
            text += &export;
        }
        let (program, in_vault) = (shell_word(program), format!("--vault {}", shell_word(vault)));
        text += &command(format!("{program} item list {in_vault}"));
        text += &command(format!("{program} item get {title} {in_vault} --reveal"));
        text += &format!("{}\n", heading("With curl, or any client of 1Password Connect:"));
        if self.lifetime == Lifetime::Default {
            text += &export;
        }
        text += &command(format!(
            "curl -H \"Authorization: Bearer $OP_CONNECT_TOKEN\" $OP_CONNECT_HOST/v1/vaults/{}/items",
            path_segment(vault)
        ));
        if self.lifetime != Lifetime::Ephemeral {
            text += &format!(
                "\n{}  the next {program} quickstart with the same arguments continues. Local vaults exist in this \
                 directory only: back it up.\n{}  stop, then: rm -r {}\n",
                heading("Keep it:"),
                heading("Throw it away:"),
                shell_word(&data)
            );
        }
        text += "\nStop with Ctrl-C.";
        text
    }
}

/// Writes the token to the file that `--token-out` names, if it names one. A file of an earlier run is replaced; a symbolic
/// link is replaced, not followed.
pub(super) fn write_token_out(arguments: &cli::Quickstart, token: &str) -> Result<(), Failure> {
    let Some(path) = arguments.token_out.as_deref().filter(|path| *path != Path::new("-")) else {
        return Ok(());
    };
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::Failed(format!("{}: {error}", path.display())))
        }
        _ => Ok(write_new(path, format!("{token}\n").as_bytes())?),
    }
}

/// A name as a path segment of a URL (RFC 3986, section 3.3). A shell takes it without quotes.
fn path_segment(name: &str) -> String {
    let mut segment = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => segment.push(char::from(byte)),
            byte => segment.push_str(&format!("%{byte:02X}")),
        }
    }
    segment
}

/// The first local vault of the arguments, if it is empty.
pub(super) fn vault_for_sample(vaults: &[Arc<VaultEntry>], locals: &[String]) -> Option<VaultId> {
    let first = fold(locals.first()?);
    let entry = vaults.iter().find(|entry| fold(&entry.vault.name) == first)?;
    (entry.vault.items == 0).then_some(entry.vault.id)
}

/// Makes the sample item. Its password is random, but the same in every run with the published keys.
pub(super) async fn add_sample(queue: &Queue, vault: VaultId, jti: &str, published_keys: bool) -> Result<(), Failure> {
    let command = Command::CreateItem {
        vault,
        input: sample(published_keys),
        // The form in which the api records who changed an item.
        by: jti.to_ascii_uppercase(),
    };
    match queue.command(command).await {
        Ok(CommandAnswer::Refused(refusal)) => Err(refusal.into()),
        Ok(_) => Ok(()),
        Err(closed) => Err(Failure::Failed(closed.to_string())),
    }
}

fn sample(published_keys: bool) -> ItemInput {
    let field = |purpose: Option<Purpose>, label: &str, value: &str| FieldInput {
        id: purpose.map(|purpose| purpose.usual_name().to_owned()),
        field_type: Some(FieldType::String),
        purpose: Some(purpose),
        label: Some(label.to_owned()),
        value: Some(value.to_owned()),
        ..FieldInput::default()
    };
    let password = FieldInput {
        field_type: Some(FieldType::Concealed),
        value: published_keys.then(|| DEV_PASSWORD.to_owned()),
        generate: !published_keys,
        recipe: Recipe::new(32, [CharacterSet::Letters, CharacterSet::Digits], "").ok(),
        ..field(Some(Purpose::Password), "password", "")
    };
    ItemInput {
        title: Some(SAMPLE.to_owned()),
        category: Some("LOGIN".to_owned()),
        tags: vec!["sample".to_owned()],
        fields: vec![
            field(Some(Purpose::Username), "username", "postgres"),
            password,
            field(None, "hostname", "postgres.default.svc"),
            field(None, "port", "5432"),
            field(None, "database", "postgres"),
        ],
        ..ItemInput::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(lifetime: Lifetime, is_new: bool) -> String {
        let keys = super::super::keys::published();
        let token = super::super::token::published(&keys, &[]).unwrap();
        let [secrets, apps] = ["secrets", "apps"].map(|name| keys.issuer.id_key().vault(name));
        let data = (Path::new("/home/a b/sidevault"), lifetime);
        let mut ready = Ready::new(
            "http://localhost:8080",
            &token,
            &[],
            data,
            is_new,
            is_new.then_some(secrets),
        );
        for (id, name) in [(apps, "apps"), (secrets, "secrets")] {
            ready.vaults.push(Vault {
                id,
                name: name.to_owned(),
                is_local: true,
            });
        }
        ready.words("target/quickstart/sidevault")
    }

    #[test]
    fn the_explanation_says_what_was_made_and_how_to_read_keep_and_delete_it() {
        let first = ready(Lifetime::Default, true);
        for part in [
            "Made in /home/a b/sidevault:",
            "quickstart.token",
            "target/quickstart/sidevault item get postgres-database --vault secrets --reveal",
            "OP_CONNECT_TOKEN=\"$(cat '/home/a b/sidevault/quickstart.token')\"",
            "/v1/vaults/secrets/items",
            "rm -r '/home/a b/sidevault'",
        ] {
            assert!(first.contains(part), "{part:?} is not in\n{first}");
        }
        assert!(!first.contains("eyJ"), "the token itself is not shown");
        let again = ready(Lifetime::Default, false);
        assert!(
            again.contains("Continues with") && again.contains("item get TITLE"),
            "{again}"
        );
        let ephemeral = ready(Lifetime::Ephemeral, true);
        assert!(
            ephemeral.contains("deleted again") && ephemeral.contains("OP_CONNECT_TOKEN=eyJ"),
            "{ephemeral}"
        );
        assert!(!ephemeral.contains("rm -r"), "{ephemeral}");
    }

    #[test]
    fn a_name_in_a_url_needs_no_quotes() {
        assert_eq!(path_segment("secrets"), "secrets");
        assert_eq!(path_segment("My Vault/ü"), "My%20Vault%2F%C3%BC");
    }

    #[test]
    fn the_sample_of_the_published_keys_is_the_same_in_every_run() {
        let password = |published| sample(published).fields[1].value.clone();
        assert_eq!(password(true).as_deref(), Some(DEV_PASSWORD));
        assert_eq!(password(false), None);
    }
}
