//! References by Connect's own requests. A vault that is named by its name costs one request, or one for all of them; an item
//! costs one by its id and two by its title, or one more for all titles of a vault.

use std::collections::HashMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sidevault_model::filter::named;
use sidevault_model::reference::{Found, Reference, Unresolved, UnresolvedKind, as_id, lower_id, resolve};
use sidevault_model::{Item, ItemId, Timestamp, Vault, VaultId};

use crate::client::Client;
use crate::error::{ClientError, Kind};
use crate::lookup::only;

use super::{ReferenceError, ReferenceResult, Secret};

/// How many items are read at once.
const CONCURRENCY: usize = 8;

/// The references to one item, with their places.
struct Group<'a> {
    vault: VaultId,
    references: Vec<(usize, &'a Reference)>,
}

impl Group<'_> {
    fn first(&self) -> &Reference {
        self.references[0].1
    }
}

impl Client {
    pub(super) async fn resolve_by_rest(&self, references: &[Reference]) -> Result<Vec<ReferenceResult>, ClientError> {
        let mut results: Vec<Option<ReferenceResult>> = vec![None; references.len()];
        let vaults = self.vaults_of(references).await?;
        let mut groups: Vec<Group<'_>> = Vec::new();
        let mut numbers: HashMap<(VaultId, String), usize> = HashMap::new();
        for (place, reference) in references.iter().enumerate() {
            match &vaults[&lower_id(&reference.vault)] {
                Ok(vault) => {
                    let number = *numbers.entry((*vault, lower_id(&reference.item))).or_insert_with(|| {
                        groups.push(Group {
                            vault: *vault,
                            references: Vec::new(),
                        });
                        groups.len() - 1
                    });
                    groups[number].references.push((place, reference));
                }
                Err(error) => {
                    results[place] = Some(Err(ReferenceError {
                        error: error.clone(),
                        vault: None,
                    }));
                }
            }
        }
        let lists = self.lists_for(&groups).await?;
        let found: Vec<Vec<(usize, ReferenceResult)>> = stream::iter(groups)
            .map(|group| self.resolve_group(group, &lists))
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await?;
        for (place, result) in found.into_iter().flatten() {
            results[place] = Some(result);
        }
        let all: Option<Vec<ReferenceResult>> = results.into_iter().collect();
        all.ok_or(ClientError::Unexpected("no value for a reference"))
    }

    /// The vaults that the references name, by their names or ids. Names that differ only in case may be of two vaults. An id is
    /// not looked up: the read of an item does that.
    async fn vaults_of(
        &self,
        references: &[Reference],
    ) -> Result<HashMap<String, Result<VaultId, Unresolved>>, ClientError> {
        let mut found = HashMap::new();
        let mut by_name: HashMap<String, &Reference> = HashMap::new();
        for reference in references {
            let key = lower_id(&reference.vault);
            match as_id(&reference.vault).and_then(|id| VaultId::parse(id.as_str()).ok()) {
                Some(id) => {
                    found.insert(key, Ok(id));
                }
                None => {
                    by_name.entry(key).or_insert(reference);
                }
            }
        }
        if by_name.len() == 1 {
            for (key, reference) in by_name {
                let vault = self.vault_by_name(&reference.vault).await;
                found.insert(key, vault_or_error(reference, vault)?);
            }
        } else if !by_name.is_empty() {
            let all = self.vaults(None).await?;
            for (key, reference) in by_name {
                let vault = only(Kind::Vault, all.iter().collect(), &reference.vault, |vault: &&Vault| {
                    &vault.name
                });
                found.insert(key, vault_or_error(reference, vault.cloned())?);
            }
        }
        Ok(found)
    }

