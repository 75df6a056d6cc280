//! CSV of browsers and password managers: Chrome, Apple's Passwords, Firefox, and others whose first line names the columns alike.

use std::collections::HashMap;

use sidevault_model::{Category, FieldType, Purpose, Timestamp, Url};

use super::builder::ItemBuilder;
use super::whole::{Contents, Whole};
use super::{Entry, Groups, ImportError, ImportedVault, Options};

/// The most columns of a file.
const MAX_COLUMNS: usize = 1_000;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Column {
    Title,
    Url,
    Username,
    Password,
    Notes,
    OneTimePassword,
    Group,
    Favorite,
    Id,
    Created,
    Changed,
}

/// The columns' names, in lower case.
const COLUMNS: [(Column, &[&str]); 11] = [
    (Column::Title, &["title", "name"]),
    (Column::Url, &["url", "login_uri", "website", "web site"]),
    (
        Column::Username,
        &["username", "login_username", "user name", "login name", "login"],
    ),
    (Column::Password, &["password", "login_password"]),
    (Column::Notes, &["notes", "note", "extra", "comments"]),
    (Column::OneTimePassword, &["otpauth", "totp", "otp", "login_totp"]),
    (Column::Group, &["group", "grouping", "folder", "collections"]),
    (Column::Favorite, &["favorite", "fav"]),
    (Column::Id, &["guid", "uuid", "id"]),
    (Column::Created, &["timecreated", "created"]),
    (Column::Changed, &["timepasswordchanged", "last modified", "modified"]),
];

/// Columns that say nothing of the item.
const IGNORED: [&str; 3] = ["timelastused", "icon", "reprompt"];

fn column(name: &str) -> Option<Column> {
    let name = name.trim().to_lowercase();
    let known = COLUMNS.iter().find(|(_, names)| names.contains(&name.as_str()));
    known.map(|(column, _)| *column)
}

fn reader(text: &[u8]) -> ::csv::Reader<&[u8]> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    ::csv::ReaderBuilder::new().flexible(true).from_reader(text)
}

/// Whether the first line names a password and what it is for.
pub(super) fn recognises(text: &[u8]) -> bool {
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let mut reader = reader(first);
    let Ok(names) = reader.headers() else { return false };
    let found: Vec<Column> = names.iter().filter_map(column).collect();
    found.contains(&Column::Password)
        && [Column::Title, Column::Url, Column::Username]
            .iter()
            .any(|column| found.contains(column))
}

/// Reads all lines.
pub(super) fn read(text: &[u8], options: &Options<'_>) -> Result<Whole, ImportError> {
    let mut reader = reader(text);
    let names = reader.headers().map_err(|error| failure(&error))?.clone();
    if names.len() > MAX_COLUMNS {
        return Err(ImportError::malformed(
            "line 1",
            format!("it has more than {MAX_COLUMNS} columns"),
        ));
    }
    let columns: Vec<Option<Column>> = names.iter().map(column).collect();
    let mut whole = Whole {
        vaults: vec![ImportedVault {
            source_id: options.name.to_owned(),
            name: options.name.to_owned(),
            description: None,
        }],
        entries: Vec::new(),
        contents: Contents::Memory(HashMap::new()),
    };
    let mut ids = HashMap::new();
    for record in reader.records() {
        let record = record.map_err(|error| failure(&error))?;
        if record.len() > names.len() {
            let line = record.position().map_or(0, ::csv::Position::line);
            return Err(ImportError::malformed(
                format!("line {line}"),
                "it has more columns than the first line names: a quote is missing somewhere above",
            ));
        }
        let row = Row {
            columns: &columns,
            names: &names,
            record: &record,
        };
        let group = row.of(Column::Group);
        let vault = match options.groups {
            Groups::Vaults if !group.is_empty() => vault(&mut whole.vaults, group),
            _ => 0,
        };
        let item = row.item(vault, options.groups, &mut ids);
        whole.entries.push(Entry::Item(item));
    }
    Ok(whole)
}

/// The vault of a group.
fn vault(vaults: &mut Vec<ImportedVault>, group: &str) -> usize {
    let known = vaults.iter().position(|vault| vault.name == group);
    known.unwrap_or_else(|| {
        vaults.push(ImportedVault {
            source_id: group.to_owned(),
            name: group.to_owned(),
            description: None,
        });
        vaults.len() - 1
    })
}

