//! Messages between the two halves of a server, api and sync: authenticated, encrypted, many at once.
//!
//! ```text
//! mesh        who talks to whom: listens, dials, dials again          (TCP)
//! peer        calls with answers, notices, keepalive                  (one link, many calls in flight)
//! connection  handshake, then frames                                  (Noise NNpsk0 over any byte stream)
//! frame       messages of up to 32 MiB as records of up to 64 KiB
//! ```
//!
//! The bus knows nothing of what the messages mean. Both ends prove knowledge of the [`BusKey`] that
//! comes from the credentials file; everybody else is turned away after at most 1 KiB and 5 seconds.
//!
//! [`BusKey`]: sidevault_keys::BusKey

mod connection;
mod frame;
#[cfg(fuzzing)]
pub mod fuzz;
mod handshake;
mod message;

pub mod mesh;
pub mod peer;

pub use connection::{Connection, in_memory};
pub use frame::MAX_MESSAGE;
pub use handshake::HandshakeError;
pub use mesh::BindError;
pub use peer::{CallError, Incoming, Peer, Reply};
