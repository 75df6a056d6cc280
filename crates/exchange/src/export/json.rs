//! All items as the Connect API has them, with the contents of their files.
//!
//! ```text
//! {"vaults": [{"id", "name", "description", "items": [FullItem with files[].content in base64]}]}
//! ```

use std::io::{self, Write};

use serde_json::json;
use sidevault_model::{File, Item, Vault};

use super::base64_stream::Base64Stream;
use super::{FileOrder, Writer};

/// What has been begun and not ended. Each holds the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Open {
    Export,
    Vault,
    Item,
    Content,
}

/// Writes Connect's JSON.
pub struct Json<W> {
    out: W,
    open: Open,
    /// Whether a comma belongs in front of the next vault, item and file.
    follows: [bool; 3],
    encoder: Base64Stream,
}

impl<W: Write> Json<W> {
    /// Begins an export.
    ///
    /// # Errors
    /// Those of the output.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(b"{\"vaults\":[")?;
        Ok(Self {
            out,
            open: Open::Export,
            follows: [false; 3],
            encoder: Base64Stream::default(),
        })
    }

    /// Ends what is open until only `outer` and what holds it is open.
    fn close_to(&mut self, outer: Open) -> io::Result<()> {
        while self.open > outer {
            self.open = match self.open {
                Open::Content => {
                    self.encoder.end(&mut self.out)?;
                    self.out.write_all(b"\"}")?;
                    Open::Item
                }
                Open::Item => {
                    self.out.write_all(b"]}")?;
                    Open::Vault
                }
                Open::Vault | Open::Export => {
                    self.out.write_all(b"\n]}")?;
                    Open::Export
                }
            };
        }
        Ok(())
    }

    /// Writes a comma unless this is the first of its list, and begins the lists of the next levels.
    fn separate(&mut self, level: usize) -> io::Result<()> {
        if std::mem::replace(&mut self.follows[level], true) {
            self.out.write_all(b",")?;
        }
        self.follows[level + 1..].fill(false);
        Ok(())
    }

    /// Writes an object without its closing brace, and then `rest`.
    fn begin(&mut self, object: &impl serde::Serialize, rest: &str) -> io::Result<()> {
        let mut text = serde_json::to_vec(object)?;
        text.pop();
        self.out.write_all(&text)?;
        self.out.write_all(rest.as_bytes())
    }
}

impl<W: Write> Writer for Json<W> {
    fn vault(&mut self, vault: &Vault, _summaries: &[Item]) -> io::Result<()> {
        self.close_to(Open::Export)?;
        self.separate(0)?;
        let mut object = json!({ "id": vault.id, "name": vault.name });
        if let Some(description) = &vault.description {
            object["description"] = description.as_str().into();
        }
        self.begin(&object, ",\"items\":[")?;
        self.open = Open::Vault;
        Ok(())
    }

    fn item(&mut self, item: &Item) -> io::Result<Vec<String>> {
        self.close_to(Open::Vault)?;
        self.separate(1)?;
        self.out.write_all(b"\n")?;
        let without_files = Item {
            files: Vec::new(),
            ..item.clone()
        };
        self.begin(&without_files, ",\"files\":[")?;
        self.open = Open::Item;
        Ok(Vec::new())
    }

    fn file_order(&self) -> FileOrder {
        FileOrder::WithItem
    }

    fn file(&mut self, file: &File) -> io::Result<bool> {
        self.close_to(Open::Item)?;
        self.separate(2)?;
        self.begin(file, ",\"content\":\"")?;
        self.open = Open::Content;
        Ok(true)
    }

    fn content(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.encoder.write(&mut self.out, bytes)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.close_to(Open::Export)?;
        self.out.write_all(b"]}\n")?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::testing::{full_item, plain_item, vault, written};
    use super::*;

    #[test]
    fn every_item_can_be_read_again_as_it_was() {
        let (full, plain) = (full_item(), plain_item("second"));
        let (text, losses) = written(
            |out| Box::new(Json::new(out).unwrap()),
            &[(vault("a"), vec![full.clone(), plain.clone()]), (vault("b"), vec![])],
        );
        assert_eq!(losses, [] as [String; 0]);
        let read: Value = serde_json::from_slice(&text).unwrap();
        let items = read["vaults"][0]["items"].as_array().unwrap();
        for (item, served) in items.iter().zip([&full, &plain]) {
            let again = Item::from_json(item.to_string().as_bytes()).unwrap();
            assert_eq!(
                again,
                Item {
                    files: again.files.clone(),
                    ..served.clone()
                }
            );
            assert_eq!(again.files.len(), served.files.len());
        }
        assert_eq!(items[0]["files"][0]["content"], "AAECAw==");
        assert_eq!(items[0]["files"][1]["content"], "AAECAw==");
        assert_eq!(read["vaults"][1]["items"], json!([]));
    }

    #[test]
    fn an_export_without_vaults_is_json() {
        let (text, _) = written(|out| Box::new(Json::new(out).unwrap()), &[]);
        assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), json!({ "vaults": [] }));
    }
}
