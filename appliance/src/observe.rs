//! One look at the running server: what health and metrics are made of. Plain values.

use shard::stats::{RowSnapshot, Snapshot, StoreSnapshot};

/// The server as of one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    /// Whether shares answer.
    pub(crate) ready: bool,
    /// When the process started, in seconds since 1970.
    pub(crate) started_secs: u64,
    /// Program and procedure of each row of counters.
    pub(crate) names: Vec<(&'static str, &'static str)>,
    /// The counters of all cores together.
    pub(crate) cores: Snapshot,
    /// Cores that did not answer in time and are missing in `cores`.
    pub(crate) silent_cores: u64,
    /// Connections closed because a limit was reached.
    pub(crate) refused: u64,
    /// By share; none while the server starts.
    pub(crate) stores: Vec<StoreState>,
}

/// One share's store.
#[derive(Clone, Debug)]
pub(crate) struct StoreState {
    pub(crate) share: String,
    pub(crate) filesystem: u64,
    /// `disk` or `memory`.
    pub(crate) store: &'static str,
    /// A write failed: read-only until a restart.
    pub(crate) failed: bool,
    pub(crate) capacity_bytes: u64,
    pub(crate) free_bytes: u64,
    pub(crate) live_bytes: u64,
    pub(crate) inodes: u64,
    /// Segments of the log in use.
    pub(crate) segments: u64,
    /// Rows of the ledger that failed their checksum since the start.
    pub(crate) corrupt: u64,
    /// Requests that were sent again and answered with the reply kept for them, since the start.
    pub(crate) replays: u64,
    /// Commits of the ledger since the start.
    pub(crate) commits: u64,
    /// Checkpoints of the ledger since the start.
    pub(crate) checkpoints: u64,
    /// Memory of the ledger's rows that wait for a checkpoint.
    pub(crate) recent_bytes: u64,
    /// The next log sequence number.
    pub(crate) log_sequence: u64,
}

impl Observed {
    /// Each row of counters with its program and procedure.
    pub(crate) fn rows(&self) -> impl Iterator<Item = ((&'static str, &'static str), &RowSnapshot)> {
        self.names.iter().copied().zip(&self.cores.rows)
    }

    /// What the cores counted of a store.
    pub(crate) fn counted(&self, store: &StoreState) -> StoreSnapshot {
        let found = self.cores.stores.iter().find(|counted| counted.filesystem == store.filesystem);
        found.copied().unwrap_or_default()
    }

    /// Whether every store takes writes.
    pub(crate) fn is_sound(&self) -> bool {
        self.stores.iter().all(|store| !store.failed)
    }
}
