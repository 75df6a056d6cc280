//! What the black-box tests share: the pair as processes, requests down to the byte, forged
//! tokens, a ledger of acknowledged writes, markers to search for, and the real `sops`.

pub mod forge;
pub mod hostile;
pub mod ledger;
pub mod markers;
pub mod pair;
pub mod sops;
pub mod wire;
