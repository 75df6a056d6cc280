//! `sidevault keys`: what keys a server has, how they are replaced, and copies of them.

pub(super) mod recovery;
mod rotate;
mod status;

use crate::cli::{Keys, Rotate};
use crate::environment::Environment;
use crate::exit::Failure;
use crate::installation::Installation;

/// Runs one of the sub-commands.
pub(crate) async fn run(command: Keys, environment: &Environment) -> Result<(), Failure> {
    match command {
        Keys::Status { place, json } => status::run(&Installation::find(&place, environment), json).await,
        Keys::Rotate(Rotate::Root(arguments)) => {
            rotate::root(&arguments, &Installation::find(&arguments.place, environment)).await
        }
        Keys::Rotate(Rotate::Issuer(arguments)) => {
            rotate::issuer(&arguments, &Installation::find(&arguments.place, environment))
        }
        Keys::Rotate(Rotate::Data { place }) => rotate::data(&Installation::find(&place, environment)).await,
        Keys::Backup(arguments) => recovery::back_up(&arguments, &Installation::find(&arguments.place, environment)),
        Keys::Restore(arguments) => recovery::restore(&arguments, environment),
    }
}
