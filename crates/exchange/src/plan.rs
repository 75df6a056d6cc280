//! What becomes of an export: pure rules, without a server.

use std::collections::{BTreeMap, HashMap};

use sidevault_model::filter::fold;
use sidevault_model::{Category, Field, File, FileId, Item, ItemId, State, Timestamp, VaultId, limits};

use crate::import::{ImportedItem, ImportedVault};

/// The most bytes of an item's JSON. A client could not write a larger one back: a request's body has at most 4 MiB.
pub const MAX_ITEM: usize = 4_000_000;

/// A vault of the server.
#[derive(Clone, Debug)]
pub struct ServerVault {
    /// The id.
    pub id: VaultId,
    /// The name.
    pub name: String,
    /// Whether items can be written to it.
    pub is_local: bool,
}

/// Where the items of an imported vault go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Into a vault that exists.
    Existing {
        /// The id.
        id: VaultId,
        /// The name.
        name: String,
    },
    /// Into a vault that the import makes.
    New {
        /// The id that the vault had in the source, if it has the form of a Connect id.
        id: Option<VaultId>,
        /// The name.
        name: String,
        /// The description.
        description: Option<String>,
    },
}

impl Target {
    /// The vault's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Existing { name, .. } | Self::New { name, .. } => name,
        }
    }
}

/// Finds the vault for each vault of an export, in their order: the one that `renames` gives for its name or id; else the vault with
/// the same id; else the one with the same name; else a new vault.
///
/// # Errors
/// The text for people, if a vault can't be written to, two vaults of the export have the same name, or a rename names no vault of
/// the export.
pub fn targets(
    imported: &[ImportedVault],
    existing: &[ServerVault],
    renames: &[(String, String)],
) -> Result<Vec<Target>, String> {
    let shown = |text: &str| sidevault_model::printable(text);
    let is_named = |vault: &ImportedVault, name: &str| vault.source_id == name || fold(&vault.name) == fold(name);
    if let Some((unknown, _)) = renames
        .iter()
        .find(|(from, _)| !imported.iter().any(|vault| is_named(vault, from)))
    {
        let names: Vec<String> = imported.iter().map(|vault| shown(&vault.name)).collect();
        return Err(format!(
            "the export has no vault \"{}\"; it has {}",
            shown(unknown),
            names.join(", ")
        ));
    }
    let mut new: HashMap<String, &ImportedVault> = HashMap::new();
    let mut targets = Vec::new();
    for vault in imported {
        let renamed = renames.iter().find(|(from, _)| is_named(vault, from)).map(|(_, to)| to);
        let id = VaultId::parse(&vault.source_id).ok();
        let name = renamed.unwrap_or(&vault.name);
        let by_id = |wanted: &str| existing.iter().find(|other| other.id.as_str() == wanted);
        let by_name = || existing.iter().find(|other| fold(&other.name) == fold(name));
        let found = match renamed {
            Some(to) => by_name().or_else(|| by_id(to)),
            None => by_id(&vault.source_id).or_else(by_name),
        };
        targets.push(match found {
            Some(other) if !other.is_local => {
                return Err(format!(
                    "vault \"{}\" of the server mirrors a directory and can't be written to: give another name with --vault-map {}=NAME",
                    shown(&other.name),
                    shown(&vault.name)
                ));
            }
            Some(other) => Target::Existing {
                id: other.id,
                name: other.name.clone(),
            },
            None => {
                if renamed.is_none() && let Some(other) = new.insert(fold(name), vault) {
                    return Err(format!(
                        "two vaults of the export are named \"{}\": give one of them another name with --vault-map {}=NAME or --vault-map \
                         {}=NAME",
                        shown(name),
                        shown(&other.source_id),
                        shown(&vault.source_id)
                    ));
                }
                Target::New {
                    id,
                    name: name.clone(),
                    description: vault.description.clone(),
                }
            }
        });
    }
    Ok(targets)
}

