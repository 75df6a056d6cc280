//! Sidevault: a self-hosted server that speaks the 1Password Connect API, in one binary.
//!
//! This crate connects the other crates and holds no business rules: `cli` declares the command line, `commands` has one
//! module a command, `settings` reads the daemons' environment. The features `server` and `operator` choose which
//! commands are built.

#[cfg(feature = "server")]
mod admin;
mod cli;
mod commands;
mod duration;
mod environment;
mod exit;
#[cfg(feature = "server")]
mod fields;
#[cfg(feature = "server")]
mod grants;
#[cfg(feature = "server")]
mod input;
#[cfg(feature = "server")]
mod installation;
#[cfg(feature = "server")]
mod kubectl;
#[cfg(feature = "server")]
mod listening;
mod logs;
#[cfg(feature = "server")]
mod manifests;
#[cfg(feature = "server")]
mod op;
#[cfg(feature = "server")]
mod output;
#[cfg(feature = "server")]
mod recovery;
mod roles;
#[cfg(feature = "server")]
mod secrets;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod settings;
mod signals;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use tracing::level_filters::LevelFilter;

use crate::cli::{Cli, Command};
use crate::environment::Environment;
use crate::exit::Failure;
use crate::logs::LogSettings;

/// How long the process waits for blocking system calls when all else has ended. A read from a file system that does not
/// answer can't be interrupted, and would keep the process from ending.
const UNFINISHED_READS: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    #[cfg(feature = "server")]
    if let Some(failed) = secrets::terminal::in_new_session(&arguments) {
        return failed;
    }
    let arguments = roles::arguments(arguments);
    // `op` has its own rules for flags, errors and standard error.
    #[cfg(feature = "server")]
    if arguments.get(1).is_some_and(|word| word == "op") {
        return op::main(arguments.into_iter().skip(2).collect());
    }
    #[cfg(feature = "operator")]
    let (arguments, ignored) = cli::without_ignored(arguments);
    #[cfg(not(feature = "operator"))]
    let ignored: Vec<&str> = Vec::new();
    let cli = Cli::parse_from(arguments);
    let daemon = is_daemon(&cli.command);
    match run(cli.command, daemon, &ignored, &Environment::of_process()) {
        Ok(()) => ExitCode::SUCCESS,
        // The reason why a daemon ended belongs into its log, in the log's format.
        Err(failure) if daemon => {
            tracing::error!("{failure}");
            ExitCode::from(failure.code())
        }
        Err(failure) => failure.report(),
    }
}

/// Whether the command runs until a signal ends it, as `api`, `sync` and `operator` do in containers.
fn is_daemon(command: &Command) -> bool {
    match command {
        #[cfg(feature = "server")]
        Command::Api | Command::Sync(_) => true,
        #[cfg(feature = "operator")]
        Command::Operator(_) => true,
        _ => false,
    }
}

fn run(command: Command, daemon: bool, ignored: &[&str], environment: &Environment) -> Result<(), Failure> {
    let level = if daemon { LevelFilter::INFO } else { LevelFilter::WARN };
    #[cfg_attr(not(feature = "operator"), allow(unused_mut))]
    let mut log = LogSettings::read(environment, level);
    #[cfg(feature = "operator")]
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
    // Nearly every command handles keys or secrets, which a core dump would write to disk.
    if let Err(error) = sidevault_keys::harden_process() {
        tracing::warn!(%error, "core dumps could not be turned off");
    }
    if daemon && let Some(warning) = environment.unknown_variables() {
        tracing::warn!("{warning}");
    }
    match command {
        #[cfg(feature = "server")]
        Command::Init(arguments) => commands::init::run(&arguments),
        Command::Completion { shell } => commands::completion::run(shell),
        Command::Man { out } => commands::man::run(out.as_deref()),
        command => {
            let runtime = runtime()?;
            let outcome = runtime.block_on(run_async(command, environment));
            runtime.shutdown_timeout(UNFINISHED_READS);
            outcome
        }
    }
}

#[cfg_attr(not(feature = "server"), allow(unused_variables))]
async fn run_async(command: Command, environment: &Environment) -> Result<(), Failure> {
    match command {
        #[cfg(feature = "server")]
        Command::Quickstart(arguments) => commands::quickstart::run(arguments, environment).await,
        #[cfg(feature = "server")]
        Command::Api => commands::api::run(environment).await,
        #[cfg(feature = "server")]
        Command::Sync(arguments) => commands::sync::run(arguments, environment).await,
        #[cfg(feature = "operator")]
        Command::Operator(arguments) => commands::operator::run(*arguments).await,
        #[cfg(feature = "server")]
        Command::Token(command) => commands::token::run(command, environment).await,
        #[cfg(feature = "server")]
        Command::Keys(command) => commands::keys::run(command, environment).await,
        #[cfg(feature = "server")]
        Command::Vault(command) => commands::vault::run(command, environment).await,
        #[cfg(feature = "server")]
        Command::Source(command) => commands::source::run(&command),
        #[cfg(feature = "server")]
        Command::Sops(command) => commands::sops::run(&command),
        #[cfg(feature = "server")]
        Command::Store(command) => commands::store::run(command, environment).await,
        #[cfg(feature = "server")]
        Command::Backup(arguments) => commands::backup::run(arguments, environment).await,
        #[cfg(feature = "server")]
        Command::Restore(arguments) => commands::restore::run(arguments, environment).await,
        #[cfg(feature = "exchange")]
        Command::Export(arguments) => commands::export::run(arguments, environment).await,
        #[cfg(feature = "exchange")]
        Command::Migrate(arguments) => commands::migrate::run(arguments, environment).await,
        #[cfg(feature = "exchange")]
        Command::Import(arguments) => commands::import::run(arguments, environment).await,
        #[cfg(feature = "exchange")]
        Command::Verify(arguments) => commands::verify::run(arguments, environment).await,
        #[cfg(feature = "server")]
        Command::Item(command) => commands::item::run(command, environment).await,
        #[cfg(feature = "server")]
        Command::Read(arguments) => commands::read::run(arguments, environment).await,
        #[cfg(feature = "server")]
        Command::Run(arguments) => commands::run::run(arguments, environment).await,
        #[cfg(feature = "server")]
        Command::Inject(arguments) => commands::inject::run(arguments, environment).await,
        #[cfg(feature = "server")]
        Command::Document(arguments) => commands::document::run(arguments, environment).await,
        #[cfg(feature = "server")]
        Command::Status(arguments) => commands::status::run(&arguments).await,
        #[cfg(feature = "server")]
        Command::Doctor(arguments) => commands::doctor::run(&arguments, environment).await,
        // `run` has carried out the others.
        _ => Ok(()),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("the asynchronous runtime can't be started: {error}")))
}
