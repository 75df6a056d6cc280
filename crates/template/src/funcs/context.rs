//! What a rendering's functions share, and what they take from its budget.

use std::rc::{Rc, Weak};
use std::time::{Instant, SystemTime};

use jiff::Timestamp;

use super::{Fault, Ran};
use crate::go::val::{Items, Map, Val};
use crate::limits::{Budget, MAX_HELD, MAX_OUTPUT};

/// What functions share in one rendering: the time, the work left, and the maps that were made.
pub(crate) struct Context {
    pub(crate) now: Timestamp,
    pub(crate) budget: Budget,
    /// Since when something slow by nature has been under way.
    slow: Option<Instant>,
    /// Maps are changed in place, so they can hold themselves; they are emptied at the end.
    maps: Vec<Weak<Map>>,
}

impl Context {
    pub(crate) fn new(now: SystemTime, budget: Budget) -> Self {
        Self {
            now: Timestamp::try_from(now).unwrap_or(Timestamp::UNIX_EPOCH),
            budget,
            slow: None,
            maps: Vec::new(),
        }
    }

    /// Takes `units` from what the rendering may do.
    pub(crate) fn work(&mut self, units: u64) -> Result<(), Fault> {
        if crate::go::held::held() > MAX_HELD {
            return Err(Fault::Limit("the values of the template are too big"));
        }
        self.budget.take(units).map_err(Fault::Limit)
    }

    /// One turn of a loop whose turns cost what nobody can tell beforehand.
    pub(crate) fn turn(&mut self) -> Result<(), Fault> {
        self.work(1)?;
        self.budget.watch().map_err(Fault::Limit)
    }

    /// Takes `units` for what is slow by nature; the time until the function has run does not count.
    pub(crate) fn slow(&mut self, units: u64) -> Result<(), Fault> {
        self.work(units)?;
        self.slow.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// A function has run.
    pub(crate) fn ran(&mut self) {
        if let Some(since) = self.slow.take() {
            self.budget.forgive(since.elapsed());
        }
    }

    /// Says in advance that a string of `length` bytes will be made.
    pub(crate) fn reserve(&mut self, length: usize) -> Result<(), Fault> {
        if length > MAX_OUTPUT {
            return Err(Fault::Limit("a string is too long"));
        }
        self.work(length as u64 / 64)
    }

    /// A string that was made.
    pub(crate) fn text(&mut self, bytes: impl Into<Vec<u8>>) -> Ran {
        let bytes = bytes.into();
        self.reserve(bytes.len())?;
        Ok(Val::str(bytes))
    }

    /// A `map[string]interface {}`.
    pub(crate) fn map(&mut self, items: Items) -> Val {
        let map = Rc::new(Map::new(false, false, items));
        if self.maps.len() % 1024 == 1023 {
            self.maps.retain(|map| map.strong_count() > 0);
        }
        self.maps.push(Rc::downgrade(&map));
        Val::Map(map)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        for map in self.maps.drain(..) {
            if let Some(map) = map.upgrade() {
                let items = std::mem::take(&mut *map.items.borrow_mut());
                drop(items);
            }
        }
    }
}
