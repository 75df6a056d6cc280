//! What one rendering may cost. Go has next to no limits; a template that meets one of these would have made a Secret
//! that Kubernetes refuses (1 MiB), or none at all.

use std::time::{Duration, Instant};

/// Bytes of output, and of any single string made on the way.
pub const MAX_OUTPUT: usize = 4 << 20;

/// Units of work in one rendering: about one for each node evaluated, each element built and each 64 bytes copied.
pub const MAX_WORK: u64 = 16_000_000;

/// How long renderings that share a [`Budget`] may take. Work is charged by its size, which a regular expression's is
/// not: one that fails late at every byte takes the square of it. What is slow by nature, such as making keys, is
/// charged as work, and its time does not count.
pub const MAX_TIME: Duration = Duration::from_secs(5);

/// Bytes that the values of one rendering hold at once. A single function may go beyond by what it makes.
pub const MAX_HELD: usize = 64 << 20;

/// Control structures and parentheses inside one another in a template's text.
pub const MAX_NESTING: usize = 100;

/// `{{ else if }}` and `{{ else with }}` in a row, or in rows inside one another.
pub const MAX_CHAINED: usize = 500;

/// `{{ template }}` calls inside one another (Go: 100000).
pub const MAX_TEMPLATE_DEPTH: usize = 100;

/// Actions under way at once, over all templates that called one another.
pub const MAX_ACTION_DEPTH: usize = 300;

/// Lists and maps inside one another, wherever they are walked: printing, comparing, copying, JSON, YAML.
pub const MAX_VALUE_DEPTH: usize = 100;

/// Bytes of a template's source.
pub const MAX_SOURCE: usize = 1 << 20;

/// What is left of [`MAX_WORK`] and [`MAX_TIME`], for one rendering or for several that belong together: with
/// [`Template::render_with`](crate::Template::render_with) all templates of one object can be held to what one may cost.
/// The clock starts when the budget is made.
#[derive(Clone, Debug)]
pub struct Budget {
    work: u64,
    deadline: Instant,
    /// Units until the clock is looked at again.
    unwatched: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(MAX_WORK, MAX_TIME)
    }
}

impl Budget {
    /// So many units of work, from now on for so long.
    pub fn new(work: u64, time: Duration) -> Self {
        Self {
            work,
            deadline: Instant::now() + time,
            unwatched: 0,
        }
    }

    pub(crate) fn take(&mut self, units: u64) -> Result<(), &'static str> {
        match self.work.checked_sub(units) {
            Some(left) => self.work = left,
            None => return Err("the template does too much"),
        }
        match self.unwatched.checked_sub(units) {
            Some(left) => {
                self.unwatched = left;
                Ok(())
            }
            None => self.watch(),
        }
    }

    pub(crate) fn watch(&mut self) -> Result<(), &'static str> {
        self.unwatched = 256;
        if Instant::now() > self.deadline {
            return Err("the template takes too long");
        }
        Ok(())
    }

    /// Time that does not count.
    pub(crate) fn forgive(&mut self, time: Duration) {
        self.deadline += time;
    }
}
