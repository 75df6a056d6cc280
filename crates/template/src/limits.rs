//! Limits of one rendering. Go has nearly none. The output of a template that exceeds one of these would not fit into a
//! Secret (1 MiB), or would never be complete.

use std::time::{Duration, Instant};

/// The largest output, and the largest string of an intermediate result, in bytes.
pub const MAX_OUTPUT: usize = 4 << 20;

/// Units of work of one rendering: about one for each evaluated node, each new element and each 64 copied bytes.
pub const MAX_WORK: u64 = 16_000_000;

/// How long the renderings that share a [`Budget`] may take. Units of work grow with the size of texts, and a regular
/// expression may take the square of that. The time of functions that are slow by design, such as generating a key,
/// does not count; they take many units of work instead.
pub const MAX_TIME: Duration = Duration::from_secs(5);

/// How many bytes the values of one rendering may take at the same time. The result of one function may exceed the
/// limit.
pub const MAX_HELD: usize = 64 << 20;

/// How deep control structures and parentheses may be nested in a template.
pub const MAX_NESTING: usize = 100;

/// How many `{{ else if }}` and `{{ else with }}` may follow one another, counting those of enclosing chains.
pub const MAX_CHAINED: usize = 500;

/// How deep `{{ template }}` calls may be nested (Go: 100000).
pub const MAX_TEMPLATE_DEPTH: usize = 100;

/// How deep actions may be nested, over all templates that call one another.
pub const MAX_ACTION_DEPTH: usize = 300;

/// How deep lists and maps may be nested where they are traversed: printing, comparing, copying, JSON, YAML.
pub const MAX_VALUE_DEPTH: usize = 100;

/// The longest source of a template, in bytes.
pub const MAX_SOURCE: usize = 1 << 20;

/// The work and the time that are left, for one rendering or for several: with
/// [`Template::render_with`](crate::Template::render_with) all templates of one object can share one budget. The time
/// limit starts when the budget is made.
#[derive(Clone, Debug)]
pub struct Budget {
    work: u64,
    deadline: Instant,
    /// Units of work until the time limit is checked again.
    unwatched: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(MAX_WORK, MAX_TIME)
    }
}

impl Budget {
    /// A budget of `work` units, which is valid for `time` from now on.
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

    /// Extends the time limit by time that does not count.
    pub(crate) fn forgive(&mut self, time: Duration) {
        self.deadline += time;
    }
}
