//! `read`, `run`, `inject`, `document`, `export` and the `op` command, as scripts and other programs call them.

mod calls;
mod export;
mod native;
mod op;
mod references;
mod running;
mod world;
