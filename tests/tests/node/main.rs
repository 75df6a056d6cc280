//! Pods on a real node, with the images that `deploy/image/build` makes.

mod chart;
mod faults;
mod fixture;
mod mission;
