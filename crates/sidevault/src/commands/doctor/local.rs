//! Checks of the data directory, the store in it, sync, and the ports.

use std::os::unix::fs::MetadataExt as _;

use sidevault_keys::Credentials;
use sidevault_store::{Command, CommandAnswer, LOCAL_SOURCE, Reader, Space};
use sidevault_sync::disk_of;

use super::{Advice, Findings, backups, keys};
use crate::admin;
use crate::commands::vault;
use crate::environment::Environment;
use crate::exit::Failure;
use crate::installation::Installation;
use crate::listening;
use crate::settings::{Role, Settings, low_disk};

/// Checks whether the data directory can be used, has room, and outlives a Pod.
pub(super) fn directory(findings: &mut Findings, environment: &Environment, installation: &Installation) {
    let dir = &installation.data;
    let shown = dir.display();
    let uid = rustix::process::geteuid().as_raw();
    let metadata = match dir.metadata() {
        Ok(metadata) if metadata.is_dir() => metadata,
        Ok(_) => {
            findings.fail(
                "data",
                format!("{shown} is not a directory"),
                "name another one: XDG_DATA_HOME or --data",
            );
            return;
        }
        Err(error) => {
            findings.fail(
                "data",
                format!("{shown}: {error}"),
                format!("mkdir -p {shown}, or sidevault quickstart"),
            );
            return;
        }
    };
    let owner = metadata.uid();
    if metadata.mode() & 0o007 != 0 {
        findings.warn(
            "data",
            format!("every user of this machine may read or list {shown}"),
            format!("chmod o-rwx {shown}"),
        );
    }
    let writable = rustix::fs::access(dir, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK);
    match writable {
        Ok(()) => findings.ok(
            "data",
            format!("{shown} is writable for uid {uid} (it belongs to uid {owner})"),
        ),
        Err(error) => findings.fail(
            "data",
            format!("{shown} belongs to uid {owner}, and uid {uid} can't write there: {error}"),
            format!("chown -R {uid} {shown} (in Kubernetes: securityContext.fsGroup: 999)"),
        ),
    }
    if let (Some(space), Ok(low_disk)) = (Space::of(dir), low_disk(environment)) {
        if low_disk.is_low(space) {
            findings.warn("space", low_disk.warning(space), format!("make room: df -h {shown}"));
        } else {
            findings.ok("space", format!("{} MB are free", space.free >> 20));
        }
    }
    let disk = match installation.database() {
        Ok(database) => disk_of(&database, dir),
        Err(failure) => {
            findings.fail("store", failure.to_string(), "correct SIDEVAULT_STORE");
            return;
        }
    };
    if disk.is_ephemeral() {
        findings.warn(
            "disk",
            format!("{shown} is on {disk}, and lost with it: directory vaults are read again, local vaults are gone"),
            "mount a persistent volume there",
        );
    } else {
        findings.ok("disk", format!("{shown} is on {disk}"));
    }
}

/// Checks whether the store opens with these keys and is sound.
pub(super) async fn store(
    findings: &mut Findings,
    installation: &Installation,
    credentials: &Credentials,
    advice: &Advice,
) {
    if !installation.has_store() {
        findings.warn(
            "store",
            format!("no store in {} yet", installation.data.display()),
            advice.start_sync(),
        );
        return;
    }
    match vault::all(installation, credentials).await {
        Ok(vaults) => {
            let items: u64 = vaults.iter().map(|vault| vault.items).sum();
            findings.ok(
                "store",
                format!("opens with these keys; {} vaults, {items} items", vaults.len()),
            );
            let has_local = vaults
                .iter()
                .any(|vault| vault.source == LOCAL_SOURCE && vault.items > 0);
            backups::check(findings, installation, has_local);
        }
        Err(failure) => {
            let fix = match failure {
                Failure::Integrity(_) => "export OP_SESSION=FILE, the credentials file that this store was made with",
                _ => "restore the store from a backup (docs/operations.md)",
            };
            findings.fail("store", failure.to_string(), fix);
            return;
        }
    }
    if let Ok(reader) = installation.reader(credentials).await {
        match reader.tokens().await {
            Ok(tokens) => keys::known_tokens(findings, &tokens),
            Err(error) => findings.fail("tokens", error.to_string(), "restore the store from a backup"),
        }
        sound(findings, &reader).await;
        reader.close().await;
    }
}

/// Has SQLite check the database, if the store is in one. A running sync does not disturb it.
async fn sound(findings: &mut Findings, reader: &Reader) {
    let check = "integrity";
    match reader.quick_check().await {
        Ok(None) => {}
        Ok(Some(verdict)) if verdict == "ok" => findings.ok(check, "SQLite finds nothing wrong"),
        Ok(Some(verdict)) => findings.fail(check, verdict, "restore the store from a backup"),
        Err(error) => findings.fail(check, error.to_string(), "restore the store from a backup"),
    }
}

/// Checks whether sync runs and answers. Returns whether it runs.
pub(super) async fn sync(
    findings: &mut Findings,
    installation: &Installation,
    credentials: Option<&Credentials>,
    advice: &Advice,
) -> bool {
    let stream = match admin::connect(installation).await {
        Ok(Some(stream)) => stream,
        Ok(None) => {
            findings.warn(
                "sync",
                format!(
                    "no sync runs on {}: the api can't write, and changes of files are not seen",
                    installation.data.display()
                ),
                advice.start_sync(),
            );
            return false;
        }
        Err(failure) => {
            findings.fail("sync", failure.to_string(), "run doctor as the user sync runs as");
            return true;
        }
    };
    let Some(credentials) = credentials else { return true };
    match admin::over(stream, credentials, &Command::Ping).await {
        Ok(CommandAnswer::Done) => findings.ok("sync", "runs and answers"),
        Ok(CommandAnswer::Refused(refusal)) => findings.fail(
            "sync",
            format!("runs, but {}", refusal.message),
            format!("df -h {}, and {}", installation.data.display(), advice.log()),
        ),
        Ok(_) => findings.fail(
            "sync",
            "is of another version: its answer is not understood",
            "restart sync",
        ),
        Err(failure) => findings.fail("sync", failure.to_string(), "restart sync with this credentials file"),
    }
    true
}

/// Checks whether the ports of api and sync are free, unless the process runs.
pub(super) async fn ports(findings: &mut Findings, environment: &Environment, api_is_up: bool, sync_is_up: bool) {
    let mut wanted = Vec::new();
    for (role, is_up) in [(Role::Api, api_is_up), (Role::Sync, sync_is_up)] {
        match Settings::read(environment, role) {
            Ok(_) if is_up => {}
            Ok(settings) => {
                wanted.push((settings.http_port, "OP_HTTP_PORT"));
                wanted.extend(settings.bus_port.map(|port| (port, "OP_BUS_PORT")));
            }
            Err(failure) => {
                findings.fail("settings", failure.to_string(), "correct the variable, or unset it");
                return;
            }
        }
    }
    wanted.dedup();
    for (port, variable) in wanted {
        match listening::everywhere(port, variable).await {
            Ok(_) => findings.ok("port", format!("{port} ({variable}) is free")),
            Err(failure) => findings.warn(
                "port",
                failure.to_string(),
                format!("set {variable} to another port, or stop what listens on {port}"),
            ),
        }
    }
}
