//! `--field` of `item create` and `item edit`: `[section.]label[type]=value`, `label[generate]=recipe`,
//! `label[delete]=`.

use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sidevault_model::{CharacterSet, FieldInput, FieldType, Purpose, Recipe, SectionInput, printable};

use crate::exit::Failure;
use crate::input::{self, secret_from_stdin};

/// The largest value that is read from a file or from standard input, in bytes: more than any server takes.
const MAX_VALUE_BYTES: u64 = 32 << 20;

/// The text behind `--field`, not yet parsed: clap quotes a text that it can't parse in its error, and this one may hold a
/// secret. `Debug` hides it.
#[derive(Clone)]
pub(crate) struct FieldText(String);

impl FromStr for FieldText {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for FieldText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FieldText(..)")
    }
}

/// Which field: by its label, or by its section and label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldName {
    /// The name as it was typed, with `\.` read as a dot: a label may hold dots.
    pub(crate) whole: String,
    /// The part in front of the first dot that has no backslash.
    pub(crate) section: Option<String>,
    /// The rest.
    pub(crate) label: String,
}

impl FieldName {
    /// Reads `label` or `section.label`. A dot that is part of a name is written `\.`, as for the `op` command.
    pub(crate) fn parse(text: &str) -> Self {
        let plain = |part: &str| part.replace("\\.", ".");
        let dot = text
            .char_indices()
            .find(|(at, c)| *c == '.' && !text[..*at].ends_with('\\'))
            .map(|(at, _)| at)
            .filter(|at| *at > 0 && at + 1 < text.len());
        match dot {
            Some(dot) => Self {
                whole: plain(text),
                section: Some(plain(&text[..dot])),
                label: plain(&text[dot + 1..]),
            },
            None => Self {
                whole: plain(text),
                section: None,
                label: plain(text),
            },
        }
    }
}

/// A field on the command line. `Debug` hides the value.
#[derive(Clone, PartialEq)]
pub(crate) struct FieldArgument {
    pub(crate) name: FieldName,
    pub(crate) content: Content,
}

/// The content that a field gets.
#[derive(Clone, PartialEq)]
pub(crate) enum Content {
    /// This text; without a type, of the usual type for the label.
    Value {
        value: String,
        field_type: Option<FieldType>,
    },
    /// A value that is made by the recipe.
    Generated(Recipe),
    /// None: the field is removed.
    Deleted,
}

/// Where a value comes from.
#[derive(PartialEq)]
enum Source<'a> {
    Text(&'a str),
    Stdin,
    File(&'a Path),
}

impl<'a> Source<'a> {
    fn of(value: &'a str) -> Self {
        match value {
            "-" => Self::Stdin,
            // The escapes of the two other forms.
            "\\-" => Self::Text("-"),
            value if value.starts_with("\\@") => Self::Text(&value[1..]),
            value => match value.strip_prefix('@') {
                Some(path) if !path.is_empty() => Self::File(Path::new(path)),
                _ => Self::Text(value),
            },
        }
    }
}

/// What is wrong with a `--field`. No message quotes what stands behind `=`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Flaw {
    #[error("write the label, `=` and the value: --field username=admin")]
    NoValue,
    #[error("the field's label is missing in front of `=`")]
    NoLabel,
    #[error("[delete] takes no value: --field 'old[delete]='")]
    DeleteWithValue,
    #[error("the type in brackets is one of {}, generate, delete", known_types())]
    Type,
    #[error("a recipe holds letters, digits, symbols and a length: letters,digits,20")]
    Recipe,
    #[error("{0}")]
    RecipeRefused(String),
    #[error("only one value can be read from standard input (`-`)")]
    StdinTwice,
    #[error("{}: {cause}", .path.display())]
    Unreadable { path: PathBuf, cause: String },
    #[error("standard input can't be read: {0}")]
    Stdin(String),
}

/// Parses `--field` arguments, and reads the values that come from files and from standard input. `stdin_is_taken`:
/// another argument reads standard input.
///
/// # Errors
/// [`Failure::Usage`]. It names the field, and never shows its value.
pub(crate) fn read(arguments: &[FieldText], mut stdin_is_taken: bool) -> Result<Vec<FieldArgument>, Failure> {
    let mut fields = Vec::with_capacity(arguments.len());
    for FieldText(text) in arguments {
        let field = parse(text, &mut stdin_is_taken).map_err(|flaw| {
            // Without `=`, the whole text may be a value.
            let name = text.split_once('=').map(|(name, _)| printable(name));
            Failure::Usage(match name {
                Some(name) if !name.is_empty() => format!("--field \"{name}\": {flaw}"),
                _ => format!("--field: {flaw}"),
            })
        })?;
        fields.push(field);
    }
    Ok(fields)
}

