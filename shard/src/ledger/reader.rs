//! A core's view of the ledger at one commit: a snapshot of LMDB's tree and the layers above it
//! ([`super::recent`]), renewed when the ledger has committed.
//!
//! Callers: every verb that reads, recovery, the cleaner, verify and dump ([`super::check`]). A
//! [`Reader`] belongs to one core. Every value is checked against its checksum; one that does not
//! check is [`Status::Io`] and counted, never data.
//!
//! LMDB keeps the pages of the oldest snapshot that anyone holds, so a core that is idle gives its
//! own back now and then ([`Reader::rest`]).

use super::pages::{Seen, Unsound};
use super::recent::{Bytes, Look, Pair, Recent, View};
use super::record::entry::{self, Entry, Found};
use super::record::{Corrupt, Table, extent, inode, segment, tree};
use super::store::{Gauges, Store};
use crate::fs::filesystem::Shared;
use crate::inode::{FileId, Ino, Inode};
use crate::ledger::command::SegmentInfo;
use crate::status::Status;
use cache::extent::{Extent, SegmentId};
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic;

/// A snapshot of the ledger, held by one core.
pub struct Reader {
    gauges: Arc<Gauges>,
    shared: Arc<Shared>,
    recent: Arc<Recent>,
    /// LMDB's tree and the layers above it, with their generation.
    view: Option<(u64, View)>,
    seen: Seen,
    commit: u64,
}

impl Reader {
    /// A reader without a snapshot yet.
    pub fn new(store: &Store, shared: Arc<Shared>) -> Reader {
        let (gauges, recent) = (store.gauges().clone(), store.recent().clone());
        Reader { gauges, shared, recent, view: None, seen: Seen::default(), commit: 0 }
    }

    /// Makes the snapshot at least as new as the newest commit that was published. Nothing happens
    /// where it is.
    pub fn refresh(&mut self) -> Result<(), Status> {
        let committed = self.shared.committed.load(atomic::Ordering::Acquire);
        if self.view.is_some() && self.commit >= committed {
            return Ok(());
        }
        loop {
            if !self.is_in_force() {
                self.seen.clear();
                let generation = self.recent.generation();
                self.view = Some((generation, self.recent.view().ok_or(Status::ServerFault)?));
            }
            self.commit = self.shared.committed.load(atomic::Ordering::Acquire);
            // A commit that went into newer layers was published after them.
            if self.is_in_force() {
                return Ok(());
            }
        }
    }

    fn is_in_force(&self) -> bool {
        self.view.as_ref().is_some_and(|(generation, _)| *generation == self.recent.generation())
    }

    /// Gives the snapshot back. Called whenever a core has nothing more to look up, and now and then by one that is
    /// idle: while one is held, the ledger cannot use again what it frees, and layers keep their memory.
    pub fn rest(&mut self) {
        self.seen.clear();
        if !self.is_in_force() {
            self.view = None;
        }
    }

    /// Tests: whether nothing was looked up in LMDB's tree since the last rest.
    #[cfg(test)]
    pub(crate) fn rests(&self) -> bool {
        self.seen.is_clear()
    }

    /// Number of the commit that the snapshot shows.
    pub fn commit(&self) -> u64 {
        self.commit
    }

    /// Figures that the ledger keeps.
    pub fn gauges(&self) -> &Gauges {
        &self.gauges
    }

    /// The ledger's record of an inode.
    pub fn inode(&self, ino: Ino) -> Result<Option<Inode>, Status> {
        let value = self.row(Table::Inodes, inode::key(ino).as_bytes())?;
        value.map(|value| self.checked(inode::decode(ino, &value))).transpose()
    }

    /// The ledger's record of what a handle names; [`Status::Stale`] when it is gone.
    pub fn object(&self, id: FileId) -> Result<Inode, Status> {
        match self.inode(id.ino)? {
            Some(inode) if inode.generation == id.generation => Ok(inode),
            _ => Err(Status::Stale),
        }
    }

    /// Where `name` leads in `dir`. A name that is longer than any can be leads nowhere.
    pub fn lookup(&self, dir: Ino, name: &[u8]) -> Result<Option<Found>, Status> {
        if name.is_empty() || name.len() > super::command::NAME_MAX {
            return Ok(None);
        }
        let key = entry::name_key(dir, name);
        match self.row(Table::Names, key.as_bytes())? {
            Some(value) => self.checked(entry::decode_name(key.as_bytes(), &value)).map(Some),
            None => self.all_names(dir).map(|()| None),
        }
    }

