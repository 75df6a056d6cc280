//! Sidevault: a self-hosted server that speaks the 1Password Connect API, in one binary.
//!
//! This crate wires the others together and holds no business rules: `cli` says what can be
//! asked, `commands` has one module a command, `settings` reads the daemons' environment.

mod admin;
mod cli;
mod commands;
mod duration;
mod environment;
mod exit;
mod fields;
mod grants;
mod installation;
mod listening;
mod logs;
mod output;
mod roles;
mod settings;
mod signals;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use tracing::level_filters::LevelFilter;

use crate::cli::{Cli, Command, without_ignored};
use crate::environment::Environment;
use crate::exit::Failure;
use crate::settings::{LogSettings, unknown_variables};

/// How long the process waits for blocking system calls when all else has ended. A read from a file system that does not
/// answer can't be interrupted, and would keep the process from ending.
const UNFINISHED_READS: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let (arguments, ignored) = without_ignored(roles::arguments(std::env::args_os()));
    let cli = Cli::parse_from(arguments);
    let daemon = matches!(cli.command, Command::Api | Command::Sync(_) | Command::Operator(_));
    match run(cli.command, daemon, &ignored, &Environment::of_process()) {
        Ok(()) => ExitCode::SUCCESS,
        // What ends a daemon belongs into its log, in the log's format.
        Err(failure) if daemon => {
            tracing::error!("{failure}");
            ExitCode::from(failure.code())
        }
        Err(failure) => failure.report(),
    }
}

fn run(command: Command, daemon: bool, ignored: &[&str], environment: &Environment) -> Result<(), Failure> {
    let level = match daemon {
        true => LevelFilter::INFO,
        false => LevelFilter::WARN,
    };
    let mut log = LogSettings::read(environment, level);
    if let Command::Operator(arguments) = &command
        && let Some(level) = arguments.log_level
    {
        log.level = level;
    }
    logs::start(&log);
    if !ignored.is_empty() {
        tracing::warn!(
            "flags of External Secrets without a meaning here: --{}",
            ignored.join(", --")
        );
    }
    // Every command but three handles keys; core dumps help nobody with those either.
    if let Err(error) = sidevault_keys::harden_process() {
        tracing::warn!(%error, "core dumps could not be turned off");
    }
    if daemon && let Some(complaint) = unknown_variables(environment) {
        tracing::warn!("{complaint}");
    }
    match command {
        Command::Init(arguments) => commands::init::run(&arguments),
        Command::Completion { shell } => commands::completion::completion(shell),
        Command::Man { out } => commands::completion::man(out.as_deref()),
        command => {
            let runtime = runtime()?;
            let outcome = runtime.block_on(run_async(command, environment));
            runtime.shutdown_timeout(UNFINISHED_READS);
            outcome
        }
    }
}

async fn run_async(command: Command, environment: &Environment) -> Result<(), Failure> {
    match command {
        Command::Quickstart(arguments) => commands::quickstart::run(arguments, environment).await,
        Command::Api => commands::api::run(environment).await,
        Command::Sync(arguments) => commands::sync::run(arguments, environment).await,
        Command::Operator(arguments) => commands::operator::run(*arguments).await,
        Command::Token(command) => commands::token::run(command, environment).await,
        Command::Vault(command) => commands::vault::run(command, environment).await,
        Command::Item(command) => commands::item::run(command, environment).await,
        Command::Doctor(arguments) => commands::doctor::run(&arguments, environment).await,
        Command::Init(_) | Command::Completion { .. } | Command::Man { .. } => Ok(()),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("no runtime: {error}")))
}