/// Parses one field. The first `=` splits: values are full of them, labels hardly ever hold one.
fn parse(text: &str, stdin_is_taken: &mut bool) -> Result<FieldArgument, Flaw> {
    let (left, value) = text.split_once('=').ok_or(Flaw::NoValue)?;
    let (label, word) = match left.strip_suffix(']').and_then(|left| left.rsplit_once('[')) {
        Some((label, word)) => (label, Some(word.trim())),
        None => (left, None),
    };
    if label.trim().is_empty() {
        return Err(Flaw::NoLabel);
    }
    let content = match word.map(str::to_ascii_lowercase).as_deref() {
        Some("generate") => Content::Generated(recipe(value)?),
        Some("delete") if value.is_empty() => Content::Deleted,
        Some("delete") => return Err(Flaw::DeleteWithValue),
        word => {
            // The type first, so that a mistake in it shows before anything is read.
            let field_type = word.map(field_type).transpose()?;
            let source = Source::of(value);
            if source == Source::Stdin && std::mem::replace(stdin_is_taken, true) {
                return Err(Flaw::StdinTwice);
            }
            Content::Value {
                value: load(source, label)?,
                field_type,
            }
        }
    };
    Ok(FieldArgument {
        name: FieldName::parse(label),
        content,
    })
}

fn load(source: Source<'_>, label: &str) -> Result<String, Flaw> {
    match source {
        Source::Text(text) => Ok(text.to_owned()),
        Source::Stdin => {
            let bytes = secret_from_stdin(&printable(label), MAX_VALUE_BYTES)
                .map_err(|error| Flaw::Stdin(error.to_string()))?;
            String::from_utf8(bytes).map_err(|_| Flaw::Stdin("it is not UTF-8 text".to_owned()))
        }
        Source::File(path) => {
            let unreadable = |cause| Flaw::Unreadable {
                path: path.to_owned(),
                cause,
            };
            let bytes = input::file(path, MAX_VALUE_BYTES).map_err(|error| unreadable(error.to_string()))?;
            String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8 text".to_owned()))
        }
    }
}

impl fmt::Debug for FieldArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FieldArgument")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A field's type by Connect's word, or by one of the words of the `op` command that differ.
pub(crate) fn field_type(word: &str) -> Result<FieldType, Flaw> {
    match word {
        "text" => Ok(FieldType::String),
        "password" => Ok(FieldType::Concealed),
        "monthyear" => Ok(FieldType::MonthYear),
        word => FieldType::from_word(word).ok_or(Flaw::Type),
    }
}

/// The types that `[type]` takes.
fn known_types() -> String {
    let words = FieldType::ALL.iter().map(|known| known.as_str().to_ascii_lowercase());
    words.collect::<Vec<String>>().join(", ")
}

/// A recipe: `letters,digits,20`. An empty text is 32 characters of all sets.
pub(crate) fn recipe(text: &str) -> Result<Recipe, Flaw> {
    let mut length = Recipe::DEFAULT_LENGTH;
    let mut sets = Vec::new();
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        match (CharacterSet::from_word(word), word.parse()) {
            (Some(set), _) => sets.push(set),
            (None, Ok(number)) => length = number,
            (None, Err(_)) => return Err(Flaw::Recipe),
        }
    }
    Recipe::new(length, sets, "").map_err(|invalid| Flaw::RecipeRefused(invalid.to_string()))
}

/// The purpose of a field with this label outside any section.
pub(crate) fn purpose(label: &str) -> Option<Purpose> {
    match label.to_ascii_lowercase().as_str() {
        "username" => Some(Purpose::Username),
        "password" => Some(Purpose::Password),
        "notes" | "notesplain" => Some(Purpose::Notes),
        _ => None,
    }
}

