//! 1PUX, 1Password's unencrypted export: a ZIP archive with `export.attributes`, `export.data` and `files/<documentId>___<fileName>`.
//! 1Password describes it at <https://support.1password.com/1pux-format/>. Members that 1Password's importer wants are written even if
//! they are empty.

use std::io::{self, Seek, Write};

use serde_json::{Value, json};
use sidevault_model::{Category, Field, FieldType, File, Item, Purpose, State, Timestamp, Vault};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::{FileOrder, Writer};

/// Writes 1PUX.
pub struct OnePux<W: Write + Seek> {
    archive: ZipWriter<W>,
    /// Whether a vault is open, and whether it has items.
    vault: Option<bool>,
    has_vaults: bool,
    data_has_ended: bool,
}

impl<W: Write + Seek> OnePux<W> {
    /// Begins an export. `now` is its date.
    ///
    /// # Errors
    /// Those of the output.
    pub fn new(out: W, now: Timestamp) -> io::Result<Self> {
        let mut archive = ZipWriter::new(out);
        archive.start_file("export.attributes", options())?;
        let attributes = json!({
            "version": 3,
            "description": "1Password Unencrypted Export",
            "createdAt": now.as_seconds(),
        });
        serde_json::to_writer(&mut archive, &attributes)?;
        archive.start_file("export.data", options())?;
        let account = json!({
            "accountName": "Sidevault",
            "name": "Sidevault",
            "avatar": "",
            "email": "",
            "uuid": "",
            "domain": "",
        });
        write!(archive, "{{\"accounts\":[{{\"attrs\":{account},\"vaults\":[")?;
        Ok(Self {
            archive,
            vault: None,
            has_vaults: false,
            data_has_ended: false,
        })
    }

    fn end_vault(&mut self) -> io::Result<()> {
        match self.vault.take() {
            Some(_) => self.archive.write_all(b"\n]}"),
            None => Ok(()),
        }
    }

    fn end_data(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.data_has_ended, true) {
            return Ok(());
        }
        self.end_vault()?;
        self.archive.write_all(b"]}]}\n")
    }
}

fn options() -> SimpleFileOptions {
    // A member may have more than 4 GiB.
    SimpleFileOptions::default().large_file(true).unix_permissions(0o600)
}

impl<W: Write + Seek> Writer for OnePux<W> {
    fn vault(&mut self, vault: &Vault, _summaries: &[Item]) -> io::Result<()> {
        self.end_vault()?;
        if std::mem::replace(&mut self.has_vaults, true) {
            self.archive.write_all(b",")?;
        }
        let attributes = json!({
            "uuid": vault.id,
            "desc": vault.description.as_deref().unwrap_or_default(),
            "avatar": "",
            "name": vault.name,
            "type": "U",
        });
        write!(self.archive, "{{\"attrs\":{attributes},\"items\":[")?;
        self.vault = Some(false);
        Ok(())
    }

    fn item(&mut self, item: &Item) -> io::Result<Vec<String>> {
        let mut losses = Vec::new();
        let comma: &[u8] = match self.vault.replace(true) {
            Some(true) => b",\n",
            _ => b"\n",
        };
        self.archive.write_all(comma)?;
        serde_json::to_writer(&mut self.archive, &converted(item, &mut losses))?;
        Ok(losses)
    }

    fn file_order(&self) -> FileOrder {
        FileOrder::AfterItems
    }

    fn file(&mut self, file: &File) -> io::Result<bool> {
        self.end_data()?;
        self.archive
            .start_file(format!("files/{}___{}", file.id, file_name(&file.name)), options())?;
        Ok(true)
    }

    fn content(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.archive.write_all(bytes)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.end_data()?;
        self.archive.finish()?.flush()
    }
}

/// A file's name as a part of a member's name: 1Password's own exports have no directories below `files/`. The item has the whole name.
fn file_name(name: &str) -> String {
    let text: String = name
        .chars()
        .map(|c| if c.is_control() || "/\\".contains(c) { '_' } else { c })
        .take(200)
        .collect();
    text.replace("..", "__")
}

/// The number in `categoryUuid`.
fn category(category: Category) -> &'static str {
    match category {
        Category::Login => "001",
        Category::CreditCard => "002",
        Category::SecureNote | Category::Custom => "003",
        Category::Identity => "004",
        Category::Password => "005",
        Category::Document => "006",
        Category::SoftwareLicense => "100",
        Category::BankAccount => "101",
        Category::Database => "102",
        Category::DriverLicense => "103",
        Category::OutdoorLicense => "104",
        Category::Membership => "105",
        Category::Passport => "106",
        Category::RewardProgram => "107",
        Category::SocialSecurityNumber => "108",
        Category::WirelessRouter => "109",
        Category::Server => "110",
        Category::EmailAccount => "111",
        Category::ApiCredential => "112",
        Category::MedicalRecord => "113",
        Category::SshKey => "114",
    }
}

