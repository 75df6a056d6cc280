/// Why a template gave nothing. The text is Go's where it says where the fault is; it holds names, positions and pieces
/// of the template, never a value that was given to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The source is no template: `template: NAME:LINE: …`.
    #[error("{0}")]
    Parse(String),
    /// The template stopped while it ran: `template: NAME:LINE:COLUMN: executing "NAME" at <…>: …`.
    #[error("{0}")]
    Execute(String),
    /// One of [`crate::limits`] was met; the text says which and where.
    #[error("{0}")]
    Limit(String),
}
