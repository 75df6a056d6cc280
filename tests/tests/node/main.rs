//! Pods on a real node, with the images that `deploy/image/build` makes. `SIDEVAULT_NODE=all` adds the tests that take long.

mod chart;
mod ends;
mod faults;
mod fixture;
mod mission;
mod original;
mod overlays;
mod reads;
mod rolling;