fn converted(item: &Item, losses: &mut Vec<String>) -> Value {
    if item.category == Category::Custom {
        losses.push("category CUSTOM: it becomes a secure note".to_owned());
    }
    let mut login_fields = Vec::new();
    let (mut notes, mut password) = ("", "");
    let mut in_place = vec![false; item.fields.len()];
    for (field, in_place) in item.fields.iter().zip(&mut in_place) {
        let (kind, designation) = match field.purpose {
            Some(Purpose::Notes) => {
                (notes, *in_place) = (&field.value, true);
                continue;
            }
            Some(Purpose::Password) if item.category == Category::Password => {
                (password, *in_place) = (&field.value, true);
                continue;
            }
            Some(Purpose::Username) => ("T", "username"),
            Some(Purpose::Password) => ("P", "password"),
            None => continue,
        };
        *in_place = true;
        login_fields.push(json!({
            "value": field.value,
            "id": field.id,
            "name": field.label,
            "fieldType": kind,
            "designation": designation,
        }));
    }
    let rest: Vec<&Field> = item
        .fields
        .iter()
        .zip(in_place)
        .filter(|(_, in_place)| !in_place)
        .map(|(field, _)| field)
        .collect();
    let history: Vec<Value> = item
        .fields
        .iter()
        .filter(|field| field.purpose == Some(Purpose::Password))
        .filter_map(|field| field.password_details.as_ref())
        .flat_map(|details| &details.history)
        .map(|earlier| json!({ "value": earlier, "time": item.updated_at.as_seconds() }))
        .collect();
    let document = match item.category {
        Category::Document => item.files.first(),
        _ => None,
    };
    let files: Vec<&File> = item
        .files
        .iter()
        .filter(|file| document.is_none_or(|document| document.id != file.id))
        .collect();
    let mut details = json!({
        "loginFields": login_fields,
        "notesPlain": notes,
        "sections": sections(item, &rest, &files),
        "passwordHistory": history,
    });
    if item.category == Category::Password {
        details["password"] = password.into();
    }
    if let Some(document) = document {
        details["documentAttributes"] = attributes(document);
    }
    let first = item.urls.iter().find(|url| url.primary).or(item.urls.first());
    json!({
        "uuid": item.id,
        "favIndex": u8::from(item.favorite),
        "createdAt": item.created_at.as_seconds(),
        "updatedAt": item.updated_at.as_seconds(),
        "state": if item.state == Some(State::Archived) { "archived" } else { "active" },
        "categoryUuid": category(item.category),
        "details": details,
        "overview": {
            "subtitle": "",
            "urls": item.urls.iter().map(|url| json!({
                "label": url.label.as_deref().unwrap_or_default(),
                "url": url.href,
            })).collect::<Vec<_>>(),
            "title": item.title,
            "url": first.map(|url| url.href.as_str()).unwrap_or_default(),
            "ps": 0,
            "pbe": 0.0,
            "pgrng": false,
            "tags": item.tags,
        },
    })
}

/// The sections with their fields and files, in the item's order; first the fields and files that belong to none.
fn sections(item: &Item, fields: &[&Field], files: &[&File]) -> Vec<Value> {
    let mut ids: Vec<(&str, &str)> = vec![("", "")];
    ids.extend(
        item.sections
            .iter()
            .map(|section| (section.id.as_str(), section.label.as_str())),
    );
    let named = fields
        .iter()
        .filter_map(|field| field.section.as_ref())
        .chain(files.iter().filter_map(|file| file.section.as_ref()));
    for section in named {
        if ids.iter().all(|(id, _)| *id != section.id) {
            ids.push((&section.id, section.label.as_deref().unwrap_or_default()));
        }
    }
    let section = |(id, title): (&str, &str)| {
        let is_in = |section: Option<&sidevault_model::SectionRef>| section.map_or("", |section| &section.id) == id;
        let inside: Vec<&Field> = fields
            .iter()
            .filter(|field| is_in(field.section.as_ref()))
            .copied()
            .collect();
        let has_key = inside.iter().any(|field| field.field_type == FieldType::SshKey);
        let texts = inside
            .iter()
            // The key's value has these.
            .filter(|field| !(has_key && is_key_detail(field)))
            .map(|field| section_field(&field.label, &field.id, value(field, &inside), field));
        let documents = files.iter().filter(|file| is_in(file.section.as_ref())).map(|file| {
            let plain = Field::new(file.id.as_str(), FieldType::File, "", "");
            section_field(
                &file.name,
                file.id.as_str(),
                json!({ "file": attributes(file) }),
                &plain,
            )
        });
        let all: Vec<Value> = texts.chain(documents).collect();
        let is_wanted = !id.is_empty() || !all.is_empty();
        is_wanted.then(|| json!({ "title": title, "name": id, "fields": all }))
    };
    ids.iter().filter_map(|id| section(*id)).collect()
}

