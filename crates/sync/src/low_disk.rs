//! When the disk has too little free space for activity records and old versions of items.

use std::time::Duration;

use sidevault_store::Space;

/// How often the free space is read, and how often a store that could not be written is tried again.
pub(crate) const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The limit of free space below which activity records and old versions of items are not kept. `/health` then says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LowDisk {
    /// The limit in bytes. `None` stands for 64 MiB, or a tenth of the volume if that is less.
    pub below: Option<u64>,
}

impl LowDisk {
    /// Whether less is free than the limit.
    pub fn is_low(self, space: Space) -> bool {
        space.free < self.threshold(space)
    }

    /// The limit on this volume, in bytes.
    pub fn threshold(self, space: Space) -> u64 {
        self.below.unwrap_or((64 << 20).min(space.total / 10))
    }

    /// The warning for the log, `/health` and `doctor`.
    pub fn warning(self, space: Space) -> String {
        format!(
            "little disk is left, {} MB of {} MB, less than the {} MB of SIDEVAULT_LOW_DISK_MB: activity and old \
             versions of items are not kept until more is free",
            space.free / MB,
            space.total / MB,
            self.threshold(space) / MB
        )
    }
}

/// One MiB, which `df -h` shows as `M`.
const MB: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_limit_is_a_tenth_of_a_small_volume_and_64_mib_of_a_large_one() {
        let space = |free: u64, total: u64| Space {
            free: free << 20,
            total: total << 20,
        };
        let usual = LowDisk::default();
        assert!(usual.is_low(space(63, 10_000)) && !usual.is_low(space(64, 10_000)));
        assert!(usual.is_low(space(1, 12)) && !usual.is_low(space(2, 12)));
        let limit = LowDisk { below: Some(5 << 20) };
        assert!(limit.is_low(space(4, 12)) && !limit.is_low(space(5, 100_000)));
        assert!(!LowDisk { below: Some(0) }.is_low(space(0, 12)));
        assert!(
            limit
                .warning(space(4, 12))
                .contains("4 MB of 12 MB, less than the 5 MB")
        );
    }
}
