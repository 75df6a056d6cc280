//! Kubernetes objects as trees, and how those of External Secrets refer to stores, items and Secrets. `doctor -f` reads them from
//! files, `item uses` from a cluster.

mod objects;
pub(crate) mod references;
pub(crate) mod tree;

pub(crate) use objects::{Object, Objects, containers, matches_labels, selects};
