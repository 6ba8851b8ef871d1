//! Whether a ledger is whole: what is damaged in LMDB's own pages may hide rows, show some twice, or
//! show what was there before, while every row that is seen has the right checksum.
//!
//! Caller: [`super::store`] when it opens a ledger that is small enough to be read at once. Each table
//! has as many rows as LMDB says, in their order. Where all of them can be read, they agree with each
//! other: the two tables of names, the counts of directories and links, the targets, the extents of
//! each file, the live bytes of each segment, the stored replies. What has to be the same in two tables
//! is compared by sums of keyed hashes, so that nothing is kept in memory. A row whose checksum is wrong
//! is left to whoever reads it.

use super::env::Tables;
use super::reader::page_of;
use super::record::meta::Meta;
use super::record::{Corrupt, Table, entry, extent, inode, meta, reply, segment, tree};
use super::store::OpenError;
use crate::inode::{Ino, Inode, Kind, ROOT};
use cache::extent::{Place, SegmentId};
use heed::{RoTxn, WithoutTls};
use siphasher::sip::SipHasher24;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

/// Fails with what is wrong first.
pub(super) fn check(tables: &Tables) -> Result<(), OpenError> {
    let snapshot = tables.snapshot()?;
    let mut count = Count::default();
    let mut scan = Scan { tables, snapshot: &snapshot, damaged: 0 };
    scan.rows(Table::Meta, |_, value| meta::decode(value).map(|meta| count.meta = Some(meta)))?;
    scan.rows(Table::Orphans, |key, value| tree::decode_orphan(key, value).map(|(ino, _)| count.orphan(ino)))?;
    scan.rows(Table::Inodes, |key, value| {
        inode::decode(inode::parse_key(key)?, value).map(|inode| count.inode(&inode))
    })?;
    scan.rows(Table::Names, |key, value| {
        let (dir, name) = entry::parse_name_key(key)?;
        entry::decode_name(key, value).map(|found| count.name(dir, name, &found))
    })?;
    scan.rows(Table::Entries, |key, value| {
        let (dir, _) = entry::parse_entry_key(key)?;
        entry::decode_entry(key, value).map(|entry| count.entry(dir, &entry))
    })?;
    scan.rows(Table::Targets, |key, value| {
        let ino = tree::parse_target_key(key)?;
        tree::decode_target(key, value).map(|target| count.target(ino, target))
    })?;
    scan.rows(Table::Extents, |key, value| {
        let (ino, _) = extent::parse_key(key)?;
        extent::decode(key, value).map(|(offset, extent)| count.extent(ino, offset, &extent))
    })?;
    scan.rows(Table::Segments, |key, value| segment::decode(key, value).map(|info| count.segment(&info)))?;
    scan.rows(Table::Replies, |key, value| reply::decode(key, value).map(|reply| count.reply(reply.number)))?;
    match scan.damaged {
        0 => count.judge(),
        _ => Ok(()),
    }
}

/// Reads tables from end to end.
struct Scan<'a> {
    tables: &'a Tables,
    snapshot: &'a RoTxn<'static, WithoutTls>,
    /// Rows that cannot be read.
    damaged: u64,
}

impl Scan<'_> {
    fn rows(
        &mut self,
        table: Table,
        mut row: impl FnMut(&[u8], &[u8]) -> Result<(), Corrupt>,
    ) -> Result<(), OpenError> {
        let rows = self.tables.rows(table);
        let mut before: Option<&[u8]> = None;
        let mut found = 0;
        for pair in rows.iter(self.snapshot)? {
            let (key, value) = pair?;
            if before.is_some_and(|before| before >= key) {
                return unsound(table, "its rows are out of order");
            }
            if before.is_none_or(|before| page_of(before) != page_of(key)) {
                self.finds(table, key)?;
                self.finds(table, before.unwrap_or(key))?;
            }
            before = Some(key);
            found += 1;
            self.damaged += u64::from(row(key, value).is_err());
        }
        if found != rows.len(self.snapshot)? {
            return unsound(table, "rows are missing, or there are too many");
        }
        before.map_or(Ok(()), |last| self.finds(table, last))
    }

    /// The first and the last row of a page are found by their keys: the pages above lead to them.
    fn finds(&self, table: Table, key: &[u8]) -> Result<(), OpenError> {
        match self.tables.rows(table).get(self.snapshot, key)? {
            Some(_) => Ok(()),
            None => unsound(table, "a row is not found by its key"),
        }
    }
}

/// What the tables come to. Pairs that have to be equal.
#[derive(Default)]
struct Count {
    meta: Option<Meta>,
    orphans: BTreeSet<u64>,
    /// Of `names`, and of `entries`.
    listed: [u64; 2],
    /// Names in each directory: as found, and as the directory says.
    entries: [u64; 2],
    /// Names of each inode, with its kind: as found, and as the inode says.
    links: [u64; 2],
    /// Directories in each directory: as found, and as the directory says.
    subdirectories: [u64; 2],
    /// Where each directory is: as found, and as it says itself.
    parents: [u64; 2],
    /// Symbolic links with the lengths of their targets: as found, and as the inode says.
    targets: [u64; 2],
    /// Files with their sizes and used bytes: of their extents, and as the inode says.
    files: [u64; 2],
    /// The file whose extents are being added up.
    file: Option<(Ino, u64, u64)>,
    has_gap: bool,
    /// Live bytes of segments: of the extents less those that the segment says.
    live: BTreeMap<SegmentId, i128>,
    has_segment: BTreeSet<SegmentId>,
    replies: u64,
    highest_ino: u64,
    highest_lsn: u64,
    highest_reply: Option<u64>,
}