/// The item as the server will have it, apart from its version. `file_ids` has an id for each file. An unknown time is `now`.
pub fn item(
    imported: &ImportedItem,
    vault: VaultId,
    id: ItemId,
    file_ids: &[FileId],
    tags: &[String],
    now: Timestamp,
) -> Item {
    let mut all_tags = imported.tags.clone();
    all_tags.extend(tags.iter().filter(|tag| !imported.tags.contains(tag)).cloned());
    let created_at = imported.created_at.or(imported.updated_at).unwrap_or(now);
    Item {
        id,
        title: imported.title.clone(),
        version: 1,
        vault,
        category: imported.category,
        urls: imported.urls.clone(),
        favorite: imported.favorite,
        tags: all_tags,
        state: imported.archived.then_some(State::Archived),
        created_at,
        updated_at: imported.updated_at.unwrap_or(created_at),
        last_edited_by: "import".to_owned(),
        sections: imported.sections.clone(),
        fields: imported.fields.clone(),
        files: imported
            .files
            .iter()
            .zip(file_ids)
            .map(|(file, id_of_file)| File {
                section: file.section.clone(),
                ..File::new(vault, id, *id_of_file, &file.name, file.size)
            })
            .collect(),
    }
}

/// Why the server can't hold an item: each limit of the API that it is beyond. Nothing is ever cut.
pub fn obstacles(item: &Item) -> Vec<String> {
    let long = |text: &str, limit: usize| text.chars().count() > limit;
    let shown = |text: &str| sidevault_model::printable(text).chars().take(40).collect::<String>();
    let mut found = Vec::new();
    if long(&item.title, limits::TITLE_CHARS) {
        found.push(format!("its title is longer than {} characters", limits::TITLE_CHARS));
    }
    let counts = [
        ("fields", item.fields.len(), limits::FIELDS),
        ("sections", item.sections.len(), limits::SECTIONS),
        ("web addresses", item.urls.len(), limits::URLS),
        ("tags", item.tags.len(), limits::TAGS),
    ];
    for (what, count, limit) in counts {
        if count > limit {
            found.push(format!("it has {count} {what}, and {limit} are the most"));
        }
    }
    for tag in item.tags.iter().filter(|tag| long(tag, limits::TAG_CHARS)) {
        found.push(format!(
            "its tag \"{}…\" is longer than {} characters",
            shown(tag),
            limits::TAG_CHARS
        ));
    }
    let labels = item.fields.iter().map(|field| &field.label);
    let labels = labels.chain(item.sections.iter().map(|section| &section.label));
    let labels = labels.chain(item.urls.iter().filter_map(|url| url.label.as_ref()));
    for label in labels.filter(|label| long(label, limits::LABEL_CHARS)) {
        found.push(format!(
            "its label \"{}…\" is longer than {} characters",
            shown(label),
            limits::LABEL_CHARS
        ));
    }
    let has_long_id = |field: &Field| field.id.len() > limits::ID_BYTES;
    for field in item.fields.iter().filter(|field| has_long_id(field)) {
        found.push(format!(
            "the id of its field \"{}\" is longer than {} bytes",
            shown(&field.label),
            limits::ID_BYTES
        ));
    }
    if item.sections.iter().any(|section| section.id.len() > limits::ID_BYTES) {
        found.push(format!("the id of a section is longer than {} bytes", limits::ID_BYTES));
    }
    if found.is_empty() && item.full_json().len() > MAX_ITEM {
        found.push(format!("it is larger than {MAX_ITEM} bytes without its files"));
    }
    found
}

/// What to do with an item of the export that the server has with other content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// Leave the server's item as it is.
    #[default]
    Skip,
    /// Replace the server's item. Its content of now goes into its history.
    Update,
    /// Make a second item.
    Copy,
}

/// What an import does with the items of a vault.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Items that the server does not have.
    pub new: u64,
    /// Items that the server has with the same content.
    pub equal: u64,
    /// Items that the server has with other content.
    pub conflicts: u64,
    /// Items that can't be imported.
    pub refused: u64,
    /// Archived items among `new`, `equal` and `conflicts`.
    pub archived: u64,
    /// Entries that become no item, by reason.
    pub skipped: BTreeMap<String, u64>,
    /// Items by category.
    pub categories: BTreeMap<Category, u64>,
    /// Fields of all items.
    pub fields: u64,
    /// Files of all items.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// How many items have each title, without regard to case.
    titles: HashMap<String, u32>,
}

