//! The data directory, the store in it, sync, and the ports.

use std::os::unix::fs::MetadataExt as _;

use sidevault_keys::Credentials;
use sidevault_store::{Command, CommandAnswer, Reader, Space};
use sidevault_sync::disk_of;

use super::{Findings, keys};
use crate::admin;
use crate::commands::vault;
use crate::environment::Environment;
use crate::installation::Installation;
use crate::listening;
use crate::settings::{Role, Settings, low_disk};

/// Whether the data directory can be used, and whether it stays.
pub(super) fn directory(findings: &mut Findings, environment: &Environment, installation: &Installation) {
    let dir = &installation.data;
    let shown = dir.display();
    let uid = rustix::process::geteuid().as_raw();
    let metadata = match dir.metadata() {
        Ok(metadata) if metadata.is_dir() => metadata,
        Ok(_) => {
            findings.fail(
                "data",
                format!("{shown} is no directory"),
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
            format!("every user of this machine can look into {shown}, or more"),
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
        match low_disk.is_low(space) {
            true => findings.warn("space", low_disk.warning(space), format!("make room: df -h {shown}")),
            false => findings.ok("space", format!("{} MB are free", space.free >> 20)),
        }
    }
    let disk = disk_of(dir);
    match disk.is_ephemeral() {
        false => findings.ok("disk", format!("{shown} is on {disk}")),
        true => findings.warn(
            "disk",
            format!("{shown} is on {disk}: fine for directories, fatal for local vaults"),
            "mount a persistent volume there",
        ),
    }
}

/// Whether the store opens with these keys and is sound; and what is in it.
pub(super) async fn store(findings: &mut Findings, installation: &Installation, credentials: &Credentials) {
    if !installation.has_store() {
        findings.warn(
            "store",
            format!("no store in {} yet", installation.data.display()),
            "start `sidevault sync` or `sidevault quickstart` once: it makes it",
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
        }
        Err(failure) => {
            findings.fail(
                "store",
                failure.to_string(),
                "use the credentials file this store was made with",
            );
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

/// SQLite's own check, while sync is at work too.
async fn sound(findings: &mut Findings, reader: &Reader) {
    let check = "integrity";
    match reader.quick_check().await {
        Ok(verdict) if verdict == "ok" => findings.ok(check, "SQLite finds nothing wrong"),
        Ok(verdict) => findings.fail(check, verdict, "restore the store from a backup"),
        Err(error) => findings.fail(check, error.to_string(), "restore the store from a backup"),
    }
}

/// Whether sync runs and answers.
pub(super) async fn sync(
    findings: &mut Findings,
    installation: &Installation,
    credentials: Option<&Credentials>,
) -> bool {
    let stream = match admin::connect(installation).await {
        Ok(Some(stream)) => stream,
        Ok(None) => {
            findings.warn(
                "sync",
                format!(
                    "no sync works on {}: nothing can be written",
                    installation.data.display()
                ),
                "sidevault sync",
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
            format!("df -h {}, and see sync's log", installation.data.display()),
        ),
        Ok(_) => findings.fail("sync", "answers oddly: it is of another version", "restart sync"),
        Err(failure) => findings.fail("sync", failure.to_string(), "restart sync with this credentials file"),
    }
    true
}

/// Whether the daemons' ports are free, where no daemon has them.
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
