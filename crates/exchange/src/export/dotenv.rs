//! Env files: `ITEM_SECTION_FIELD="value"` lines.

use std::collections::HashSet;
use std::io::{self, Write};

use sidevault_model::{Item, Vault, printable};

use super::{Writer, free_name, lost_files, section_name};

/// Writes an env file.
pub struct Dotenv<W> {
    out: W,
    names: HashSet<String>,
    vault: String,
}

impl<W: Write> Dotenv<W> {
    /// Begins an export.
    pub fn new(out: W) -> Self {
        Self {
            out,
            names: HashSet::new(),
            vault: String::new(),
        }
    }

    /// The name of a variable that no line has yet, and whether it has a number because the name was taken.
    fn free_name(&mut self, parts: [&str; 3]) -> (String, bool) {
        let wanted = variable(parts);
        let name = free_name(&mut self.names, &wanted, |number| format!("{wanted}_{number}"));
        let is_numbered = name != wanted;
        (name, is_numbered)
    }
}

impl<W: Write> Writer for Dotenv<W> {
    fn vault(&mut self, vault: &Vault, _summaries: &[Item]) -> io::Result<()> {
        self.vault = printable(&vault.name);
        Ok(())
    }

    fn item(&mut self, item: &Item) -> io::Result<Vec<String>> {
        let mut losses: Vec<String> = lost_files(item).collect();
        writeln!(self.out, "# {} / {}", self.vault, printable(&item.title))?;
        for field in item.fields.iter().filter(|field| !field.value.is_empty()) {
            let label = field.label_or_id();
            if field.value.contains('\0') {
                losses.push(format!("field \"{}\": an env file can't hold a NUL", printable(label)));
                continue;
            }
            let (name, is_numbered) = self.free_name([&item.title, section_name(item, field), label]);
            if is_numbered {
                losses.push(format!(
                    "field \"{}\": its name is taken, so it becomes {name}",
                    printable(label)
                ));
            }
            writeln!(self.out, "{name}={}", quoted(&field.value))?;
        }
        Ok(losses)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.out.flush()
    }
}

/// Words as the name of a variable: `Shop & Co`, `pin` is `SHOP_CO_PIN`.
fn variable(parts: [&str; 3]) -> String {
    let mut name = String::new();
    for part in parts {
        let words = part.split(|c: char| !c.is_ascii_alphanumeric());
        for word in words.filter(|word| !word.is_empty()) {
            if !name.is_empty() {
                name.push('_');
            }
            name.push_str(&word.to_ascii_uppercase());
        }
    }
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name
}

/// A value in quotes. Within single quotes everything stands for itself; a value with a single quote, a line break or a tab is in double
/// quotes with escapes, as `sidevault run` and docker compose read them.
fn quoted(value: &str) -> String {
    if !value.contains(['\'', '\n', '\r', '\t']) {
        return format!("'{value}'");
    }
    let mut text = String::from("\"");
    for c in value.chars() {
        match c {
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '"' | '\\' | '$' => text.extend(['\\', c]),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use sidevault_model::{Field, FieldType};

    use super::super::testing::{full_item, plain_item, vault, written};
    use super::*;

    #[test]
    fn every_field_is_a_line() {
        let (text, losses) = written(|out| Box::new(Dotenv::new(out)), &[(vault("a"), vec![full_item()])]);
        let text = String::from_utf8(text).unwrap();
        for line in [
            "# a / Shop & Co",
            "SHOP_CO_USERNAME='app'",
            "SHOP_CO_PASSWORD='s3cret'",
            r#"SHOP_CO_NOTESPLAIN="line 1\nit's \"2\"""#,
            "SHOP_CO_REPLICA_PIN='1234'",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert_eq!(losses, ["file \"ca.pem\"", "file \"../etc/pass wd\""]);
    }

    #[test]
    fn a_name_is_used_once_and_a_nul_is_named() {
        let mut item = plain_item("1-db");
        for (id, label, value) in [("a", "x y", "1"), ("b", "x-y", "2"), ("c", "bad", "\0"), ("d", "", "3")] {
            item.fields.push(Field::new(id, FieldType::String, label, value));
        }
        let (text, losses) = written(|out| Box::new(Dotenv::new(out)), &[(vault("a"), vec![item])]);
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "# a / 1-db\n_1_DB_X_Y='1'\n_1_DB_X_Y_2='2'\n_1_DB_D='3'\n"
        );
        assert_eq!(losses.len(), 2);
        assert!(losses[0].contains("becomes _1_DB_X_Y_2"), "{losses:?}");
        assert!(losses[1].contains("NUL"), "{losses:?}");
    }
}
