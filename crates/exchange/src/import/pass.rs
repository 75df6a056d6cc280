//! Entries of pass and its relatives (passage, gopass): a text whose first line is the password.

use sidevault_model::{Category, FieldType, Purpose, Url, printable};

use super::ImportedItem;
use super::builder::ItemBuilder;

/// Makes an item of an entry. `path` is its path in the store without its ending; `folder` is what of the path becomes a tag.
///
/// Lines of the form `name: value` behind the first become fields, an `otpauth://` line a one-time password, and the rest notes.
/// A private key, or a text that is not UTF-8, is kept as a whole: [`None`] then asks the caller to keep it as a file.
pub fn pass_entry(path: &str, vault: usize, folder: &str, text: &[u8]) -> Option<ImportedItem> {
    let text = std::str::from_utf8(text).ok()?;
    let title = path.rsplit('/').next().unwrap_or(path);
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    if first.starts_with("-----BEGIN ") {
        let mut builder = ItemBuilder::new(&source_id(path), vault, title, Category::SecureNote);
        builder.tag(folder);
        builder.named(FieldType::Concealed, "content", text.to_owned());
        return Some(builder.finish());
    }
    let mut builder = ItemBuilder::new(&source_id(path), vault, title, Category::Password);
    builder.tag(folder);
    let mut notes = Vec::new();
    let mut password = first.strip_suffix('\r').unwrap_or(first);
    if password.starts_with("otpauth://") {
        builder.one_time_password("one-time password", password.to_owned());
        password = "";
    }
    for line in rest.lines() {
        line_into(&mut builder, line, &mut notes);
    }
    if !password.is_empty() {
        builder.with_purpose(Purpose::Password, password.to_owned());
    }
    let has = |purpose| builder.item.fields.iter().any(|field| field.purpose == Some(purpose));
    builder.item.category = match (has(Purpose::Username), has(Purpose::Password)) {
        (true, _) => Category::Login,
        (false, true) => Category::Password,
        (false, false) => Category::SecureNote,
    };
    let notes = notes.join("\n");
    if !notes.trim().is_empty() {
        builder.with_purpose(Purpose::Notes, notes);
    }
    Some(builder.finish())
}

/// What tells an entry from all others.
pub fn source_id(path: &str) -> String {
    format!("pass {path}")
}

fn line_into<'a>(builder: &mut ItemBuilder, line: &'a str, notes: &mut Vec<&'a str>) {
    if line.starts_with("otpauth://") {
        builder.one_time_password("one-time password", line.to_owned());
        return;
    }
    let named = line.split_once(": ").filter(|(name, value)| {
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '_' | '-' | '.');
        !name.is_empty() && name.len() <= 40 && !value.trim().is_empty() && name.chars().all(is_word)
    });
    let Some((name, value)) = named else {
        notes.push(line);
        return;
    };
    let value = value.trim();
    match name.to_lowercase().as_str() {
        "user" | "username" | "login" if !builder.has_field(Purpose::Username.usual_name()) => {
            builder.with_purpose(Purpose::Username, value.to_owned());
        }
        "url" | "uri" | "website" => {
            let primary = builder.item.urls.is_empty();
            builder.item.urls.push(Url {
                primary,
                label: None,
                href: value.to_owned(),
            });
        }
        "totp" | "otp" | "otpauth" => builder.one_time_password(&printable(name), value.to_owned()),
        _ => builder.named(FieldType::Concealed, name, value.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> ImportedItem {
        pass_entry("web/shop", 0, "web", text.as_bytes()).unwrap()
    }

    fn fields(item: &ImportedItem) -> Vec<(&str, &str)> {
        item.fields
            .iter()
            .map(|field| (field.id.as_str(), field.value.as_str()))
            .collect()
    }

    #[test]
    fn the_first_line_is_the_password_and_named_lines_are_fields() {
        let item = entry(
            "s3cret\nuser: me\nurl: https://a.example\npin: 12: 34\notpauth://totp/x?secret=JBSWY3DP\na note\n\nhttps://b: c\n",
        );
        assert_eq!((item.title.as_str(), item.category), ("shop", Category::Login));
        assert_eq!(
            fields(&item),
            [
                ("username", "me"),
                ("pin", "12: 34"),
                ("one-time password", "otpauth://totp/x?secret=JBSWY3DP"),
                ("password", "s3cret"),
                ("notesPlain", "a note\n\nhttps://b: c"),
            ]
        );
        assert_eq!((item.urls[0].href.as_str(), item.tags.len()), ("https://a.example", 1));
    }

    #[test]
    fn other_texts_are_kept_whole() {
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\ns3cret: x\n-----END OPENSSH PRIVATE KEY-----\n";
        assert_eq!(fields(&entry(key)), [("content", key)]);
        assert!(pass_entry("a", 0, "", b"\xff\xfe").is_none());
        let empty = entry("");
        assert_eq!((empty.category, empty.fields.len()), (Category::SecureNote, 0));
        assert_eq!(fields(&entry("otpauth://totp/x?secret=JBSWY3DP")).len(), 1);
    }
}
