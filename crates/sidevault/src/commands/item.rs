//! stub
use crate::{cli, environment::Environment, exit::Failure};
pub(crate) async fn run(_: cli::Item, _: &Environment) -> Result<(), Failure> { Ok(()) }
