//! The filesystems behind the shares: opened and recovered at start, one after the other, and closed at stop.

use crate::config::{Auto, Config, GIB, MEMORY_SHARE_BYTES, MIB, Share, Size, Store};
use crate::observe::StoreState;
use crate::pool::Pool;
use crate::shares::Served;
use cache::log::SEGMENT_BYTES_MIN;
use cache::world::Time;
use rustix::fs::statvfs;
use shard::fs::filesystem::{Filesystem, Options};
use shard::ledger::store::{RECENT_BYTES, RootDirectory};
use shard::net::conn::OWN_BYTES;
use shard::policy::FilesystemId;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

/// Memory of the server, cut into its uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Connections, by the memory that each has in any case.
    pub(crate) connections: u64,
    /// The block cache, all cores together.
    pub(crate) cache_bytes: u64,
    /// Requests and replies of one core.
    pub(crate) core_bytes: u64,
    /// Inodes in one filesystem's lock table.
    pub(crate) inodes: u64,
    /// Rows of one filesystem's ledger that wait for a checkpoint.
    pub(crate) recent_bytes: u64,
    /// Bytes appended and not yet written of one filesystem's log on one core.
    pub(crate) unwritten_bytes: u64,
}

impl Budget {
    /// What the process needs in any case comes first. Of the rest, a quarter is for requests and replies, as far as
    /// they can use it, an eighth for connections, an eighth for inodes, a sixteenth for rows of the ledger, and what is
    /// left for the block cache.
    pub(crate) fn of(memory_bytes: u64, cores: usize, filesystems: usize) -> Budget {
        let (cores, filesystems) = (cores.max(1) as u64, filesystems.max(1) as u64);
        let rest = memory_bytes.saturating_sub(BASE_BYTES).max(memory_bytes / 2);
        let core_bytes = (rest / 4 / cores).clamp(CORE_BYTES_MIN, CORE_BYTES_MAX);
        let recent_bytes = (rest / 16 / filesystems).min(RECENT_BYTES);
        let cache_bytes =
            (rest - rest / 4).saturating_sub(core_bytes * cores + recent_bytes * filesystems).max(rest / 4);
        let writing = cache_bytes / 4 / cores / filesystems;
        Budget {
            connections: (rest / 8 / OWN_BYTES as u64).max(1),
            cache_bytes,
            core_bytes,
            inodes: (rest / 8 / INODE_BYTES / filesystems).max(1),
            recent_bytes,
            unwritten_bytes: writing.clamp(UNWRITTEN_BYTES_MIN, UNWRITTEN_BYTES_MAX),
        }
    }
}

/// The program, its threads, the rings, and what the ledger's writer has under way.
const BASE_BYTES: u64 = 24 * MIB;
/// A few requests of 1 MiB have to fit.
const CORE_BYTES_MIN: u64 = 6 * MIB;
/// More would only let those who take no replies keep a core busier.
const CORE_BYTES_MAX: u64 = 128 * MIB;
/// An inode's entry in the lock table, with its place in the map.
const INODE_BYTES: u64 = 512;
const UNWRITTEN_BYTES_MIN: u64 = 2 * MIB;
const UNWRITTEN_BYTES_MAX: u64 = 16 * MIB;

/// Opens every share's filesystem, in the order of the configuration.
pub(crate) fn open(config: &Config, pool: &Pool, cores: usize, budget: Budget) -> Result<Vec<Filesystem>, String> {
    let mut filesystems = Vec::new();
    for (index, share) in (0..).zip(&config.share) {
        let filesystem = open_one(config, pool, share, index, cores, budget);
        filesystems.push(filesystem.map_err(|why| format!("the share {}: {why}", share.name))?);
    }
    Ok(filesystems)
}

fn open_one(
    config: &Config,
    pool: &Pool,
    share: &Share,
    index: u32,
    cores: usize,
    budget: Budget,
) -> Result<Filesystem, String> {
    let directory = match share.store {
        Store::Disk => pool.disk_directory(&share.name.0)?,
        Store::Memory => pool.memory_directory(&share.name.0)?,
    };
    let disk_bytes = disk_bytes(&directory)?;
    let cores = u16::try_from(cores).map_err(|_| "there are too many processors".to_owned())?;
    let options = options(config, share, disk_bytes, cores, budget);
    let filesystem = Filesystem::open(&directory, index, options).map_err(|error| error.to_string())?;
    let done = filesystem.recovered();
    tracing::info!(
        share = %share.name,
        segments = done.segments,
        records = done.records,
        files = done.files,
        "share opened, log replayed"
    );
    Ok(filesystem)
}

fn options(config: &Config, share: &Share, disk_bytes: u64, cores: u16, budget: Budget) -> Options {
    let root = &share.root;
    let now = now();
    let root = RootDirectory { mode: root.mode.0, uid: root.uid, gid: root.gid, now };
    let defaults = Options::new(cores, root);
    let capacity_bytes = match (share.size, share.store) {
        (Auto::Given(size), _) => size.0,
        (Auto::Auto, Store::Disk) => u64::MAX,
        (Auto::Auto, Store::Memory) => MEMORY_SHARE_BYTES,
    };
    let usable = capacity_bytes.min(disk_bytes);
    let (segment, reserve) = match share.store {
        Store::Disk => (config.pool.segment, config.pool.reserve),
        // The pool's keys are about the pool's disk.
        Store::Memory => (Auto::Auto, Auto::Auto),
    };
    Options {
        capacity_bytes,
        segment_bytes: given_or(segment, || segment_bytes(usable)),
        reserve_bytes: given_or(reserve, || (disk_bytes / SMALL_PARTS).min(256 * MIB)),
        unwritten_bytes_max: usize::try_from(budget.unwritten_bytes).unwrap_or(usize::MAX),
        inodes_max: usize::try_from(budget.inodes).unwrap_or(usize::MAX),
        recent_bytes_max: budget.recent_bytes,
        ..defaults
    }
}