    /// The lists of the vaults of which more than one item is named by its title.
    async fn lists_for(&self, groups: &[Group<'_>]) -> Result<HashMap<VaultId, Vec<Item>>, ClientError> {
        let mut titles: HashMap<VaultId, usize> = HashMap::new();
        for group in groups.iter().filter(|group| as_id(&group.first().item).is_none()) {
            *titles.entry(group.vault).or_default() += 1;
        }
        let mut lists = HashMap::new();
        for (vault, count) in titles {
            if count > 1 {
                match self.items(vault, None).await {
                    Ok(list) => {
                        lists.insert(vault, list);
                    }
                    // Each item gets this error then.
                    Err(error) if error.refuses_id() => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(lists)
    }

    async fn resolve_group(
        &self,
        group: Group<'_>,
        lists: &HashMap<VaultId, Vec<Item>>,
    ) -> Result<Vec<(usize, ReferenceResult)>, ClientError> {
        let item = match self.item_of(&group, lists.get(&group.vault)).await? {
            Ok(item) => item,
            Err(error) => {
                let fail = |(place, _)| (place, Err(error.clone()));
                return Ok(group.references.into_iter().map(fail).collect());
            }
        };
        let mut results = Vec::with_capacity(group.references.len());
        for (place, reference) in group.references {
            let result = match resolve(reference, &item, Timestamp::now()) {
                Ok(Found::Text(text)) => Ok(text.into()),
                Ok(Found::Content(file)) => Ok(Secret(self.whole_file(&item, file).await?)),
                Err(error) => Err(ReferenceError {
                    error,
                    vault: Some(item.vault),
                }),
            };
            results.push((place, result));
        }
        Ok(results)
    }

    /// The item that a group of references names.
    async fn item_of(
        &self,
        group: &Group<'_>,
        list: Option<&Vec<Item>>,
    ) -> Result<Result<Item, ReferenceError>, ClientError> {
        let (vault, reference) = (group.vault, group.first());
        let failed = |error| {
            Ok(Err(ReferenceError {
                error,
                vault: Some(vault),
            }))
        };
        if let Some(id) = as_id(&reference.item) {
            match self.item(vault, id).await {
                Ok(item) => return Ok(Ok(item)),
                Err(error) if error.refuses_id() => {}
                Err(error) => return Err(error),
            }
        }
        let found = match list {
            None => self.item_by_title(vault, &reference.item).await,
            Some(list) => match &titled(list, &reference.item)[..] {
                [only] => self.item(vault, *only).await,
                [] => Err(ClientError::NoMatch(Kind::Item)),
                several => return failed(Unresolved::too_many_items(reference, several)),
            },
        };
        match found {
            Ok(item) => Ok(Ok(item)),
            Err(ClientError::NoMatch(Kind::Item)) => failed(Unresolved::no_item(reference)),
            Err(ClientError::Ambiguous { .. }) => {
                let ids = titled(&self.items(vault, None).await?, &reference.item);
                failed(Unresolved::too_many_items(reference, &ids))
            }
            // The vault was named by a text in the form of an id.
            Err(error) if error.refuses_id() => self.item_in_named_vault(reference, &error).await,
            Err(error) => Err(error),
        }
    }

    /// The item in a vault whose name has the form of an id.
    async fn item_in_named_vault(
        &self,
        reference: &Reference,
        by_id: &ClientError,
    ) -> Result<Result<Item, ReferenceError>, ClientError> {
        let nothing = if by_id.status() == Some(404) {
            Unresolved::no_item(reference)
        } else {
            Unresolved::no_vault(reference)
        };
        match self.vault_by_name(&reference.vault).await {
            Ok(vault) => match self.resolve(vault.id.as_str(), &reference.item).await {
                Ok(item) => return Ok(Ok(item)),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            },
            Err(ClientError::NoMatch(_)) => {}
            Err(error) if error.refuses_id() => {}
            Err(error) => return Err(error),
        }
        Ok(Err(ReferenceError {
            error: nothing,
            vault: None,
        }))
    }
}

fn vault_or_error(
    reference: &Reference,
    found: Result<Vault, ClientError>,
) -> Result<Result<VaultId, Unresolved>, ClientError> {
    match found {
        Ok(vault) => Ok(Ok(vault.id)),
        Err(ClientError::NoMatch(_)) => Ok(Err(Unresolved::no_vault(reference))),
        Err(error @ ClientError::Ambiguous { .. }) => {
            Ok(Err(Unresolved::new(UnresolvedKind::TooManyVaults, error.to_string())))
        }
        Err(error) => Err(error),
    }
}

/// The ids of the items with this title.
fn titled(list: &[Item], title: &str) -> Vec<ItemId> {
    let hits = named(list.iter().collect(), title, |item: &&Item| &item.title);
    hits.iter().map(|item| item.id).collect()
}
