use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use crate::ast::Tree;
use crate::limits::Budget;
use crate::{TemplateError, Values};

/// A parsed template and the templates that it defines. Cheap to clone and to share between threads.
#[derive(Clone)]
pub struct Template {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) name: String,
    pub(crate) source: String,
    pub(crate) trees: BTreeMap<String, Tree>,
}

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Template")
            .field("name", &self.inner.name)
            .finish_non_exhaustive()
    }
}

impl Template {
    /// Parses `source` with the delimiters `{{` and `}}`. `name` is the template's name in errors.
    ///
    /// # Errors
    /// [`TemplateError::Parse`] with Go's text, e.g. `template: NAME:1: function "x" not defined`, and
    /// [`TemplateError::Limit`].
    pub fn parse(name: &str, source: &str) -> Result<Self, TemplateError> {
        Self::parse_with_delimiters(name, source, "", "")
    }

    /// Parses with other delimiters. An empty delimiter stands for `{{` or `}}`. External Secrets sets them for all
    /// templates, with `--template-left-delimiter` and `--template-right-delimiter`.
    ///
    /// # Errors
    /// As [`Template::parse`].
    pub fn parse_with_delimiters(name: &str, source: &str, left: &str, right: &str) -> Result<Self, TemplateError> {
        let trees = crate::parse::parse(name, source, left, right)?;
        Ok(Self {
            inner: Arc::new(Inner {
                name: name.to_owned(),
                source: source.to_owned(),
                trees,
            }),
        })
    }

    /// Renders the template with `data` as `.`.
    ///
    /// # Errors
    /// [`TemplateError::Execute`], e.g. for a missing key, and [`TemplateError::Limit`].
    pub fn render(&self, data: &Values) -> Result<Vec<u8>, TemplateError> {
        self.render_with(data, SystemTime::now(), &mut Budget::default())
    }

    /// Renders with `now` as the current time for `now`, `ago` and the validity of generated certificates.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub fn render_at(&self, data: &Values, now: SystemTime) -> Result<Vec<u8>, TemplateError> {
        self.render_with(data, now, &mut Budget::default())
    }

    /// Renders with `now` as the current time, and with a budget that other renderings share. Blocks for up to
    /// [`MAX_TIME`](crate::limits::MAX_TIME).
    ///
    /// # Errors
    /// As [`Template::render`].
    pub fn render_with(&self, data: &Values, now: SystemTime, budget: &mut Budget) -> Result<Vec<u8>, TemplateError> {
        crate::exec::render(&self.inner, data, now, budget)
    }
}

/// The names of all functions that a template may call, in alphabetical order.
pub fn function_names() -> &'static [&'static str] {
    crate::funcs::names()
}
