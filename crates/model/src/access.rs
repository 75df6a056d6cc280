//! A token's rights in a vault.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Invalid;

/// Rights in one vault. They are displayed and serialised as `read`, `write`, `read,write` or `none`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Access {
    /// The right to read items.
    pub read: bool,
    /// The right to create, change and delete items. Without `read`, no answer shows what the items hold.
    pub write: bool,
}

impl Access {
    /// The right to read only.
    pub const READ: Self = Self {
        read: true,
        write: false,
    };
    /// The right to write only.
    pub const WRITE: Self = Self {
        read: false,
        write: true,
    };
    /// Both rights.
    pub const READ_WRITE: Self = Self {
        read: true,
        write: true,
    };

    /// Parses `read`, `write`, both joined by a comma, or the short `r`, `w`, `rw`, in any case.
    ///
    /// # Errors
    /// [`Invalid`] for any other word, and for an empty text.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let mut access = Self::default();
        for word in text.split(',') {
            match word.trim().to_ascii_lowercase().as_str() {
                "r" | "read" => access.read = true,
                "w" | "write" => access.write = true,
                "rw" | "wr" => access = Self::READ_WRITE,
                _ => {
                    return Err(Invalid::new("access is one of: read, write, read,write, r, w, rw"));
                }
            }
        }
        Ok(access)
    }

    /// The rights that both have.
    #[must_use]
    pub fn intersect(self, other: Self) -> Self {
        Self {
            read: self.read && other.read,
            write: self.write && other.write,
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match (self.read, self.write) {
            (true, true) => "read,write",
            (true, false) => "read",
            (false, true) => "write",
            (false, false) => "none",
        })
    }
}

impl FromStr for Access {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::parse(text)
    }
}

impl Serialize for Access {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Access {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "none" => Ok(Self::default()),
            _ => Self::parse(&text).map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_short_words_are_parsed() {
        for (text, access) in [
            ("read", Access::READ),
            ("r", Access::READ),
            ("write", Access::WRITE),
            ("w", Access::WRITE),
            ("read,write", Access::READ_WRITE),
            ("write, READ", Access::READ_WRITE),
            ("rw", Access::READ_WRITE),
        ] {
            assert_eq!(Access::parse(text), Ok(access), "{text}");
        }
    }

    #[test]
    fn other_words_are_refused() {
        for text in ["", ",", "read,", "admin", "readwrite", "none"] {
            assert!(Access::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_value_survives_json() {
        for access in [Access::READ, Access::WRITE, Access::READ_WRITE, Access::default()] {
            let json = serde_json::to_string(&access).unwrap();
            assert_eq!(serde_json::from_str::<Access>(&json).unwrap(), access);
        }
    }
}
