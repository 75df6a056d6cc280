//! The databases in `testdata` were made of one XML file by KeePassXC 2.7.4: `kdbx3.kdbx` and `key-file.kdbx` by `keepassxc-cli import`,
//! `kdbx4.kdbx` (with Argon2id) by kdbxweb, and saved again by `keepassxc-cli attachment-import`.

use sidevault_model::{Category, FieldType, Purpose};
use zeroize::Zeroizing;

use crate::import::testing::{entries_of, file, item_of};
use crate::import::{AskPassword, Entry, Groups, ImportError, ImportedItem, Options, Source, open};

const KDBX3: &[u8] = include_bytes!("testdata/kdbx3.kdbx");
const KDBX4: &[u8] = include_bytes!("testdata/kdbx4.kdbx");
const WITH_KEY_FILE: &[u8] = include_bytes!("testdata/key-file.kdbx");
const KEY_FILE: &[u8] = include_bytes!("testdata/key-file.key");

fn right(_: &str) -> Result<Zeroizing<Vec<u8>>, ImportError> {
    Ok(Zeroizing::new("pässword 1".as_bytes().to_vec()))
}

fn opened(data: &[u8], groups: Groups) -> Box<dyn Source> {
    let options = Options {
        groups,
        password: &right,
        ..Options::default()
    };
    open(file(data), &options).unwrap()
}

fn error_of(data: &[u8], options: &Options<'_>) -> String {
    open(file(data), options).err().unwrap().to_string()
}

/// Id, type and value of each field.
fn fields(item: &ImportedItem) -> Vec<(&str, FieldType, &str)> {
    item.fields
        .iter()
        .map(|field| (field.id.as_str(), field.field_type, field.value.as_str()))
        .collect()
}

#[test]
fn entries_keep_all_their_parts_in_both_versions() {
    let items: Vec<Vec<Entry>> = [KDBX3, KDBX4]
        .map(|data| entries_of(&*opened(data, Groups::Vaults)))
        .into();
    assert_eq!(items[0].len(), 4);
    let Entry::Skipped(skipped) = &items[1][3] else {
        panic!("{:?}", items[1])
    };
    assert_eq!(skipped.reason, "it is in the recycle bin");
    for mut entries in items {
        let router = item_of(entries.remove(0));
        assert_eq!((router.title.as_str(), router.category), ("Router", Category::Login));
        assert_eq!(router.source_id, "00000000-0000-0000-0000-000000000011");
        assert_eq!(router.created_at.unwrap().to_string(), "2020-01-02T03:04:05Z");
        assert_eq!(router.tags, ["home", "net"]);
        assert_eq!(
            fields(&router),
            [
                ("username", FieldType::String, "admin"),
                ("password", FieldType::Concealed, "s3cret"),
                (
                    "one-time password",
                    FieldType::Otp,
                    "otpauth://totp/x?secret=JBSWY3DPEHPK3PXP&period=30&digits=6"
                ),
                ("model", FieldType::String, "X1 & Ü"),
                ("pin", FieldType::Concealed, "1234"),
                ("expires", FieldType::Date, "1893456000"),
                ("notesPlain", FieldType::String, "line 1\nline 2"),
            ]
        );
        assert_eq!(router.fields[1].purpose, Some(Purpose::Password));
        assert_eq!(
            router.fields[1].password_details.as_ref().unwrap().history,
            ["older", "oldest"]
        );
        let urls: Vec<(&str, bool)> = router.urls.iter().map(|url| (url.href.as_str(), url.primary)).collect();
        assert_eq!(
            urls,
            [("https://router.example", true), ("https://other.example", false)]
        );
        assert_eq!((router.files[0].name.as_str(), router.files[0].size), ("notes.txt", 12));
        assert!(router.losses[0].contains("earlier versions"), "{:?}", router.losses);

        let note = item_of(entries.remove(0));
        assert_eq!((note.category, fields(&note).len()), (Category::SecureNote, 1));
        let db = item_of(entries.remove(0));
        assert_eq!(db.tags, ["Servers"]);
        assert_eq!(
            db.fields[1].value,
            "otpauth://totp/import?secret=JBSWY3DPEHPK3PXP&period=60&digits=8"
        );
        assert!(db.losses[0].contains("another entry"), "{:?}", db.losses);
    }
}