    /// A name is not found in `dir`: where it is a small directory, all of its names have to be there.
    #[cold]
    fn all_names(&self, dir: Ino) -> Result<(), Status> {
        let Some(inode) = self.inode(dir)?.filter(|inode| inode.entries <= COUNTED_NAMES_MAX) else { return Ok(()) };
        let first = entry::name_key(dir, &[]);
        let last = entry::name_key(dir, &[u8::MAX; super::command::NAME_MAX]);
        let mut count = 0;
        for row in self.range(Table::Names, first.as_bytes(), last.as_bytes())? {
            let (key, value) = row?;
            self.checked(entry::decode_name(&key, &value))?;
            count += 1;
        }
        let missing = Corrupt { table: Table::Names, reason: "names are missing, or there are too many" };
        self.checked(if count == inode.entries { Ok(()) } else { Err(missing) })
    }

    /// The entries of `dir` with a cookie above `after`, in the order of their cookies.
    pub fn entries(
        &self,
        dir: Ino,
        after: u64,
    ) -> Result<impl Iterator<Item = Result<Entry<'_>, Status>> + '_, Status> {
        let first = entry::entry_key(dir, after.saturating_add(1));
        let last = entry::entry_key(dir, u64::MAX);
        let rows = self.range(Table::Entries, first.as_bytes(), last.as_bytes())?;
        let mut before = after;
        Ok(rows.map(move |row| {
            let (key, value) = row?;
            let entry = self.checked(match value {
                Bytes::Stored(value) => entry::decode_entry(&key, value),
                Bytes::Recent(value) => entry::decode_entry(&key, &value).map(Entry::into_owned),
            })?;
            if std::mem::replace(&mut before, entry.cookie) >= entry.cookie {
                return self.checked(Err(Corrupt { table: Table::Entries, reason: "out of order" }));
            }
            Ok(entry)
        }))
    }

    /// The extents of `ino` that touch `[start, end)`, unclipped, by file offset.
    pub fn extents(
        &self,
        ino: Ino,
        start: u64,
        end: u64,
    ) -> Result<impl Iterator<Item = Result<(u64, Extent), Status>> + '_, Status> {
        let first = match self.extent_before(ino, start)? {
            Some((offset, extent)) if offset + extent.bytes > start => extent::key(ino, offset),
            _ => extent::key(ino, start),
        };
        let last = extent::key(ino, end.saturating_sub(1).max(start));
        let rows = self.range(Table::Extents, first.as_bytes(), last.as_bytes())?;
        Ok(rows.map(|row| {
            let (key, value) = row?;
            self.checked(extent::decode(&key, &value))
        }))
    }

    /// The target of a symbolic link.
    pub fn target(&self, ino: Ino) -> Result<Option<Cow<'_, [u8]>>, Status> {
        let key = tree::target_key(ino);
        let value = self.row(Table::Targets, key.as_bytes())?;
        let decode = |value| match value {
            Bytes::Stored(value) => tree::decode_target(key.as_bytes(), value).map(Cow::Borrowed),
            Bytes::Recent(value) => tree::decode_target(key.as_bytes(), &value).map(|target| target.to_vec().into()),
        };
        value.map(|value| self.checked(decode(value))).transpose()
    }

    /// All log segments in use, oldest first.
    pub fn segments(&self) -> Result<Vec<SegmentInfo>, Status> {
        let (first, last) = (segment::key(SegmentId(0)), segment::key(SegmentId(u64::MAX)));
        let rows = self.range(Table::Segments, first.as_bytes(), last.as_bytes())?;
        rows.map(|row| {
            let (key, value) = row?;
            self.checked(segment::decode(&key, &value))
        })
        .collect()
    }

    fn look(&self) -> Result<Look<'_>, Status> {
        let (_, view) = self.view.as_ref().ok_or(Status::ServerFault)?;
        Ok(Look { view, seen: &self.seen, number: self.commit })
    }

    /// The last extent that begins before `start`.
    fn extent_before(&self, ino: Ino, start: u64) -> Result<Option<(u64, Extent)>, Status> {
        let key = extent::key(ino, start);
        match self.look()?.before(Table::Extents, key.as_bytes())? {
            Some((key, value)) if self.checked(extent::parse_key(&key))?.0 == ino => {
                self.checked(extent::decode(&key, &value)).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn row(&self, table: Table, key: &[u8]) -> Result<Option<Bytes<'_>>, Status> {
        Ok(self.look()?.get(table, key)?)
    }

    fn range<'a>(
        &'a self,
        table: Table,
        first: &[u8],
        last: &[u8],
    ) -> Result<impl Iterator<Item = Result<Pair<'a>, Status>> + use<'a>, Status> {
        let rows = self.look()?.range(table, first, last);
        Ok(rows?.map(|row| row.map_err(Status::from)))
    }

    fn checked<T>(&self, decoded: Result<T, Corrupt>) -> Result<T, Status> {
        decoded.map_err(|_| {
            self.gauges.count_corrupt();
            Status::Io
        })
    }
}

/// A directory of so many names is counted where one is not found: some microseconds.
const COUNTED_NAMES_MAX: u64 = 64;

impl From<Unsound> for Status {
    /// It was told and counted where it was found.
    fn from(_: Unsound) -> Status {
        Status::Io
    }
}
