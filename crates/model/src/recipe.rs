//! Recipes for generated passwords.

use std::fmt;

use rand::distr::{Distribution, Uniform};
use rand::seq::SliceRandom;
use rand::{CryptoRng, Rng};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::error::Invalid;
use crate::json::{self, JsonPath, Object};
use crate::wire::wire_enum;

wire_enum! {
    /// A set of characters to choose from.
    pub enum CharacterSet, unknown = None;
    /// `A`–`Z` and `a`–`z`.
    Letters = "LETTERS",
    /// `0`–`9`.
    Digits = "DIGITS",
    /// Punctuation that needs no escaping in double quotes of a shell, in JSON or in YAML strings.
    Symbols = "SYMBOLS",
}

impl CharacterSet {
    fn characters(self) -> &'static str {
        match self {
            Self::Letters => "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
            Self::Digits => "0123456789",
            Self::Symbols => "#%&()*+,-./:;=?@[]^_{}~",
        }
    }
}

/// Connect's GeneratorRecipe. At least one character is left to choose from.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recipe {
    length: usize,
    character_sets: Vec<CharacterSet>,
    #[serde(skip_serializing_if = "String::is_empty")]
    exclude_characters: String,
}

impl Default for Recipe {
    /// 32 characters of all three sets.
    fn default() -> Self {
        Self {
            length: Self::DEFAULT_LENGTH,
            character_sets: CharacterSet::ALL.to_vec(),
            exclude_characters: String::new(),
        }
    }
}

impl Recipe {
    /// The longest password in characters. The shortest has 1 character.
    pub const MAX_LENGTH: usize = 64;
    /// The length if a recipe does not say one.
    pub const DEFAULT_LENGTH: usize = 32;

    /// A recipe. An empty list of sets means all three.
    ///
    /// # Errors
    /// [`Invalid`] if the length is not 1 to 64, or if the exclusions leave no character.
    pub fn new(
        length: usize,
        character_sets: impl IntoIterator<Item = CharacterSet>,
        exclude_characters: impl Into<String>,
    ) -> Result<Self, Invalid> {
        Self::check(length, character_sets, exclude_characters.into())
            .map_err(|reason| Invalid::new(format!("recipe {reason}")))
    }

    fn check(
        length: usize,
        character_sets: impl IntoIterator<Item = CharacterSet>,
        exclude_characters: String,
    ) -> Result<Self, &'static str> {
        if !(1..=Self::MAX_LENGTH).contains(&length) {
            return Err("must have a length of 1 to 64");
        }
        let mut sets: Vec<CharacterSet> = Vec::new();
        for set in character_sets {
            if !sets.contains(&set) {
                sets.push(set);
            }
        }
        if sets.is_empty() {
            sets = CharacterSet::ALL.to_vec();
        }
        let recipe = Self {
            length,
            character_sets: sets,
            exclude_characters,
        };
        if recipe.alphabets().is_empty() {
            Err("excludes every character there is to choose from")
        } else {
            Ok(recipe)
        }
    }

    /// Reads `{"length": 32, "characterSets": ["LETTERS"], "excludeCharacters": "O0"}`, each member optional or null.
    pub(crate) fn from_value(value: Value, place: &JsonPath<'_>) -> Result<Self, Invalid> {
        let mut object = Object::new(value, place)?;
        let length = match object.take("length") {
            None => Self::DEFAULT_LENGTH,
            // 0 is refused below, and so is every value that is not a whole number.
            Some(length) => length
                .as_u64()
                .and_then(|length| usize::try_from(length).ok())
                .unwrap_or(0),
        };
        let sets = object.list("characterSets", |value, place| {
            CharacterSet::from_word(&json::text(value, place)?)
                .ok_or_else(|| place.invalid("must be LETTERS, DIGITS or SYMBOLS"))
        })?;
        let exclude = object.text("excludeCharacters")?.unwrap_or_default();
        Self::check(length, sets.unwrap_or_default(), exclude).map_err(|reason| place.invalid(reason))
    }

    /// The length of the password in characters.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The characters of each set without the excluded ones. Sets without any character left are dropped.
    fn alphabets(&self) -> Vec<Vec<u8>> {
        let allowed = |set: &CharacterSet| -> Vec<u8> {
            let characters = set.characters().chars();
            let left = characters.filter(|character| !self.exclude_characters.contains(*character));
            left.filter_map(|character| u8::try_from(character).ok()).collect()
        };
        self.character_sets
            .iter()
            .map(allowed)
            .filter(|set: &Vec<u8>| !set.is_empty())
            .collect()
    }

    /// The entropy of a generated password in bits: log2(number of characters to choose from) × length.
    pub fn entropy(&self) -> f64 {
        let characters: usize = self.alphabets().iter().map(Vec::len).sum();
        bits(characters, self.length)
    }
}

