//! The activity log: sealed batches, newest kept.

use sidevault_model::ApiRequest;

/// A page of the activity log.
#[derive(Debug)]
pub struct Activity {
    /// Newest first.
    pub records: Vec<ApiRequest>,
    /// How many there are in all.
    pub total: u64,
}

/// How many requests the log keeps; older batches are dropped whole.
pub(crate) const KEPT_RECORDS: i64 = 100_000;
