//! Items of Bitwarden as plain items.

use sidevault_model::{Category, FieldType, Purpose, Timestamp, Url};

use super::raw::{self, Parts};
use crate::import::builder::ItemBuilder;
use crate::import::value::{is_month, plain};
use crate::import::{Entry, ImportedItem, Skipped};

/// The types of custom fields.
const HIDDEN: i64 = 1;
const LINKED: i64 = 3;

/// The item's category, and whether its type is known.
fn category(raw: &raw::Item) -> (Category, bool) {
    match raw.kind {
        Some(1) => (Category::Login, true),
        Some(2) => (Category::SecureNote, true),
        Some(3) => (Category::CreditCard, true),
        Some(4) => (Category::Identity, true),
        Some(5) => (Category::SshKey, true),
        _ if !raw.bank_account.is_empty() => (Category::BankAccount, true),
        _ if !raw.drivers_license.is_empty() => (Category::DriverLicense, true),
        _ if !raw.passport.is_empty() => (Category::Passport, true),
        _ => (Category::SecureNote, false),
    }
}

/// Converts an item. `groups` are the names of folders and collections that become tags.
pub(super) fn entry(vault: usize, raw: raw::Item, groups: &[String]) -> Entry {
    let reason = match () {
        () if !raw.deleted_date.is_empty() => Some("it is in the trash"),
        () if raw.id.is_empty() => Some("it has no id"),
        () => None,
    };
    match reason {
        Some(reason) => Entry::Skipped(Skipped {
            source_id: raw.id,
            vault,
            reason: reason.into(),
        }),
        None => Entry::Item(item(vault, raw, groups)),
    }
}

fn item(vault: usize, raw: raw::Item, groups: &[String]) -> ImportedItem {
    let (category, is_known) = category(&raw);
    let mut builder = ItemBuilder::new(&raw.id, vault, &raw.name, category);
    if !is_known {
        let number = raw.kind.unwrap_or_default();
        let loss = format!(
            "the type {number} is not known: the item becomes a SECURE_NOTE, with the parts that all types have"
        );
        builder.item.losses.push(loss);
    }
    builder.item.favorite = raw.favorite;
    builder.item.archived = !raw.archived_date.is_empty();
    builder.item.created_at = Timestamp::parse(&raw.creation_date);
    builder.item.updated_at = Timestamp::parse(&raw.revision_date);
    groups.iter().for_each(|group| builder.tag(group));
    if let Some(login) = raw.login {
        self::login(&mut builder, login);
    }
    card(&mut builder, &raw.card);
    ssh_key(&mut builder, &raw.ssh_key);
    for parts in [&raw.identity, &raw.bank_account, &raw.drivers_license, &raw.passport] {
        self::parts(&mut builder, parts);
    }
    for field in raw.fields {
        match field.kind {
            Some(LINKED) => builder.lose(
                &field.name,
                "a field that shows another field of the item: fields of this server have values of their own",
            ),
            Some(HIDDEN) => builder.named(FieldType::Concealed, &field.name, field.value),
            _ => builder.named(FieldType::String, &field.name, field.value),
        }
    }
    if !raw.notes.is_empty() || category == Category::SecureNote {
        builder.with_purpose(Purpose::Notes, raw.notes);
    }
    let mut earlier = raw.password_history;
    // RFC 3339 in UTC, so the order of the texts is that of the times.
    earlier.sort_by(|a, b| b.last_used_date.cmp(&a.last_used_date));
    builder.history(earlier.into_iter().map(|password| password.password).collect());
    builder.finish()
}

fn login(builder: &mut ItemBuilder, login: raw::Login) {
    if !login.username.is_empty() {
        builder.with_purpose(Purpose::Username, login.username);
    }
    if !login.password.is_empty() {
        builder.with_purpose(Purpose::Password, login.password);
    }
    if !login.totp.is_empty() {
        builder.one_time_password("one-time password", login.totp);
    }
    let uris = login.uris.into_iter().filter(|uri| !uri.uri.is_empty());
    builder.item.urls = uris
        .enumerate()
        .map(|(number, uri)| Url {
            primary: number == 0,
            label: None,
            href: uri.uri,
        })
        .collect();
    if !login.fido2_credentials.is_empty() {
        let loss = "the passkey: only Bitwarden's apps can use it".to_owned();
        builder.item.losses.push(loss);
    }
}

/// A card gets the field ids and labels of 1Password's cards.
fn card(builder: &mut ItemBuilder, card: &Parts) {
    let of = |name: &str| card.get(name).map(plain).unwrap_or_default();
    let mut month = of("expMonth");
    if month.len() == 1 {
        month.insert(0, '0');
    }
    let until = format!("{}{month}", of("expYear"));
    let expiry = match is_month(&until) {
        true => vec![("expiry", FieldType::MonthYear, "expiry date", until)],
        false => vec![
            ("expMonth", FieldType::String, "expiry month", month),
            ("expYear", FieldType::String, "expiry year", of("expYear")),
        ],
    };
    let fields = [
        ("cardholder", FieldType::String, "cardholder name", of("cardholderName")),
        ("type", FieldType::CreditCardType, "type", of("brand")),
        ("ccnum", FieldType::CreditCardNumber, "number", of("number")),
        ("cvv", FieldType::Concealed, "verification number", of("code")),
    ];
    for (id, field_type, label, value) in fields.into_iter().chain(expiry) {
        if !value.is_empty() {
            builder.field(id, field_type, label, value, None);
        }
    }
}

/// A key gets the fields that Connect shows for 1Password's SSH keys.
fn ssh_key(builder: &mut ItemBuilder, key: &Parts) {
    let fields = [
        ("private_key", FieldType::SshKey, "private key", "privateKey"),
        ("public_key", FieldType::String, "public key", "publicKey"),
        ("fingerprint", FieldType::String, "fingerprint", "keyFingerprint"),
    ];
    for (id, field_type, label, name) in fields {
        let value = key.get(name).map(plain).unwrap_or_default();
        if !value.is_empty() {
            builder.field(id, field_type, label, value, None);
        }
    }
}

/// Other parts become fields with the part's name as id, and its words as label: `firstName`, `first name`.
fn parts(builder: &mut ItemBuilder, parts: &Parts) {
    for (name, value) in parts {
        let value = plain(value);
        if value.is_empty() {
            continue;
        }
        if name == "username" {
            builder.with_purpose(Purpose::Username, value);
            continue;
        }
        let field_type = match name.as_str() {
            "email" => FieldType::Email,
            "phone" | "bankContactPhone" => FieldType::Phone,
            "ssn"
            | "pin"
            | "accountNumber"
            | "iban"
            | "passportNumber"
            | "licenseNumber"
            | "nationalIdentificationNumber" => FieldType::Concealed,
            _ => FieldType::String,
        };
        builder.field(name, field_type, &words(name), value, None);
    }
}

/// `firstName`: `first name`.
fn words(name: &str) -> String {
    let mut words = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}
