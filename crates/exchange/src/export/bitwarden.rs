//! The unencrypted JSON that `bw import bitwardenjson` and the web vault's import read: `BitwardenJsonImporter` in bitwarden/clients.
//! Each vault is a folder.

use std::io::{self, Write};

use serde_json::{Value, json};
use sidevault_model::{Category, Field, FieldType, Item, Purpose, Vault};

use super::{Writer, lost_files, section_name};

/// The types of ciphers.
const LOGIN: u8 = 1;
const SECURE_NOTE: u8 = 2;
/// The types of custom fields.
const TEXT: u8 = 0;
const HIDDEN: u8 = 1;
/// The importer keeps this many earlier passwords.
const HISTORY: usize = 5;
/// The server refuses values that are longer than this once they are encrypted and encoded, which makes them a third longer.
const LONGEST: usize = 7_000;

/// Writes Bitwarden's JSON.
pub struct Bitwarden<W> {
    out: W,
    folders: Vec<Value>,
    follows: bool,
}

impl<W: Write> Bitwarden<W> {
    /// Begins an export.
    ///
    /// # Errors
    /// Those of the output.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(b"{\"encrypted\":false,\"items\":[")?;
        Ok(Self {
            out,
            folders: Vec::new(),
            follows: false,
        })
    }
}

impl<W: Write> Writer for Bitwarden<W> {
    fn vault(&mut self, vault: &Vault, _summaries: &[Item]) -> io::Result<()> {
        self.folders.push(json!({ "id": vault.id, "name": vault.name }));
        Ok(())
    }

    fn item(&mut self, item: &Item) -> io::Result<Vec<String>> {
        let mut losses = Vec::new();
        let cipher = cipher(item, &mut losses);
        let comma: &[u8] = if self.follows { b",\n" } else { b"\n" };
        self.follows = true;
        self.out.write_all(comma)?;
        serde_json::to_writer(&mut self.out, &cipher)?;
        Ok(losses)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.out.write_all(b"\n],\"folders\":")?;
        serde_json::to_writer(&mut self.out, &self.folders)?;
        self.out.write_all(b"}\n")?;
        self.out.flush()
    }
}

fn cipher(item: &Item, losses: &mut Vec<String>) -> Value {
    let purpose = |wanted| {
        item.fields
            .iter()
            .find(|field| field.purpose == Some(wanted) && !field.value.is_empty())
    };
    let (username, password, notes) = (
        purpose(Purpose::Username),
        purpose(Purpose::Password),
        purpose(Purpose::Notes),
    );
    // A cipher has one one-time password.
    let otp = item
        .fields
        .iter()
        .find(|field| field.field_type == FieldType::Otp && !field.value.is_empty());
    let in_place = [username, password, notes, otp];
    let is_in_place = |field: &Field| {
        in_place
            .iter()
            .flatten()
            .any(|placed| std::ptr::eq::<Field>(*placed, field))
    };
    let is_login = item.category == Category::Login
        || username.is_some()
        || password.is_some()
        || otp.is_some()
        || !item.urls.is_empty();
    let others: Vec<&Field> = item
        .fields
        .iter()
        .filter(|field| !is_in_place(field) && !field.value.is_empty())
        .collect();
    let value = |field: Option<&Field>| field.map(|field| Value::from(field.value.as_str()));
    let mut cipher = json!({
        "id": item.id,
        "organizationId": null,
        "folderId": item.vault,
        "type": if is_login { LOGIN } else { SECURE_NOTE },
        "reprompt": 0,
        "name": item.title,
        "notes": value(notes),
        "favorite": item.favorite,
        "fields": others.iter().map(|field| custom_field(item, field)).collect::<Vec<_>>(),
        "collectionIds": null,
        "creationDate": item.created_at,
        "revisionDate": item.updated_at,
    });
    if is_login {
        cipher["login"] = json!({
            "uris": item.urls.iter().map(|url| json!({ "match": null, "uri": url.href })).collect::<Vec<_>>(),
            "username": value(username),
            "password": value(password),
            "totp": value(otp),
        });
    } else {
        cipher["secureNote"] = json!({ "type": 0 });
    }
    let history: &[String] = password
        .and_then(|field| field.password_details.as_ref())
        .map_or(&[], |details| &details.history);
    if !history.is_empty() {
        let earlier = history.iter().take(HISTORY);
        cipher["passwordHistory"] = earlier
            .map(|password| json!({ "lastUsedDate": item.updated_at, "password": password }))
            .collect();
    }
    name_losses(item, is_login, history.len(), losses);
    cipher
}