fn section_field(title: &str, id: &str, value: Value, field: &Field) -> Value {
    let (keyboard, correction, capitalization) = match field.field_type {
        FieldType::Email => ("emailAddress", "no", "none"),
        FieldType::Url => ("uRL", "no", "none"),
        FieldType::Phone => ("namePhonePad", "default", "default"),
        FieldType::Concealed | FieldType::Otp | FieldType::SshKey => ("default", "no", "none"),
        _ => ("default", "default", "default"),
    };
    json!({
        "title": title,
        "id": id,
        "value": value,
        "guarded": false,
        "multiline": field.value.contains('\n'),
        "dontGenerate": false,
        "inputTraits": {
            "keyboard": keyboard,
            "correction": correction,
            "capitalization": capitalization,
        },
    })
}

fn attributes(file: &File) -> Value {
    json!({ "fileName": file.name, "documentId": file.id, "decryptedSize": file.size })
}

fn value(field: &Field, section: &[&Field]) -> Value {
    let text = &field.value;
    let number = || text.parse::<i64>().ok();
    match field.field_type {
        FieldType::String | FieldType::File | FieldType::Unknown => json!({ "string": text }),
        FieldType::Email => json!({ "email": { "email_address": text, "provider": null } }),
        FieldType::Concealed => json!({ "concealed": text }),
        FieldType::Url => json!({ "url": text }),
        FieldType::Otp => json!({ "totp": text }),
        FieldType::Date => number().map_or(json!({ "date": null }), |number| json!({ "date": number })),
        FieldType::MonthYear => number().map_or(json!({ "monthYear": null }), |number| json!({ "monthYear": number })),
        FieldType::Menu => json!({ "menu": text }),
        // Connect has an address as one line.
        FieldType::Address => {
            json!({ "address": { "street": text, "city": "", "country": "", "zip": "", "state": "" } })
        }
        FieldType::CreditCardNumber => json!({ "creditCardNumber": text }),
        FieldType::CreditCardType => json!({ "creditCardType": text }),
        FieldType::Gender => json!({ "gender": text }),
        FieldType::Phone => json!({ "phone": text }),
        FieldType::Reference => json!({ "reference": text }),
        FieldType::SshKey => ssh_key(text, section),
    }
}

/// Whether a field is a part of the SSH key's value in 1PUX.
fn is_key_detail(field: &Field) -> bool {
    matches!(field.id.as_str(), "public_key" | "fingerprint" | "key_type")
}

