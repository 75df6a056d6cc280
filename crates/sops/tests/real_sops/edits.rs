//! Files that this crate changes must be opened and verified by the real sops, with the changed values.
//!
//! `SIDEVAULT_FUZZ_FILES` and `SIDEVAULT_FUZZ_SEED` are those of [`crate::fuzz`].

use jiff::Timestamp;
use sidevault_sops::{Change, Document, Edit, SopsError, Step, Value, edit, read};

use crate::fuzz::{judge_all, number};
use crate::generate::{FORMATS, Random, file};
use crate::tools::World;
use crate::{compact, first_json, format_of};

/// The result for a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// sops opens the changed file, and finds the same values in it.
    Opened,
    /// The change was refused.
    Refused,
    /// sops refuses the file before the change.
    NoFile,
}

#[test]
fn sops_opens_and_verifies_random_files_that_were_changed() {
    let Some(_) = World::new(1) else { return };
    let count = number("SIDEVAULT_FUZZ_FILES").unwrap_or(10);
    let first = number("SIDEVAULT_FUZZ_SEED").unwrap_or(0);
    let work: Vec<(&str, u64)> = (first..first + count)
        .flat_map(|seed| FORMATS.map(|name| (name, seed)))
        .collect();
    let judged = judge_all(&work, judge);
    println!("seeds {first} to {}: {judged:?}", first + count - 1);
    // If most changes were refused, the test would prove nothing.
    for name in FORMATS {
        let of = |verdict| judged.get(&(name, verdict)).copied().unwrap_or_default();
        assert!(
            of(Verdict::Opened) * 3 >= of(Verdict::Refused),
            "too few changes are made: {judged:?}"
        );
    }
}

fn judge(world: &World, name: &'static str, seed: u64) -> Result<Verdict, String> {
    let file = file(name, seed);
    let format = format_of(name);
    let identities = world.identities(&[0]);
    let rule: Vec<&str> = file.rule.iter().map(String::as_str).collect();
    let Ok(sealed) = world.try_encrypt(name, &file.bytes, &rule) else {
        return Ok(Verdict::NoFile);
    };
    let output = if name == "f.bin" { "binary" } else { "json" };
    let (Ok(before), Some(theirs)) = (
        read(format, &sealed, &identities),
        world.decrypt(name, &sealed, output, &[0]),
    ) else {
        return Ok(Verdict::NoFile);
    };
    let mut random = Random::new(seed);
    let edits = match &before.document {
        Document::Binary(_) => vec![Edit {
            document: 0,
            path: Vec::new(),
            change: Change::Set(new_value(&mut random)),
        }],
        Document::Tree(documents) => {
            let mut edits = Vec::new();
            let mut path = Vec::new();
            choose(&documents[0], &mut path, &mut random, &mut edits);
            edits
        }
    };
    // Every change by itself, and then as many together as can be made.
    let mut accepted: Vec<Edit> = Vec::new();
    let mut changed = sealed.clone();
    for one in edits.into_iter().take(20) {
        let mut more = accepted.clone();
        more.push(one);
        match edit(format, &sealed, &identities, &more, Timestamp::UNIX_EPOCH) {
            Ok(bytes) => (accepted, changed) = (more, bytes),
            Err(SopsError::NotEditable { .. } | SopsError::Value { .. }) => {}
            Err(error) => return Err(format!("{more:?}: {error}")),
        }
    }
    if changed == sealed {
        return Ok(Verdict::Refused);
    }
    let shown = || format!("{accepted:?}\n{}", String::from_utf8_lossy(&changed));
    let ours = read(format, &changed, &identities).map_err(|error| format!("{error}: {}", shown()))?;
    let now = world
        .decrypt(name, &changed, output, &[0])
        .ok_or_else(|| format!("sops refuses it: {}", shown()))?;
    if let Document::Binary(bytes) = &ours.document {
        return if *bytes == now {
            Ok(Verdict::Opened)
        } else {
            Err(shown())
        };
    }
    // Where both read the file before alike, they must do so now. `random_files_read_as_sops_decrypts_them` has the rest.
    if first_json(&before) == compact(&theirs) && first_json(&ours) != compact(&now) {
        return Err(format!(
            "ours {}\nsops {}\n{}",
            first_json(&ours),
            compact(&now),
            shown()
        ));
    }
    Ok(Verdict::Opened)
}

/// Changes of random values of a tree.
fn choose(value: &Value, path: &mut Vec<Step>, random: &mut Random, edits: &mut Vec<Edit>) {
    let mut add = |path: &[Step], change| {
        edits.push(Edit {
            document: 0,
            path: path.to_vec(),
            change,
        });
    };
    match value {
        Value::Mapping(entries) => {
            if random.once_in(3) {
                let key = random.of(&["added", "added key", "true", "a\"b", "7"]);
                path.push(Step::Key(key.to_owned()));
                add(path, Change::Set(new_value(random)));
                path.pop();
            }
            for (key, entry) in entries {
                path.push(Step::Key(key.clone()));
                choose(entry, path, random, edits);
                path.pop();
            }
        }
        Value::Sequence(items) => {
            // From the end, because a removed item moves those behind it.
            for (index, item) in items.iter().enumerate().rev() {
                path.push(Step::Item(index));
                choose(item, path, random, edits);
                path.pop();
            }
        }
        _ if random.once_in(5) => add(path, Change::Remove),
        _ if random.once_in(2) => add(path, Change::Set(new_value(random))),
        _ => {}
    }
}

fn new_value(random: &mut Random) -> Value {
    match random.below(8) {
        0 => Value::Int("-42".into()),
        1 => Value::Float("1.5e-7".into()),
        2 => Value::Bool(true),
        3 => Value::String(String::new()),
        4 => Value::String("one\ntwo: # \"é🔐\"\n".into()),
        _ => Value::String(format!("new {}", random.below(1000))),
    }
}