impl Counts {
    /// Counts an item that can be imported.
    pub fn item(&mut self, item: &Item) {
        *self.categories.entry(item.category).or_default() += 1;
        self.fields += item.fields.len() as u64;
        self.files += item.files.len() as u64;
        self.bytes += item.files.iter().map(|file| file.size).sum::<u64>();
        self.archived += u64::from(item.state.is_some());
        // Archived items are not in lists, where clients look for titles.
        if item.state.is_none() {
            *self.titles.entry(fold(&item.title)).or_default() += 1;
        }
    }

    /// Titles that several active items of the export have. A client that asks for such a title gets an error.
    pub fn duplicates(&self) -> Vec<(&str, u32)> {
        let mut several: Vec<(&str, u32)> = self
            .titles
            .iter()
            .filter(|(_, count)| **count > 1)
            .map(|(title, count)| (title.as_str(), *count))
            .collect();
        several.sort_unstable();
        several
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imported(source_id: &str, name: &str) -> ImportedVault {
        ImportedVault {
            source_id: source_id.to_owned(),
            name: name.to_owned(),
            description: None,
        }
    }

    fn server(id: u8, name: &str, is_local: bool) -> ServerVault {
        ServerVault {
            id: VaultId::from_digest(&[id; 32]),
            name: name.to_owned(),
            is_local,
        }
    }

    const ID: &str = "abcdefghijklmnopqrstuvwxyz";

    #[test]
    fn a_vault_keeps_its_id_unless_one_of_its_name_exists() {
        let vaults = [imported(ID, "Apps")];
        let new = Target::New {
            id: Some(VaultId::parse(ID).unwrap()),
            name: "Apps".into(),
            description: None,
        };
        assert_eq!(targets(&vaults, &[], &[]).unwrap(), [new]);
        let there = server(1, "apps", true);
        let existing = Target::Existing {
            id: there.id,
            name: "apps".into(),
        };
        assert_eq!(targets(&vaults, &[there], &[]).unwrap(), [existing]);
    }

    #[test]
    fn the_same_id_comes_before_the_same_name_and_a_rename_before_both() {
        let mut first = server(1, "renamed since", true);
        first.id = VaultId::parse(ID).unwrap();
        let existing = [first.clone(), server(2, "Apps", true)];
        let vaults = [imported(ID, "Apps")];
        let found = |renames: &[(String, String)]| targets(&vaults, &existing, renames).unwrap()[0].name().to_owned();
        assert_eq!(found(&[]), "renamed since");
        assert_eq!(found(&[("apps".into(), "Apps".into())]), "Apps");
        assert_eq!(found(&[(ID.into(), "other".into())]), "other");
    }

    #[test]
    fn vaults_that_clash_are_refused_with_the_way_out() {
        let both = [imported("a", "Private"), imported("b", "private")];
        let error = targets(&both, &[], &[]).unwrap_err();
        assert!(error.contains("--vault-map a=NAME"), "{error}");
        assert!(targets(&both, &[], &[("a".into(), "mine".into())]).is_ok());
        let error = targets(&both[..1], &[server(1, "Private", false)], &[]).unwrap_err();
        assert!(error.contains("mirrors a directory"), "{error}");
        let error = targets(&both, &[], &[("x".into(), "y".into())]).unwrap_err();
        assert!(error.contains("it has Private, private"), "{error}");
    }

    #[test]
    fn values_beyond_the_limits_are_named_and_not_cut() {
        let mut source = ImportedItem::new("x", 0, "t".repeat(limits::TITLE_CHARS + 1), Category::Login);
        source.tags = vec!["g".repeat(limits::TAG_CHARS + 1)];
        let (vault, id) = (VaultId::from_digest(&[1; 32]), ItemId::from_digest(&[2; 32]));
        let made = item(
            &source,
            vault,
            id,
            &[],
            &["added".to_owned()],
            Timestamp::from_millis(0),
        );
        assert_eq!(made.title, source.title);
        assert_eq!(made.tags.len(), 2);
        assert_eq!(obstacles(&made).len(), 2);
        source.title = "short".into();
        source.tags.clear();
        let field = Field::new("big", sidevault_model::FieldType::String, "big", "v".repeat(MAX_ITEM));
        source.fields = vec![field];
        let made = item(&source, vault, id, &[], &[], Timestamp::from_millis(0));
        assert!(obstacles(&made)[0].contains("larger than"));
    }
}
