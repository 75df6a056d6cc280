//! Entries of KeePass as plain items.

use std::collections::HashMap;

use ::keepass::db::{Entry as KeePassEntry, EntryRef, Value};
use sidevault_model::{Category, FieldType, Purpose, Timestamp, Url};
use zeroize::Zeroizing;

use crate::import::builder::ItemBuilder;
use crate::import::{Entry, ImportedFile, Skipped};

/// The fields that every entry has.
const TITLE: &str = "Title";
const USERNAME: &str = "UserName";
const PASSWORD: &str = "Password";
const URL: &str = "URL";
const NOTES: &str = "Notes";

/// Further addresses, as KeePassXC and Keepass2Android have them.
const FURTHER_URL: &str = "KP2A_URL";

/// The secret of one-time passwords: KeePassXC's field, KeePass's own fields, and those of two plugins.
const OTP: &str = "otp";
const TIME_OTP: &str = "TimeOtp-";
const SEED: &str = "TOTP Seed";
const SETTINGS: &str = "TOTP Settings";

/// What is read so far.
#[derive(Default)]
pub(super) struct Converter {
    pub(super) entries: Vec<Entry>,
    pub(super) contents: HashMap<String, Zeroizing<Vec<u8>>>,
}

impl Converter {
    /// Converts an entry. `group` is the path of its group below its vault, which becomes a tag.
    pub(super) fn entry(&mut self, entry: &EntryRef<'_>, vault: usize, group: &str, deleted: bool) {
        let id = entry.id().uuid().to_string();
        if deleted {
            self.entries.push(Entry::Skipped(Skipped {
                source_id: id,
                vault,
                reason: "it is in the recycle bin".into(),
            }));
            return;
        }
        let text = |name: &str| entry.get(name).unwrap_or_default();
        let is_login = [USERNAME, PASSWORD, URL].iter().any(|name| !text(name).is_empty());
        let category = if is_login {
            Category::Login
        } else {
            Category::SecureNote
        };
        let mut builder = ItemBuilder::new(&id, vault, text(TITLE), category);
        let time = |time: Option<chrono::NaiveDateTime>| {
            time.map(|time| Timestamp::from_millis(time.and_utc().timestamp_millis()))
        };
        builder.item.created_at = time(entry.times.creation);
        builder.item.updated_at = time(entry.times.last_modification);
        builder.tag(group);
        entry.tags.iter().for_each(|tag| builder.tag(tag));
        if !text(USERNAME).is_empty() {
            builder.with_purpose(Purpose::Username, text(USERNAME).to_owned());
        }
        if is_login {
            builder.with_purpose(Purpose::Password, text(PASSWORD).to_owned());
        }
        one_time_password(&mut builder, entry);
        urls(&mut builder, entry);
        for (name, value) in further(entry) {
            let field_type = match value.is_protected() {
                true => FieldType::Concealed,
                false => FieldType::String,
            };
            builder.named(field_type, name, value.get().clone());
        }
        if entry.times.expires == Some(true) {
            let seconds = entry.times.expiry.and_utc().timestamp();
            builder.named(FieldType::Date, "expires", seconds.to_string());
        }
        if !text(NOTES).is_empty() || !is_login {
            builder.with_purpose(Purpose::Notes, text(NOTES).to_owned());
        }
        history(&mut builder, entry);
        if entry.fields.values().any(|value| value.get().contains("{REF:")) {
            let loss = "a reference to a field of another entry: it is kept as text".to_owned();
            builder.item.losses.push(loss);
        }
        self.files(&mut builder, entry, &id);
        self.entries.push(Entry::Item(builder.finish()));
    }

    fn files(&mut self, builder: &mut ItemBuilder, entry: &EntryRef<'_>, id: &str) {
        let mut attachments: Vec<_> = entry.attachments_named().collect();
        attachments.sort_by_key(|(name, _)| *name);
        for (name, attachment) in attachments {
            let place = format!("{id}/{name}");
            let content = attachment.data.get();
            builder.item.files.push(ImportedFile {
                source_id: name.to_owned(),
                name: name.to_owned(),
                size: content.len() as u64,
                section: None,
                place: place.clone(),
            });
            self.contents.insert(place, Zeroizing::new(content.clone()));
        }
    }
}

