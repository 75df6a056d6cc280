//! Items for the tests of writers.

use std::io::{self, Cursor, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex};

use sidevault_model::{
    Category, Field, FieldType, File, FileId, Item, ItemId, PasswordDetails, Purpose, Section, SectionRef, Timestamp,
    Url, Vault, VaultId, VaultType,
};

use super::{FileOrder, Writer};

pub(super) fn vault(name: &str) -> Vault {
    let mut digest = [0; 32];
    digest[..name.len()].copy_from_slice(name.as_bytes());
    Vault {
        id: VaultId::from_digest(&digest),
        name: name.to_owned(),
        description: Some("for tests".to_owned()),
        attribute_version: 1,
        content_version: 1,
        items: 1,
        vault_type: VaultType::UserCreated,
        created_at: Timestamp::from_millis(0),
        updated_at: Timestamp::from_millis(0),
    }
}

pub(super) fn plain_item(title: &str) -> Item {
    let mut digest = [7; 32];
    let bytes = title.as_bytes();
    let n = bytes.len().min(32);
    digest[..n].copy_from_slice(&bytes[..n]);
    Item {
        id: ItemId::from_digest(&digest),
        title: title.to_owned(),
        version: 3,
        vault: vault("a").id,
        category: Category::ApiCredential,
        urls: Vec::new(),
        favorite: false,
        tags: Vec::new(),
        state: None,
        created_at: Timestamp::from_millis(1_600_000_000_000),
        updated_at: Timestamp::from_millis(1_700_000_000_000),
        last_edited_by: "app".to_owned(),
        sections: Vec::new(),
        fields: Vec::new(),
        files: Vec::new(),
    }
}

/// A login with every kind of part.
pub(super) fn full_item() -> Item {
    let mut item = plain_item("Shop & Co");
    item.category = Category::Login;
    item.favorite = true;
    item.tags = vec!["prod".into(), "a/b".into()];
    item.urls = vec![Url {
        primary: true,
        label: Some("website".into()),
        href: "https://shop.example".into(),
    }];
    let section = |id: &str, label: &str| Section {
        id: id.into(),
        label: label.into(),
    };
    item.sections = vec![section("s1", "Replica"), section("s2", "")];
    let purpose = |purpose: Purpose, field_type, value: &str| Field {
        purpose: Some(purpose),
        ..Field::new(purpose.usual_name(), field_type, purpose.usual_name(), value)
    };
    let mut password = purpose(Purpose::Password, FieldType::Concealed, "s3cret");
    password.password_details = Some(PasswordDetails {
        history: vec!["older".into(), "oldest".into()],
    });
    item.fields = vec![
        purpose(Purpose::Username, FieldType::String, "app"),
        password,
        purpose(Purpose::Notes, FieldType::String, "line 1\nit's \"2\""),
        Field::new(
            "otp",
            FieldType::Otp,
            "one-time password",
            "otpauth://totp/x?secret=GEZDGNBV",
        ),
    ];
    for (id, field_type, label, value) in [
        ("f1", FieldType::String, "host", "db-2.example"),
        ("f2", FieldType::Concealed, "pin", "1234"),
        ("f3", FieldType::Email, "mail", "a@b.example"),
        ("f4", FieldType::Date, "since", "1714737660"),
        ("f5", FieldType::MonthYear, "until", "202601"),
        ("f6", FieldType::Address, "address", "1 Main St, Town"),
        ("f7", FieldType::Phone, "phone", "+1"),
        ("f8", FieldType::Url, "page", "https://x.example"),
    ] {
        item.fields.push(Field {
            section: Some(SectionRef {
                id: "s1".into(),
                label: Some("Replica".into()),
            }),
            ..Field::new(id, field_type, label, value)
        });
    }
    let file = |seed: u8, name: &str| File::new(item.vault, item.id, FileId::from_digest(&[seed; 32]), name, 4);
    item.files = vec![file(1, "ca.pem"), file(2, "../etc/pass wd")];
    item
}

/// What a writer makes of these vaults, and what it can't carry. Each file has the content 0, 1, 2, 3.
pub(super) fn written(
    writer: impl FnOnce(Shared) -> Box<dyn Writer>,
    vaults: &[(Vault, Vec<Item>)],
) -> (Vec<u8>, Vec<String>) {
    let out = Shared::default();
    let mut writer = writer(out.clone());
    let mut losses = Vec::new();
    let files = |writer: &mut Box<dyn Writer>, item: &Item| {
        for file in &item.files {
            if writer.file(file).unwrap() {
                writer.content(&[0]).unwrap();
                writer.content(&[1, 2, 3]).unwrap();
            }
        }
    };
    for (vault, items) in vaults {
        writer.vault(vault, items).unwrap();
        for item in items {
            losses.extend(writer.item(item).unwrap());
            if writer.file_order() == FileOrder::WithItem {
                files(&mut writer, item);
            }
        }
    }
    if writer.file_order() == FileOrder::AfterItems {
        for item in vaults.iter().flat_map(|(_, items)| items) {
            files(&mut writer, item);
        }
    }
    writer.finish().unwrap();
    let bytes = out.0.lock().unwrap().get_ref().clone();
    (bytes, losses)
}

/// Bytes in memory that a test can read while a writer has them.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Cursor<Vec<u8>>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Shared {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.lock().unwrap().seek(to)
    }
}
