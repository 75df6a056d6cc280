//! What the black-box tests share: the pair as processes, requests down to the byte, of HTTP/2 too, forged
//! tokens, a ledger of acknowledged writes, markers to search for, the real `sops`,
//! Pebble and a Kubernetes control plane, and a client for HTTPS.

pub mod authority;
pub mod cluster;
pub mod forge;
pub mod hostile;
pub mod http2;
pub mod https;
pub mod ledger;
pub mod markers;
pub mod pair;
pub mod pebble;
pub mod sops;
pub mod volume;
pub mod wire;