/// The crate's errors may quote a line.
fn failure(error: &::csv::Error) -> ImportError {
    let line = error.position().map_or(0, ::csv::Position::line);
    match error.kind() {
        ::csv::ErrorKind::Utf8 { .. } => {
            ImportError::malformed(format!("line {line}"), "it is not UTF-8: save the file as UTF-8")
        }
        _ => ImportError::malformed(format!("line {line}"), "it is not CSV"),
    }
}

struct Row<'a> {
    columns: &'a [Option<Column>],
    names: &'a ::csv::StringRecord,
    record: &'a ::csv::StringRecord,
}

impl<'a> Row<'a> {
    /// The value of the first column of a kind that has one.
    fn of(&self, wanted: Column) -> &'a str {
        let columns = self.columns.iter().zip(self.record.iter());
        let mut values = columns
            .filter(|(column, _)| **column == Some(wanted))
            .map(|(_, value)| value);
        values.find(|value| !value.is_empty()).unwrap_or_default()
    }

    fn item(&self, vault: usize, groups: Groups, ids: &mut HashMap<String, usize>) -> super::ImportedItem {
        let (url, username, password) = (
            self.of(Column::Url),
            self.of(Column::Username),
            self.of(Column::Password),
        );
        let title = match self.of(Column::Title) {
            "" => host(url),
            title => title,
        };
        let is_login = ![url, username, password].concat().is_empty();
        let category = if is_login {
            Category::Login
        } else {
            Category::SecureNote
        };
        let mut builder = ItemBuilder::new(&self.id(title, ids), vault, title, category);
        builder.item.favorite = matches!(self.of(Column::Favorite), "1" | "true");
        builder.item.created_at = time(self.of(Column::Created));
        builder.item.updated_at = time(self.of(Column::Changed));
        if groups == Groups::Tags {
            builder.tag(self.of(Column::Group));
        }
        if !username.is_empty() {
            builder.with_purpose(Purpose::Username, username.to_owned());
        }
        if is_login {
            builder.with_purpose(Purpose::Password, password.to_owned());
        }
        if !self.of(Column::OneTimePassword).is_empty() {
            builder.one_time_password("one-time password", self.of(Column::OneTimePassword).to_owned());
        }
        for ((column, name), value) in self.columns.iter().zip(self.names).zip(self.record) {
            if column.is_none() && !value.is_empty() && !IGNORED.contains(&name.trim().to_lowercase().as_str()) {
                builder.named(FieldType::String, name.trim(), value.to_owned());
            }
        }
        if !self.of(Column::Notes).is_empty() || !is_login {
            builder.with_purpose(Purpose::Notes, self.of(Column::Notes).to_owned());
        }
        if !url.is_empty() {
            builder.item.urls.push(Url {
                primary: true,
                label: None,
                href: url.to_owned(),
            });
        }
        builder.finish()
    }

    /// What tells the line from all others, and stays when its password changes.
    fn id(&self, title: &str, ids: &mut HashMap<String, usize>) -> String {
        let own = self.of(Column::Id);
        let id = match own {
            "" => format!("csv {title}\n{}\n{}", self.of(Column::Url), self.of(Column::Username)),
            own => format!("csv {own}"),
        };
        let count = ids.entry(id.clone()).or_default();
        *count += 1;
        match *count {
            1 => id,
            n => format!("{id}\n{n}"),
        }
    }
}

/// Firefox writes milliseconds since 1970, others RFC 3339.
fn time(text: &str) -> Option<Timestamp> {
    match text.parse() {
        Ok(millis) => Some(Timestamp::from_millis(millis)).filter(|_| millis > 0),
        Err(_) => Timestamp::parse(text),
    }
}

