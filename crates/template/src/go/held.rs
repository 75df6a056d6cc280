//! Counts the memory that values take. A rendering does not change its thread, so the count is kept per thread.

use std::borrow::Borrow;
use std::cell::Cell;
use std::ops::Deref;
use std::rc::Rc;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// The bytes that the values of this thread take now.
pub(crate) fn held() -> usize {
    HELD.get()
}

/// The bytes of one value. They are counted until this is dropped.
pub(crate) struct Share(usize);

impl Share {
    /// Counts a value: `bytes` for its content, and a constant for its allocation.
    pub(crate) fn new(bytes: usize) -> Self {
        let bytes = bytes.saturating_add(64);
        HELD.set(HELD.get().saturating_add(bytes));
        Self(bytes)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        HELD.set(HELD.get().saturating_sub(self.0));
    }
}

/// Go's `string`: shared bytes, whose memory is counted.
#[derive(Clone)]
pub(crate) struct Str(Rc<(Box<[u8]>, Share)>);

impl Deref for Str {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.0
    }
}

impl Borrow<[u8]> for Str {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl<B: Into<Box<[u8]>>> From<B> for Str {
    fn from(bytes: B) -> Self {
        let bytes = bytes.into();
        let share = Share::new(bytes.len());
        Self(Rc::new((bytes, share)))
    }
}

impl PartialEq for Str {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Str {}

impl PartialOrd for Str {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Str {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}
