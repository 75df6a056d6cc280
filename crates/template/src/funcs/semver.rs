//! sprig's functions for constraints on semantic versions, as in `Masterminds/semver` v3.4.

use std::cmp::Ordering;
use std::rc::Rc;
use std::sync::LazyLock;

use ::regex::Regex;

use super::{Context, Func, Ran, Ty, Version, f, utf8};
use crate::go::val::Val;

pub(super) const TABLE: &[Func] = &[
    f("semver", &[Ty::Str], |_, args| {
        let version = Version::parse(&utf8(args, 0)).ok_or("invalid semantic version")?;
        Ok(Val::Version(Rc::new(version)))
    }),
    f("semverCompare", &[Ty::Str, Ty::Str], compare),
];

const OPERATORS: &str = r"=||!=|>|<|>=|=>|<=|=<|~|~>|\^";
const LOOSE: &str = concat!(
    r"v?([0-9xX*|]+)(\.[0-9xX*|]+)?(\.[0-9xX*|]+)?",
    r"(-([0-9A-Za-z\-]+(\.[0-9A-Za-z\-]+)*))?",
    r"(\+([0-9A-Za-z\-]+(\.[0-9A-Za-z\-]+)*))?",
);

struct Patterns {
    one: Regex,
    range: Regex,
    find: Regex,
    valid: Regex,
}

static PATTERNS: LazyLock<Option<Patterns>> = LazyLock::new(|| {
    let space = r"[\t\n\x0c\r ]";
    Some(Patterns {
        one: Regex::new(&format!("^{space}*({OPERATORS}){space}*({LOOSE}){space}*$")).ok()?,
        range: Regex::new(&format!("{space}*({LOOSE}){space}+-{space}+({LOOSE}){space}*")).ok()?,
        find: Regex::new(&format!("({OPERATORS}){space}*({LOOSE})")).ok()?,
        valid: Regex::new(&format!(
            "^({space}*({OPERATORS}){space}*({LOOSE}){space}*)((?:{space}+|,{space}*)({OPERATORS}){space}*({LOOSE}){space}*)*$"
        ))
        .ok()?,
    })
});

fn compare(ctx: &mut Context, args: &[Val]) -> Ran {
    ctx.work(200 + super::text(args, 0).len() as u64)?;
    let constraints = parse(&utf8(args, 0)).ok_or("improper constraint")?;
    let version = Version::parse(&utf8(args, 1)).ok_or("invalid semantic version")?;
    Ok(Val::Bool(constraints.iter().any(|all| {
        let prereleases = all.iter().any(|constraint| !constraint.version.prerelease.is_empty());
        all.iter().all(|constraint| constraint.check(&version, prereleases))
    })))
}

struct Constraint {
    operator: String,
    version: Version,
    /// Whether a part is a wildcard or missing: any part; the minor part; the patch part.
    dirty: bool,
    minor_dirty: bool,
    patch_dirty: bool,
}

/// Alternatives, each a list of constraints that must all hold.
fn parse(text: &str) -> Option<Vec<Vec<Constraint>>> {
    let patterns = PATTERNS.as_ref()?;
    let mut text = text.to_owned();
    // `1.2 - 1.4` stands for `>= 1.2, <= 1.4`.
    let original = text.clone();
    for captures in patterns.range.captures_iter(&original) {
        let (low, high) = (captures.get(1)?.as_str(), captures.get(11)?.as_str());
        text = text.replacen(captures.get(0)?.as_str(), &format!(">= {low}, <= {high} "), 1);
    }
    text.split("||")
        .map(|part| {
            if !patterns.valid.is_match(part) {
                return None;
            }
            let found: Vec<&str> = patterns.find.find_iter(part).map(|found| found.as_str()).collect();
            let parts = if found.is_empty() { vec![part] } else { found };
            parts
                .into_iter()
                .map(|part| Constraint::parse(part, &patterns.one))
                .collect()
        })
        .collect()
}

impl Constraint {
    fn parse(text: &str, pattern: &Regex) -> Option<Self> {
        let captures = pattern.captures(text)?;
        let group = |index: usize| captures.get(index).map_or("", |group| group.as_str());
        let open = |part: &str| matches!(part.trim_start_matches('.'), "x" | "X" | "*" | "");
        let (major, minor, patch, pre) = (group(3), group(4), group(5), group(6));
        let (version, dirty, minor_dirty, patch_dirty) = if open(major) {
            (format!("0.0.0{pre}"), true, false, false)
        } else if open(minor) {
            (format!("{major}.0.0{pre}"), true, true, false)
        } else if open(patch) {
            (format!("{major}{minor}.0{pre}"), true, false, true)
        } else {
            (group(2).to_owned(), false, false, false)
        };
        Some(Self {
            operator: group(1).to_owned(),
            version: Version::parse(&version)?,
            dirty,
            minor_dirty,
            patch_dirty,
        })
    }

    fn check(&self, version: &Version, prereleases: bool) -> bool {
        if !version.prerelease.is_empty() && !prereleases {
            return false;
        }
        let order = version.order(&self.version);
        match self.operator.as_str() {
            "!=" => self.not_equal(version),
            ">" => self.greater(version),
            "<" => order == Ordering::Less,
            ">=" | "=>" => order != Ordering::Less,
            "<=" | "=<" => self.at_most(version),
            "~" | "~>" => self.tilde(version),
            "^" => self.caret(version),
            _ if self.dirty => self.tilde(version),
            _ => order == Ordering::Equal,
        }
    }

    fn not_equal(&self, version: &Version) -> bool {
        let ([a, b, c], [x, y, z]) = (version.numbers, self.version.numbers);
        if self.dirty {
            if a != x {
                return true;
            }
            if b != y && !self.minor_dirty {
                return true;
            }
            if self.minor_dirty {
                return false;
            }
            if c != z && !self.patch_dirty {
                return true;
            }
            if self.patch_dirty {
                return version.prerelease != self.version.prerelease;
            }
        }
        version.order(&self.version) != Ordering::Equal
    }

    fn greater(&self, version: &Version) -> bool {
        let ([a, b, _], [x, y, _]) = (version.numbers, self.version.numbers);
        if !self.dirty {
            return version.order(&self.version) == Ordering::Greater;
        }
        match a.cmp(&x) {
            Ordering::Greater => true,
            Ordering::Less => false,
            Ordering::Equal if self.minor_dirty => false,
            Ordering::Equal if self.patch_dirty => b > y,
            Ordering::Equal => version.order(&self.version) == Ordering::Greater,
        }
    }

    fn at_most(&self, version: &Version) -> bool {
        let ([a, b, _], [x, y, _]) = (version.numbers, self.version.numbers);
        if !self.dirty {
            return version.order(&self.version) != Ordering::Greater;
        }
        !(a > x || a == x && b > y && !self.minor_dirty)
    }

    fn tilde(&self, version: &Version) -> bool {
        if version.order(&self.version) == Ordering::Less {
            return false;
        }
        let ([a, b, _], [x, y, z]) = (version.numbers, self.version.numbers);
        if [x, y, z] == [0, 0, 0] && !self.minor_dirty && !self.patch_dirty {
            return true;
        }
        a == x && (b == y || self.minor_dirty)
    }

    fn caret(&self, version: &Version) -> bool {
        if version.order(&self.version) == Ordering::Less {
            return false;
        }
        let ([a, b, c], [x, y, z]) = (version.numbers, self.version.numbers);
        if x > 0 || self.minor_dirty {
            return a == x;
        }
        if a > 0 {
            return false;
        }
        if y > 0 || self.patch_dirty {
            return b == y;
        }
        b == 0 && c == z
    }
}
