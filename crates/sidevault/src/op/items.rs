//! `op item get`, `op item list` and `op document`.

use serde_json::Value;
use sidevault_client::Filter;
use sidevault_model::{Category, Field, Item, Vault, printable};

use crate::commands::item::{MAX_ITEM_BYTES, category_word, show};
use crate::fields::FieldName;

use super::session::{Located, Session};
use super::{Call, End, Error, json, people, print, print_json, references};

/// `op item get ITEM`; `-` reads the items from standard input, as `op item list --format json` writes them.
pub(super) async fn get(call: &Call<'_>, item: &str) -> Result<(), End> {
    let session = Session::open(call)?;
    if item != "-" {
        let located = session.item(item, call.line.value("vault")).await?;
        return show_item(call, &located);
    }
    for (item, vault) in listed(&references::stdin(MAX_ITEM_BYTES)?)? {
        let vault = vault.as_deref().or(call.line.value("vault"));
        let located = session.item(&item, vault).await?;
        show_item(call, &located)?;
    }
    Ok(())
}

/// The ids of items in JSON, one after the other or in lists, and the ids of their vaults.
fn listed(bytes: &[u8]) -> Result<Vec<(String, Option<String>)>, Error> {
    let mut items = Vec::new();
    for value in serde_json::Deserializer::from_slice(bytes).into_iter::<Value>() {
        let invalid = || Error::new("standard input is no JSON of items");
        let list = match value.map_err(|_| invalid())? {
            Value::Array(list) => list,
            one => vec![one],
        };
        for item in list {
            let id = item.get("id").and_then(Value::as_str).ok_or_else(invalid)?;
            let vault = item.pointer("/vault/id").and_then(Value::as_str);
            items.push((id.to_owned(), vault.map(str::to_owned)));
        }
    }
    Ok(items)
}

fn show_item(call: &Call<'_>, located: &Located) -> Result<(), End> {
    let Located { item, vault } = located;
    if call.line.switch("otp")? {
        let code = show::one_time_password(item).map_err(|_| {
            Error::new(format!(
                "item \"{}\" does not have a one-time password field",
                printable(&item.title)
            ))
        })?;
        return print(&format!("{code}\n"));
    }
    let json = call.wants_json()?;
    let reveal = call.line.switch("reveal")?;
    let wanted = call.line.list("fields");
    if wanted.is_empty() {
        return if json {
            print_json(&json::item(item, vault))
        } else {
            print(&people::item(item, vault, reveal))
        };
    }
    let mut fields: Vec<&Field> = Vec::new();
    for wanted in &wanted {
        fields.extend(chosen(item, wanted)?);
    }
    if json {
        let shown: Vec<Value> = fields.iter().map(|field| json::field(field, item, vault)).collect();
        return match <[Value; 1]>::try_from(shown) {
            Ok([only]) => print_json(&only),
            Err(shown) => print_json(&Value::Array(shown)),
        };
    }
    let values: Vec<String> = fields.iter().map(|field| people::value(field, item, reveal)).collect();
    print(&format!("{}\n", people::csv(&values)))
}

/// The fields that an element of `--fields` names: a label or an id, `label=…`, or `type=…`.
fn chosen<'a>(item: &'a Item, wanted: &str) -> Result<Vec<&'a Field>, Error> {
    if let Some(word) = wanted.strip_prefix("type=") {
        let is_wanted = |field: &&Field| field.field_type.as_str().eq_ignore_ascii_case(word);
        let found: Vec<&Field> = item.fields.iter().filter(is_wanted).collect();
        return if found.is_empty() {
            Err(no_field(item, wanted))
        } else {
            Ok(found)
        };
    }
    let label = wanted.strip_prefix("label=").unwrap_or(wanted);
    match show::find(item, &FieldName::parse(label)) {
        Ok(field) => Ok(vec![field]),
        // Several fields with the same label are all meant.
        Err(crate::exit::Failure::Conflict(_)) => {
            let same = |field: &&Field| field.label.eq_ignore_ascii_case(label);
            Ok(item.fields.iter().filter(same).collect())
        }
        Err(_) => Err(no_field(item, label)),
    }
}

fn no_field(item: &Item, field: &str) -> Error {
    Error::new(format!(
        "\"{}\" isn't a field in the \"{}\" item",
        printable(field),
        printable(&item.title)
    ))
}

/// `op item list`.
pub(super) async fn list(call: &Call<'_>) -> Result<(), End> {
    let mut conditions: Vec<String> = Vec::new();
    let words: Result<Vec<&str>, _> = call
        .line
        .list("categories")
        .iter()
        .map(|word| category_word(word))
        .collect();
    let words = words.map_err(|failure| Error::new(failure.to_string()))?;
    let any = |conditions: Vec<String>| match conditions.len() {
        0 => None,
        1 => conditions.into_iter().next(),
        _ => Some(format!("({})", conditions.join(" or "))),
    };
    conditions.extend(any(words
        .iter()
        .map(|word| format!("category eq \"{word}\""))
        .collect()));
    // 1Password's list has the items with any of the tags.
    let tags = call.line.list("tags");
    conditions.extend(any(tags
        .iter()
        .map(|tag| Filter::tag(tag).as_str().to_owned())
        .collect()));
    if call.line.switch("favorite")? {
        conditions.push("favorite eq true".to_owned());
    }
    show_list(call, conditions, false).await
}

/// `op document list`.
pub(super) async fn documents(call: &Call<'_>) -> Result<(), End> {
    show_list(call, Vec::new(), true).await
}

async fn show_list(call: &Call<'_>, conditions: Vec<String>, documents: bool) -> Result<(), End> {
    let session = Session::open(call)?;
    let vaults = match call.line.value("vault") {
        Some(vault) => vec![session.vault(vault).await?],
        None => session.vaults().await?,
    };
    let filter = (!conditions.is_empty()).then(|| Filter::raw(conditions.join(" and ")));
    let mut found = Vec::new();
    for vault in vaults {
        for item in session.summaries(vault.id, filter.as_ref()).await? {
            if !documents || item.category == Category::Document {
                found.push((item, vault.clone()));
            }
        }
    }
    if call.wants_json()? {
        return print_json(&found.iter().map(|(item, vault)| json::summary(item, vault)).collect());
    }
    let row = |(item, vault): (Item, Vault)| {
        [
            item.id.to_string(),
            item.title,
            vault.name,
            people::ago(item.updated_at),
        ]
    };
    print(&people::table(
        ["ID", "TITLE", "VAULT", "EDITED"],
        found.into_iter().map(row),
    ))
}

/// `op document get ITEM`: the content of its first file.
pub(super) async fn document(call: &Call<'_>, item: &str) -> Result<(), End> {
    let session = Session::open(call)?;
    let Located { item, .. } = session.item(item, call.line.value("vault")).await?;
    let file = item.files.first().ok_or_else(|| {
        Error::new(format!(
            "item \"{}\" is not a document: it has no file",
            printable(&item.title)
        ))
    })?;
    let content = session.client.whole_file(&item, file).await?;
    references::write(references::output_file(call)?, &content)
}