fn ssh_key(private_key: &str, section: &[&Field]) -> Value {
    let detail = |id: &str| {
        let field = section.iter().find(|field| field.id == id);
        field.map(|field| field.value.as_str()).unwrap_or_default()
    };
    let key_type = match detail("key_type").split_once('-') {
        Some((name, bits)) => match bits.parse::<u32>() {
            Ok(bits) => json!({ "t": name, "c": { "rsaLength": bits } }),
            Err(_) => json!({ "t": detail("key_type") }),
        },
        None => json!({ "t": detail("key_type") }),
    };
    json!({ "sshKey": {
        "privateKey": private_key,
        "metadata": {
            "privateKey": private_key,
            "publicKey": detail("public_key"),
            "fingerprint": detail("fingerprint"),
            "keyType": key_type,
        },
    }})
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{Cursor, Read as _};

    use super::super::testing::{full_item, plain_item, vault, written};
    use super::*;

    /// The members of the archive by name.
    fn export(vaults: &[(Vault, Vec<Item>)]) -> BTreeMap<String, Vec<u8>> {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let (bytes, losses) = written(|out| Box::new(OnePux::new(out, now).unwrap()), vaults);
        assert_eq!(losses, [] as [String; 0]);
        let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        let mut members = BTreeMap::new();
        for index in 0..archive.len() {
            let mut member = archive.by_index(index).unwrap();
            let mut content = Vec::new();
            member.read_to_end(&mut content).unwrap();
            let name = member.name().unwrap().into_owned();
            members.insert(name, content);
        }
        members
    }

    fn data(members: &BTreeMap<String, Vec<u8>>) -> Value {
        serde_json::from_slice(&members["export.data"]).unwrap()
    }

    #[test]
    fn an_archive_has_what_the_importer_wants() {
        let full = full_item();
        let members = export(&[
            (vault("a"), vec![full.clone(), plain_item("two")]),
            (vault("b"), Vec::new()),
        ]);
        let attributes: Value = serde_json::from_slice(&members["export.attributes"]).unwrap();
        assert_eq!(
            (&attributes["version"], &attributes["createdAt"]),
            (&json!(3), &json!(1_700_000_000))
        );
        let files: Vec<&String> = members.keys().filter(|name| name.starts_with("files/")).collect();
        assert_eq!(files.len(), 2);
        assert!(files.iter().all(|name| !name.contains("..")), "{files:?}");
        assert_eq!(members[&format!("files/{}___ca.pem", full.files[0].id)], [0, 1, 2, 3]);
        let vaults = &data(&members)["accounts"][0]["vaults"];
        assert_eq!(
            (&vaults[0]["attrs"]["name"], &vaults[1]["attrs"]["type"]),
            (&json!("a"), &json!("U"))
        );
        let item = &vaults[0]["items"][0];
        assert_eq!(
            [
                &item["createdAt"],
                &item["updatedAt"],
                &item["favIndex"],
                &item["categoryUuid"]
            ],
            [&json!(1_600_000_000), &json!(1_700_000_000), &json!(1), &json!("001")]
        );
        let details = &item["details"];
        assert_eq!(details["loginFields"][1]["designation"], "password");
        assert_eq!(details["notesPlain"], "line 1\nit's \"2\"");
        assert_eq!(details["passwordHistory"][0]["value"], "older");
        let [outside, replica, empty] = &details["sections"].as_array().unwrap()[..] else {
            panic!("{details}");
        };
        assert_eq!(
            outside["fields"][0]["value"],
            json!({ "totp": "otpauth://totp/x?secret=GEZDGNBV" })
        );
        assert_eq!(outside["fields"][2]["value"]["file"]["fileName"], "../etc/pass wd");
        assert_eq!((&replica["title"], &replica["name"]), (&json!("Replica"), &json!("s1")));
        assert_eq!(empty["fields"], json!([]));
        for field in replica["fields"].as_array().unwrap() {
            for member in ["guarded", "multiline", "dontGenerate", "inputTraits"] {
                assert!(field.get(member).is_some(), "{member} of {field}");
            }
        }
        let value = |index: usize| replica["fields"][index]["value"].clone();
        assert_eq!(value(2)["email"]["email_address"], "a@b.example");
        assert_eq!(value(3), json!({ "date": 1_714_737_660 }));
        assert_eq!(value(4), json!({ "monthYear": 202_601 }));
        assert_eq!(value(5)["address"]["street"], "1 Main St, Town");
    }

    #[test]
    fn passwords_and_documents_have_their_own_places() {
        let mut password = plain_item("p");
        password.category = Category::Password;
        password.fields = vec![Field {
            purpose: Some(Purpose::Password),
            ..Field::new("password", FieldType::Concealed, "password", "s3cret")
        }];
        let mut document = full_item();
        document.category = Category::Document;
        let members = export(&[(vault("a"), vec![password, document])]);
        let items = data(&members)["accounts"][0]["vaults"][0]["items"].clone();
        assert_eq!(items[0]["details"]["password"], "s3cret");
        assert_eq!(items[0]["details"]["loginFields"], json!([]));
        assert_eq!(items[1]["details"]["documentAttributes"]["fileName"], "ca.pem");
        assert_eq!(items[1]["details"]["documentAttributes"]["decryptedSize"], 4);
    }

    #[test]
    fn an_ssh_key_is_one_value() {
        let mut item = plain_item("key");
        item.category = Category::SshKey;
        item.fields = vec![
            Field::new("private_key", FieldType::SshKey, "private key", "-----BEGIN"),
            Field::new("public_key", FieldType::String, "public key", "ssh-rsa AAAA"),
            Field::new("key_type", FieldType::String, "key type", "rsa-4096"),
        ];
        let members = export(&[(vault("a"), vec![item])]);
        let fields = data(&members)["accounts"][0]["vaults"][0]["items"][0]["details"]["sections"][0]["fields"].clone();
        assert_eq!(fields.as_array().unwrap().len(), 1);
        let key = &fields[0]["value"]["sshKey"];
        assert_eq!(
            (&key["privateKey"], &key["metadata"]["publicKey"]),
            (&json!("-----BEGIN"), &json!("ssh-rsa AAAA"))
        );
        assert_eq!(
            key["metadata"]["keyType"],
            json!({ "t": "rsa", "c": { "rsaLength": 4096 } })
        );
    }

    #[test]
    fn every_category_has_its_number() {
        let numbers: std::collections::HashSet<_> = Category::ALL.iter().map(|known| category(*known)).collect();
        // CUSTOM becomes a secure note.
        assert_eq!(numbers.len(), Category::ALL.len() - 1);
    }
}
