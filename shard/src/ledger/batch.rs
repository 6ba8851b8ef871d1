//! One commit in the making: what verbs read and change, in the layer above LMDB and in the list for the journal.
//!
//! Callers: the ledger's verbs, fold, sweep. Inodes are cached for the length of the batch and
//! written once at its end, so a directory that gets hundreds of entries in a batch is written once.
//! A verb first reads and decides (where it may be refused) and then changes (where it may not): a
//! refused request leaves no trace in a transaction that it shares with others.

use super::apply::data_reserve;
use super::command::Publish;
use super::keeper::Keeper;
use super::pages::Unsound;
use super::recent::Look;
use super::record::entry::{self, Found};
use super::record::meta::{self, Meta};
use super::record::{Corrupt, Table, inode, segment, tree};
use super::segments::{Row, Segments, SlotRoom};
use super::store::{Gauges, LedgerOptions, Store};
use crate::fs::filesystem::Shared;
use crate::inode::{FileId, Ino, Inode, Kind, later};
use crate::status::Status;
use cache::world::Time;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a step of a batch did not happen.
#[derive(Debug)]
pub(super) enum Fault {
    /// The request is refused; the batch goes on.
    Refused(Status),
    /// The journal or a checkpoint failed; the batch and the ledger are lost.
    Io(io::Error),
    /// A test wants the write to the journal to fail.
    Injected,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Refused(status) => write!(f, "refused: {status:?}"),
            Fault::Io(error) => write!(f, "journal or checkpoint: {error}"),
            Fault::Injected => write!(f, "a test wants it to fail"),
        }
    }
}

impl From<Unsound> for Fault {
    fn from(unsound: Unsound) -> Fault {
        Fault::Refused(unsound.into())
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::Io(error)
    }
}

impl From<Status> for Fault {
    fn from(status: Status) -> Fault {
        Fault::Refused(status)
    }
}

/// The commit.
pub(super) struct Batch<'l> {
    pub(super) shared: &'l Shared,
    pub(super) meta: &'l mut Meta,
    pub(super) segments: &'l mut Segments,
    /// No removed file whose extents are still to be freed comes before it.
    pub(super) first_orphan: &'l mut Ino,
    pub(super) scratch: Vec<u8>,
    store: &'l Store,
    keeper: &'l mut Keeper,
    options: &'l LedgerOptions,
    inodes: BTreeMap<Ino, Cached>,
    folded: BTreeMap<Ino, u64>,
    space: Option<Space>,
    changes: u64,
    /// By how many more there are of them.
    inodes_more: i64,
    orphans_more: i64,
}

/// An inode of this batch; `None` when it is gone.
struct Cached {
    inode: Option<Inode>,
    changed: bool,
    /// Whether it was there before the batch.
    was_there: bool,
}

/// What the disk under the pool has left, looked at once per batch.
#[derive(Clone, Copy)]
struct Space {
    may_grow: bool,
    disk_free: u64,
}

/// When a change happens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    pub(super) lsn: u64,
    pub(super) now: Time,
}