impl Count {
    fn orphan(&mut self, ino: Ino) {
        self.orphans.insert(ino.0);
    }

    fn inode(&mut self, inode: &Inode) {
        let ino = inode.ino.0;
        self.highest_ino = self.highest_ino.max(ino);
        self.highest_lsn = self.highest_lsn.max(inode.change);
        let mut named = u64::from(inode.nlink);
        match inode.kind {
            Kind::Directory => {
                add(&mut self.entries[1], ino, inode.entries);
                add(&mut self.subdirectories[1], ino, u64::from(inode.nlink).wrapping_sub(2));
                named = u64::from(inode.ino != ROOT);
                add(&mut self.parents[1], (ino, inode.parent.0), named);
            }
            Kind::Symlink => add(&mut self.targets[1], (ino, inode.size), 1),
            Kind::File if inode.size > 0 => add(&mut self.files[1], (ino, inode.size, inode.used), 1),
            _ => {}
        }
        add(&mut self.links[1], (ino, inode.kind as u8), named);
    }

    fn name(&mut self, dir: Ino, name: &[u8], found: &entry::Found) {
        add(&mut self.listed[0], (dir.0, found.cookie, found.ino.0, found.kind as u8, name), 1);
        add(&mut self.entries[0], dir.0, 1);
        add(&mut self.links[0], (found.ino.0, found.kind as u8), 1);
        self.highest_lsn = self.highest_lsn.max(found.cookie);
        if found.kind == Kind::Directory {
            add(&mut self.subdirectories[0], dir.0, 1);
            add(&mut self.parents[0], (found.ino.0, dir.0), 1);
        }
    }

    fn entry(&mut self, dir: Ino, entry: &entry::Entry<'_>) {
        add(&mut self.listed[1], (dir.0, entry.cookie, entry.ino.0, entry.kind as u8, &*entry.name), 1);
    }

    fn target(&mut self, ino: Ino, target: &[u8]) {
        add(&mut self.targets[0], (ino.0, target.len() as u64), 1);
    }

    fn extent(&mut self, ino: Ino, offset: u64, extent: &cache::extent::Extent) {
        if let Place::Log { segment, .. } = extent.place {
            *self.live.entry(segment).or_default() += i128::from(extent.log_bytes());
        }
        if self.orphans.contains(&ino.0) {
            return;
        }
        if self.file.is_none_or(|(file, ..)| file != ino) {
            self.end_file();
            self.file = Some((ino, 0, 0));
        }
        let Some((_, end, used)) = &mut self.file else { return };
        self.has_gap |= *end != offset;
        *end = offset + extent.bytes;
        *used += if matches!(extent.place, Place::Hole) { 0 } else { extent.bytes };
    }

    fn end_file(&mut self) {
        if let Some((ino, size, used)) = self.file.take() {
            add(&mut self.files[0], (ino.0, size, used), 1);
        }
    }

    fn segment(&mut self, info: &super::command::SegmentInfo) {
        self.has_segment.insert(info.id);
        *self.live.entry(info.id).or_default() -= i128::from(info.live_bytes);
    }

    fn reply(&mut self, number: u64) {
        self.replies += 1;
        self.highest_reply = self.highest_reply.max(Some(number));
    }

    fn judge(mut self) -> Result<(), OpenError> {
        self.end_file();
        let same = |[one, other]: [u64; 2]| one == other;
        let has_segments = self.live.iter().all(|(id, left)| *left == 0 && self.has_segment.contains(id));
        for (is_right, table, what) in [
            (same(self.listed), Table::Names, "it differs from the entries"),
            (same(self.entries), Table::Names, "directories say other numbers of entries"),
            (same(self.subdirectories), Table::Names, "directories say other numbers of subdirectories"),
            (same(self.links), Table::Names, "inodes say other numbers of links"),
            (same(self.parents), Table::Names, "directories say other parents"),
            (same(self.targets), Table::Targets, "they differ from the symbolic links"),
            (!self.has_gap, Table::Extents, "those of a file do not follow each other"),
            (same(self.files), Table::Extents, "files say other sizes"),
            (has_segments, Table::Segments, "they say other live bytes than the extents"),
        ] {
            if !is_right {
                return unsound(table, what);
            }
        }
        match &self.meta {
            None if self.highest_ino == 0 => Ok(()),
            None => Err(OpenError::Headless),
            Some(meta) => self.judge_meta(meta),
        }
    }

    /// Numbers that were given out, and the ring of replies.
    fn judge_meta(&self, meta: &Meta) -> Result<(), OpenError> {
        let kept = meta.replies.min(u64::from(meta.reply_slots));
        let last = meta.replies.checked_sub(1);
        let newest = self.live.keys().next_back().map_or(0, |id| id.0);
        if self.highest_ino >= meta.next_ino || self.highest_lsn >= meta.lsn_limit || newest >= meta.next_segment {
            return unsound(Table::Meta, "numbers were given out that it does not know");
        }
        if self.replies != kept || self.highest_reply != last {
            return unsound(Table::Replies, "not all are there");
        }
        Ok(())
    }
}

/// Adds `value` so many times, by its hash. The key is a constant: damage does not choose.
fn add(sum: &mut u64, value: impl Hash, times: u64) {
    let mut hasher = SipHasher24::new();
    value.hash(&mut hasher);
    *sum = sum.wrapping_add(hasher.finish().wrapping_mul(times));
}

fn unsound(table: Table, what: &'static str) -> Result<(), OpenError> {
    Err(OpenError::Unsound(Corrupt { table, reason: what }))
}
