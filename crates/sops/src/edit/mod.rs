//! Changes values of an encrypted file, as `sops` would.
//!
//! Every encrypted value has a random nonce, so its ciphertext occurs once in a file. A change replaces, adds or removes that
//! text only. All other bytes stay: comments, order, quotes, and the ciphertexts of other values. Then the MAC and
//! `lastmodified` are replaced. The result is read again before it is returned, and must hold exactly the values that it
//! should; so a file in a form that this module misunderstands is refused, not damaged.

mod plain;
mod text;

use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::cipher::{Cipher, Problem, is_comment, looks_sealed};
use crate::metadata::{FLAT_PREFIX, KEY, Metadata};
use crate::rule::Rule;
use crate::text::shown;
use crate::{
    Format, Identities, MAX_FILE_BYTES, SopsError, Value, binary, data_key, decrypt, number, parse, recognize,
    scalar_text, take_blocks,
};
pub use plain::edit_plaintext;
use text::Text;
pub(crate) use text::{json_text, yaml_key};

/// One step on the path to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The key of a mapping; in INI, the name of a section or of an entry in it.
    Key(String),
    /// The position in a list, counted from 0 in the decrypted list, in which comments are not counted.
    Item(usize),
}

/// What [`edit`] does with a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The value becomes this one, which is no null, list or mapping. If its key is missing, it is added behind the last
    /// encrypted entry of the mapping. Dotenv, INI and binary files have only text, so there the value becomes its text.
    Set(Value),
    /// The entry or the item is removed.
    Remove,
}

/// A change of one value.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// The number of the document in a YAML stream, counted from 0; in other formats 0.
    pub document: usize,
    /// The path to the value. It is empty for the content of a binary file.
    pub path: Vec<Step>,
    /// What happens to the value.
    pub change: Change,
}

/// Returns the file with these changes, made one after the other. `now` becomes the time of the file's last change.
///
/// The data key, the recipients and the rule of the file stay. If no value changes, the same bytes are returned.
///
/// # Errors
/// Those of [`crate::read`], and [`SopsError::NotEditable`] for what can't be changed: values that are not encrypted (because of
/// the file's rule, or because they are empty), merged YAML entries, lists and mappings as a whole, new and removed entries
/// under a comment rule, files that are not UTF-8, and YAML streams whose documents were encrypted one by one.
pub fn edit(
    format: Format,
    bytes: &[u8],
    identities: &Identities,
    edits: &[Edit],
    now: Timestamp,
) -> Result<Vec<u8>, SopsError> {
    if bytes.len() > MAX_FILE_BYTES {
        return Err(SopsError::Limit {
            what: "bytes",
            limit: MAX_FILE_BYTES,
        });
    }
    let file = std::str::from_utf8(bytes).map_err(|_| not_editable(&[], "the file is not UTF-8; save it as UTF-8"))?;
    let mut editor = Editor::open(format, file, identities)?;
    for edit in edits {
        editor.make(edit)?;
    }
    if editor.text.as_str() == file {
        return Ok(bytes.to_vec());
    }
    editor.finish(now)
}

struct Editor {
    format: Format,
    /// Whether the file is the envelope of a binary file.
    is_envelope: bool,
    text: Text,
    /// The documents as they are in the file, and decrypted.
    sealed: Vec<Value>,
    plain: Vec<Value>,
    metadata: Metadata,
    cipher: Cipher,
}

impl Editor {
    fn open(named: Format, file: &str, identities: &Identities) -> Result<Self, SopsError> {
        let format = recognize::format(named, file.as_bytes())?;
        let (sealed, metadata) = parse_one(format, file)?;
        let cipher = data_key::recover(&metadata, identities)?;
        let mut plain = sealed.clone();
        decrypt::decrypt(&mut plain, &metadata, &cipher)?;
        Ok(Self {
            format,
            is_envelope: named == Format::Binary && binary::content(&mut plain.clone()).is_some(),
            text: Text::new(format, file),
            sealed,
            plain,
            metadata,
            cipher,
        })
    }

    fn make(&mut self, edit: &Edit) -> Result<(), SopsError> {
        let envelope = [Step::Key("data".to_owned())];
        let path = if self.is_envelope && edit.path.is_empty() {
            &envelope[..]
        } else {
            &edit.path
        };
        let made = match &edit.change {
            Change::Set(value) => self.set(edit.document, path, value),
            Change::Remove => self.remove(edit.document, path),
        };
        made.map_err(|problem| not_editable(path, problem))
    }

