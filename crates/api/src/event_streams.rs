//! The places of event streams, shared among tokens.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio_util::sync::CancellationToken;

/// The open streams. Their number is limited: when the limit is reached, a token with fewer streams than another takes the
/// place of the other token's newest stream. So each token gets as many streams as it wants up to an equal share, and
/// besides what other tokens do not use.
pub(crate) struct EventStreams {
    places: usize,
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

/// A place, until this is dropped or [`StreamPlace::displaced`].
pub(crate) struct StreamPlace {
    streams: Arc<EventStreams>,
    jti: String,
    number: u64,
    displaced: CancellationToken,
}

impl EventStreams {
    pub(crate) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self {
            places,
            open: Mutex::default(),
        })
    }

    /// A place for one more stream of this token; None if it has its share already.
    pub(crate) fn take_place(self: &Arc<Self>, jti: &str) -> Option<StreamPlace> {
        let mut open = self.open();
        if open.count >= self.places {
            let own = open.tokens.get(jti).map_or(0, Vec::len);
            let (most, streams) = open.tokens.iter().max_by_key(|(_, streams)| streams.len())?;
            // After the exchange the other token still has at least as many streams as this one.
            if streams.len() < own + 2 {
                return None;
            }
            let (most, gone) = (most.clone(), streams.last()?.number);
            if let Some(stream) = open.remove(&most, gone) {
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
        Some(StreamPlace {
            streams: self.clone(),
            jti: jti.to_owned(),
            number,
            displaced,
        })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
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

impl StreamPlace {
    /// Whether another token has taken this place.
    pub(crate) fn is_displaced(&self) -> bool {
        self.displaced.is_cancelled()
    }

    /// Returns once another token has taken this place.
    pub(crate) async fn displaced(&self) {
        self.displaced.cancelled().await;
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        // A stream that was displaced is removed already.
        let _ = self.streams.open().remove(&self.jti, self.number);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_token_gets_its_share_though_another_took_all() {
        let streams = EventStreams::new(8);
        let greedy: Vec<_> = (0..8).map(|_| streams.take_place("greedy").unwrap()).collect();
        assert!(streams.take_place("greedy").is_none());
        let quiet: Vec<_> = (0..4).map(|_| streams.take_place("quiet").unwrap()).collect();
        assert!(streams.take_place("quiet").is_none() && streams.take_place("greedy").is_none());
        let displaced = |places: &[StreamPlace]| places.iter().filter(|place| place.displaced.is_cancelled()).count();
        assert_eq!((displaced(&greedy), displaced(&quiet)), (4, 0));
        // The oldest stay.
        assert!(greedy[..4].iter().all(|place| !place.displaced.is_cancelled()));
        assert!(streams.take_place("third").is_some());
        drop((greedy, quiet));
        let open = streams.open();
        assert_eq!((open.count, open.tokens.len()), (0, 0));
    }
}
