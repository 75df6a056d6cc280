//! Semantic versions and their methods, as in `Masterminds/semver` v3.4.

use std::cmp::Ordering;
use std::fmt;
use std::rc::Rc;
use std::sync::LazyLock;

use ::regex::Regex;

use super::{Fault, Func, Ran, Ty, any, f, utf8};
use crate::go::val::Val;

/// The methods of `*semver.Version`.
pub(super) const POINTER: &[&[Func]] = &[BOTH, POINTER_ONLY];

/// The methods of `semver.Version`: text/template does not take the address of the result of a method.
pub(super) const STRUCT: &[&[Func]] = &[BOTH];

const BOTH: &[Func] = &[
    f("Major", &[], |_, args| Ok(Val::Uint64(receiver(args)?.numbers[0]))),
    f("Minor", &[], |_, args| Ok(Val::Uint64(receiver(args)?.numbers[1]))),
    f("Patch", &[], |_, args| Ok(Val::Uint64(receiver(args)?.numbers[2]))),
    f("Prerelease", &[], |_, args| {
        Ok(Val::str(receiver(args)?.prerelease.clone()))
    }),
    f("Metadata", &[], |_, args| {
        Ok(Val::str(receiver(args)?.metadata.clone()))
    }),
    f("String", &[], |_, args| Ok(Val::str(receiver(args)?.to_string()))),
    f("Value", &[], |_, args| Ok(Val::str(receiver(args)?.to_string()))),
    f("MarshalText", &[], |_, args| {
        Ok(Val::bytes(receiver(args)?.to_string().as_bytes(), false))
    }),
    f("MarshalJSON", &[], |_, args| {
        Ok(Val::bytes(format!("\"{}\"", receiver(args)?).as_bytes(), false))
    }),
    f("IncMajor", &[], |_, args| next(args, 0)),
    f("IncMinor", &[], |_, args| next(args, 1)),
    f("IncPatch", &[], |_, args| next(args, 2)),
    f("SetPrerelease", &[Ty::Str], |_, args| {
        let prerelease = utf8(args, 1).into_owned();
        for part in parts(&prerelease) {
            if !is_identifier(part) {
                return Err("invalid prerelease string".into());
            }
            if part.len() > 1 && part.starts_with('0') && part.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err("version segment starts with 0".into());
            }
        }
        changed(args, |next| next.prerelease = prerelease)
    }),
    f("SetMetadata", &[Ty::Str], |_, args| {
        let metadata = utf8(args, 1).into_owned();
        if !parts(&metadata).all(is_identifier) {
            return Err("invalid metadata string".into());
        }
        changed(args, |next| next.metadata = metadata)
    }),
];

const POINTER_ONLY: &[Func] = &[
    f("Original", &[], |_, args| {
        Ok(Val::str(receiver(args)?.original.clone()))
    }),
    f("Compare", &[Ty::Version], |_, args| {
        Ok(Val::Int(compared(args)? as i64))
    }),
    f("Equal", &[Ty::Version], |_, args| {
        Ok(Val::Bool(compared(args)?.is_eq()))
    }),
    f("LessThan", &[Ty::Version], |_, args| {
        Ok(Val::Bool(compared(args)?.is_lt()))
    }),
    f("LessThanEqual", &[Ty::Version], |_, args| {
        Ok(Val::Bool(compared(args)?.is_le()))
    }),
    f("GreaterThan", &[Ty::Version], |_, args| {
        Ok(Val::Bool(compared(args)?.is_gt()))
    }),
    f("GreaterThanEqual", &[Ty::Version], |_, args| {
        Ok(Val::Bool(compared(args)?.is_ge()))
    }),
];

fn receiver(args: &[Val]) -> Result<Rc<Version>, Fault> {
    match any(args, 0) {
        Val::Version(version) | Val::NextVersion(version) => Ok(version),
        _ => Err("runtime error: invalid memory address or nil pointer dereference".into()),
    }
}

fn compared(args: &[Val]) -> Result<Ordering, Fault> {
    Ok(receiver(args)?.order(&*receiver(&args[1..])?))
}

fn next(args: &[Val], index: usize) -> Ran {
    Ok(Val::NextVersion(Rc::new(receiver(args)?.next(index))))
}

fn changed(args: &[Val], change: impl FnOnce(&mut Version)) -> Ran {
    Ok(Val::NextVersion(Rc::new(receiver(args)?.changed(change))))
}

/// The parts between dots; an empty text has none.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split('.').filter(move |_| !text.is_empty())
}

fn is_identifier(part: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !part.is_empty() && part.bytes().all(plain)
}

/// A version. Minor and patch may be missing in its text.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Version {
    /// Major, minor and patch.
    pub(super) numbers: [u64; 3],
    pub(super) prerelease: String,
    metadata: String,
    /// The text that was parsed.
    original: String,
}

static VERSION: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        // Leading zeros are accepted in the numbers, and not in the pre-release.
        r"^v?([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?",
        r"(?:-((?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*))?",
        r"(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?$",
    ))
    .ok()
});

impl Version {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let captures = VERSION.as_ref()?.captures(text)?;
        let group = |index: usize| captures.get(index).map_or("", |group| group.as_str());
        let number = |index: usize| match group(index) {
            "" => Some(0),
            digits => digits.parse().ok(),
        };
        Some(Self {
            numbers: [number(1)?, number(2)?, number(3)?],
            prerelease: group(4).to_owned(),
            metadata: group(5).to_owned(),
            original: text.to_owned(),
        })
    }

    /// A changed copy, with a new original text.
    fn changed(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut next = self.clone();
        change(&mut next);
        let mark = if self.original.starts_with('v') { "v" } else { "" };
        next.original = format!("{mark}{next}");
        next
    }

    /// Increments the part at `index` and clears the parts after it. The next patch of a pre-release is the release
    /// itself.
    fn next(&self, index: usize) -> Self {
        self.changed(|next| {
            let [major, minor, patch] = next.numbers;
            next.numbers = match index {
                0 => [major.wrapping_add(1), 0, 0],
                1 => [major, minor.wrapping_add(1), 0],
                _ if next.prerelease.is_empty() => [major, minor, patch.wrapping_add(1)],
                _ => [major, minor, patch],
            };
            next.prerelease.clear();
            next.metadata.clear();
        })
    }

    /// The fields of Go's struct, for `fmt`.
    pub(crate) fn fields(&self) -> [(&'static str, Val); 6] {
        let [major, minor, patch] = self.numbers.map(Val::Uint64);
        [
            ("major", major),
            ("minor", minor),
            ("patch", patch),
            ("pre", Val::str(self.prerelease.clone())),
            ("metadata", Val::str(self.metadata.clone())),
            ("original", Val::str(self.original.clone())),
        ]
    }

    /// Metadata is ignored.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        self.numbers
            .cmp(&other.numbers)
            .then_with(|| match (self.prerelease.is_empty(), other.prerelease.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => order_prerelease(&self.prerelease, &other.prerelease),
            })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(f, "{major}.{minor}.{patch}")?;
        if !self.prerelease.is_empty() {
            write!(f, "-{}", self.prerelease)?;
        }
        if !self.metadata.is_empty() {
            write!(f, "+{}", self.metadata)?;
        }
        Ok(())
    }
}

fn order_prerelease(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let ordering = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(a), Some(b)) => match (a.parse::<u64>(), b.parse::<u64>()) {
                (Ok(a), Ok(b)) => a.cmp(&b),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                (Err(_), Err(_)) => a.cmp(b),
            },
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
}
