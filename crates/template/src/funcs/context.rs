//! The state that the functions of one rendering share, and its budget.

use std::rc::{Rc, Weak};
use std::time::{Instant, SystemTime};

use jiff::Timestamp;

use super::{Fault, Ran};
use crate::go::val::{Items, Map, Val};
use crate::limits::{Budget, MAX_HELD, MAX_OUTPUT};

/// The state of one rendering: its time, its budget, and the maps that were made.
pub(crate) struct Context {
    pub(crate) now: Timestamp,
    pub(crate) budget: Budget,
    /// When the running function called [`slow`](Self::slow).
    slow: Option<Instant>,
    /// Maps are changed in place, so a map can contain itself. All maps are emptied at the end, so that none is leaked.
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

    /// Takes `units` of work from the budget.
    pub(crate) fn work(&mut self, units: u64) -> Result<(), Fault> {
        if crate::go::held::held() > MAX_HELD {
            return Err(Fault::Limit("the values of the template are too big"));
        }
        self.budget.take(units).map_err(Fault::Limit)
    }

    /// Takes the work of one iteration of a loop whose duration can't be predicted, and checks the time limit.
    pub(crate) fn turn(&mut self) -> Result<(), Fault> {
        self.work(1)?;
        self.budget.watch().map_err(Fault::Limit)
    }

    /// Takes `units` of work for a function that is slow by design, such as a password hash. The time until it returns
    /// does not count for the time limit.
    pub(crate) fn slow(&mut self, units: u64) -> Result<(), Fault> {
        self.work(units)?;
        self.slow.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// Must be called after each function.
    pub(crate) fn ran(&mut self) {
        if let Some(since) = self.slow.take() {
            self.budget.forgive(since.elapsed());
        }
    }

    /// Takes the work of making a string of `length` bytes, before it is made.
    pub(crate) fn reserve(&mut self, length: usize) -> Result<(), Fault> {
        if length > MAX_OUTPUT {
            return Err(Fault::Limit("a string is too long"));
        }
        self.work(length as u64 / 64)
    }

    /// Makes a string, and takes its work.
    pub(crate) fn text(&mut self, bytes: impl Into<Vec<u8>>) -> Ran {
        let bytes = bytes.into();
        self.reserve(bytes.len())?;
        Ok(Val::str(bytes))
    }

    /// Makes a `map[string]interface {}`.
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
