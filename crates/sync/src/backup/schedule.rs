//! Backups that sync makes by itself, while it leads.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sidevault_model::Timestamp;
use sidevault_store::Database;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::continuous::{self, Base, Exchange, Shipping};
use super::{BackupError, BackupRecord, Place, Recipient, Retention, Target, write};
use crate::metrics::Metrics;
use crate::status::{BackupState, Status};

/// How long sync waits after a backup that failed, or less if backups are made more often.
const RETRY: Duration = Duration::from_secs(60);

/// The longest sleep. The system's clock may be set meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// When and where sync makes backups.
#[derive(Clone, Debug)]
pub struct BackupSchedule {
    /// Where they are kept.
    pub place: Place,
    /// The time from one backup to the next.
    pub every: Duration,
    /// Which older backups are kept. None: all.
    pub keep: Option<Retention>,
    /// Who can decrypt the backups. Empty: they are not encrypted.
    pub recipients: Vec<Recipient>,
    /// Whether each second's changes are sent to the place, too.
    pub is_continuous: bool,
}

/// Makes backups until `stop` is cancelled, and notes in the data directory `data` what became of them. The first one is due when the
/// newest backup in the place is old enough, so that a restart neither skips a backup nor makes one too many. A backup that has begun is
/// finished. `committed` has the number of the newest change.
pub(crate) async fn run(
    schedule: BackupSchedule,
    database: Database,
    data: PathBuf,
    status: Arc<Status>,
    metrics: Arc<Metrics>,
    committed: watch::Receiver<i64>,
    stop: CancellationToken,
) {
    let exchange = Exchange::default();
    let ships = async {
        if schedule.is_continuous {
            let shipping = Shipping::new(&schedule, &database, &data, &status, &metrics);
            continuous::run(shipping, &exchange, committed, &stop).await;
        }
    };
    let backs_up = back_up_until(&stop, &schedule, &database, &data, &status, &metrics, &exchange);
    tokio::join!(ships, backs_up);
    metrics.makes_no_backups();
}

async fn back_up_until(
    stop: &CancellationToken,
    schedule: &BackupSchedule,
    database: &Database,
    data: &Path,
    status: &Status,
    metrics: &Metrics,
    exchange: &Exchange,
) {
    let last = newest(schedule).await;
    metrics.backed_up(last);
    status.backup(BackupState::Good { last });
    let mut is_wanted = exchange.is_wanted.subscribe();
    let mut due = last.map(|last| after(last, schedule.every));
    loop {
        while let Some(wait) = due.and_then(until) {
            tokio::select! {
                () = tokio::time::sleep(wait.min(LONGEST_SLEEP)) => {}
                Ok(_) = is_wanted.wait_for(|is_wanted| *is_wanted) => due = None,
                () = stop.cancelled() => return,
            }
        }
        if stop.is_cancelled() {
            return;
        }
        due = Some(match back_up(schedule, database, data, metrics).await {
            Ok(base) => {
                let taken_at = base.taken_at;
                status.backup(BackupState::Good { last: Some(taken_at) });
                exchange.is_wanted.send_replace(false);
                exchange.newest.send_replace(Some(base));
                after(taken_at, schedule.every)
            }
            Err(error) => {
                status.backup(BackupState::failed(newest(schedule).await, &error));
                metrics.backup_failed();
                BackupRecord::failed(data, &error);
                after(Timestamp::now(), schedule.every.min(RETRY))
            }
        });
    }
}

async fn back_up(
    schedule: &BackupSchedule,
    database: &Database,
    data: &Path,
    metrics: &Metrics,
) -> Result<Base, BackupError> {
    let target = Target::In(schedule.place.clone());
    let made = write(database, &target, &schedule.recipients).await?;
    let taken_at = made.manifest.taken_at;
    metrics.backed_up(Some(taken_at));
    BackupRecord::made(data, taken_at, &made.location);
    tracing::info!(
        path = made.location,
        bytes = made.bytes,
        change = made.manifest.newest_change,
        "a backup was made"
    );
    if let Some(retention) = &schedule.keep {
        for backup in schedule.place.thin_out(retention).await? {
            tracing::info!(path = backup.location, "an old backup was deleted");
        }
    }
    Ok(Base {
        name: made.name,
        taken_at,
        newest_change: made.manifest.newest_change,
        manifest_sha256: made.manifest.sha256,
    })
}

/// When the newest backup was made. None if there is none, or the place can't be read: then the next backup fails and says why.
async fn newest(schedule: &BackupSchedule) -> Option<Timestamp> {
    Some(schedule.place.newest().await.ok()??.taken_at)
}

fn after(time: Timestamp, wait: Duration) -> Timestamp {
    let millis = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(time.as_millis().saturating_add(millis))
}

/// How long it is until then. None if that time has come.
fn until(due: Timestamp) -> Option<Duration> {
    let millis = due.as_millis() - Timestamp::now().as_millis();
    u64::try_from(millis)
        .ok()
        .filter(|millis| *millis > 0)
        .map(Duration::from_millis)
}