fn custom_field(item: &Item, field: &Field) -> Value {
    let label = field.label_or_id();
    let name = match section_name(item, field) {
        "" => label.to_owned(),
        section => format!("{section}: {label}"),
    };
    let is_hidden = matches!(
        field.field_type,
        FieldType::Concealed | FieldType::Otp | FieldType::SshKey | FieldType::CreditCardNumber
    );
    json!({ "name": name, "value": field.value, "type": if is_hidden { HIDDEN } else { TEXT } })
}

fn name_losses(item: &Item, is_login: bool, history: usize, losses: &mut Vec<String>) {
    losses.extend(lost_files(item));
    if !item.tags.is_empty() {
        losses.push("tags: Bitwarden has none".to_owned());
    }
    let is_kept = match item.category {
        Category::Login | Category::Password => is_login,
        Category::SecureNote => !is_login,
        _ => false,
    };
    if !is_kept {
        let kind = if is_login { "login" } else { "secure note" };
        losses.push(format!("category {}: it becomes a {kind}", item.category));
    }
    if item
        .urls
        .iter()
        .any(|url| url.label.as_ref().is_some_and(|label| !label.is_empty()))
    {
        losses.push("the labels of its web addresses".to_owned());
    }
    if history > HISTORY {
        losses.push(format!(
            "{} earlier passwords: Bitwarden keeps {HISTORY}",
            history - HISTORY
        ));
    }
    for field in item.fields.iter().filter(|field| field.value.len() > LONGEST) {
        losses.push(format!(
            "field \"{}\" is long: Bitwarden's servers refuse values of more than 10,000 characters after encryption",
            sidevault_model::printable(&field.label)
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{full_item, plain_item, vault, written};
    use super::*;

    fn export(items: Vec<Item>) -> (Value, Vec<String>) {
        let (text, losses) = written(
            |out| Box::new(Bitwarden::new(out).unwrap()),
            &[(vault("a"), items), (vault("b"), Vec::new())],
        );
        (serde_json::from_slice(&text).unwrap(), losses)
    }

    #[test]
    fn a_login_has_its_parts_in_bitwardens_places() {
        let (read, losses) = export(vec![full_item()]);
        assert_eq!(read["encrypted"], false);
        assert_eq!(read["folders"][1]["name"], "b");
        let item = &read["items"][0];
        assert_eq!(
            (&item["type"], &item["folderId"]),
            (&json!(1), &read["folders"][0]["id"])
        );
        assert_eq!(item["login"]["uris"][0]["uri"], "https://shop.example");
        assert_eq!(
            (&item["login"]["username"], &item["login"]["password"]),
            (&json!("app"), &json!("s3cret"))
        );
        assert_eq!(item["login"]["totp"], "otpauth://totp/x?secret=GEZDGNBV");
        assert_eq!(item["notes"], "line 1\nit's \"2\"");
        assert_eq!(item["passwordHistory"][1]["password"], "oldest");
        assert_eq!(item["fields"].as_array().unwrap().len(), 8);
        assert_eq!(
            item["fields"][1],
            json!({ "name": "Replica: pin", "value": "1234", "type": 1 })
        );
        assert_eq!(item["creationDate"], "2020-09-13T12:26:40Z");
        let named = |what: &str| losses.iter().any(|loss| loss.contains(what));
        assert!(named("ca.pem") && named("tags") && named("labels"), "{losses:?}");
    }

    #[test]
    fn an_item_without_a_login_is_a_secure_note_and_says_so() {
        let mut item = plain_item("token");
        item.fields = vec![
            Field::new("credential", FieldType::Concealed, "credential", "k3y"),
            Field::new("empty", FieldType::String, "empty", ""),
        ];
        let (read, losses) = export(vec![item]);
        let item = &read["items"][0];
        assert_eq!((&item["type"], &item["secureNote"]["type"]), (&json!(2), &json!(0)));
        assert_eq!(
            item["fields"],
            json!([{ "name": "credential", "value": "k3y", "type": 1 }])
        );
        assert_eq!(losses, ["category API_CREDENTIAL: it becomes a secure note"]);
    }
}
