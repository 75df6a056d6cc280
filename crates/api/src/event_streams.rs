//! The permits of event streams, shared among tokens.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// The open streams. When their limit is reached, a token may still open a stream if another token has at least two more: the
/// newest stream of the token with the most streams is then ended. So each token gets up to an equal share of the streams, and
/// those that other tokens do not use.
pub(crate) struct EventStreams {
    limit: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    /// The streams of each token, by the token's id; oldest first.
    tokens: HashMap<String, Vec<Stream>>,
    count: usize,
    next: u64,
}

struct Stream {
    number: u64,
    displaced: CancellationToken,
}

/// The right to keep one stream open, until this is dropped or [`Self::displaced`] returns.
pub(crate) struct StreamPermit {
    streams: Arc<EventStreams>,
    jti: String,
    number: u64,
    displaced: CancellationToken,
}

impl EventStreams {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            open: Mutex::default(),
        })
    }

    /// A permit for one more stream of the token with the id `jti`. None if the token has its share already.
    pub(crate) fn acquire(self: &Arc<Self>, jti: &str) -> Option<StreamPermit> {
        let mut open = self.open.lock();
        if open.count >= self.limit {
            let own = open.tokens.get(jti).map_or(0, Vec::len);
            let (most, streams) = open.tokens.iter().max_by_key(|(_, streams)| streams.len())?;
            // Afterwards the other token still has at least as many streams as this one.
            if streams.len() < own + 2 {
                return None;
            }
            let (most, newest) = (most.clone(), streams.last()?.number);
            if let Some(stream) = open.remove(&most, newest) {
                stream.displaced.cancel();
            }
        }
        let number = open.next;
        open.next += 1;
        open.count += 1;
        let displaced = CancellationToken::new();
        open.tokens.entry(jti.to_owned()).or_default().push(Stream {
            number,
            displaced: displaced.clone(),
        });
        Some(StreamPermit {
            streams: self.clone(),
            jti: jti.to_owned(),
            number,
            displaced,
        })
    }
}

impl Open {
    fn remove(&mut self, jti: &str, number: u64) -> Option<Stream> {
        let streams = self.tokens.get_mut(jti)?;
        let at = streams.iter().position(|stream| stream.number == number)?;
        let stream = streams.remove(at);
        if streams.is_empty() {
            self.tokens.remove(jti);
        }
        self.count -= 1;
        Some(stream)
    }
}

impl StreamPermit {
    /// Whether this stream has to end because another token got its permit.
    pub(crate) fn is_displaced(&self) -> bool {
        self.displaced.is_cancelled()
    }

    /// Waits until this stream has to end because another token got its permit.
    pub(crate) async fn displaced(&self) {
        self.displaced.cancelled().await;
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        // A stream that was displaced is removed already.
        let _ = self.streams.open.lock().remove(&self.jti, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_gets_its_share_of_the_streams_after_another_took_all() {
        let streams = EventStreams::new(8);
        let greedy: Vec<_> = (0..8).map(|_| streams.acquire("greedy").unwrap()).collect();
        assert!(streams.acquire("greedy").is_none());
        let quiet: Vec<_> = (0..4).map(|_| streams.acquire("quiet").unwrap()).collect();
        assert!(streams.acquire("quiet").is_none() && streams.acquire("greedy").is_none());
        let displaced =
            |permits: &[StreamPermit]| permits.iter().filter(|permit| permit.displaced.is_cancelled()).count();
        assert_eq!((displaced(&greedy), displaced(&quiet)), (4, 0));
        // The oldest stay.
        assert!(greedy[..4].iter().all(|permit| !permit.displaced.is_cancelled()));
        assert!(streams.acquire("third").is_some());
        drop((greedy, quiet));
        let open = streams.open.lock();
        assert_eq!((open.count, open.tokens.len()), (0, 0));
    }
}
