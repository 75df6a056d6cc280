//! What quickstart says when it is ready, and the sample it makes on its first start.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use sidevault_keys::write_new;
use sidevault_model::filter::fold;
use sidevault_model::{CharacterSet, FieldInput, FieldType, ItemInput, Purpose, Recipe, VaultId};
use sidevault_store::{Command, CommandAnswer, VaultEntry};
use sidevault_sync::Queue;
use zeroize::Zeroizing;

use super::Home;
use super::token::Issued;
use crate::cli;
use crate::exit::Failure;
use crate::installation::TOKEN_FILE;
use crate::output;

/// For `--dev-token`.
pub(super) const DEV_BANNER: &str = "\
******************************************************************
*  DEVELOPMENT KEYS: everybody knows them. Whoever reaches this  *
*  port can read and change everything in it. No real secrets!   *
******************************************************************";

/// All there is to say. What `--json` prints is this.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ready {
    url: String,
    #[serde(serialize_with = "text")]
    token: Zeroizing<String>,
    vaults: Vec<Vault>,
    data_dir: PathBuf,
    #[serde(skip)]
    is_kept: bool,
}

fn text<S: serde::Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

#[derive(Serialize)]
struct Vault {
    id: VaultId,
    name: String,
}

impl Ready {
    pub(super) fn new(url: &str, token: &Issued, vaults: &[Arc<VaultEntry>], home: &Home) -> Self {
        let mut vaults: Vec<Vault> = vaults
            .iter()
            .map(|entry| Vault {
                id: entry.vault.id,
                name: entry.vault.name.clone(),
            })
            .collect();
        vaults.sort_by_cached_key(|vault| (fold(&vault.name), vault.id));
        Self {
            url: url.to_owned(),
            token: token.jwt.clone(),
            vaults,
            data_dir: home.path().to_owned(),
            is_kept: matches!(home, Home::Kept(_)),
        }
    }

    /// Says it where it was asked for.
    pub(super) fn announce(&self, arguments: &cli::Quickstart) -> Result<(), Failure> {
        match &arguments.token_out {
            Some(path) if path.as_os_str() == "-" => return output::line(&self.token),
            Some(path) => {
                // Asked for by name each time, so an old one may go; a link is not followed.
                match std::fs::remove_file(path) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(Failure::Failed(format!("{}: {error}", path.display())));
                    }
                    _ => write_new(path, format!("{}\n", *self.token).as_bytes())?,
                }
            }
            None => {}
        }
        match arguments.json {
            true => output::json(self),
            false => output::line(&self.words()),
        }
    }

    fn words(&self) -> String {
        let names: Vec<String> = self.vaults.iter().map(|vault| output::printable(&vault.name)).collect();
        let (vaults, curl) = match names.first() {
            Some(first) => (names.join(", "), format!("vaults/{}/items", path_segment(first))),
            None => ("none yet".to_owned(), "vaults".to_owned()),
        };
        let export = match self.is_kept {
            true => format!("\"$(cat {})\"", self.data_dir.join(TOKEN_FILE).display()),
            false => self.token.to_string(),
        };
        format!(
            "Sidevault is ready.

  URL     {url}
  vaults  {vaults}
  data    {data}
  token   {token}

Try it:
  curl -H \"Authorization: Bearer {token}\" {url}/v1/{curl}

Any Connect client:
  export OP_CONNECT_HOST={url} OP_CONNECT_TOKEN={export}

Stop with Ctrl-C.",
            url = self.url,
            data = self.data_dir.display(),
            token = *self.token,
        )
    }
}

/// A name as it stands in a URL (RFC 3986, section 3.3), which a shell takes unquoted too.
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

/// The first local vault that was asked for, if it is empty.
pub(super) fn vault_for_sample(vaults: &[Arc<VaultEntry>], locals: &[String]) -> Option<VaultId> {
    let first = fold(locals.first()?);
    let entry = vaults.iter().find(|entry| fold(&entry.vault.name) == first)?;
    (entry.vault.items == 0).then_some(entry.vault.id)
}

/// Makes an item to look at. Its password is made by the server, as for any client that asks.
pub(super) async fn add_sample(queue: &Queue, vault: VaultId, jti: &str) -> Result<(), Failure> {
    let command = Command::CreateItem {
        vault,
        input: sample(),
        // As the api writes the token's id there.
        by: jti.to_ascii_uppercase(),
    };
    match queue.command(command).await {
        Ok(CommandAnswer::Refused(refusal)) => Err(refusal.into()),
        Ok(_) => Ok(()),
        Err(closed) => Err(Failure::Failed(closed.to_string())),
    }
}

fn sample() -> ItemInput {
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
        value: None,
        generate: true,
        recipe: Recipe::new(32, [CharacterSet::Letters, CharacterSet::Digits], "").ok(),
        ..field(Some(Purpose::Password), "password", "")
    };
    ItemInput {
        title: Some("postgres-database".to_owned()),
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

    #[test]
    fn a_name_in_a_url_needs_no_quotes() {
        assert_eq!(path_segment("secrets"), "secrets");
        assert_eq!(path_segment("My Vault/ü"), "My%20Vault%2F%C3%BC");
    }
}
