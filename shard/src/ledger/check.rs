//! Everything that the ledger holds, table by table, for verify and dump.
//!
//! Callers: tools, tests. Nothing is trusted: a damaged row is reported with its key and the scan
//! goes on.

use super::command::SegmentInfo;
use super::env::{Limits, Rows, Tables};
use super::record::entry::Found;
use super::record::meta::{self, Meta};
use super::record::reply::{self, Reply};
use super::record::{Corrupt, Table, entry, extent, inode, segment, tree};
use super::root;
use super::store::{self, OpenError, Store};
use crate::inode::{Ino, Inode, Kind};
use cache::extent::Extent;
use heed::{RoTxn, WithoutTls};
use std::fmt;
use std::path::Path;

/// One snapshot of a ledger, to be read from end to end.
pub struct Inspector {
    tables: Tables,
    snapshot: RoTxn<'static, WithoutTls>,
}

/// A row that cannot be read.
#[derive(Debug)]
pub enum Damage {
    /// The row under this key is not what was written.
    Row {
        /// Its key.
        key: Vec<u8>,
        /// What is wrong.
        corrupt: Corrupt,
    },
    /// LMDB cannot go on; the scan ends.
    Lmdb(heed::Error),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Row { key, corrupt } => {
                write!(f, "{corrupt}; key ")?;
                key.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Damage::Lmdb(error) => write!(f, "LMDB: {error}"),
        }
    }
}

impl std::error::Error for Damage {}

/// A row of `names`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRow {
    /// The directory.
    pub dir: Ino,
    /// The name.
    pub name: Vec<u8>,
    /// Where it leads.
    pub found: Found,
}

/// A row of `entries`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryRow {
    /// The directory.
    pub dir: Ino,
    /// The cookie.
    pub cookie: u64,
    /// The inode.
    pub ino: Ino,
    /// Its type.
    pub kind: Kind,
    /// The name.
    pub name: Vec<u8>,
}

/// A row of `extents`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtentRow {
    /// The file, or an orphan.
    pub ino: Ino,
    /// File offset.
    pub offset: u64,
    /// The extent.
    pub extent: Extent,
}

/// Rows of one table.
pub type Scan<'a, T> = Box<dyn Iterator<Item = Result<T, Damage>> + 'a>;

impl Inspector {
    /// Opens the ledger in `directory` for reading.
    pub fn open(directory: &Path, limits: Limits) -> Result<Inspector, OpenError> {
        Inspector::of(&Store::inspect(directory, limits)?)
    }

    /// The newest snapshot of an open store.
    pub fn of(store: &Store) -> Result<Inspector, OpenError> {
        let tables = store.tables().clone();
        let snapshot = tables.snapshot()?;
        Ok(Inspector { tables, snapshot })
    }

    /// Whether all pages of the tables are those that were written last, by the digest in the root of the ledger in
    /// `directory`. Reads all of them.
    pub fn check_pages(&self, directory: &Path) -> Result<(), OpenError> {
        let (root, _) = root::read(directory)?.ok_or(OpenError::Rootless)?;
        store::read(&self.tables, &root).map(drop)
    }

    /// The record of the filesystem.
    pub fn meta(&self) -> Result<Meta, Damage> {
        let rows = self.rows(Table::Meta);
        let value = rows.get(&self.snapshot, meta::KEY).map_err(Damage::Lmdb)?;
        let missing = Corrupt { table: Table::Meta, reason: "the record is missing" };
        value.ok_or(missing).and_then(meta::decode).map_err(|corrupt| Damage::Row { key: meta::KEY.to_vec(), corrupt })
    }

    /// All inodes, by number.
    pub fn inodes(&self) -> Scan<'_, Inode> {
        self.scan(Table::Inodes, |key, value| inode::decode(inode::parse_key(key)?, value))
    }

    /// All names, by directory and name.
    pub fn names(&self) -> Scan<'_, NameRow> {
        self.scan(Table::Names, |key, value| {
            let (dir, name) = entry::parse_name_key(key)?;
            Ok(NameRow { dir, name: name.to_vec(), found: entry::decode_name(key, value)? })
        })
    }

    /// All entries, by directory and cookie.
    pub fn entries(&self) -> Scan<'_, EntryRow> {
        self.scan(Table::Entries, |key, value| {
            let (dir, cookie) = entry::parse_entry_key(key)?;
            let entry = entry::decode_entry(key, value)?;
            Ok(EntryRow { dir, cookie, ino: entry.ino, kind: entry.kind, name: entry.name.to_vec() })
        })
    }

    /// All targets of symbolic links.
    pub fn targets(&self) -> Scan<'_, (Ino, Vec<u8>)> {
        self.scan(Table::Targets, |key, value| {
            let target = tree::decode_target(key, value)?.to_vec();
            Ok((tree::parse_target_key(key)?, target))
        })
    }

    /// All extents, by file and offset.
    pub fn extents(&self) -> Scan<'_, ExtentRow> {
        self.scan(Table::Extents, |key, value| {
            let (ino, _) = extent::parse_key(key)?;
            let (offset, extent) = extent::decode(key, value)?;
            Ok(ExtentRow { ino, offset, extent })
        })
    }

    /// All segments in use.
    pub fn segments(&self) -> Scan<'_, SegmentInfo> {
        self.scan(Table::Segments, segment::decode)
    }

    /// All stored replies, by slot.
    pub fn replies(&self) -> Scan<'_, Reply> {
        self.scan(Table::Replies, reply::decode)
    }

    /// All removed files that still hold extents, with their generations.
    pub fn orphans(&self) -> Scan<'_, (Ino, u32)> {
        self.scan(Table::Orphans, tree::decode_orphan)
    }

    fn rows(&self, table: Table) -> &Rows {
        self.tables.rows(table)
    }

    fn scan<'a, T: 'a>(
        &'a self,
        table: Table,
        decode: impl Fn(&'a [u8], &'a [u8]) -> Result<T, Corrupt> + 'a,
    ) -> Scan<'a, T> {
        match self.rows(table).iter(&self.snapshot) {
            Ok(rows) => Box::new(rows.map(move |row| {
                let (key, value) = row.map_err(Damage::Lmdb)?;
                decode(key, value).map_err(|corrupt| Damage::Row { key: key.to_vec(), corrupt })
            })),
            Err(error) => Box::new(std::iter::once(Err(Damage::Lmdb(error)))),
        }
    }
}
