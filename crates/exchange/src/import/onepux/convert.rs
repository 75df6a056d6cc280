//! Items of 1PUX as plain items. The fields get the ids and labels that a Connect server shows for the same items, so that
//! references to them go on working.

use sidevault_model::{Category, FieldType, Purpose, SectionRef, Timestamp, Url};

use super::raw;
use super::value::{Conversion, Converted, convert, email};
use crate::import::builder::ItemBuilder;
use crate::import::{Entry, ImportedFile, ImportedItem, Skipped};

/// The section for the fields of a web form that have no designation. They are not outside sections, because a second field
/// `password` there would make references to the first one ambiguous.
const WEB_FORM: (&str, &str) = ("web-form", "web form");

pub(super) struct Converter<'a> {
    /// The place and size of a document's content.
    pub(super) document: &'a dyn Fn(&str) -> Option<(String, u64)>,
}

impl Converter<'_> {
    pub(super) fn entry(&self, vault: usize, raw: raw::Item) -> Entry {
        let raw = match raw.item {
            Some(wrapped) => *wrapped,
            None => raw,
        };
        let reason = match (raw.category_uuid.as_str(), raw.state.as_str()) {
            ("099", _) => Some("it was deleted"),
            (_, "trashed" | "deleted") => Some("it is in the trash"),
            _ if raw.trashed => Some("it is in the trash"),
            _ if raw.uuid.is_empty() => Some("it has no id"),
            _ => None,
        };
        match reason {
            Some(reason) => Entry::Skipped(Skipped {
                source_id: raw.uuid,
                vault,
                reason: reason.into(),
            }),
            None => Entry::Item(Builder::new(vault, &raw, self).finish(raw)),
        }
    }
}

struct Builder<'a> {
    builder: ItemBuilder,
    converter: &'a Converter<'a>,
}

impl<'a> Builder<'a> {
    fn new(vault: usize, raw: &raw::Item, converter: &'a Converter<'a>) -> Self {
        let known = category(&raw.category_uuid);
        let category = known.unwrap_or(Category::SecureNote);
        let mut builder = ItemBuilder::new(&raw.uuid, vault, &raw.overview.title, category);
        let item = &mut builder.item;
        if known.is_none() {
            item.losses.push(format!(
                "the category {} is not known: the item becomes a SECURE_NOTE",
                sidevault_model::printable(&raw.category_uuid)
            ));
        }
        let seconds = |time: Option<i64>| time.map(|seconds| Timestamp::from_millis(seconds.saturating_mul(1000)));
        item.created_at = seconds(raw.created_at);
        item.updated_at = seconds(raw.updated_at);
        item.archived = raw.state == "archived";
        item.favorite = raw.fav_index.is_some_and(|index| index > 0);
        Self { builder, converter }
    }

    fn finish(mut self, raw: raw::Item) -> ImportedItem {
        let raw::Item { details, overview, .. } = raw;
        self.urls(&overview);
        overview.tags.iter().for_each(|tag| self.builder.tag(tag));
        self.login_fields(&details.login_fields);
        if !details.password.is_empty() || self.builder.item.category == Category::Password {
            self.builder.with_purpose(Purpose::Password, details.password);
        }
        for section in &details.sections {
            self.section(section);
        }
        self.builder.with_purpose(Purpose::Notes, details.notes_plain);
        let mut earlier = details.password_history;
        earlier.sort_by_key(|password| std::cmp::Reverse(password.time));
        self.builder
            .history(earlier.into_iter().map(|password| password.value).collect());
        if let Some(document) = details.document_attributes {
            self.file(document.document_id, document.file_name, None);
        }
        let mut item = self.builder.finish();
        if details.passkey.is_some() {
            item.losses
                .push("the passkey: only 1Password's apps can use it".to_owned());
        }
        item
    }

