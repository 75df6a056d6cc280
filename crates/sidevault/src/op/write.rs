//! `op item create`, `op item edit` and `op item delete`.

use serde_json::Value;
use sidevault_model::patch::{Op, Operation};
use sidevault_model::{ItemInput, UrlInput, printable};

use crate::cli::{InVault, ItemEdit};
use crate::commands::item::{MAX_ITEM_BYTES, add_fields, category_word, edit, urls};
use crate::fields::{Content, FieldArgument, FieldName, field_type, recipe};
use crate::input;

use super::session::{Located, Session};
use super::{Call, End, Error, json, people, print, print_json, references};

/// `op item create [- | ASSIGNMENT…]`.
pub(super) async fn create(call: &Call<'_>, words: &[&str]) -> Result<(), End> {
    let (from_stdin, fields) = assignments(call, words)?;
    let mut input = template(call, from_stdin)?.unwrap_or_default();
    input.id = None;
    if let Some(title) = call.line.value("title") {
        input.title = Some(title.to_owned());
    }
    if let Some(category) = call.line.value("category") {
        input.category = Some(word(category)?.to_owned());
    }
    if input.category.is_none() {
        return Err(Error::new("provide the item category with --category, or a template").into());
    }
    input.tags.extend(call.line.list("tags"));
    if call.line.has("favorite") {
        input.favorite = Some(call.line.switch("favorite")?);
    }
    let addresses: Vec<UrlInput> = urls(
        call.line.values("url").map(str::to_owned).collect(),
        input.urls.is_empty(),
    )
    .collect();
    input.urls.extend(addresses);
    add_fields(&mut input, &fields);
    no_dry_run(call)?;
    let session = Session::open(call)?;
    let vault = match (call.line.value("vault"), input.vault.take()) {
        (Some(vault), _) => session.vault(vault).await?,
        (None, Some(vault)) => session.vault(&vault).await?,
        (None, None) => match <[_; 1]>::try_from(session.vaults().await?) {
            Ok([only]) => only,
            Err(_) => return Err(Error::new("provide the vault with --vault: the token may use several").into()),
        },
    };
    let made = session.client.create_item(vault.id, &input).await?;
    show(call, &Located { item: made, vault })
}

/// `op item edit ITEM [- | ASSIGNMENT…]`.
pub(super) async fn edit(call: &Call<'_>, item: &str, words: &[&str]) -> Result<(), End> {
    let (from_stdin, fields) = assignments(call, words)?;
    let template = template(call, from_stdin)?;
    no_dry_run(call)?;
    let session = Session::open(call)?;
    let Located { mut item, vault } = session.item(item, call.line.value("vault")).await?;
    if let Some(mut input) = template {
        input.id = Some(item.id.to_string());
        input.vault = Some(item.vault.to_string());
        session.client.replace_item(item.vault, item.id, &input).await?;
        // The fields may be others now.
        item = session.client.item(item.vault, item.id).await?;
    }
    let arguments = ItemEdit {
        item: item.id.to_string(),
        vault: InVault {
            vault: vault.id.to_string(),
        },
        title: call.line.value("title").map(str::to_owned),
        category: None,
        tags: call.line.list("tags"),
        urls: call.line.values("url").map(str::to_owned).collect(),
        fields: Vec::new(),
        from_file: None,
        json: false,
    };
    let mut operations =
        edit::operations(&item, &arguments, &fields).map_err(|failure| Error::new(failure.to_string()))?;
    if call.line.has("favorite") {
        operations.push(Operation {
            op: Op::Replace,
            path: "/favorite".to_owned(),
            value: Some(Value::Bool(call.line.switch("favorite")?)),
        });
    }
    if !operations.is_empty() {
        session.client.patch_item(item.vault, item.id, &operations).await?;
    }
    let item = session.client.item(item.vault, item.id).await?;
    show(call, &Located { item, vault })
}

