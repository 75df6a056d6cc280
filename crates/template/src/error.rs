/// Why a template could not be parsed or rendered. The position is in Go's words. The text may contain names and parts
/// of the template, and never a value of its data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The source is not a valid template: `template: NAME:LINE: …`.
    #[error("{0}")]
    Parse(String),
    /// The execution failed: `template: NAME:LINE:COLUMN: executing "NAME" at <…>: …`.
    #[error("{0}")]
    Execute(String),
    /// One of [`crate::limits`] was exceeded. The text says which, and where.
    #[error("{0}")]
    Limit(String),
}
