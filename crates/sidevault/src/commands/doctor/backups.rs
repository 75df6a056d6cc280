//! Whether there is a backup, and how old it is.

use sidevault_model::Timestamp;
use sidevault_store::Database;
use sidevault_sync::backup::{BackupRecord, Shipped};

use super::Findings;
use crate::installation::Installation;

/// A backup may be late by the time from one backup to the next, because it takes time itself.
const LATE: u64 = 2;

/// Checks what the data directory's record of backups says. `has_local` is whether the store has items that are nowhere else.
pub(super) fn check(findings: &mut Findings, installation: &Installation, has_local: bool) {
    let record = BackupRecord::read(&installation.data);
    if let Some(shipped) = &record.shipped {
        assess_shipped(findings, shipped);
    }
    // A database server usually has backups of its own.
    let is_elsewhere = matches!(installation.database(), Ok(Database::Postgres(_)));
    let needs_some = has_local && !is_elsewhere;
    assess(findings, &record, needs_some, Timestamp::now());
}

/// Checks how far a continuous backup is.
fn assess_shipped(findings: &mut Findings, shipped: &Shipped) {
    let check = "continuous backup";
    match &shipped.failed {
        Some(failed) => findings.warn(
            check,
            format!(
                "changes can't be sent to the backups since {}: {}",
                failed.at, failed.error
            ),
            "remove the cause; sync then sends what is missing by itself",
        ),
        None if shipped.through > 0 => findings.ok(
            check,
            format!(
                "the backups had every change up to {} at {}",
                shipped.through, shipped.at
            ),
        ),
        None => {}
    }
}

fn assess(findings: &mut Findings, record: &BackupRecord, needs_some: bool, now: Timestamp) {
    let check = "backup";
    let newest = match (record.last, &record.location) {
        (Some(at), Some(location)) => format!("the newest is of {at}: {location}"),
        (Some(at), None) => format!("the newest is of {at}"),
        (None, _) => "there is none".to_owned(),
    };
    if let Some(failed) = &record.failed {
        findings.warn(
            check,
            format!("the last backup failed at {}: {}; {newest}", failed.at, failed.error),
            "remove the cause, and make one: sidevault backup --to DIR",
        );
        return;
    }
    let Some(last) = record.last else {
        if needs_some {
            findings.warn(
                check,
                "no backup of this store was ever made here, and its local vaults are nowhere else",
                "sidevault backup --to DIR or s3://BUCKET/PREFIX; sync makes them by itself with --backup-to (docs/operations.md)",
            );
        }
        return;
    };
    let age = u64::try_from(now.as_millis() - last.as_millis()).unwrap_or_default() / 1000;
    match record.every {
        Some(every) if age > every.saturating_mul(LATE) => findings.warn(
            check,
            format!("sync is to make a backup every {every} seconds, and {newest}"),
            "start sync, and see its log",
        ),
        _ => findings.ok(check, newest),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use sidevault_sync::backup::FailedBackup;

    use super::*;
    use crate::commands::doctor::Level;

    fn assessed(record: &BackupRecord, needs_some: bool) -> Option<(Level, String)> {
        let mut findings = Findings::default();
        let now = Timestamp::parse("2026-11-30T12:00:00Z").unwrap();
        assess(&mut findings, record, needs_some, now);
        findings.0.pop().map(|finding| (finding.level, finding.cause))
    }

    #[test]
    fn a_missing_an_old_and_a_failed_backup_are_warnings() {
        let none = BackupRecord::default();
        assert_eq!(assessed(&none, false), None);
        let (level, cause) = assessed(&none, true).unwrap();
        assert!(
            level == Level::Warn && cause.contains("no backup of this store"),
            "{cause}"
        );

        let made = |at: &str, every| BackupRecord {
            last: Timestamp::parse(at),
            location: Some("/backups/a".to_owned()),
            every,
            failed: None,
            shipped: None,
        };
        let now = Timestamp::parse("2026-11-30T12:00:00Z").unwrap();
        let hour = Some(3600);
        for (record, level, words) in [
            (made("2026-11-30T10:30:00Z", hour), Level::Ok, "/backups/a"),
            (made("2026-11-30T09:59:00Z", hour), Level::Warn, "every 3600 seconds"),
            // Nobody said how often.
            (made("2026-01-30T09:59:00Z", None), Level::Ok, "of 2026-01-30"),
        ] {
            let (found, cause) = assessed(&record, true).unwrap();
            assert!(found == level && cause.contains(words), "{cause}");
        }

        let mut findings = Findings::default();
        let mut shipped = Shipped {
            through: 17,
            ..Shipped::default()
        };
        assess_shipped(&mut findings, &shipped);
        shipped.failed = Some(FailedBackup {
            at: now,
            error: "the bucket is gone".to_owned(),
        });
        assess_shipped(&mut findings, &shipped);
        let [good, bad] = &findings.0[..] else {
            panic!("two findings")
        };
        assert!(
            good.level == Level::Ok && good.cause.contains("up to 17"),
            "{}",
            good.cause
        );
        assert!(
            bad.level == Level::Warn && bad.cause.contains("the bucket is gone"),
            "{}",
            bad.cause
        );

        let mut failed = made("2026-11-30T11:59:00Z", hour);
        failed.failed = Some(FailedBackup {
            at: Timestamp::parse("2026-11-30T11:59:30Z").unwrap(),
            error: "the disk is full".to_owned(),
        });
        let (level, cause) = assessed(&failed, false).unwrap();
        assert!(
            level == Level::Warn && cause.contains("the disk is full; the newest is of"),
            "{cause}"
        );
    }
}