impl fmt::Debug for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipe({} of {:?})", self.length, self.character_sets)
    }
}

impl<'de> Deserialize<'de> for Recipe {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::from_value(value, &JsonPath::Root("recipe")).map_err(serde::de::Error::custom)
    }
}

/// After this many draws without a character of each set, a password is put together instead. In the worst case (3 characters of
/// 52 + 1 + 1) a draw fails with a probability of 0.998, so only a broken random number generator gets there.
const DRAWS: usize = 100_000;

/// A random password by the recipe. It has at least one character of each set, if it is long enough.
///
/// All such passwords are equally likely: whole passwords are drawn until one has a character of each set.
///
/// # Errors
/// [`Invalid`] if the recipe leaves no character to choose from, which [`Recipe`]'s constructors refuse.
pub fn generate<R: CryptoRng + ?Sized>(recipe: &Recipe, rng: &mut R) -> Result<String, Invalid> {
    let sets = recipe.alphabets();
    let alphabet: Vec<u8> = sets.concat();
    let impossible = || Invalid::new("recipe excludes every character there is to choose from");
    let index = Uniform::new(0, alphabet.len()).map_err(|_| impossible())?;
    let mut draw = |length: usize| -> Vec<u8> {
        let mut pick = || alphabet[index.sample(&mut *rng)];
        (0..length).map(|_| pick()).collect()
    };
    let must_have_each = recipe.length >= sets.len();
    for _ in 0..DRAWS {
        let candidate = draw(recipe.length);
        if !must_have_each || sets.iter().all(|set| candidate.iter().any(|byte| set.contains(byte))) {
            return Ok(candidate.into_iter().map(char::from).collect());
        }
    }
    Ok(put_together(&sets, draw(recipe.length.saturating_sub(sets.len())), rng))
}

/// One character of each set and the given ones, in random order.
fn put_together<R: Rng + ?Sized>(sets: &[Vec<u8>], mut bytes: Vec<u8>, rng: &mut R) -> String {
    bytes.extend(sets.iter().filter_map(|set| set.first()));
    bytes.shuffle(rng);
    bytes.into_iter().map(char::from).collect()
}

/// An upper bound of the entropy in bits of a password that this server did not generate: log2(number of characters of the kinds in
/// it) × length.
pub(crate) fn estimate(password: &str) -> f64 {
    let any = |kind: fn(char) -> bool| password.chars().any(kind);
    let kinds = [
        (any(|c| c.is_ascii_lowercase()), 26),
        (any(|c| c.is_ascii_uppercase()), 26),
        (any(|c| c.is_ascii_digit()), 10),
        (any(|c| c.is_ascii() && !c.is_ascii_alphanumeric()), 33),
        // Beyond ASCII: about as many as an alphabet has.
        (any(|c| !c.is_ascii()), 100),
    ];
    let characters = kinds.iter().filter(|(there, _)| *there).map(|(_, count)| count).sum();
    bits(characters, password.chars().count())
}

