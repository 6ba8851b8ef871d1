//! What this core's log holds that the ledger does not: which files, and how much of it. Pure.
//!
//! Callers: the verbs that append (they note and they respect the limits), the checkpoint (takes).

use super::signal::Signal;
use crate::inode::FileId;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;

/// Records of this core's log that are not folded.
#[derive(Default)]
pub(super) struct Backlog {
    files: RefCell<HashSet<FileId>>,
    /// Noted since the last [`Backlog::take`].
    fresh: Cell<Load>,
    /// Taken and not folded yet.
    taken: Cell<Load>,
    /// A checkpoint is under way.
    pub(super) busy: Cell<bool>,
    /// Raised when a checkpoint is wanted now.
    pub(super) wanted: Signal,
    /// Raised when a checkpoint has ended.
    pub(super) done: Signal,
}

/// How much.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    records: usize,
    bytes: u64,
}

impl Backlog {
    /// A record was appended.
    pub(super) fn note(&self, id: FileId, bytes: u64) {
        self.files.borrow_mut().insert(id);
        let Load { records, bytes: before } = self.fresh.get();
        let load = Load { records: records + 1, bytes: before + bytes };
        self.fresh.set(load);
        let crossed = records < RECORDS_WANTED && load.records >= RECORDS_WANTED;
        if crossed || before < BYTES_WANTED && load.bytes >= BYTES_WANTED {
            self.wanted.raise();
        }
    }

    /// Whether the next record has to wait for a checkpoint.
    pub(super) fn is_full(&self) -> bool {
        let (fresh, taken) = (self.fresh.get(), self.taken.get());
        fresh.records + taken.records >= RECORDS_MAX || fresh.bytes + taken.bytes >= BYTES_MAX
    }

    /// Whether a checkpoint is due before its time.
    pub(super) fn is_due(&self) -> bool {
        let fresh = self.fresh.get();
        fresh.records >= RECORDS_WANTED || fresh.bytes >= BYTES_WANTED
    }

    /// Whether every record is folded, or being folded.
    pub(super) fn is_empty(&self) -> bool {
        self.files.borrow().is_empty()
    }

    /// Takes the files that were noted, in the order of their inodes.
    pub(super) fn take(&self) -> Vec<FileId> {
        self.taken.set(self.fresh.take());
        let mut files: Vec<FileId> = self.files.take().into_iter().collect();
        files.sort_unstable_by_key(|id| (id.ino, id.generation));
        files
    }

    /// What was taken could not be folded.
    pub(super) fn put_back(&self, files: Vec<FileId>) {
        self.files.borrow_mut().extend(files);
        let (fresh, taken) = (self.fresh.get(), self.taken.get());
        let (records, bytes) = (fresh.records + taken.records, fresh.bytes + taken.bytes);
        self.fresh.set(Load { records, bytes });
    }

    /// What was taken is in the ledger, or put back.
    pub(super) fn folded(&self) {
        self.taken.set(Load::default());
    }
}

/// Records that call for a checkpoint.
pub(super) const RECORDS_WANTED: usize = 8192;
/// Most records of a core that are not folded: bounds live extents and the time of a recovery.
pub(super) const RECORDS_MAX: usize = 65_536;
/// Payload that calls for a checkpoint.
pub(super) const BYTES_WANTED: u64 = 32 << 20;
/// Most payload of a core that is not folded.
pub(super) const BYTES_MAX: u64 = 512 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inode::Ino;
    use futures_util::FutureExt;

    fn file(ino: u64) -> FileId {
        FileId { ino: Ino(ino), generation: 1 }
    }

    #[test]
    fn a_checkpoint_is_wanted_once_when_there_is_enough_to_fold() {
        for (records, bytes) in [(RECORDS_WANTED, 1), (4, BYTES_WANTED / 4)] {
            let backlog = Backlog::default();
            let wanted = backlog.wanted.raised();
            (1..records).for_each(|_| backlog.note(file(1), bytes));
            assert!(!backlog.is_due() && wanted.now_or_never().is_none());
            let wanted = backlog.wanted.raised();
            backlog.note(file(1), bytes);
            assert!(backlog.is_due() && wanted.now_or_never().is_some());
            let wanted = backlog.wanted.raised();
            backlog.note(file(1), bytes);
            assert!(backlog.is_due() && wanted.now_or_never().is_none(), "it was raised already");
        }
    }

    #[test]
    fn what_is_being_folded_or_could_not_be_counts_until_it_is() {
        let backlog = Backlog::default();
        backlog.note(file(2), BYTES_MAX - 1);
        backlog.note(file(1), 0);
        let taken = backlog.take();
        assert_eq!(taken, [file(1), file(2)]);
        assert!(backlog.is_empty() && !backlog.is_due() && !backlog.is_full());
        backlog.note(file(3), 1);
        assert!(backlog.is_full(), "what was taken is not folded yet");
        backlog.put_back(taken);
        backlog.folded();
        assert!(backlog.is_full() && backlog.is_due(), "it could not be folded");
        assert_eq!(backlog.take(), [file(1), file(2), file(3)]);
        backlog.folded();
        assert!(!backlog.is_full() && backlog.is_empty());
        (1..RECORDS_MAX).for_each(|_| backlog.note(file(1), 0));
        assert!(!backlog.is_full());
        backlog.note(file(1), 0);
        assert!(backlog.is_full(), "so many records are full too");
    }
}
