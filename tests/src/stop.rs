//! How a test ends the threads that it has started in a scope.

use std::sync::atomic::{AtomicBool, Ordering};

/// Runs `disturb`, and then sets `stop`, for threads of a scope that go on until it is set. A check that fails in `disturb` must end
/// these threads too, because a scope waits for its threads, and the test would never end.
pub fn then_stop<T>(stop: &AtomicBool, disturb: impl FnOnce() -> T) -> T {
    struct SetWhenDropped<'a>(&'a AtomicBool);
    impl Drop for SetWhenDropped<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let _stop = SetWhenDropped(stop);
    disturb()
}