    fn set(&mut self, document: usize, path: &[Step], value: &Value) -> Result<(), Problem> {
        let value = self.stored(value);
        let (kind, form) = self.form(&value).ok_or(SCALARS_ONLY)?;
        // sops does not encrypt an empty text.
        let new = if form.is_empty() {
            String::new()
        } else {
            self.cipher.seal(kind, &form, &context(path)).ok_or(SCALARS_ONLY)?
        };
        let sealed = self.sealed.get_mut(document).ok_or(ABSENT)?;
        let plain = self.plain.get_mut(document).ok_or(ABSENT)?;
        if let Some(place) = find(sealed, path) {
            let old_plain = at(plain, &place, |place| place.plain).ok_or(ABSENT)?;
            if *old_plain == value {
                return Ok(());
            }
            let old_sealed = at(sealed, &place, |place| place.sealed).ok_or(ABSENT)?;
            self.text.replace(ciphertext(old_sealed)?, &new)?;
            *old_sealed = Value::String(new);
            *old_plain = value;
            return Ok(());
        }
        let (Some(Step::Key(key)), Some(parent)) = (path.last(), path.split_last().map(|(_, parent)| parent)) else {
            return Err(ABSENT);
        };
        let matched = path
            .iter()
            .any(|step| matches!(step, Step::Key(key) if self.metadata.rule.matches(key)));
        refuse_under_comment_rule(&self.metadata.rule)?;
        if !self.metadata.rule.seals(matched, false) {
            return Err("the file's rule leaves this value in the clear; add it with `sops edit`");
        }
        let reserved = match self.format {
            Format::Dotenv => key.starts_with(FLAT_PREFIX),
            _ => path.len() == 1 && key == KEY,
        };
        if reserved {
            return Err("sops uses this name for its metadata; choose another name");
        }
        let place = find(sealed, parent).ok_or(ABSENT)?;
        let (Some(Value::Mapping(sealed)), Some(Value::Mapping(plain))) = (
            at(sealed, &place, |place| place.sealed),
            at(plain, &place, |place| place.plain),
        ) else {
            return Err("there is no mapping at this place; change the file with `sops edit`");
        };
        let last = sealed
            .iter()
            .rposition(|(_, entry)| ciphertext(entry).is_ok())
            .ok_or("the mapping has no encrypted entry to put it behind; add the value with `sops edit`")?;
        self.text.insert_behind(ciphertext(&sealed[last].1)?, key, &new)?;
        sealed.insert(last + 1, (key.clone(), Value::String(new)));
        plain.insert(last + 1, (key.clone(), value));
        Ok(())
    }

    fn remove(&mut self, document: usize, path: &[Step]) -> Result<(), Problem> {
        refuse_under_comment_rule(&self.metadata.rule)?;
        let sealed = self.sealed.get_mut(document).ok_or(ABSENT)?;
        let plain = self.plain.get_mut(document).ok_or(ABSENT)?;
        let mut place = find(sealed, path).ok_or(ABSENT)?;
        let old = at(sealed, &place, |place| place.sealed).ok_or(ABSENT)?;
        self.text.remove(ciphertext(old)?)?;
        let last = place.pop().ok_or(ABSENT)?;
        take_out(at(sealed, &place, |place| place.sealed), last.sealed);
        take_out(at(plain, &place, |place| place.plain), last.plain);
        Ok(())
    }

    /// The value that is in the file afterwards.
    fn stored(&self, value: &Value) -> Value {
        let only_text = self.is_envelope || matches!(self.format, Format::Dotenv | Format::Ini);
        match value {
            Value::Int(_) | Value::Float(_) | Value::Bool(_) | Value::Time(_) if only_text => {
                Value::String(scalar_text(value))
            }
            Value::Bytes(bytes) if self.is_envelope => Value::from_bytes(bytes.clone()),
            other => other.clone(),
        }
    }

    /// The type that sops notes beside a value, and the bytes that it encrypts.
    fn form(&self, value: &Value) -> Option<(&'static str, Zeroizing<Vec<u8>>)> {
        let (kind, bytes) = match value {
            Value::Bool(flag) => ("bool", if *flag { "True" } else { "False" }.as_bytes().to_vec()),
            Value::Int(text) => ("int", text.as_bytes().to_vec()),
            Value::Float(text) => ("float", number::plain_spelling(text).into_bytes()),
            Value::String(text) => ("str", text.as_bytes().to_vec()),
            Value::Time(text) => ("time", text.as_bytes().to_vec()),
            // The content of a binary file is noted as text, whatever it is.
            Value::Bytes(bytes) if self.is_envelope => ("str", bytes.clone()),
            Value::Bytes(bytes) => ("bytes", bytes.clone()),
            Value::Null | Value::Sequence(_) | Value::Mapping(_) | Value::Merge(_) => return None,
        };
        Some((kind, Zeroizing::new(bytes)))
    }

