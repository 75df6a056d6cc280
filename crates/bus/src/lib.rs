//! Authenticated and encrypted messages between the two processes of a server, api and sync.
//!
//! ```text
//! mesh        listens, dials, and dials again after a loss            (TCP)
//! peer        calls with answers, notices, keepalive                  (one link, many calls in flight)
//! connection  handshake, then frames                                  (Noise NNpsk0 over any byte stream)
//! frame       messages of up to 32 MiB in records of up to 64 KiB
//! ```
//!
//! The bus does not know the meaning of the messages. Both sides prove that they have the [`BusKeys`], which is derived from
//! the credentials file. A connection of anybody else is closed after at most 1 KiB and 5 seconds.
//!
//! [`BusKeys`]: sidevault_keys::BusKeys

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
