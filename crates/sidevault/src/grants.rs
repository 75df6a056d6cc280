//! `--vault NAME=RIGHTS` of `token create`.

use std::str::FromStr;

use sidevault_model::Access;

/// A vault and a token's rights in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// The vault's name or id.
    pub(crate) vault: String,
    pub(crate) access: Access,
}

/// Why a text is no grant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidGrant {
    #[error("write the vault's name, `=`, and read, write or read,write: --vault secrets=read")]
    NoRights,
    #[error("the vault's name is missing in front of `=`")]
    NoVault,
    #[error("{0}")]
    Rights(String),
}

impl FromStr for Grant {
    type Err = InvalidGrant;

    /// The last `=` splits: a vault's name may hold one, rights do not.
    fn from_str(text: &str) -> Result<Self, InvalidGrant> {
        let (vault, rights) = text.rsplit_once('=').ok_or(InvalidGrant::NoRights)?;
        if vault.trim().is_empty() {
            return Err(InvalidGrant::NoVault);
        }
        Ok(Self {
            vault: vault.to_owned(),
            access: Access::parse(rights).map_err(|invalid| InvalidGrant::Rights(invalid.to_string()))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_name_can_be_granted(name in "[^\\s]{1,20}") {
            let grant: Grant = format!("{name}=read").parse().unwrap();
            prop_assert_eq!(grant.vault, name);
        }
    }

    #[test]
    fn a_vault_and_its_rights_are_split_at_the_last_equals_sign() {
        for (text, vault, access) in [
            ("secrets=read", "secrets", Access::READ),
            ("apps=read,write", "apps", Access::READ_WRITE),
            ("a=b=w", "a=b", Access::WRITE),
            ("My Vault=rw", "My Vault", Access::READ_WRITE),
        ] {
            assert_eq!(
                text.parse::<Grant>().unwrap(),
                Grant {
                    vault: vault.into(),
                    access
                },
                "{text}"
            );
        }
    }

    #[test]
    fn rights_must_be_spelled_out() {
        for text in ["secrets", "secrets=", "=read", "secrets=all", "secrets=read,", " =r"] {
            assert!(text.parse::<Grant>().is_err(), "{text}");
        }
    }
}