    /// Replaces the MAC and the time, and reads the result once more.
    fn finish(mut self, now: Timestamp) -> Result<Vec<u8>, SopsError> {
        let misread = || not_editable(&[], FORM);
        let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let (mut documents, metadata) = parse_one(self.format, self.text.as_str()).map_err(|_| misread())?;
        let computed = decrypt::open(&mut documents, &metadata, &self.cipher)?;
        if documents != self.plain || metadata.mac != self.metadata.mac {
            return Err(misread());
        }
        let mac = self.cipher.seal("str", computed.as_bytes(), &now).ok_or_else(misread)?;
        self.text
            .sign(&metadata.mac, &mac, &metadata.lastmodified, &now)
            .map_err(|problem| not_editable(&[], problem))?;
        let (mut documents, metadata) = parse_one(self.format, self.text.as_str())?;
        decrypt::decrypt(&mut documents, &metadata, &self.cipher)?;
        if documents != self.plain || metadata.lastmodified != now {
            return Err(misread());
        }
        documents.iter().try_for_each(decrypt::refuse_sealed)?;
        if self.text.as_str().len() > MAX_FILE_BYTES {
            return Err(SopsError::Limit {
                what: "bytes",
                limit: MAX_FILE_BYTES,
            });
        }
        Ok(self.text.into_bytes())
    }
}

const ABSENT: Problem = "there is no such value";
const SCALARS_ONLY: Problem =
    "only a text, number, boolean, time or bytes can be set; change the file with `sops edit`";
const FORM: Problem = "the file has a form that Sidevault does not change; change it with `sops edit`";

fn not_editable(path: &[Step], problem: Problem) -> SopsError {
    let mut name = String::new();
    for step in path {
        match step {
            Step::Key(key) if name.is_empty() => name = shown(key),
            Step::Key(key) => name = format!("{name}.{}", shown(key)),
            Step::Item(index) => name = format!("{name}[{index}]"),
        }
    }
    if name.is_empty() {
        name.push_str("the file");
    }
    SopsError::NotEditable { path: name, problem }
}

/// Parses a file whose documents all have the same `sops` block. sops writes no others.
fn parse_one(format: Format, file: &str) -> Result<(Vec<Value>, Metadata), SopsError> {
    let mut documents = parse(format, file.as_bytes())?;
    let blocks = take_blocks(format, &mut documents)?;
    let Some(Some(block)) = blocks.first() else {
        return Err(not_editable(
            &[],
            "the file is not encrypted; encrypt it with `sops encrypt`",
        ));
    };
    if blocks.iter().any(|other| other.as_ref() != Some(block)) {
        return Err(not_editable(
            &[],
            "its documents were encrypted one by one and joined; keep each in a file of its own",
        ));
    }
    Ok((documents, Metadata::parse(block)?))
}

/// A comment above an entry tells whether it is encrypted. If entries come or go, it may be above another one.
fn refuse_under_comment_rule(rule: &Rule) -> Result<(), Problem> {
    match rule {
        Rule::Comments => Err(
            "comments tell which values of this file are encrypted, so Sidevault adds and removes none; do it with `sops edit`",
        ),
        _ => Ok(()),
    }
}

/// The additional data of a value at this path.
fn context(path: &[Step]) -> String {
    path.iter()
        .filter_map(|step| match step {
            Step::Key(key) => Some(format!("{key}:")),
            Step::Item(_) => None,
        })
        .collect()
}

fn ciphertext(value: &Value) -> Result<&str, Problem> {
    value.as_str().filter(|text| looks_sealed(text)).ok_or(
        "it is not an encrypted value: the file's rule leaves it in the clear, or it is empty, a list or a mapping; change it \
         with `sops edit`",
    )
}

/// A position in a mapping or list. It differs in a list with encrypted comments, which the decrypted list does not have.
struct Place {
    sealed: usize,
    plain: usize,
}

