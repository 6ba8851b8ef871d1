//! One filesystem: what all cores share of it ([`Shared`]). Each core builds its own part on its own
//! thread around an `Arc<Shared>`.
//!
//! Callers: the daemon at start, the ledger (publishes), every verb.

use crate::table::LockTable;
use cache::table::Slots;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What an operator chooses of a filesystem. All of it may change from one start to the next.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of log that the filesystem may use on disk, all data and overhead included.
    pub capacity_bytes: u64,
    /// Bytes of one log segment; a multiple of 4 KiB. Applies to slot files made from now on.
    pub segment_bytes: u64,
    /// Cores that serve it.
    pub cores: u16,
    /// Inodes kept in the lock table.
    pub inodes_max: usize,
}

/// What all cores and the ledger's thread share of one filesystem.
pub struct Shared {
    /// Number of the filesystem within this process; names its chunks in the block cache and its
    /// messages between cores.
    pub index: u32,
    /// Durable identity, part of every handle, of every log frame and the `fsid` of its files.
    pub id: u64,
    /// Directory that holds `ledger/` and `log/`.
    pub directory: PathBuf,
    /// How it was opened.
    pub options: Options,
    /// The one place where cores meet under a lock.
    pub table: LockTable,
    /// Which slot holds which segment. The ledger notes a segment before it answers that it is
    /// open, and at start.
    pub slots: Arc<Slots>,
    /// Number of the ledger's newest commit. The ledger stores it after the LMDB commit and before
    /// it publishes to the table.
    pub committed: AtomicU64,
    /// The next log sequence number to give out; see [`Shared::lsn`].
    pub next_lsn: AtomicU64,
    /// Bytes that the ledger's extents use, for FSSTAT. Kept by the ledger.
    pub live_bytes: AtomicU64,
    /// Segments that can still be opened. Kept by the ledger.
    pub free_segments: AtomicU64,
    verifier: AtomicU64,
    poisoned: AtomicBool,
    durable: Box<[AtomicU64]>,
}

impl Shared {
    /// The common part of the filesystem with durable identity `id`, whose log sequence numbers
    /// begin at `next_lsn` and whose newest commit is `committed`.
    pub fn new(
        index: u32,
        id: u64,
        directory: &Path,
        options: Options,
        next_lsn: u64,
        committed: u64,
        verifier: u64,
    ) -> Shared {
        Shared {
            index,
            id,
            directory: directory.to_path_buf(),
            table: LockTable::new(options.inodes_max),
            slots: Arc::default(),
            committed: AtomicU64::new(committed),
            next_lsn: AtomicU64::new(next_lsn),
            live_bytes: AtomicU64::new(0),
            free_segments: AtomicU64::new(0),
            verifier: AtomicU64::new(verifier),
            poisoned: AtomicBool::new(false),
            durable: (0..options.cores).map(|_| AtomicU64::new(0)).collect(),
            options,
        }
    }

    /// Gives out a log sequence number. Of a file's changes the later one has the higher number: a
    /// record of the log takes it under the file's stripe; the ledger takes it *before* it looks at
    /// what the log says of the inode ([`LockTable::overlaid`]).
    pub fn lsn(&self) -> u64 {
        self.next_lsn.fetch_add(1, Ordering::Relaxed)
    }

    /// The write verifier: another one after each start and after a failure of the log or the ledger.
    pub fn verifier(&self) -> [u8; 8] {
        self.verifier.load(Ordering::Acquire).to_be_bytes()
    }

    /// A write or flush of the log, or a commit of the ledger, failed: from here on nothing is
    /// changed any more until a restart, and clients learn by the verifier that unstable data may be
    /// gone. The first call decides; `verifier` is a fresh random number.
    pub fn poison(&self, verifier: u64) {
        if !self.poisoned.swap(true, Ordering::AcqRel) {
            let old = self.verifier.load(Ordering::Acquire);
            let fresh = if verifier == old { !old } else { verifier };
            self.verifier.store(fresh, Ordering::Release);
        }
    }

    /// Whether [`Shared::poison`] was called: everything but reading answers an error.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    /// How far `core`'s log is durable, as that core last said.
    pub fn durable(&self, core: u16) -> u64 {
        self.durable.get(usize::from(core)).map_or(0, |position| position.load(Ordering::Acquire))
    }

    /// `core` says that its log is durable up to `position`.
    pub fn set_durable(&self, core: u16, position: u64) {
        if let Some(slot) = self.durable.get(usize::from(core)) {
            slot.fetch_max(position, Ordering::AcqRel);
        }
    }
}
