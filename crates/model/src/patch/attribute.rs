//! Changes one attribute of a field.

use crate::field::FieldType;
use crate::input::{self, FieldInput, SectionInput};
use crate::json;
use crate::recipe::Recipe;

use super::value::{Change, Reason};

/// Applies an operation to an attribute of a field.
pub(super) fn set(field: &mut FieldInput, attribute: &str, change: &Change<'_>) -> Result<(), Reason> {
    match attribute {
        "label" => field.label = change.attribute(json::text)?,
        "value" => field.value = change.attribute(json::text)?,
        "type" => {
            let word = change.attribute(json::text)?.filter(|word| !word.is_empty());
            let named = word.map_or(Ok(FieldType::String), |word| input::field_type(&word));
            field.field_type = Some(named.map_err(|why| format!("the field {why}"))?);
        }
        "purpose" => {
            let word = change.attribute(json::text)?.unwrap_or_default();
            field.purpose = Some(input::purpose(&word).map_err(|why| format!("the field {why}"))?);
        }
        "section" => field.section = change.attribute(SectionInput::from_value)?.flatten(),
        "generate" => {
            field.generate = change.attribute(json::flag)?.unwrap_or_default();
            // The client asks for a new value, so the old one is dropped: a value is generated only for a field without one.
            if field.generate {
                field.value = None;
            }
        }
        "recipe" => field.recipe = change.attribute(Recipe::from_value)?,
        "id" | "entropy" | "totp" | "passwordDetails" => {
            return Err("this cannot be changed".to_owned());
        }
        _ => {
            return Err("a field has label, value, type, purpose, section, generate and recipe".to_owned());
        }
    }
    Ok(())
}