/// The host of an address, as the title of a line without one.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::import::testing::{entries_of, file, item_of};
    use crate::import::{ImportedItem, open};

    fn read(text: &str) -> (Vec<String>, Vec<ImportedItem>) {
        let source = open(file(text.as_bytes()), &Options::default()).unwrap();
        let vaults = source.vaults().unwrap().into_iter().map(|vault| vault.name);
        (
            vaults.collect(),
            entries_of(&*source).into_iter().map(item_of).collect(),
        )
    }

    fn values(item: &ImportedItem) -> Vec<(&str, &str)> {
        item.fields
            .iter()
            .map(|field| (field.label.as_str(), field.value.as_str()))
            .collect()
    }

    #[test]
    fn chrome_and_apple_and_firefox_are_read() {
        let chrome = "name,url,username,password,note\nshop,https://shop.example/login,me,\"s3,cret\"\"\",\"a\nb\"\n";
        let apple =
            "Title,URL,Username,Password,Notes,OTPAuth\nshop,https://shop.example/login,me,\"s3,cret\"\"\",\"a\nb\",\n";
        for text in [
            chrome.to_owned(),
            apple.to_owned(),
            format!("\u{feff}{}", chrome.replace('\n', "\r\n").replace("a\r\nb", "a\nb")),
        ] {
            let (vaults, items) = read(&text);
            assert_eq!((vaults, items.len()), (vec!["import".to_owned()], 1));
            let item = &items[0];
            assert_eq!((item.title.as_str(), item.category), ("shop", Category::Login));
            assert_eq!(item.urls[0].href, "https://shop.example/login");
            assert_eq!(
                values(item),
                [("username", "me"), ("password", "s3,cret\""), ("notesPlain", "a\nb")]
            );
        }
        let firefox = "\"url\",\"username\",\"password\",\"httpRealm\",\"formActionOrigin\",\"guid\",\"timeCreated\",\"timeLastUsed\",\
                       \"timePasswordChanged\"\n\"https://a.example:8443/x\",\"me\",\"s3cret\",,\"https://b.example\",\"{g}\",\
                       \"1577934245000\",\"1\",\"1577934246000\"\n";
        let (_, items) = read(firefox);
        assert_eq!(
            (items[0].title.as_str(), items[0].source_id.as_str()),
            ("a.example:8443", "csv {g}")
        );
        assert_eq!(items[0].created_at.unwrap().to_string(), "2020-01-02T03:04:05Z");
        assert_eq!(values(&items[0])[2], ("formActionOrigin", "https://b.example"));
    }

    #[test]
    fn a_changed_password_is_the_same_item_and_lines_that_are_alike_are_two() {
        let (_, items) = read("name,url,username,password\na,u,me,1\na,u,me,2\nb,u,me,3\n");
        let (_, changed) = read("name,url,username,password\na,u,me,9\na,u,me,2\nb,u,me,3\n");
        let ids = |items: &[ImportedItem]| items.iter().map(|item| item.source_id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&items), ids(&changed));
        assert_eq!(
            ids(&items).into_iter().collect::<std::collections::HashSet<_>>().len(),
            3
        );
    }

    #[test]
    fn groups_and_one_time_passwords_and_notes_are_kept() {
        let (vaults, items) = read(
            "\"Group\",\"Title\",\"Username\",\"Password\",\"URL\",\"Notes\",\"TOTP\",\"Icon\",\"Last Modified\",\"Created\"\n\
             Root/Work,a,me,s3cret,,,otpauth://totp/x?secret=JBSWY3DP,0,2021-01-01T00:00:00Z,2020-01-01T00:00:00Z\nRoot,n,,,,text,,0,,\n",
        );
        assert_eq!(vaults, ["import", "Root/Work", "Root"]);
        assert_eq!(values(&items[0])[2].0, "one-time password");
        assert_eq!(
            (items[1].category, values(&items[1])),
            (Category::SecureNote, vec![("notesPlain", "text")])
        );
    }

    #[test]
    fn other_texts_and_broken_lines_are_refused_without_their_values() {
        for (text, words) in [
            ("a,b\ns3cret,1\n", "in no format"),
            ("password\ns3cret\n", "in no format"),
            ("name,password\na,b,s3cret\n", "line 2: it has more columns"),
        ] {
            let error = open(file(text.as_bytes()), &Options::default())
                .err()
                .unwrap()
                .to_string();
            assert!(error.contains(words) && !error.contains("s3cret"), "{error}");
        }
        let error = open(file(b"name,password\na,s3cret\xff\n"), &Options::default())
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("not UTF-8"), "{error}");
    }

    proptest! {
        #[test]
        fn any_values_come_out_as_they_went_in(rows in proptest::collection::vec(("[^\0]{0,20}", "[^\0]{1,20}", "[^\0]{0,20}"), 1..5)) {
            let mut writer = ::csv::Writer::from_writer(Vec::new());
            writer.write_record(["name", "password", "note"]).unwrap();
            for (name, password, note) in &rows {
                writer.write_record([name, password, note]).unwrap();
            }
            let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            let (_, items) = read(&text);
            prop_assert_eq!(items.len(), rows.len());
            for (item, (name, password, note)) in items.iter().zip(&rows) {
                prop_assert_eq!(&item.title, name);
                prop_assert_eq!(&item.fields[0].value, password);
                prop_assert_eq!(item.fields.get(1).map(|field| field.value.as_str()).unwrap_or_default(), note);
            }
        }
    }
}
