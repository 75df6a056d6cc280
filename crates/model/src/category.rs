//! The categories of items.

use crate::field::{Field, FieldType, Purpose};
use crate::wire::wire_enum;

wire_enum! {
    /// The category of an item: the 22 words of Connect's specification.
    ///
    /// Another word in an item of another server is read as [`Category::Custom`], as the Go SDK does.
    pub enum Category, unknown = Some(Self::Custom);
    /// A web login.
    Login = "LOGIN",
    /// A password alone.
    Password = "PASSWORD",
    /// A key or token of an API.
    ApiCredential = "API_CREDENTIAL",
    /// A server.
    Server = "SERVER",
    /// A database.
    Database = "DATABASE",
    /// A credit card.
    CreditCard = "CREDIT_CARD",
    /// A membership.
    Membership = "MEMBERSHIP",
    /// A passport.
    Passport = "PASSPORT",
    /// A software licence.
    SoftwareLicense = "SOFTWARE_LICENSE",
    /// An outdoor licence.
    OutdoorLicense = "OUTDOOR_LICENSE",
    /// A note.
    SecureNote = "SECURE_NOTE",
    /// A wireless router.
    WirelessRouter = "WIRELESS_ROUTER",
    /// A bank account.
    BankAccount = "BANK_ACCOUNT",
    /// A driver's licence.
    DriverLicense = "DRIVER_LICENSE",
    /// A person's identity.
    Identity = "IDENTITY",
    /// A reward programme.
    RewardProgram = "REWARD_PROGRAM",
    /// A file with fields. An item of it can be updated but not created through the API.
    Document = "DOCUMENT",
    /// An e-mail account.
    EmailAccount = "EMAIL_ACCOUNT",
    /// A social security number.
    SocialSecurityNumber = "SOCIAL_SECURITY_NUMBER",
    /// A medical record.
    MedicalRecord = "MEDICAL_RECORD",
    /// An SSH key.
    SshKey = "SSH_KEY",
    /// Any other category. An item of it can't be created through the API.
    Custom = "CUSTOM",
}

impl Category {
    /// Whether a new item of this category gets an empty notes field if the client sent none, as with Connect's templates.
    ///
    /// Other categories get none: External Secrets deletes a SERVER item when its last field is removed, and a notes field would
    /// prevent that.
    pub(crate) fn comes_with_notes(self) -> bool {
        matches!(self, Self::Login | Self::SecureNote)
    }
}

/// Gives fields that have names only what they are for: sets the purposes of the top-level fields `username` and `password`, and returns the category: LOGIN with both, PASSWORD
/// with `password` only, SECURE_NOTE otherwise.
pub fn categorize(fields: &mut [Field]) -> Category {
    let top = |fields: &[Field], name: &str| {
        fields
            .iter()
            .position(|field| field.section.is_none() && field.label == name)
    };
    let (username, password) = (top(fields, "username"), top(fields, "password"));
    if let Some(n) = password {
        fields[n].purpose = Some(Purpose::Password);
    }
    if let Some(n) = username {
        fields[n].field_type = FieldType::String;
        fields[n].purpose = password.map(|_| Purpose::Username);
    }
    match (username, password) {
        (Some(_), Some(_)) => Category::Login,
        (None, Some(_)) => Category::Password,
        _ => Category::SecureNote,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_22_and_they_round_trip_in_any_case() {
        assert_eq!(Category::ALL.len(), 22);
        for category in Category::ALL {
            assert_eq!(Category::from_word(&category.as_str().to_lowercase()), Some(*category));
        }
    }

    #[test]
    fn an_unknown_category_is_refused_from_clients_and_read_as_custom_from_servers() {
        assert_eq!(Category::from_word("CRYPTO_WALLET"), None);
        assert_eq!(
            serde_json::from_str::<Category>("\"CRYPTO_WALLET\"").unwrap(),
            Category::Custom
        );
    }

    #[test]
    fn username_and_password_make_a_login() {
        let mut fields = vec![
            Field::new("username", FieldType::Concealed, "username", "u"),
            Field::new("password", FieldType::Concealed, "password", "p"),
        ];
        assert_eq!(categorize(&mut fields), Category::Login);
        assert_eq!(fields[0].purpose, Some(Purpose::Username));
        assert_eq!(fields[0].field_type, FieldType::String);
        assert_eq!(categorize(&mut fields[1..]), Category::Password);
    }
}
