//! The operator on a real API server, beside the real External Secrets controller.

mod anton;
mod classes;
mod deletion;
mod faults;
mod fixture;
mod front;
mod lead;
mod migrate;
mod parity;
mod poke;
mod push;
mod refresh;
mod rights;
mod secrecy;
mod status;
mod templates;
mod uses;
mod versions;