/// `op item delete ITEM`.
pub(super) async fn delete(call: &Call<'_>, item: &str) -> Result<(), End> {
    if call.line.switch("archive")? {
        return Err(Error::new("the Connect API can't archive items; without --archive the item is deleted").into());
    }
    let session = Session::open(call)?;
    let Located { item, .. } = session.item(item, call.line.value("vault")).await?;
    let deleted = session.client.delete_item(item.vault, item.id).await;
    Ok(deleted?)
}

fn show(call: &Call<'_>, located: &Located) -> Result<(), End> {
    if call.wants_json()? {
        print_json(&json::item(&located.item, &located.vault))
    } else {
        print(&people::item(
            &located.item,
            &located.vault,
            call.line.switch("reveal")?,
        ))
    }
}

fn no_dry_run(call: &Call<'_>) -> Result<(), Error> {
    if call.line.switch("dry-run")? {
        return Err(Error::new(
            "--dry-run can't be had: the server decides what an item becomes",
        ));
    }
    Ok(())
}

fn word(category: &str) -> Result<&'static str, Error> {
    category_word(category).map_err(|failure| Error::new(failure.to_string()))
}

/// The item in JSON that `--template` names, or that standard input holds.
fn template(call: &Call<'_>, from_stdin: bool) -> Result<Option<ItemInput>, Error> {
    let path = call.line.value("template");
    if path.is_none() && !from_stdin {
        return Ok(None);
    }
    let bytes = references::file_or_stdin(path, MAX_ITEM_BYTES)?;
    let input = ItemInput::from_json(&bytes).map_err(|invalid| {
        let name = path.filter(|path| !input::is_stdin(path.as_ref()));
        Error::new(format!("{}: {invalid}", name.unwrap_or("standard input")))
    })?;
    Ok(Some(input))
}

/// Whether one of the words is `-`, and the fields that the others assign.
fn assignments(call: &Call<'_>, words: &[&str]) -> Result<(bool, Vec<FieldArgument>), Error> {
    let mut fields = Vec::new();
    let mut from_stdin = false;
    for word in words {
        if *word == "-" {
            from_stdin = true;
        } else {
            fields.push(assignment(word)?);
        }
    }
    if call.line.has(super::arguments::GENERATE) {
        let by = call.line.value(super::arguments::GENERATE).unwrap_or_default();
        let recipe = recipe(by).map_err(|_| Error::new("a password recipe is letters,digits,symbols and a length"))?;
        fields.push(FieldArgument {
            name: FieldName::parse("password"),
            content: Content::Generated(recipe),
        });
    }
    Ok((from_stdin, fields))
}

/// `[SECTION.]FIELD[[TYPE]]=VALUE`, or `[SECTION.]FIELD[delete]`. The value is taken as it is.
fn assignment(text: &str) -> Result<FieldArgument, Error> {
    let invalid = || {
        // What stands behind `=` may be a secret.
        let name = text.split('=').next().unwrap_or_default();
        Error::new(format!(
            "cannot process assignment of field \"{}\": it is [section.]field[[type]]=value",
            printable(name)
        ))
    };
    let (left, value) = match text.split_once('=') {
        Some((left, value)) => (left, Some(value)),
        None => (text, None),
    };
    let (label, word) = match left.strip_suffix(']').and_then(|left| left.rsplit_once('[')) {
        Some((label, word)) => (label, Some(word.to_ascii_lowercase())),
        None => (left, None),
    };
    if label.trim().is_empty() {
        return Err(invalid());
    }
    let content = match (word.as_deref(), value) {
        (Some("delete"), None | Some("")) => Content::Deleted,
        (Some("file"), _) => return Err(Error::new("the Connect API does not write files")),
        (word, Some(value)) => Content::Value {
            value: value.to_owned(),
            field_type: word.map(field_type).transpose().map_err(|_| invalid())?,
        },
        (_, None) => return Err(invalid()),
    };
    Ok(FieldArgument {
        name: FieldName::parse(label),
        content,
    })
}