    fn urls(&mut self, overview: &raw::Overview) {
        let mut urls: Vec<Url> = overview
            .urls
            .iter()
            .filter(|url| !url.url.is_empty())
            .map(|url| Url {
                primary: false,
                label: Some(url.label.clone()).filter(|label| !label.is_empty()),
                href: url.url.clone(),
            })
            .collect();
        if !overview.url.is_empty() && !urls.iter().any(|url| url.href == overview.url) {
            let main = Url {
                primary: false,
                label: None,
                href: overview.url.clone(),
            };
            urls.insert(0, main);
        }
        let main = urls.iter().position(|url| url.href == overview.url).unwrap_or(0);
        if let Some(url) = urls.get_mut(main) {
            url.primary = true;
        }
        self.builder.item.urls = urls;
    }

    fn login_fields(&mut self, fields: &[raw::LoginField]) {
        for field in fields {
            let value = email(&field.value);
            let purpose = match field.designation.as_str() {
                "username" => Some(Purpose::Username),
                "password" => Some(Purpose::Password),
                _ => None,
            };
            match purpose {
                Some(purpose) if !self.builder.has_field(purpose.usual_name()) => {
                    self.builder.with_purpose(purpose, value)
                }
                // Forms have many fields without a value, such as buttons.
                _ if value.is_empty() => {}
                _ => {
                    let field_type = match field.field_type.as_str() {
                        "P" => FieldType::Concealed,
                        "E" => FieldType::Email,
                        "U" => FieldType::Url,
                        "TEL" => FieldType::Phone,
                        _ => FieldType::String,
                    };
                    let [id, label] = match (field.id.is_empty(), field.name.is_empty()) {
                        (false, false) => [&field.id, &field.name],
                        (true, _) => [&field.name, &field.name],
                        (_, true) => [&field.id, &field.id],
                    };
                    let section = self.builder.section(WEB_FORM.0, WEB_FORM.1);
                    self.builder
                        .field(&format!("{}.{id}", WEB_FORM.0), field_type, label, value, Some(section));
                }
            }
        }
    }

    fn section(&mut self, raw: &raw::Section) {
        let section = match (raw.name.is_empty(), raw.title.is_empty()) {
            (true, true) => None,
            (true, false) => Some(self.builder.section(&raw.title, &raw.title)),
            (false, _) => Some(self.builder.section(&raw.name, &raw.title)),
        };
        for field in &raw.fields {
            let Conversion { value, loss } = convert(&field.value);
            if let Some(loss) = loss {
                self.builder.lose(&field.title, &loss);
            }
            match value {
                Converted::Text(field_type, text) => {
                    self.builder
                        .field(&field.id, field_type, &field.title, text, section.clone())
                }
                Converted::SshKey { private_key, details } => {
                    self.builder
                        .field(&field.id, FieldType::SshKey, &field.title, private_key, section.clone());
                    for (id, label, text) in details {
                        self.builder.field(id, FieldType::String, label, text, section.clone());
                    }
                }
                Converted::File { document_id, name } => {
                    let name = if name.is_empty() { field.title.clone() } else { name };
                    self.file(document_id, name, section.clone());
                }
            }
        }
    }

    fn file(&mut self, document_id: String, name: String, section: Option<SectionRef>) {
        if document_id.is_empty() {
            return;
        }
        match (self.converter.document)(&document_id) {
            Some((place, size)) => self.builder.item.files.push(ImportedFile {
                source_id: document_id,
                name,
                size,
                section,
                place,
            }),
            None => self.builder.lose(&name, "the export lacks the content of this file"),
        }
    }
}

/// The category of a number in `categoryUuid`.
fn category(number: &str) -> Option<Category> {
    Some(match number {
        "001" => Category::Login,
        "002" => Category::CreditCard,
        "003" => Category::SecureNote,
        "004" => Category::Identity,
        "005" => Category::Password,
        "006" => Category::Document,
        "100" => Category::SoftwareLicense,
        "101" => Category::BankAccount,
        "102" => Category::Database,
        "103" => Category::DriverLicense,
        "104" => Category::OutdoorLicense,
        "105" => Category::Membership,
        "106" => Category::Passport,
        "107" => Category::RewardProgram,
        "108" => Category::SocialSecurityNumber,
        "109" => Category::WirelessRouter,
        "110" => Category::Server,
        "111" => Category::EmailAccount,
        "112" => Category::ApiCredential,
        "113" => Category::MedicalRecord,
        "114" => Category::SshKey,
        _ => return None,
    })
}
