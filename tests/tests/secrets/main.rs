//! `read`, `run`, `inject`, `document` and the `op` command, as scripts and other programs call them.

mod calls;
mod native;
mod op;
mod references;
mod running;
mod world;