impl FieldArgument {
    /// The field as a request holds it; `section` is the one it stands in.
    pub(crate) fn to_input(&self, section: Option<SectionInput>) -> FieldInput {
        let purpose = purpose(&self.name.label).filter(|_| section.is_none());
        let usual = match purpose {
            Some(Purpose::Password) => FieldType::Concealed,
            _ => FieldType::String,
        };
        let input = FieldInput {
            // Clients look up these three fields by id.
            id: purpose.map(|purpose| purpose.usual_name().to_owned()),
            label: Some(purpose.map_or_else(|| self.name.label.clone(), |purpose| purpose.usual_name().to_owned())),
            purpose: purpose.map(Some),
            section,
            ..FieldInput::default()
        };
        match &self.content {
            Content::Value { value, field_type } => FieldInput {
                field_type: Some(field_type.unwrap_or(usual)),
                value: Some(value.clone()),
                ..input
            },
            Content::Generated(recipe) => FieldInput {
                field_type: Some(FieldType::Concealed),
                generate: true,
                recipe: Some(recipe.clone()),
                ..input
            },
            Content::Deleted => input,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Parses as if another argument read standard input, so that no test waits for it.
    fn parsed(text: &str) -> Result<FieldArgument, Flaw> {
        parse(text, &mut true)
    }

    fn input(text: &str) -> FieldInput {
        let field = parsed(text).unwrap();
        let section = field.name.section.clone().map(|label| SectionInput {
            id: None,
            label: Some(label),
        });
        field.to_input(section)
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_a_panic(text: String) {
            let _ = parsed(&text);
        }

        #[test]
        fn a_value_without_a_marker_is_taken_as_it_is(value in "[^@\\\\-].*") {
            let field = input(&format!("label={value}"));
            prop_assert_eq!(field.value, Some(value));
        }
    }

    #[test]
    fn the_first_equals_sign_splits() {
        let field = input("dsn=postgres://u:p@h/d?sslmode=require");
        assert_eq!(field.label.as_deref(), Some("dsn"));
        assert_eq!(field.value.as_deref(), Some("postgres://u:p@h/d?sslmode=require"));
        assert_eq!(field.field_type, Some(FieldType::String));
        assert_eq!(field.purpose, None);
    }

    #[test]
    fn a_type_stands_in_brackets() {
        assert_eq!(input("api key[concealed]=x").field_type, Some(FieldType::Concealed));
        assert_eq!(input("code[OTP]=JBSWY3DP").field_type, Some(FieldType::Otp));
        assert_eq!(input("a[0][text]=x").label.as_deref(), Some("a[0]"));
    }

    #[test]
    fn username_password_and_notes_get_their_purpose_outside_sections() {
        let password = input("password=x");
        assert_eq!(password.purpose, Some(Some(Purpose::Password)));
        assert_eq!(password.id.as_deref(), Some("password"));
        assert_eq!(password.field_type, Some(FieldType::Concealed));
        assert_eq!(input("notes=x").id.as_deref(), Some("notesPlain"));
        assert_eq!(input("replica.password=x").purpose, None);
    }

    #[test]
    fn a_dot_divides_section_and_label_unless_it_has_a_backslash() {
        for (text, section, label) in [
            ("host", None, "host"),
            ("replica.host", Some("replica"), "host"),
            ("a.b.c", Some("a"), "b.c"),
            ("tls\\.crt", None, "tls.crt"),
            ("v1\\.2.key", Some("v1.2"), "key"),
            (".hidden", None, ".hidden"),
            ("end.", None, "end."),
        ] {
            let name = FieldName::parse(text);
            assert_eq!(
                (name.section.as_deref(), name.label.as_str()),
                (section, label),
                "{text}"
            );
        }
        assert_eq!(FieldName::parse("tls.crt").whole, "tls.crt");
    }

    #[test]
    fn a_value_is_read_from_a_file_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cert.pem");
        std::fs::write(&path, "-----BEGIN\n").unwrap();
        assert_eq!(
            input(&format!("cert=@{}", path.display())).value.as_deref(),
            Some("-----BEGIN\n")
        );
        assert_eq!(input("handle=\\@anton").value.as_deref(), Some("@anton"));
        assert_eq!(input("dash=\\-").value.as_deref(), Some("-"));
        let missing = parsed("cert=@/nowhere/cert.pem").unwrap_err().to_string();
        assert!(missing.contains("/nowhere/cert.pem"), "{missing}");
        assert_eq!(parsed("a=-").unwrap_err(), Flaw::StdinTwice);
    }

    #[test]
    fn a_recipe_names_sets_and_a_length() {
        let field = input("password[generate]=letters,digits,20");
        assert!(field.generate && field.value.is_none());
        assert_eq!(field.recipe.unwrap().length(), 20);
        assert_eq!(input("token[generate]=").recipe.unwrap(), Recipe::default());
    }

    #[test]
    fn an_error_names_the_field_and_never_shows_its_value() {
        for text in [
            "s3cret",
            "=s3cret",
            "x[nonsense]=s3cret",
            "x[generate]=s3cret",
            "x[generate]=65",
            "x[delete]=s3cret",
            "[otp]=s3cret",
        ] {
            let failure = read(&[text.parse().unwrap()], false).unwrap_err();
            let message = failure.to_string();
            assert!(!message.contains("s3cret") && message.contains("--field"), "{message}");
            assert_eq!(failure.code(), 2);
            assert_eq!(message.contains("\"x["), text.starts_with('x'), "{message}");
        }
    }

    #[test]
    fn debug_hides_the_value() {
        let text: FieldText = "a=hunter2".parse().unwrap();
        let field = parsed("a=hunter2").unwrap();
        assert!(!format!("{text:?} {field:?}").contains("hunter2"));
    }
}