/// Rounded to two decimals: an estimate is not more precise, and other programs may not keep more digits.
#[allow(clippy::cast_precision_loss)] // Both are far below 2^52.
fn bits(characters: usize, length: usize) -> f64 {
    match characters {
        0 => 0.0,
        _ => ((characters as f64).log2() * length as f64 * 100.0).round() / 100.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn read(json: &str) -> Result<Recipe, serde_json::Error> {
        serde_json::from_str(json)
    }

    // Checks 102, 103 and 105.
    #[test]
    fn impossible_recipes_are_refused() {
        assert_eq!(read("{}").unwrap(), Recipe::default());
        assert_eq!(
            read(r#"{"length":1,"characterSets":["DIGITS","digits"]}"#)
                .unwrap()
                .length(),
            1
        );
        for bad in [
            r#"{"length":0}"#,
            r#"{"length":65}"#,
            r#"{"length":2.5}"#,
            r#"{"characterSets":["X"]}"#,
            "1",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let all_digits = Recipe::new(8, [CharacterSet::Digits], "0123456789");
        assert!(all_digits.is_err());
    }

    #[test]
    fn a_fully_excluded_set_is_not_required() {
        let recipe = Recipe::new(8, [CharacterSet::Letters, CharacterSet::Digits], "0123456789").unwrap();
        let password = generate(&recipe, &mut StdRng::seed_from_u64(1)).unwrap();
        assert!(password.bytes().all(|byte| byte.is_ascii_alphabetic()));
    }

    #[test]
    fn a_password_has_one_character_of_each_set_if_it_is_long_enough() {
        let mut rng = StdRng::seed_from_u64(2);
        for (length, each) in [(1, false), (2, false), (3, true), (4, true)] {
            let recipe = Recipe::new(length, [], "").unwrap();
            for _ in 0..200 {
                let password = generate(&recipe, &mut rng).unwrap();
                assert_eq!(password.len(), length);
                let has = |set: CharacterSet| password.chars().any(|c| set.characters().contains(c));
                assert!(!each || CharacterSet::ALL.iter().all(|set| has(*set)));
            }
        }
    }

    #[test]
    fn characters_are_equally_frequent() {
        let recipe = Recipe::new(64, [CharacterSet::Digits], "").unwrap();
        let mut rng = StdRng::seed_from_u64(3);
        let mut counts = [0u32; 10];
        for _ in 0..1_000 {
            for byte in generate(&recipe, &mut rng).unwrap().bytes() {
                counts[usize::from(byte - b'0')] += 1;
            }
        }
        // 6,400 expected each; 5 standard deviations are 380.
        assert!(counts.iter().all(|count| count.abs_diff(6_400) < 380), "{counts:?}");
    }

    #[test]
    fn a_constant_random_number_generator_still_gives_a_password() {
        struct Constant;
        impl rand::TryRng for Constant {
            type Error = std::convert::Infallible;
            fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
                Ok(1)
            }
            fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
                Ok(1)
            }
            fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
                bytes.fill(1);
                Ok(())
            }
        }
        impl rand::TryCryptoRng for Constant {}
        assert_eq!(
            generate(&Recipe::new(5, [], "").unwrap(), &mut Constant).unwrap().len(),
            5
        );
    }

    #[test]
    fn entropy_is_length_times_the_logarithm_of_the_alphabet() {
        let digits = Recipe::new(10, [CharacterSet::Digits], "").unwrap();
        assert!((digits.entropy() - 33.219).abs() < 0.001);
        assert!((estimate("12345") - 16.61).abs() < 0.01);
        assert!(estimate("").abs() < f64::EPSILON);
    }

    proptest! {
        #[test]
        fn generated_passwords_follow_the_recipe(
            length in 1usize..=64,
            sets in prop::sample::subsequence(CharacterSet::ALL, 0..=3),
            exclude in "[ -~]{0,40}",
            seed: u64,
        ) {
            let Ok(recipe) = Recipe::new(length, sets, exclude.clone()) else { return Ok(()) };
            let password = generate(&recipe, &mut StdRng::seed_from_u64(seed)).unwrap();
            prop_assert_eq!(password.len(), length);
            prop_assert!(!password.chars().any(|character| exclude.contains(character)));
            let json = serde_json::to_string(&recipe).unwrap();
            prop_assert_eq!(read(&json).unwrap(), recipe);
        }
    }
}
