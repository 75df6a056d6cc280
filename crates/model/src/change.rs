//! How an item comes to be and changes: POST, PUT, PATCH and restoring.

use crate::compose::{self, Content};
use crate::error::Invalid;
use crate::field::Purpose;
use crate::ids::{ItemId, VaultId};
use crate::input::{Edit, ItemInput};
use crate::item::Item;
use crate::patch::{self, Operation};

impl Item {
    /// A new item, as POST makes it: version 1, active, without files. The client's own id is ignored.
    ///
    /// # Errors
    /// [`Invalid`] when `vault` is named and another one; the category is missing, unknown, CUSTOM or DOCUMENT; two
    /// fields share an id, or the purpose USERNAME or PASSWORD; a DATE or MONTH_YEAR value is none; or a
    /// [limit](crate::limits) is passed.
    pub fn create(input: ItemInput, vault: VaultId, id: ItemId, edit: &mut Edit<'_>) -> Result<Self, Invalid> {
        check_vault(&input, vault)?;
        let content = compose::content(input, None, edit)?;
        Ok(Self {
            id,
            title: content.title,
            version: 1,
            vault,
            category: content.category,
            urls: content.urls,
            favorite: content.favorite,
            tags: content.tags,
            state: None,
            created_at: edit.now,
            updated_at: edit.now,
            last_edited_by: edit.by.to_owned(),
            sections: content.sections,
            fields: content.fields,
            files: Vec::new(),
        })
    }

    /// The item with everything a client decides replaced, as PUT does it, and the version one higher.
    ///
    /// Files, state and creation time stay. Type and purpose of a field, and the label of a URL, stay where the client
    /// left them out; a changed password joins the history. The answer to a PUT must show the version from *before*:
    /// that is the caller's part.
    ///
    /// # Errors
    /// As [`create`](Self::create), and when `id` is named and another one. CUSTOM keeps the category there is, and
    /// DOCUMENT is allowed on a document.
    pub fn replace(&self, input: ItemInput, edit: &mut Edit<'_>) -> Result<Self, Invalid> {
        check_vault(&input, self.vault)?;
        self.check_id(&input)?;
        let content = compose::content(input, Some(self), edit)?;
        Ok(self.with_content(content, edit))
    }

    /// The item after all operations, as PATCH does it: all or nothing. `None` for an empty list, which changes nothing.
    ///
    /// # Errors
    /// [`Invalid`] that names the operation by index and path, and the reason; see [`crate::patch`].
    pub fn patch(&self, operations: &[Operation], edit: &mut Edit<'_>) -> Result<Option<Self>, Invalid> {
        if operations.is_empty() {
            return Ok(None);
        }
        let (input, blame) = patch::apply(self, operations)?;
        let content = compose::content(input, Some(self), edit).map_err(|fault| blame.name(&fault, operations))?;
        Ok(Some(self.with_content(content, edit)))
    }

    /// What `old` held, as a new version of this item, active again. Id, vault, files and creation time are this
    /// item's; a password that is replaced joins the history.
    #[must_use]
    pub fn restore(&self, old: &Self, edit: &mut Edit<'_>) -> Self {
        let mut fields = old.fields.clone();
        for field in fields
            .iter_mut()
            .filter(|field| field.purpose == Some(Purpose::Password))
        {
            let now = self.fields.iter().find(|now| now.purpose == Some(Purpose::Password));
            if let Some(now) = now {
                field.password_details = compose::history(now, field.purpose, &field.value);
            }
        }
        let content = Content {
            title: old.title.clone(),
            category: old.category,
            urls: old.urls.clone(),
            favorite: old.favorite,
            tags: old.tags.clone(),
            sections: old.sections.clone(),
            fields,
        };
        Self {
            state: None,
            ..self.with_content(content, edit)
        }
    }

    pub(crate) fn check_id(&self, input: &ItemInput) -> Result<(), Invalid> {
        match &input.id {
            Some(id) if !id.eq_ignore_ascii_case(self.id.as_str()) => {
                Err(Invalid::new("the item's id is not the id in the URL"))
            }
            _ => Ok(()),
        }
    }

    fn with_content(&self, content: Content, edit: &Edit<'_>) -> Self {
        Self {
            id: self.id,
            title: content.title,
            version: self.version.saturating_add(1),
            vault: self.vault,
            category: content.category,
            urls: content.urls,
            favorite: content.favorite,
            tags: content.tags,
            state: self.state,
            created_at: self.created_at,
            updated_at: edit.now,
            last_edited_by: edit.by.to_owned(),
            sections: content.sections,
            fields: content.fields,
            files: self.files.clone(),
        }
    }
}

/// The vault in a body must be the path's, or absent. External Secrets 2.9 pushes the name that
/// stands in its store instead of the id; only an id can be a wrong one.
pub(crate) fn check_vault(input: &ItemInput, vault: VaultId) -> Result<(), Invalid> {
    match &input.vault {
        Some(named)
            if VaultId::parse(&named.to_ascii_lowercase()).is_ok() && !named.eq_ignore_ascii_case(vault.as_str()) =>
        {
            Err(Invalid::new("the item's vault.id is not the vault in the URL"))
        }
        _ => Ok(()),
    }
}