impl<'l> Batch<'l> {
    /// A batch without a change yet.
    pub(super) fn begin(
        store: &'l Store,
        keeper: &'l mut Keeper,
        options: &'l LedgerOptions,
        shared: &'l Shared,
        meta: &'l mut Meta,
        segments: &'l mut Segments,
        first_orphan: &'l mut Ino,
    ) -> Batch<'l> {
        keeper.redo.clear();
        Batch {
            shared,
            meta,
            segments,
            first_orphan,
            scratch: Vec::new(),
            store,
            keeper,
            options,
            inodes: BTreeMap::new(),
            folded: BTreeMap::new(),
            space: None,
            changes: 0,
            inodes_more: 0,
            orphans_more: 0,
        }
    }

    // Reading.

    /// All rows as this batch leaves them, but for inodes, which are written at its end.
    pub(super) fn rows(&self) -> Look<'_> {
        self.keeper.newest()
    }

    pub(super) fn gauges(&self) -> &'l Gauges {
        self.store.gauges()
    }

    /// Changes so far: tells whether a verb had an effect.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// The ledger's record of an inode.
    pub(super) fn inode(&mut self, ino: Ino) -> Result<Option<Inode>, Fault> {
        if let Some(cached) = self.inodes.get(&ino) {
            return Ok(cached.inode);
        }
        let key = inode::key(ino);
        let Some(value) = self.rows().get(Table::Inodes, key.as_bytes())? else {
            return Ok(None);
        };
        let inode = inode::decode(ino, &value).map_err(|corrupt| self.corrupt(corrupt))?;
        self.inodes.insert(ino, Cached { inode: Some(inode), changed: false, was_there: true });
        Ok(Some(inode))
    }

    /// The ledger's record of what a handle names; stale when it is gone or another by now.
    pub(super) fn object(&mut self, id: FileId) -> Result<Inode, Fault> {
        match self.inode(id.ino)? {
            Some(inode) if inode.generation == id.generation => Ok(inode),
            _ => Err(Fault::Refused(Status::Stale)),
        }
    }

    /// The directory that a handle names.
    pub(super) fn directory(&mut self, id: FileId) -> Result<Inode, Fault> {
        let inode = self.object(id)?;
        if inode.is_directory() { Ok(inode) } else { Err(Fault::Refused(Status::NotDir)) }
    }

    /// The inode that an entry leads to: it must be there.
    pub(super) fn target_of(&mut self, found: &Found) -> Result<Inode, Fault> {
        match self.inode(found.ino)? {
            Some(inode) => Ok(inode),
            None => Err(self.corrupt(Corrupt { table: Table::Names, reason: "leads nowhere" })),
        }
    }

    /// Where a name leads.
    pub(super) fn found(&mut self, dir: Ino, name: &[u8]) -> Result<Option<Found>, Fault> {
        let key = entry::name_key(dir, name);
        match self.rows().get(Table::Names, key.as_bytes())? {
            Some(value) => {
                let found = entry::decode_name(key.as_bytes(), &value);
                Ok(Some(found.map_err(|corrupt| self.corrupt(corrupt))?))
            }
            None => Ok(None),
        }
    }

    /// What a client sees of an inode: the ledger's record joined with the log's view. A verb that
    /// goes on to change the inode takes its log sequence number *before* it looks.
    pub(super) fn seen(&self, inode: &Inode) -> Inode {
        if inode.kind == Kind::File { self.shared.table.overlaid(inode) } else { *inode }
    }

    /// A record that has taken over what the log says of everything but the bytes themselves: the
    /// extents that go with the log's size are not folded yet.
    pub(super) fn absorbed(&self, inode: &Inode) -> Inode {
        absorbed(inode, &self.seen(inode))
    }

    /// Refuses where nothing may grow.
    pub(super) fn may_grow(&mut self) -> Result<(), Fault> {
        if self.space()?.may_grow { Ok(()) } else { Err(Fault::Refused(Status::NoSpace)) }
    }

    /// Counts a damaged row, and refuses.
    pub(super) fn corrupt(&self, corrupt: Corrupt) -> Fault {
        self.gauges().count_corrupt();
        tracing::error!(table = corrupt.table.name(), reason = corrupt.reason, "damaged row");
        Fault::Refused(Status::Io)
    }

    // Changing.

    /// When the change of this verb happens.
    pub(super) fn stamp(&self, now: Time) -> Stamp {
        Stamp { lsn: self.shared.lsn(), now }
    }

    /// A number for a new inode.
    pub(super) fn new_ino(&mut self) -> Ino {
        let ino = Ino(self.meta.next_ino);
        self.meta.next_ino += 1;
        ino
    }

    /// Sets an inode's record; written at the end of the batch.
    pub(super) fn put_inode(&mut self, inode: Inode) {
        self.changes += 1;
        self.change(inode.ino, Some(inode));
    }

    fn change(&mut self, ino: Ino, inode: Option<Inode>) {
        let was_there = self.inodes.get(&ino).is_some_and(|cached| cached.was_there);
        self.inodes.insert(ino, Cached { inode, changed: true, was_there });
    }

    /// Sets the record of a file whose log was folded up to `lsn`.
    pub(super) fn put_folded(&mut self, inode: Inode, lsn: u64) {
        self.folded.insert(inode.ino, lsn);
        self.put_inode(inode);
    }

    /// Takes an inode away. The extents of a file stay until they are swept.
    pub(super) fn bury(&mut self, inode: &Inode) -> Result<(), Fault> {
        match inode.kind {
            // Extents tile the file: where the ledger's size is 0 there is none.
            Kind::File if inode.size > 0 => {
                let key = tree::orphan_key(inode.ino);
                tree::encode_orphan(inode.ino, inode.generation, &mut self.scratch);
                self.put(Table::Orphans, key.as_bytes());
                self.orphans_more += 1;
                *self.first_orphan = inode.ino.min(*self.first_orphan);
            }
            Kind::Symlink => self.delete(Table::Targets, tree::target_key(inode.ino).as_bytes())?,
            _ => {}
        }
        self.changes += 1;
        self.folded.remove(&inode.ino);
        self.change(inode.ino, None);
        Ok(())
    }

    /// Enters a name into a directory.
    pub(super) fn put_entry(&mut self, dir: Ino, name: &[u8], found: &Found) {
        let key = entry::name_key(dir, name);
        entry::encode_name(key.as_bytes(), found, &mut self.scratch);
        self.put(Table::Names, key.as_bytes());
        let key = entry::entry_key(dir, found.cookie);
        entry::encode_entry(key.as_bytes(), found.ino, found.kind, name, &mut self.scratch);
        self.put(Table::Entries, key.as_bytes());
    }

    /// Takes a name out of a directory.
    pub(super) fn delete_entry(&mut self, dir: Ino, name: &[u8], found: &Found) -> Result<(), Fault> {
        self.delete(Table::Names, entry::name_key(dir, name).as_bytes())?;
        self.delete(Table::Entries, entry::entry_key(dir, found.cookie).as_bytes())
    }

    /// Writes `scratch` under a key.
    pub(super) fn put(&mut self, table: Table, key: &[u8]) {
        self.changes += 1;
        self.keeper.set(table, key, Some(&self.scratch));
    }

    /// Deletes a row that should be there. Where it is not, the table was damaged before and is as
    /// it should be afterwards.
    pub(super) fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), Fault> {
        if self.rows().get(table, key)?.is_none() {
            self.corrupt(Corrupt { table, reason: "a row to be deleted is not there" });
        } else if table == Table::Orphans {
            self.orphans_more -= 1;
        }
        self.clear(table, key);
        Ok(())
    }

    /// Deletes a row, whether it is there or not.
    fn clear(&mut self, table: Table, key: &[u8]) {
        self.changes += 1;
        self.keeper.set(table, key, None);
    }

    // Space.

    /// How many slots may still be given out.
    pub(super) fn slot_room(&mut self) -> Result<SlotRoom, Fault> {
        let disk_free = self.space()?.disk_free;
        let segment_bytes = self.options.segment_bytes.max(1);
        let under_capacity =
            (self.options.capacity_bytes / segment_bytes).saturating_sub(u64::from(self.meta.slots_made));
        let fresh = |left_alone: u64| {
            let on_disk = disk_free.saturating_sub(left_alone) / segment_bytes;
            u32::try_from(under_capacity.min(on_disk)).unwrap_or(u32::MAX)
        };
        Ok(SlotRoom {
            reserve: self.options.reserve_segments,
            fresh_for_data: fresh(data_reserve(self.options)),
            fresh_for_reserve: fresh(self.options.reserve_bytes),
        })
    }

    fn space(&mut self) -> Result<Space, Fault> {
        if let Some(space) = self.space {
            return Ok(space);
        }
        let disk_free = disk_free(self.store).map_err(|_| Fault::Refused(Status::Io))?;
        let ledger_bytes = self.store.tables().file_bytes();
        let mut free = disk_free;
        if free < self.options.reserve_bytes {
            // Pages that the ledger has freed are as good as free space of the disk.
            free = free.saturating_add(ledger_bytes.saturating_sub(self.keeper.stored_bytes()));
        }
        let spent = self.segments.live_bytes().saturating_add(ledger_bytes);
        let may_grow = free >= self.options.reserve_bytes && spent < self.options.capacity_bytes;
        let space = Space { may_grow, disk_free };
        self.space = Some(space);
        Ok(space)
    }

    // The end.

    /// Writes what was put off; commits, durably, if anything changed. Answers whether there was
    /// a commit, and what it changed.
    pub(super) fn finish(mut self) -> Result<(bool, Vec<Publish>), Fault> {
        let wanted = self.shared.next_lsn.load(Ordering::Relaxed);
        if wanted.saturating_add(LSN_MARGIN / 2) > self.meta.lsn_limit {
            self.meta.lsn_limit = wanted.saturating_add(LSN_MARGIN);
            self.changes += 1;
        }
        let publishes = self.write_inodes();
        self.write_segments();
        if self.changes == 0 {
            return Ok((false, Vec::new()));
        }
        meta::encode(self.meta, &mut self.scratch);
        self.put(Table::Meta, meta::KEY);
        self.keeper.commit()?;
        let gauges = self.store.gauges();
        // Nobody else changes them.
        let add = |gauge: &AtomicU64, more| {
            gauge.store(gauge.load(Ordering::Relaxed).saturating_add_signed(more), Ordering::Relaxed);
        };
        add(&gauges.inodes, self.inodes_more);
        add(&gauges.orphans, self.orphans_more);
        Ok((true, publishes))
    }

    fn write_inodes(&mut self) -> Vec<Publish> {
        let mut publishes = Vec::new();
        for (ino, Cached { inode, changed, was_there }) in std::mem::take(&mut self.inodes) {
            if !changed {
                continue;
            }
            let key = inode::key(ino);
            self.inodes_more += i64::from(inode.is_some()) - i64::from(was_there);
            match inode {
                Some(inode) => {
                    inode::encode(&inode, &mut self.scratch);
                    self.put(Table::Inodes, key.as_bytes());
                    publishes.push(match self.folded.get(&ino) {
                        Some(&lsn) => Publish::Folded { inode, lsn },
                        None => Publish::Inode(inode),
                    });
                }
                None => {
                    // It may have been made in this very batch.
                    self.clear(Table::Inodes, key.as_bytes());
                    publishes.push(Publish::Gone(ino));
                }
            }
        }
        publishes
    }

    fn write_segments(&mut self) {
        for row in self.segments.settle() {
            match row {
                Row::Put(info) => {
                    segment::encode(&info, &mut self.scratch);
                    self.put(Table::Segments, segment::key(info.id).as_bytes());
                }
                // A segment that was opened and freed in one batch has no row.
                Row::Delete(id) => self.clear(Table::Segments, segment::key(id).as_bytes()),
            }
        }
    }
}

/// The record `inode` after it has taken over what was `seen`.
pub(super) fn absorbed(inode: &Inode, seen: &Inode) -> Inode {
    Inode { size: inode.size, used: inode.used, ..*seen }
}

/// `inode` with the time and number of a change.
pub(super) fn changed(mut inode: Inode, stamp: Stamp) -> Inode {
    inode.ctime = later(inode.ctime, stamp.now);
    inode.change = stamp.lsn;
    inode
}

/// A directory whose entries change.
pub(super) fn entries_changed(dir: Inode, stamp: Stamp, count: impl FnOnce(u64) -> u64) -> Inode {
    let mut dir = changed(dir, stamp);
    dir.mtime = dir.ctime;
    dir.entries = count(dir.entries);
    dir.size = inode::directory_bytes(dir.entries);
    dir.used = dir.size;
    dir
}

/// Free bytes of the filesystem under the ledger.
pub(super) fn disk_free(store: &Store) -> std::io::Result<u64> {
    let stat = rustix::fs::statvfs(store.directory())?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Log sequence numbers that a commit reserves ahead: minutes of them at ten million a second, so
/// that the limit is never met between two commits.
pub(super) const LSN_MARGIN: u64 = 1 << 32;