/// The positions on a path in a document that is still encrypted.
fn find(value: &Value, path: &[Step]) -> Option<Vec<Place>> {
    let Some((step, rest)) = path.split_first() else {
        return Some(Vec::new());
    };
    let (sealed, plain, mut places) = match (step, value) {
        // An INI file may have several sections of one name.
        (Step::Key(key), Value::Mapping(entries)) => entries
            .iter()
            .enumerate()
            .filter(|(_, (name, _))| name == key)
            .find_map(|(position, (_, entry))| Some((position, position, find(entry, rest)?)))?,
        (Step::Item(index), Value::Sequence(items)) => {
            let counted = |item: &Value| !item.as_str().is_some_and(is_comment);
            let (position, item) = items.iter().enumerate().filter(|(_, item)| counted(item)).nth(*index)?;
            (position, *index, find(item, rest)?)
        }
        _ => return None,
    };
    places.insert(0, Place { sealed, plain });
    Some(places)
}

fn at<'a>(value: &'a mut Value, places: &[Place], position: fn(&Place) -> usize) -> Option<&'a mut Value> {
    places.iter().try_fold(value, |value, place| match value {
        Value::Mapping(entries) => entries.get_mut(position(place)).map(|(_, entry)| entry),
        Value::Sequence(items) => items.get_mut(position(place)),
        _ => None,
    })
}

