//! Creating and changing items: POST, PUT, PATCH, and restoring an old version.

use crate::compose::{self, Content};
use crate::error::Invalid;
use crate::field::Purpose;
use crate::ids::{ItemId, VaultId};
use crate::input::{Edit, ItemInput};
use crate::item::Item;
use crate::patch::{self, Operation};

impl Item {
    /// The new item of a POST: version 1, active, without files. The id in the body is ignored.
    ///
    /// # Errors
    /// [`Invalid`] if the body names another vault; if the category is missing, unknown, CUSTOM or DOCUMENT; if two fields have the
    /// same id, or the same purpose USERNAME or PASSWORD; if a DATE or MONTH_YEAR value has the wrong form; or beyond a
    /// [limit](crate::limits).
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

    /// The item after a PUT: everything that clients decide is replaced, and the version is one higher.
    ///
    /// Files, state and creation time stay. If the client leaves them out, the type and purpose of a field with the same id, the label
    /// of a URL with the same address, and the label of a section that only fields name stay, too. The old value of a changed password
    /// goes into the history. The answer to a PUT must show the version from *before* the change; the caller does this.
    ///
    /// # Errors
    /// As for [`create`](Self::create), and if the body has the id of another item. CUSTOM keeps the item's category, and DOCUMENT is
    /// allowed for a document.
    pub fn replace(&self, input: ItemInput, edit: &mut Edit<'_>) -> Result<Self, Invalid> {
        check_vault(&input, self.vault)?;
        self.check_id(&input)?;
        let content = compose::content(input, Some(self), edit)?;
        Ok(self.with_content(content, edit))
    }

    /// The item after a PATCH with these operations. `None` if there are no operations, so that nothing changes.
    ///
    /// # Errors
    /// [`Invalid`] if one operation can't be applied. The message names the operation by index and path; see [`crate::patch`].
    pub fn patch(&self, operations: &[Operation], edit: &mut Edit<'_>) -> Result<Option<Self>, Invalid> {
        if operations.is_empty() {
            return Ok(None);
        }
        let (input, blame) = patch::apply(self, operations)?;
        let content = compose::content(input, Some(self), edit).map_err(|fault| blame.error(&fault, operations))?;
        Ok(Some(self.with_content(content, edit)))
    }

    /// A new version of this item with the content of the version `old`, and active. Id, vault, files and creation time stay. If the
    /// password changes, its value of now goes into the history.
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

/// Refuses a body with the id of another vault than the path's. A text that is no id is allowed: External Secrets 2.9 sends the name
/// of the vault that is in its store.
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
