//! `label=value`, `label[type]=value` and `label[generate]=recipe`, as `item create` and
//! `item edit` take them.

use std::fmt;
use std::str::FromStr;

use sidevault_model::{CharacterSet, FieldInput, FieldType, Purpose, Recipe};

/// A field on the command line. `Debug` hides the value.
#[derive(Clone, PartialEq)]
pub(crate) struct FieldArgument {
    pub(crate) label: String,
    pub(crate) content: Content,
}

/// What a field is to hold.
#[derive(Clone, PartialEq)]
pub(crate) enum Content {
    /// This text; of the usual type for the label if none is named.
    Value {
        value: String,
        field_type: Option<FieldType>,
    },
    /// Whatever the recipe gives.
    Generated(Recipe),
    /// Nothing: the field goes.
    Deleted,
}

impl fmt::Debug for FieldArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FieldArgument")
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

impl FromStr for FieldArgument {
    type Err = String;

    /// The first `=` splits: values are full of them, labels hardly ever hold one.
    fn from_str(text: &str) -> Result<Self, String> {
        let (left, value) = text
            .split_once('=')
            .ok_or("write the label, `=` and the value: --field username=admin")?;
        let (label, word) = match left.strip_suffix(']').and_then(|left| left.rsplit_once('[')) {
            Some((label, word)) => (label, Some(word.trim())),
            None => (left, None),
        };
        if label.trim().is_empty() {
            return Err("the field's label is missing in front of `=`".to_owned());
        }
        let content = match word.map(str::to_ascii_lowercase).as_deref() {
            None => Content::Value {
                value: value.to_owned(),
                field_type: None,
            },
            Some("generate") => Content::Generated(recipe(value)?),
            Some("delete") if value.is_empty() => Content::Deleted,
            Some("delete") => return Err("[delete] takes no value: --field 'old[delete]='".to_owned()),
            Some(word) => Content::Value {
                value: value.to_owned(),
                field_type: Some(field_type(word)?),
            },
        };
        Ok(Self {
            label: label.to_owned(),
            content,
        })
    }
}

/// Connect's words, and the two that people know from the `op` command.
fn field_type(word: &str) -> Result<FieldType, String> {
    match word {
        "text" => Ok(FieldType::String),
        "password" => Ok(FieldType::Concealed),
        word => FieldType::from_word(word).ok_or_else(|| {
            let known: Vec<String> = FieldType::ALL
                .iter()
                .map(|known| known.as_str().to_ascii_lowercase())
                .collect();
            format!("a field's type is one of {}, or `generate`", known.join(", "))
        }),
    }
}

/// `letters,digits,20`; nothing at all is 32 of everything.
fn recipe(text: &str) -> Result<Recipe, String> {
    let mut length = Recipe::DEFAULT_LENGTH;
    let mut sets = Vec::new();
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        match (CharacterSet::from_word(word), word.parse()) {
            (Some(set), _) => sets.push(set),
            (None, Ok(number)) => length = number,
            (None, Err(_)) => {
                return Err("a recipe holds letters, digits, symbols and a length: letters,digits,20".into());
            }
        }
    }
    Recipe::new(length, sets, "").map_err(|invalid| invalid.to_string())
}

/// The part a label plays by itself.
pub(crate) fn purpose(label: &str) -> Option<Purpose> {
    match label.to_ascii_lowercase().as_str() {
        "username" => Some(Purpose::Username),
        "password" => Some(Purpose::Password),
        "notes" | "notesplain" => Some(Purpose::Notes),
        _ => None,
    }
}

impl FieldArgument {
    /// The field as a request holds it.
    pub(crate) fn to_input(&self) -> FieldInput {
        let purpose = purpose(&self.label);
        let usual = match purpose {
            Some(Purpose::Password) => FieldType::Concealed,
            _ => FieldType::String,
        };
        let input = FieldInput {
            // Clients look these three up by id.
            id: purpose.map(|purpose| purpose.usual_name().to_owned()),
            label: Some(match purpose {
                Some(purpose) => purpose.usual_name().to_owned(),
                None => self.label.clone(),
            }),
            purpose: purpose.map(Some),
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
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_judged_without_a_panic(text: String) {
            let _ = text.parse::<FieldArgument>();
        }

        #[test]
        fn any_value_arrives_as_it_is(value: String) {
            let field = input(&format!("label={value}"));
            prop_assert_eq!(field.value, Some(value));
        }
    }

    fn input(text: &str) -> FieldInput {
        text.parse::<FieldArgument>().unwrap().to_input()
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
    fn labels_with_a_part_to_play_get_it() {
        let password = input("password=x");
        assert_eq!(password.purpose, Some(Some(Purpose::Password)));
        assert_eq!(password.id.as_deref(), Some("password"));
        assert_eq!(password.field_type, Some(FieldType::Concealed));
        assert_eq!(input("notes=x").id.as_deref(), Some("notesPlain"));
    }

    #[test]
    fn a_recipe_names_sets_and_a_length() {
        let field = input("password[generate]=letters,digits,20");
        assert!(field.generate && field.value.is_none());
        assert_eq!(field.recipe.unwrap().length(), 20);
        assert_eq!(input("token[generate]=").recipe.unwrap(), Recipe::default());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in [
            "x",
            "=x",
            "x[nonsense]=y",
            "x[generate]=vowels",
            "x[generate]=65",
            "x[delete]=y",
            "[otp]=x",
        ] {
            assert!(text.parse::<FieldArgument>().is_err(), "{text}");
        }
    }

    #[test]
    fn debug_hides_the_value() {
        let field: FieldArgument = "a=hunter2".parse().unwrap();
        assert!(!format!("{field:?}").contains("hunter2"));
    }
}