fn take_out(container: Option<&mut Value>, position: usize) {
    match container {
        Some(Value::Mapping(entries)) if position < entries.len() => drop(entries.remove(position)),
        Some(Value::Sequence(items)) if position < items.len() => drop(items.remove(position)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Document, read};

    const FILES: [(Format, &str); 5] = [
        (Format::Yaml, include_str!("../../tests/fixtures/record.yaml")),
        (Format::Json, include_str!("../../tests/fixtures/record.json")),
        (Format::Dotenv, include_str!("../../tests/fixtures/record.env")),
        (Format::Ini, include_str!("../../tests/fixtures/record.ini")),
        (Format::Binary, include_str!("../../tests/fixtures/record.bin")),
    ];

    fn identities() -> Identities {
        Identities::parse(include_bytes!("../../tests/fixtures/identities.txt"), None).0
    }

    fn steps(path: &str) -> Vec<Step> {
        let step = |step: &str| match step.parse() {
            Ok(index) => Step::Item(index),
            Err(_) => Step::Key(step.to_owned()),
        };
        path.split('.').filter(|step| !step.is_empty()).map(step).collect()
    }

    fn set(path: &str, text: &str) -> Edit {
        Edit {
            document: 0,
            path: steps(path),
            change: Change::Set(Value::String(text.to_owned())),
        }
    }

    fn remove(path: &str) -> Edit {
        Edit {
            document: 0,
            path: steps(path),
            change: Change::Remove,
        }
    }

    fn changed(format: Format, file: &str, edits: &[Edit]) -> Result<String, SopsError> {
        let bytes = edit(
            format,
            file.as_bytes(),
            &identities(),
            edits,
            "2030-01-02T03:04:05.6Z".parse().unwrap(),
        )?;
        Ok(String::from_utf8(bytes).unwrap())
    }

    fn served(format: Format, file: &str) -> String {
        match read(format, file.as_bytes(), &identities()).unwrap().document {
            Document::Tree(documents) => scalar_text(&documents[0]),
            Document::Binary(bytes) => String::from_utf8(bytes).unwrap(),
        }
    }

    /// The lines of `after` that are not in `before`.
    fn new_lines<'a>(before: &str, after: &'a str) -> Vec<&'a str> {
        after
            .lines()
            .filter(|line| !before.lines().any(|old| old == *line))
            .collect()
    }

    fn place(format: Format) -> &'static str {
        match format {
            Format::Ini => "db.user",
            Format::Dotenv => "USER",
            Format::Binary => "",
            _ => "user",
        }
    }

    #[test]
    fn a_changed_value_changes_its_line_and_those_of_the_mac_and_the_time() {
        for (format, file) in FILES {
            let after = changed(format, file, &[set(place(format), "someone \"else\"")]).unwrap();
            let lines = new_lines(file, &after);
            assert_eq!(lines.len(), 3, "{format}: {lines:#?}");
            assert_eq!(after.lines().count(), file.lines().count(), "{format}");
            assert!(
                lines.iter().any(|line| line.contains("2030-01-02T03:04:05Z")),
                "{format}: {lines:#?}"
            );
            let shown = served(format, &after);
            let wanted = if format == Format::Binary {
                "someone \"else\""
            } else {
                "someone \\\"else\\\""
            };
            assert!(shown.contains(wanted), "{format}: {shown}");
        }
    }

    #[test]
    fn the_same_value_leaves_the_same_bytes() {
        for (format, file) in FILES {
            assert_eq!(changed(format, file, &[]).unwrap(), file);
            let once = changed(format, file, &[set(place(format), "x")]).unwrap();
            assert_eq!(changed(format, &once, &[set(place(format), "x")]).unwrap(), once);
        }
    }

    #[test]
    fn entries_are_added_and_removed() {
        let [yaml, json, env, ini, _] = FILES;
        for ((format, file), added, removed) in [
            (yaml, "new", "port"),
            (yaml, "hosts.1.new", "hosts.0"),
            (json, "new key", "user"),
            (env, "NEW", "USER"),
            (ini, "db.new", "db.user"),
        ] {
            let after = changed(format, file, &[set(added, "fresh"), remove(removed)]).unwrap();
            let shown = served(format, &after);
            assert!(shown.contains("fresh"), "{format}: {shown}");
            assert_eq!(
                new_lines(&after, file).len(),
                3,
                "{format}: the removed line, the MAC and the time"
            );
        }
    }

    #[test]
    fn an_empty_text_is_not_encrypted() {
        for (format, file) in &FILES[..4] {
            let after = changed(*format, file, &[set(place(*format), "")]).unwrap();
            assert!(served(*format, &after).contains("\":\"\""), "{after}");
        }
    }

    #[test]
    fn what_can_not_be_changed_is_refused_with_its_path() {
        let [(format, yaml), _, (_, env), ..] = FILES;
        for (edit, words) in [
            (remove("absent"), "absent can't be changed: there is no such value"),
            (
                set("hosts", "x"),
                "hosts can't be changed: it is not an encrypted value",
            ),
            (set("hosts.7", "x"), "hosts[7] can't"),
            (set("a_unencrypted", "x"), "rule leaves this value in the clear"),
            (set("absent.key", "x"), "absent.key can't"),
            (set("sops", "x"), "choose another name"),
            (remove("hosts.1.two"), "first entry of a mapping in a list"),
        ] {
            let told = changed(format, yaml, &[edit]).unwrap_err().to_string();
            assert!(told.contains(words), "{words}: {told}");
        }
        for key in ["a=b", "sops_mac", "#a", ""] {
            assert!(changed(Format::Dotenv, env, &[set(key, "x")]).is_err(), "{key}");
        }
        let error = changed(format, "a: 1\n", &[set("a", "2")]).unwrap_err();
        assert!(error.to_string().contains("is not encrypted"), "{error}");
        let tampered = yaml.replace("type:int", "type:str").replace("port: ", "prot: ");
        assert!(changed(format, &tampered, &[set("user", "x")]).is_err());
    }

    #[test]
    fn a_text_in_the_form_of_an_encrypted_value_is_not_stored() {
        let (format, yaml) = FILES[0];
        assert!(changed(format, yaml, &[set("user", "ENC[AES256_GCM,data:x")]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_name_and_text_are_stored_or_refused(
            file in 0..4_usize,
            key in r#"(\PC|[\x00-\x20\\"'#:=,\[\]{}&*!|>%@`-]|[a-z0-9_.]){1,6}"#,
            text in r#"(\PC|[\x00-\x20\\"'#:=]|[a-z0-9]){0,12}"#,
        ) {
            let (format, file) = FILES[file];
            let mut path = if format == Format::Ini { steps("db") } else { Vec::new() };
            path.push(Step::Key(key.clone()));
            let edit = Edit { document: 0, path, change: Change::Set(Value::String(text.clone())) };
            match changed(format, file, &[edit]) {
                Ok(after) => {
                    let Document::Tree(documents) = read(format, after.as_bytes(), &identities()).unwrap().document else {
                        panic!("a tree was expected")
                    };
                    let mapping = if format == Format::Ini { documents[0].get("db").unwrap() } else { &documents[0] };
                    // Dotenv values lose a carriage return at their end when they are served.
                    let served = mapping.get(&key).and_then(Value::as_str).unwrap();
                    prop_assert!(served == text || (format == Format::Dotenv && text.strip_suffix('\r') == Some(served)));
                }
                Err(error) => prop_assert!(matches!(error, SopsError::NotEditable { .. }), "{error}"),
            }
        }
    }
}
