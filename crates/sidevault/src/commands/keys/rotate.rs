//! `sidevault keys rotate`: writes files with new keys, and has sync replace data keys. The present files stay as they are.

use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use sidevault_keys::{Credentials, write_all_new, write_new};
use sidevault_model::Timestamp;
use sidevault_store::{Command, CommandAnswer, Resealing};
use zeroize::Zeroizing;

use super::status;
use crate::admin::Writer;
use crate::cli::{RotateIssuer, RotateRoot};
use crate::exit::Failure;
use crate::installation::Installation;
use crate::output;

/// Writes a credentials file with a new root key, or one without the old root key.
pub(super) async fn root(arguments: &RotateRoot, installation: &Installation) -> Result<(), Failure> {
    let mut credentials = installation.credentials()?;
    let out = arguments.out.display();
    if arguments.finish {
        if !arguments.unchecked {
            check_store(installation, &credentials).await?;
        }
        if !credentials.finish_root() {
            return Err(Failure::Conflict(
                "the credentials file has one root key only: there is nothing to finish".to_owned(),
            ));
        }
        write(&credentials, &arguments.out, installation)?;
        return output::line(&format!(
            "Wrote {out}, without the old root key. Give it to api and sync, and restart them, once both have run with the file that \
             has both root keys. Backups from before the rotation still need the old file."
        ));
    }
    if !credentials.rotate_root() {
        return Err(Failure::Conflict(
            "the credentials file has two root keys already: finish that rotation first (sidevault keys rotate root --finish)"
                .to_owned(),
        ));
    }
    write(&credentials, &arguments.out, installation)?;
    output::line(&format!(
        "Wrote {out}, with a new root key and the old one. Give it to api and sync in place of the present file, and restart them, in any \
         order. Then: sidevault keys rotate root --session {out} --finish --out FILE"
    ))
}

/// Refuses while a key in the store is wrapped under an old root key only.
async fn check_store(installation: &Installation, credentials: &Credentials) -> Result<(), Failure> {
    if !installation.has_store() {
        return Err(Failure::NotFound(format!(
            "no store in {}, so it can't be checked whether the old root key is still needed: run this where sync runs, or run \
             `sidevault keys status` there and add --unchecked here",
            installation.data.display()
        )));
    }
    match status::not_under_newest(installation, credentials).await? {
        0 => Ok(()),
        keys => Err(Failure::Conflict(format!(
            "{keys} keys in the store are wrapped under the old root key only: give sync the credentials file with both root \
             keys, and restart it, first"
        ))),
    }
}

/// Writes a new issuer and credentials that accept its tokens, or credentials without the old issuers.
pub(super) fn issuer(arguments: &RotateIssuer, installation: &Installation) -> Result<(), Failure> {
    let mut credentials = installation.credentials()?;
    let out = arguments.out.display();
    let Some(issuer_out) = &arguments.issuer_out else {
        let dropped = credentials.finish_issuer();
        if dropped.is_empty() {
            return Err(Failure::Conflict(
                "the credentials file has no old issuer: there is nothing to finish".to_owned(),
            ));
        }
        write(&credentials, &arguments.out, installation)?;
        return output::line(&format!(
            "Wrote {out}, without the old issuer {}. Give it to api and sync, and restart them.",
            dropped.join(", ")
        ));
    };
    let lasts = i64::try_from(arguments.old_until.as_millis()).unwrap_or(i64::MAX);
    let until = Timestamp::from_millis(Timestamp::now().as_millis().saturating_add(lasts));
    let issuer = credentials.rotate_issuer(until);
    let content = content(&credentials, installation)?;
    write_all_new([
        (issuer_out.as_path(), issuer.to_json().as_bytes()),
        (arguments.out.as_path(), content.as_bytes()),
    ])?;
    output::line(&format!(
        "Wrote {issuer}, which signs tokens, and {out}, which accepts them, and those of the old issuer until {until}. Give {out} to api \
         and sync, and restart them; then make new tokens: sidevault token create NAME --vault VAULT=read --issuer {issuer}",
        issuer = issuer_out.display(),
    ))
}

/// How often sync is asked how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Has the store's writer replace the data keys, and waits until no row is sealed with an old one.
pub(super) async fn data(installation: &Installation) -> Result<(), Failure> {
    let credentials = installation.credentials()?;
    if !installation.has_store() {
        return Err(Failure::NotFound(format!(
            "no store in {}: run this where sync runs",
            installation.data.display()
        )));
    }
    let writer = Writer::open(installation, &credentials).await?;
    let (rotated, state) = data_keys(&writer, true).await?;
    if !rotated {
        eprintln!(
            "note: rows are still being sealed anew since an earlier rotation. This command waits for that. If the data keys of now \
             must go, too, run it once more then"
        );
    }
    let outcome = wait_until_resealed(&writer, state).await;
    writer.close().await;
    match outcome {
        Ok(0) => output::line(
            "Every row is sealed with a new data key, and the old keys are deleted. Backups from before hold the old keys: make a new \
             backup, and delete those that must not be read.",
        ),
        Ok(damaged) => Err(Failure::Failed(format!(
            "{damaged} rows can't be decrypted, so they were not sealed anew, and the old data keys stay. All other rows have new keys. \
             The log of sync names the rows; a backup that has them whole can be restored"
        ))),
        Err(failure) => {
            eprintln!("note: sync goes on by itself; `sidevault keys status` says when no row needs an old data key");
            Err(failure)
        }
    }
}

/// Shows how far the writer is. Returns how many rows can't be sealed anew.
async fn wait_until_resealed(writer: &Writer, mut state: Resealing) -> Result<u64, Failure> {
    let progress = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent} % of the rows, {eta} left") {
        progress.set_style(style);
    }
    loop {
        match state {
            Resealing::Idle => break,
            Resealing::Damaged { rows } => return Ok(rows),
            Resealing::Running { done, total } => {
                progress.set_length(total);
                progress.set_position(done);
            }
        }
        tokio::time::sleep(PROGRESS_INTERVAL).await;
        (_, state) = data_keys(writer, false).await?;
    }
    progress.finish_and_clear();
    Ok(0)
}

async fn data_keys(writer: &Writer, rotate: bool) -> Result<(bool, Resealing), Failure> {
    match writer.command(Command::DataKeys { rotate }).await? {
        CommandAnswer::DataKeys { rotated, state } => Ok((rotated, state)),
        _ => Err(Failure::Failed(
            "sync is of another version: its answer was not understood".to_owned(),
        )),
    }
}

/// Writes a new credentials file.
fn write(credentials: &Credentials, out: &Path, installation: &Installation) -> Result<(), Failure> {
    Ok(write_new(out, content(credentials, installation)?.as_bytes())?)
}

/// The content of a credentials file, locked if the present one is.
fn content(credentials: &Credentials, installation: &Installation) -> Result<Zeroizing<String>, Failure> {
    let passphrase = installation.passphrase()?.filter(|_| credentials.is_locked());
    Ok(credentials.to_json(passphrase.as_ref()))
}
