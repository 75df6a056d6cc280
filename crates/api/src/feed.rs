//! The newest changes, in memory: a commit is read from the store once, however many event streams send it.

use std::collections::VecDeque;

use parking_lot::Mutex;
use sidevault_store::{ChangeRecord, Reader, StoreError};

/// How many changes are kept, of about 200 bytes each, and 100 more for a commit. A stream that is further behind reads the store itself.
const MAX_CHANGES: usize = 4096;

/// The newest changes.
#[derive(Default)]
pub(crate) struct Feed(Mutex<Kept>);

/// All changes after number `before` up to number `newest`, oldest first.
struct Kept {
    before: i64,
    newest: i64,
    changes: VecDeque<ChangeRecord>,
}

impl Default for Kept {
    /// No change is known.
    fn default() -> Self {
        Self {
            before: i64::MAX,
            newest: i64::MIN,
            changes: VecDeque::new(),
        }
    }
}

impl Feed {
    /// Adds the changes that the store has after the newest one here, up to number `newest`.
    pub(crate) async fn fill(&self, store: &Reader, newest: i64) -> Result<(), StoreError> {
        let last = self.0.lock().newest;
        if last != newest {
            // One more than is kept: if that many come, there may be even more.
            let added = store.changes(last, newest, None, MAX_CHANGES + 1).await?;
            self.0.lock().add(newest, added);
        }
        Ok(())
    }

    /// The first `limit` wanted changes after number `after` up to number `newest`. None if some of them may not be here.
    pub(crate) fn between(
        &self,
        after: i64,
        newest: i64,
        limit: usize,
        wanted: impl Fn(&ChangeRecord) -> bool,
    ) -> Option<Vec<ChangeRecord>> {
        let kept = self.0.lock();
        // A number between two known ones may come from a store before a restore.
        let is_known = after == kept.before || kept.changes.binary_search_by_key(&after, |change| change.seq).is_ok();
        if !is_known || newest > kept.newest {
            return None;
        }
        let skipped = kept.changes.partition_point(|change| change.seq <= after);
        let rest = kept.changes.range(skipped..).take_while(|change| change.seq <= newest);
        Some(rest.filter(|change| wanted(change)).take(limit).cloned().collect())
    }
}

impl Kept {
    /// Adds the changes after the newest one. If `None` or too many are given, there may be a gap after the kept changes (as
    /// after a restore): then those are dropped, and streams that need them read the store themselves.
    fn add(&mut self, newest: i64, added: Option<Vec<ChangeRecord>>) {
        match added.filter(|added| added.len() <= MAX_CHANGES && self.newest < newest) {
            Some(added) => self.changes.extend(added),
            None => {
                self.changes.clear();
                self.before = newest;
            }
        }
        self.newest = newest;
        let over = self.changes.len().saturating_sub(MAX_CHANGES);
        if let Some(last) = self.changes.drain(..over).next_back() {
            self.before = last.seq;
        }
    }
}

#[cfg(test)]
mod tests {
    use sidevault_model::Timestamp;

    use super::*;

    fn change(seq: i64) -> ChangeRecord {
        ChangeRecord {
            seq,
            at: Timestamp::from_millis(0),
            kind: "item.updated".to_owned(),
            vault: if seq % 2 == 0 { "even" } else { "odd" }.to_owned(),
            item: String::new(),
            version: 1,
            commit: None,
        }
    }

    fn add(feed: &Feed, seqs: std::ops::Range<i64>) {
        feed.0.lock().add(seqs.end - 1, Some(seqs.map(change).collect()));
    }

    /// A feed of a store that was opened when its newest change was number 9.
    fn feed() -> Feed {
        let feed = Feed::default();
        feed.0.lock().add(9, None);
        feed
    }

    fn seqs(feed: &Feed, after: i64, newest: i64) -> Option<Vec<i64>> {
        let even = feed.between(after, newest, 4, |change| change.vault == "even")?;
        Some(even.iter().map(|change| change.seq).collect())
    }

    #[test]
    fn changes_are_served_only_if_all_of_them_are_known() {
        assert_eq!(seqs(&Feed::default(), 0, 0), None);
        let feed = feed();
        assert_eq!(seqs(&feed, 9, 9), Some(Vec::new()));
        add(&feed, 10..15);
        add(&feed, 15..20);
        assert_eq!(seqs(&feed, 9, 19), Some(vec![10, 12, 14, 16]));
        assert_eq!(seqs(&feed, 16, 19), Some(vec![18]));
        assert_eq!(seqs(&feed, 12, 15), Some(vec![14]));
        assert_eq!(seqs(&feed, 18, 19), Some(Vec::new()));
        assert_eq!(seqs(&feed, 8, 19), None);
        assert_eq!(seqs(&feed, 12, 20), None);
    }

    #[test]
    fn a_stream_from_before_a_restore_is_not_served() {
        let feed = feed();
        add(&feed, 10..40);
        // The backup ended at number 20, and the writer that opened it went on at 100.
        feed.0.lock().add(20, None);
        add(&feed, 100..101);
        assert_eq!(seqs(&feed, 20, 100), Some(vec![100]));
        assert_eq!(seqs(&feed, 39, 100), None);
    }

    #[test]
    fn the_kept_changes_are_limited() {
        let feed = feed();
        let many = MAX_CHANGES as i64;
        add(&feed, 10..many);
        add(&feed, many..many + 100);
        assert_eq!(feed.0.lock().changes.len(), MAX_CHANGES);
        assert_eq!(seqs(&feed, 98, many + 99), None);
        assert_eq!(seqs(&feed, 99, many + 99), Some(vec![100, 102, 104, 106]));
    }

    #[test]
    fn changes_of_a_replaced_store_are_not_served() {
        let feed = feed();
        add(&feed, 10..20);
        feed.0.lock().add(1000, None);
        assert_eq!(seqs(&feed, 19, 1000), None);
        add(&feed, 1001..1003);
        assert_eq!(seqs(&feed, 1000, 1002), Some(vec![1002]));
        // A store with lower numbers than before: a restored backup.
        add(&feed, 500..501);
        assert_eq!(seqs(&feed, 499, 500), None);
    }
}
