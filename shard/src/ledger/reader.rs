//! A core's view of the ledger at one commit: a snapshot of LMDB's tree and the layers above it
//! ([`super::recent`]), renewed when the ledger has committed.
//!
//! Callers: every verb that reads, recovery, the cleaner, verify and dump ([`super::check`]). A
//! [`Reader`] belongs to one core. Every value is checked against its checksum; one that does not
//! check is [`Status::Io`] and counted, never data.
//!
//! LMDB keeps the pages of the oldest snapshot that anyone holds, so a core that is idle gives its
//! own back now and then ([`Reader::rest`]).

use super::env::Tables;
use super::recent::{Bytes, Look, Pair, Recent, View};
use super::record::entry::{self, Entry, Found};
use super::record::{self, Corrupt, Table, extent, inode, segment, tree};
use super::root::PAGE_BYTES;
use super::store::{Gauges, Store};
use crate::fs::filesystem::Shared;
use crate::inode::{FileId, Ino, Inode, ROOT};
use crate::ledger::command::SegmentInfo;
use crate::status::Status;
use cache::extent::{Extent, SegmentId};
use heed::{RoTxn, WithoutTls};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic;

/// A snapshot of the ledger, held by one core.
pub struct Reader {
    tables: Tables,
    gauges: Arc<Gauges>,
    shared: Arc<Shared>,
    recent: Arc<Recent>,
    tree: Option<RoTxn<'static, WithoutTls>>,
    /// The layers above a tree, with their generation; kept while they are in force.
    view: Option<(u64, View)>,
    commit: u64,
}

impl Reader {
    /// A reader without a snapshot yet.
    pub fn new(store: &Store, shared: Arc<Shared>) -> Reader {
        let (tables, gauges, recent) = (store.tables().clone(), store.gauges().clone(), store.recent().clone());
        Reader { tables, gauges, shared, recent, tree: None, view: None, commit: 0 }
    }

    /// Makes the snapshot at least as new as the newest commit that was published. Nothing happens
    /// where it is.
    pub fn refresh(&mut self) -> Result<(), Status> {
        let committed = self.shared.committed.load(atomic::Ordering::Acquire);
        if self.tree.is_some() {
            if self.commit >= committed {
                return Ok(());
            }
            // A commit that went into newer layers was published after them.
            if self.is_in_force() {
                self.commit = committed;
                return Ok(());
            }
        }
        self.renew().map_err(failed)
    }

    /// The tree has whatever the layers leave out, and may have more: what a checkpoint carries over was
    /// published before, so the number is at least that of the newest row in it.
    fn renew(&mut self) -> heed::Result<()> {
        self.tree = None;
        loop {
            if !self.is_in_force() {
                let generation = self.recent.generation();
                self.view = Some((generation, self.recent.view()));
            }
            let tree = self.tables.snapshot()?;
            self.commit = self.shared.committed.load(atomic::Ordering::Acquire);
            if self.is_in_force() {
                self.tree = Some(tree);
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
        self.tree = None;
        if !self.is_in_force() {
            self.view = None;
        }
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
        match (&self.tree, &self.view) {
            (Some(tree), Some((_, view))) => Ok(Look { tables: &self.tables, tree, view, number: self.commit }),
            _ => Err(Status::ServerFault),
        }
    }

    /// The last extent that begins before `start`.
    fn extent_before(&self, ino: Ino, start: u64) -> Result<Option<(u64, Extent)>, Status> {
        let key = extent::key(ino, start);
        match self.look()?.before(Table::Extents, key.as_bytes()).map_err(failed)? {
            Some((key, value)) if self.checked(extent::parse_key(&key))?.0 == ino => {
                self.checked(extent::decode(&key, &value)).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn row(&self, table: Table, key: &[u8]) -> Result<Option<Bytes<'_>>, Status> {
        let look = self.look()?;
        if let Some(value) = look.recent(table, key) {
            return Ok(value.map(Bytes::Recent));
        }
        match look.stored(table, key).map_err(failed)? {
            Some(value) => Ok(Some(value)),
            None => self.absent(table, key).map(|()| None),
        }
    }

    /// A row that is not found may be there under a damaged key, or below a damaged page, or another page
    /// is where its own should be: the rows on both sides of its place have to be sound, and in their
    /// order up to those of other pages.
    #[cold]
    fn absent(&self, table: Table, key: &[u8]) -> Result<(), Status> {
        let (rows, snapshot) = (self.tables.rows(table), self.look()?.tree);
        let above = rows.range(snapshot, &(Bound::Included(key), Bound::Unbounded)).map_err(failed)?;
        let below = rows.rev_range(snapshot, &(Bound::Unbounded, Bound::Included(key))).map_err(failed)?;
        // Nothing comes before the root, which is always there.
        let has_root =
            table != Table::Inodes || rows.get(snapshot, inode::key(ROOT).as_bytes()).map_err(failed)?.is_some();
        let is_sound = has_root
            && is_page_sound(table, key, Ordering::Less, above).map_err(failed)?
            && is_page_sound(table, key, Ordering::Greater, below).map_err(failed)?;
        if is_sound { Ok(()) } else { self.checked(Err(Corrupt { table, reason: "a neighbour is damaged" })) }
    }

    fn range<'a>(
        &'a self,
        table: Table,
        first: &[u8],
        last: &[u8],
    ) -> Result<impl Iterator<Item = Result<Pair<'a>, Status>> + use<'a>, Status> {
        let rows = self.look()?.range(table, first, last);
        Ok(rows.map_err(failed)?.map(|row| row.map_err(failed)))
    }

    fn checked<T>(&self, decoded: Result<T, Corrupt>) -> Result<T, Status> {
        decoded.map_err(|_| {
            self.gauges.count_corrupt();
            Status::Io
        })
    }
}

/// Whether the rows from a place on to the first of another page are in order, and the first one of all
/// is what was written.
fn is_page_sound<'a>(
    table: Table,
    key: &'a [u8],
    order: Ordering,
    rows: impl Iterator<Item = heed::Result<(&'a [u8], &'a [u8])>>,
) -> heed::Result<bool> {
    let mut last = key;
    let mut page = None;
    for row in rows {
        let (near, value) = row?;
        if last.cmp(near) != order || (page.is_none() && !record::is_whole(table, near, value)) {
            return Ok(false);
        }
        let of = page_of(near);
        if page.replace(of).is_some_and(|before| before != of) {
            break;
        }
        last = near;
    }
    Ok(true)
}

/// A directory of so many names is counted where one is not found: some microseconds.
const COUNTED_NAMES_MAX: u64 = 64;
/// Which of LMDB's pages a key lies in, as a number that tells them apart.
pub(super) fn page_of(key: &[u8]) -> usize {
    key.as_ptr().addr() / PAGE_BYTES
}

fn failed(error: heed::Error) -> Status {
    tracing::error!(%error, "the ledger cannot be read");
    Status::Io
}