fn given_or(size: Auto<Size>, automatic: impl FnOnce() -> u64) -> u64 {
    match size {
        Auto::Given(size) => size.0,
        Auto::Auto => automatic(),
    }
}

/// 64 MiB, and less where fewer than [`SEGMENTS_MIN`] of those would fit.
fn segment_bytes(usable: u64) -> u64 {
    let fitting = (usable / SEGMENTS_MIN).max(SEGMENT_BYTES_MIN);
    // The largest power of two that is not larger: it stays the same while the size wobbles.
    let power = 1 << fitting.ilog2();
    (64 * MIB).min(power)
}

/// The reserve, one open segment for each core, and some to fill and to clean.
const SEGMENTS_MIN: u64 = 64;
/// Part of a small disk that is left alone.
const SMALL_PARTS: u64 = 16;
const _: () = assert!(4 * GIB / SEGMENTS_MIN == 64 * MIB);
const _: () = assert!(4 * GIB / SMALL_PARTS == 256 * MIB);

fn disk_bytes(directory: &Path) -> Result<u64, String> {
    let disk = statvfs(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    Ok(disk.f_blocks.saturating_mul(disk.f_frsize))
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time { secs: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), nanos: since.subsec_nanos() }
}

/// The shares with the filesystems that they show. Both are in the order of the configuration.
pub(crate) fn served(config: &Config, filesystems: &[Filesystem]) -> Vec<Served> {
    let pairs = config.share.iter().zip(filesystems);
    let served = |(share, filesystem): (&Share, &Filesystem)| Served {
        share: share.clone(),
        filesystem: FilesystemId(filesystem.shared().id),
    };
    pairs.map(served).collect()
}

/// Looks at one store while it serves.
pub(crate) struct Watched {
    share: String,
    store: &'static str,
    shared: Arc<shard::fs::filesystem::Shared>,
    gauges: Arc<shard::ledger::store::Gauges>,
}

impl Watched {
    /// One for each share.
    pub(crate) fn all(config: &Config, filesystems: &[Filesystem]) -> Vec<Watched> {
        let watch = |(share, filesystem): (&Share, &Filesystem)| Watched {
            share: share.name.to_string(),
            store: match share.store {
                Store::Disk => "disk",
                Store::Memory => "memory",
            },
            shared: filesystem.shared().clone(),
            gauges: filesystem.store().gauges().clone(),
        };
        config.share.iter().zip(filesystems).map(watch).collect()
    }

    /// As of now.
    pub(crate) fn state(&self) -> StoreState {
        let space = shard::fs::statfs::space(&self.shared, &self.gauges).ok();
        StoreState {
            share: self.share.clone(),
            filesystem: self.shared.id,
            store: self.store,
            failed: self.shared.is_poisoned(),
            capacity_bytes: space.map_or(0, |space| space.total_bytes),
            free_bytes: space.map_or(0, |space| space.available_bytes),
            live_bytes: self.gauges.live_bytes.load(Ordering::Relaxed),
            inodes: self.gauges.inodes.load(Ordering::Relaxed),
            segments: self.gauges.segments.load(Ordering::Relaxed),
            corrupt: self.gauges.corrupt.load(Ordering::Relaxed),
            replays: self.gauges.replays.load(Ordering::Relaxed),
            commits: self.gauges.commits.load(Ordering::Relaxed),
            checkpoints: self.gauges.checkpoints.load(Ordering::Relaxed),
            recent_bytes: self.gauges.recent_bytes.load(Ordering::Relaxed),
            log_sequence: self.shared.next_lsn.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_64_mib_and_smaller_on_a_small_disk() {
        assert_eq!(segment_bytes(u64::MAX), 64 * MIB);
        assert_eq!(segment_bytes(4 * GIB), 64 * MIB);
        assert_eq!(segment_bytes(4 * GIB - 1), 32 * MIB);
        assert_eq!(segment_bytes(GIB), 16 * MIB);
        assert_eq!(segment_bytes(1), SEGMENT_BYTES_MIN);
    }

    #[test]
    fn the_parts_of_the_budget_stay_within_the_memory() {
        for (memory, cores, filesystems) in [(64 * MIB, 1, 1), (4 * GIB, 8, 3), (256 * GIB, 128, 40)] {
            let budget = Budget::of(memory, cores, filesystems);
            let all = BASE_BYTES
                + budget.connections * OWN_BYTES as u64
                + budget.cache_bytes
                + budget.core_bytes * cores as u64
                + (budget.inodes * INODE_BYTES + budget.recent_bytes) * filesystems as u64;
            assert!(all <= memory, "{memory} {cores} {filesystems}: {budget:?}");
            assert!(budget.unwritten_bytes * filesystems as u64 <= budget.cache_bytes);
        }
    }
}