#[test]
fn groups_become_vaults_or_tags_and_files_have_their_contents() {
    let source = opened(KDBX4, Groups::Vaults);
    let vaults: Vec<String> = source.vaults().unwrap().into_iter().map(|vault| vault.name).collect();
    assert_eq!(vaults, ["Family", "Work"]);
    let items: Vec<ImportedItem> = entries_of(&*source).into_iter().take(3).map(item_of).collect();
    assert_eq!(items.iter().map(|item| item.vault).collect::<Vec<_>>(), [0, 1, 1]);
    let mut content = Vec::new();
    source
        .content(&items[0].files[0], &mut |from| {
            Ok(from.read_to_end(&mut content).map(drop)?)
        })
        .unwrap();
    assert_eq!(content, b"s3cret-file\n");

    let source = opened(KDBX4, Groups::Tags);
    assert_eq!(source.vaults().unwrap().len(), 1);
    let items: Vec<ImportedItem> = entries_of(&*source).into_iter().take(3).map(item_of).collect();
    assert_eq!(
        (&items[1].tags[0], &items[2].tags[0]),
        (&"Work".to_owned(), &"Work/Servers".to_owned())
    );
}

#[test]
fn a_database_opens_with_its_key_only() {
    let with = |password: &AskPassword<'_>, data: &[u8]| {
        let options = Options {
            password,
            ..Options::default()
        };
        error_of(data, &options)
    };
    for data in [KDBX3, KDBX4] {
        let wrong = with(&|_| Ok(Zeroizing::new(b"password 1".to_vec())), data);
        assert!(wrong.contains("is wrong"), "{wrong}");
        assert!(error_of(data, &Options::default()).contains("encrypted with a password"));
    }
    let options = Options {
        key_file: Some(KEY_FILE),
        ..Options::default()
    };
    assert_eq!(entries_of(&*open(file(WITH_KEY_FILE), &options).unwrap()).len(), 4);
    let options = Options {
        key_file: Some(b"another"),
        ..Options::default()
    };
    assert!(error_of(WITH_KEY_FILE, &options).contains("is wrong"));
}

#[test]
fn a_head_that_asks_for_too_much_is_refused_before_the_work() {
    let options = Options {
        password: &right,
        ..Options::default()
    };
    let changed = |data: &[u8], name: &[u8], value: &[u8]| {
        let mut data = data.to_vec();
        let at = data.windows(name.len()).position(|window| window == name).unwrap() + name.len();
        data[at..at + value.len()].copy_from_slice(value);
        error_of(&data, &options)
    };
    // In KDBX 4 a name, the length of the value, and the value.
    for (name, value, words) in [
        (&b"M\x08\0\0\0"[..], u64::MAX, "memory for Argon2"),
        (b"M\x08\0\0\0", 1 << 31, "memory for Argon2"),
        (b"I\x08\0\0\0", 1 << 40, "passes of Argon2"),
        (b"P\x04\0\0\0", 65, "lanes of Argon2"),
    ] {
        let value = &value.to_le_bytes()[..usize::from(name[1])];
        let error = changed(KDBX4, name, value);
        assert!(error.contains(words), "{error}");
    }
    let error = changed(KDBX3, b"\x06\x08\0", &u64::MAX.to_le_bytes());
    assert!(error.contains("rounds of AES"), "{error}");
    // The length of the compression's number, behind the last bytes of AES's id: 3 in place of 4.
    let error = changed(KDBX3, b"\xfc\x5a\xff\x03", b"\x03");
    assert!(error.contains("cut off"), "{error}");
    let error = changed(KDBX4, b"\x05\x01\0\0\0M", b"\x07");
    assert!(error.contains("cut off"), "{error}");
    for (data, words) in [
        (&KDBX4[..40], "cut off"),
        (&KDBX4[..12], "cut off"),
        (b"\x03\xd9\xa2\x9a\x65\xfb\x4b\xb5 KeePass 1", "KeePass 1"),
        (b"\x03\xd9\xa2\x9a\x67\xfb\x4b\xb5\0\0\x05\0", "KDBX 5"),
    ] {
        let error = error_of(data, &options);
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_damaged_database_is_refused() {
    let options = Options {
        password: &right,
        ..Options::default()
    };
    for data in [KDBX3, KDBX4] {
        for at in [300, data.len() - 200] {
            let mut damaged = data.to_vec();
            damaged[at] ^= 1;
            let error = error_of(&damaged, &options);
            assert!(!error.contains("s3cret"), "{error}");
        }
        let error = error_of(&data[..data.len() - 100], &options);
        assert!(!error.is_empty());
    }
}
