//! Goes through `export.data` with one item in memory at a time.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::io::{self, BufReader, Read};

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{DATA, raw};
use crate::import::ImportError;
use crate::import::lenient::json_error;

/// The most bytes of one item's JSON.
const MAX_ITEM: u64 = 64 << 20;

/// Takes what is found, in the order of the export. An item may come before the attributes of its vault.
pub(super) trait Sink {
    fn wants_items(&self) -> bool;
    fn vault(&mut self, vault: raw::VaultAttributes);
    /// `vault` is the number of the item's vault, counted from 0.
    fn item(&mut self, vault: usize, item: raw::Item) -> Result<(), ImportError>;
}

/// Reads the JSON of `export.data`.
pub(super) fn walk(data: &mut dyn Read, sink: &mut dyn Sink) -> Result<(), ImportError> {
    let since_item = Cell::new(0);
    let reader = Metered {
        inner: data,
        since_item: &since_item,
        // Items that are only passed over are not held in memory.
        limit: if sink.wants_items() { MAX_ITEM } else { u64::MAX },
    };
    let mut state = Walk {
        sink,
        vaults: 0,
        since_item: &since_item,
        error: None,
    };
    let mut json = serde_json::Deserializer::from_reader(BufReader::new(reader));
    let at = At {
        level: Level::Export,
        walk: &mut state,
    };
    let outcome = at.deserialize(&mut json).and_then(|()| json.end());
    if let Some(error) = state.error {
        return Err(error);
    }
    outcome.map_err(|error| json_error(DATA, error, "a member has not the form that 1PUX gives it"))
}

struct Walk<'a> {
    sink: &'a mut dyn Sink,
    /// How many vaults have begun.
    vaults: usize,
    since_item: &'a Cell<u64>,
    /// The sink's error.
    error: Option<ImportError>,
}

/// Where in the JSON the walk is.
#[derive(Clone, Copy)]
enum Level {
    Export,
    Accounts,
    Account,
    Vaults,
    Vault,
    Items,
}

struct At<'w, 'a> {
    level: Level,
    walk: &'w mut Walk<'a>,
}

impl<'de> DeserializeSeed<'de> for At<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array of 1PUX")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let walk = self.walk;
        let mut attributes = raw::VaultAttributes::default();
        if matches!(self.level, Level::Vault) {
            walk.vaults += 1;
        }
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            let below = match (self.level, &*key) {
                (Level::Export, "accounts") => Level::Accounts,
                (Level::Account, "vaults") => Level::Vaults,
                (Level::Vault, "items") if walk.sink.wants_items() => Level::Items,
                (Level::Vault, "attrs") => {
                    attributes = map.next_value()?;
                    continue;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            map.next_value_seed(At { level: below, walk })?;
        }
        if matches!(self.level, Level::Vault) {
            walk.sink.vault(attributes);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let walk = self.walk;
        let below = match self.level {
            Level::Accounts => Level::Account,
            Level::Vaults => Level::Vault,
            Level::Items => {
                walk.since_item.set(0);
                while let Some(item) = list.next_element::<raw::Item>()? {
                    walk.since_item.set(0);
                    if let Err(error) = walk.sink.item(walk.vaults - 1, item) {
                        walk.error = Some(error);
                        return Err(A::Error::custom("stopped"));
                    }
                }
                return Ok(());
            }
            _ => return Err(A::Error::custom("an array in the place of an object")),
        };
        while list.next_element_seed(At { level: below, walk })?.is_some() {}
        Ok(())
    }
}

/// Refuses to read on if one item is larger than [`MAX_ITEM`].
struct Metered<'a, R> {
    inner: R,
    since_item: &'a Cell<u64>,
    limit: u64,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.since_item.set(self.since_item.get() + n as u64);
        if self.since_item.get() > self.limit {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{DATA}: an item is larger than {MAX_ITEM} bytes"),
            ));
        }
        Ok(n)
    }
}
