//! Makes 1PUX exports, with items of every category and values of every kind.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// The ids of the categories. The last one exists in no version of 1Password.
const CATEGORIES: [&str; 22] = [
    "001", "002", "003", "004", "005", "006", "100", "101", "102", "103", "104", "105", "106", "107", "108", "109",
    "110", "111", "112", "113", "114", "299",
];

/// The id of the vault `Apps` of every export.
pub const APPS: &str = "ftz4pm2xxwmwrsd7rjqn7grzfz";
/// The id of the vault `Private` of every export.
pub const PRIVATE: &str = "kq7kbvhwq3ydpw6ptk7wzgzhpm";

/// The id of item `n`.
pub fn item_id(n: usize) -> String {
    id("item", n)
}

/// An id in the form of Connect's: the word, and the number in letters.
fn id(word: &str, mut n: usize) -> String {
    let mut letters = [b'a'; 26];
    for (place, letter) in letters.iter_mut().zip(word.bytes()) {
        *place = letter;
    }
    for place in letters.iter_mut().rev().take(10) {
        *place = b'a' + u8::try_from(n % 26).unwrap_or_default();
        n /= 26;
    }
    String::from_utf8_lossy(&letters).into_owned()
}

/// The content of the file of item `n`: sizes around the server's blocks of 64 KiB.
pub fn content(n: usize) -> Vec<u8> {
    let sizes = [5, 0, 65_536, 65_537, 200_000, 1];
    let mark = format!("file {n} s3cret ");
    mark.bytes().cycle().take(sizes[n % sizes.len()]).collect()
}

/// Item `n`. Every secret value has the word `s3cret`.
pub fn item(n: usize, has_file: bool) -> Value {
    let category = CATEGORIES[n % CATEGORIES.len()];
    let kinds = json!([
        { "string": format!("text {n}") }, { "concealed": format!("s3cret concealed {n}") }, { "totp": "JBSWY3DPEHPK3PXP" },
        { "date": 1_714_737_660 + n }, { "email": { "email_address": format!("a{n}@example.org"), "provider": null } },
        { "phone": format!("+49 {n}") }, { "menu": "imap" }, { "gender": "female" }, { "monthYear": 202_401 + n % 12 },
        { "url": format!("https://{n}.example.org") },
        { "address": { "street": format!("{n} Main Street"), "city": "Ulm", "country": "de", "zip": "89073", "state": "" } },
        { "creditCardType": "mc" }, { "creditCardNumber": "4111111111111111" }, { "reference": item_id(0) },
        { "sshKey": { "privateKey": format!("s3cret key {n}"), "metadata": { "privateKey": "s3cret", "publicKey": "ssh-ed25519 AAAA",
            "fingerprint": format!("SHA256:{n}"), "keyType": { "t": "ed25519" } } } },
        "bare text", { "date": "not a date" }, { "wax": { "seal": "s3cret" } }, { "string": null }
    ]);
    let fields = kinds.as_array().into_iter().flatten().enumerate().map(|(k, value)| {
        json!({ "title": format!("field {k}"), "id": format!("f{k}"), "value": value, "guarded": false, "multiline": false,
            "dontGenerate": false, "inputTraits": { "keyboard": "default", "correction": "default", "capitalization": "default" } })
    });
    let mut fields: Vec<Value> = fields.collect();
    if has_file && category != "006" {
        let file = json!({ "fileName": format!("notes {n}.bin"), "documentId": id("file", n), "decryptedSize": content(n).len() });
        fields.push(json!({ "title": "attachment", "id": "file", "value": { "file": file } }));
    }
    let mut details = json!({
        "notesPlain": format!("note {n}\nsecond line s3cret"),
        "sections": [{ "title": "", "name": "", "fields": [] }, { "title": "All kinds", "name": "kinds", "fields": fields }],
        "passwordHistory": []
    });
    match category {
        "001" => {
            details["loginFields"] = json!([
                { "value": format!("user {n}"), "id": "login", "name": "login", "fieldType": "T", "designation": "username" },
                { "value": format!("s3cret {n}"), "id": "pass", "name": "pass", "fieldType": "P", "designation": "password" },
                { "value": "s3cret again", "id": "pass2", "name": "password", "fieldType": "P", "designation": "" },
                { "value": "✓", "id": "keep", "name": "keep", "fieldType": "C", "designation": "" }
            ]);
            let earlier = |age: usize| json!({ "value": format!("s3cret older {age}"), "time": 1_600_000_000 - age });
            details["passwordHistory"] = (0..n % 13).map(earlier).collect();
        }
        "005" => details["password"] = json!(format!("s3cret alone {n}")),
        "006" if has_file => {
            details["documentAttributes"] = json!({ "fileName": format!("document {n}.pdf"), "documentId": id("file", n), "decryptedSize": content(n).len() });
        }
        _ => {}
    }
    json!({
        "uuid": item_id(n), "favIndex": n % 2, "createdAt": 1_500_000_000 + n, "updatedAt": 1_600_000_000 + n,
        "state": if n % 7 == 3 { "archived" } else { "active" }, "categoryUuid": category, "details": details,
        "overview": { "title": format!("item {n} ü🔑"), "subtitle": "", "url": format!("https://{n}.example.com"),
            "urls": [{ "label": "main", "url": format!("https://{n}.example.com") }, { "label": "", "url": "https://b.example" }],
            "tags": [format!("tag{}", n % 3), "all"], "ps": 0, "pbe": 0, "pgrng": false }
    })
}

/// Writes an export with this many items in two vaults, of which every `every`th has a file, and one deleted item.
///
/// # Panics
/// If the file can't be written.
pub fn write(path: &Path, items: usize, every: usize) {
    let has_file = |n: usize| n.is_multiple_of(every);
    let vault = |id: &str, name: &str, range: std::ops::Range<usize>| {
        let mut items: Vec<Value> = range.map(|n| item(n, has_file(n))).collect();
        items.push(json!({ "uuid": id, "categoryUuid": "099", "overview": { "title": "gone" }, "details": {} }));
        json!({ "attrs": { "uuid": id, "desc": format!("about {name}"), "avatar": "", "name": name, "type": "U" }, "items": items })
    };
    let half = items / 2;
    let data = json!({ "accounts": [{
        "attrs": { "accountName": "me", "name": "me", "avatar": "", "email": "me@example.org", "uuid": "A", "domain": "https://x/" },
        "vaults": [vault(APPS, "Apps", 0..half), vault(PRIVATE, "Private", half..items)]
    }] });
    let files = (0..items).filter(|n| has_file(*n));
    let files = files.map(|n| (format!("files/{}___name {n}.bin", id("file", n)), content(n)));
    let members = [
        (
            "export.attributes".to_owned(),
            br#"{"version":3,"description":"1Password Unencrypted Export","createdAt":1600000000}"#.to_vec(),
        ),
        ("export.data".to_owned(), data.to_string().into_bytes()),
    ];
    archive(path, members.into_iter().chain(files));
}

/// Writes a ZIP archive.
///
/// # Panics
/// If the file can't be written.
pub fn archive(path: &Path, members: impl IntoIterator<Item = (String, Vec<u8>)>) {
    let mut zip = ZipWriter::new(File::create(path).expect("a file"));
    for (name, bytes) in members {
        zip.start_file(name, SimpleFileOptions::default()).expect("a member");
        zip.write_all(&bytes).expect("a member");
    }
    zip.finish().expect("an archive");
}