/// The fields with names that people chose, in the order of their names, because a file has them in no order.
fn further(entry: &KeePassEntry) -> impl Iterator<Item = (&str, &Value<String>)> {
    let is_placed = |name: &str| {
        [TITLE, USERNAME, PASSWORD, URL, NOTES, OTP, SEED, SETTINGS].contains(&name)
            || name.starts_with(FURTHER_URL)
            || name.starts_with(TIME_OTP)
    };
    let mut fields: Vec<(&str, &Value<String>)> = entry
        .fields
        .iter()
        .map(|(name, value)| (name.as_str(), value))
        .filter(|(name, _)| !is_placed(name))
        .collect();
    fields.sort_by_key(|(name, _)| *name);
    fields.into_iter()
}

fn one_time_password(builder: &mut ItemBuilder, entry: &KeePassEntry) {
    const LABEL: &str = "one-time password";
    let text = |name: &str| entry.get(name).filter(|text| !text.is_empty());
    if let Some(value) = text(OTP) {
        builder.one_time_password(LABEL, value.to_owned());
    }
    if let Some(seed) = text(SEED) {
        // "30;6": the period and the digits; "30;S" is Steam's own kind.
        let uri = match text(SETTINGS).and_then(|settings| settings.split_once(';')) {
            Some((period, digits)) => uri(seed, [("period", period), ("digits", digits)]),
            None => seed.to_owned(),
        };
        builder.one_time_password(LABEL, uri);
    }
    if let Some(seed) = text("TimeOtp-Secret-Base32") {
        let algorithm = text("TimeOtp-Algorithm")
            .unwrap_or("HMAC-SHA-1")
            .replace("HMAC-SHA-", "SHA");
        let parameters = [
            ("period", text("TimeOtp-Period").unwrap_or("30")),
            ("digits", text("TimeOtp-Length").unwrap_or("6")),
            ("algorithm", &algorithm),
        ];
        builder.one_time_password(LABEL, uri(seed, parameters));
    } else {
        // KeePass also takes the secret as text, in hexadecimal or in base64.
        for name in ["TimeOtp-Secret", "TimeOtp-Secret-Hex", "TimeOtp-Secret-Base64"] {
            if let Some(seed) = text(name) {
                builder.lose(
                    name,
                    "no codes are computed of a secret in this form, so it is kept as concealed text",
                );
                builder.named(FieldType::Concealed, name, seed.to_owned());
            }
        }
    }
}

fn uri<const N: usize>(seed: &str, parameters: [(&str, &str); N]) -> String {
    let seed: String = seed.chars().filter(|c| !c.is_whitespace()).collect();
    let mut uri = format!("otpauth://totp/import?secret={seed}");
    for (name, value) in parameters {
        uri.push_str(&format!("&{name}={value}"));
    }
    uri
}

fn urls(builder: &mut ItemBuilder, entry: &KeePassEntry) {
    let mut further: Vec<&String> = entry
        .fields
        .keys()
        .filter(|name| name.starts_with(FURTHER_URL))
        .collect();
    further.sort_unstable();
    let names = std::iter::once(URL).chain(further.into_iter().map(String::as_str));
    let found = names.filter_map(|name| entry.get(name)).filter(|url| !url.is_empty());
    builder.item.urls = found
        .enumerate()
        .map(|(number, url)| Url {
            primary: number == 0,
            label: None,
            href: url.to_owned(),
        })
        .collect();
}

/// The passwords of earlier versions, newest first, each once.
fn history(builder: &mut ItemBuilder, entry: &KeePassEntry) {
    let Some(history) = &entry.history else { return };
    let mut versions: Vec<&KeePassEntry> = history.get_entries().iter().collect();
    versions.sort_by_key(|version| std::cmp::Reverse(version.times.last_modification));
    let mut earlier: Vec<String> = Vec::new();
    for version in &versions {
        let password = version.get(PASSWORD).unwrap_or_default();
        let newer = earlier.last().map(String::as_str).or(entry.get(PASSWORD));
        if newer != Some(password) && !password.is_empty() {
            earlier.push(password.to_owned());
        }
    }
    builder.history(earlier);
    let others = |version: &KeePassEntry| {
        let mut fields: Vec<(String, String)> = version
            .fields
            .iter()
            .filter(|(name, _)| *name != PASSWORD)
            .map(|(name, value)| (name.clone(), value.get().clone()))
            .collect();
        fields.sort_unstable();
        fields
    };
    let now = others(entry);
    if versions.iter().any(|version| others(version) != now) {
        let loss = "earlier versions: their passwords are kept, their other values are not".to_owned();
        builder.item.losses.push(loss);
    }
}
