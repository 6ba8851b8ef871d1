//! The ledger as verify reads it: opened without a writer, every row checked as it is met.

use super::progress::{Progress, Unit};
use super::report::{Findings, Kind};
use crate::text;
use heed::{RoTxn, WithoutTls};
use shard::inode::Ino;
use shard::ledger::check::{Damage, Inspector};
use shard::ledger::command::NAME_MAX;
use shard::ledger::env::{Limits, Tables};
use shard::ledger::record::entry::{self, Found};
use shard::ledger::record::meta::Meta;
use shard::ledger::record::{Corrupt, Table, inode};
use shard::ledger::store::{OpenError, Store};
use std::io;
use std::path::Path;

/// An open ledger. No daemon runs, so the snapshots of all its parts are the same.
pub(crate) struct Source {
    /// Goes through whole tables.
    pub(crate) rows: Inspector,
    /// What has been given out.
    pub(crate) meta: Meta,
    tables: Tables,
    txn: RoTxn<'static, WithoutTls>,
}

/// What became of opening it.
pub(crate) enum Opened {
    /// It can be checked.
    Ready(Box<Source>),
    /// It was never made, or not to the end: a start makes it anew.
    New,
    /// It cannot be read at all; the problem was reported.
    Ruined,
}

/// A row that is looked up.
pub(crate) enum Lookup<T> {
    There(T),
    Missing,
    /// It does not check; the scan of its table reports it.
    Damaged,
}

impl Source {
    /// Opens the ledger in `directory`. An error is a reason why it could not be looked at.
    pub(crate) fn open(directory: &Path, findings: &mut Findings) -> Result<Opened, String> {
        if !directory.exists() {
            return Ok(Opened::New);
        }
        let limits = Limits { map_bytes: MAP_BYTES, readers_max: READERS_MAX };
        let opened = Store::bring_up(directory, limits).and_then(|replayed| {
            if replayed > 0 {
                findings.note(format!("{replayed} batches of the ledger's journal were replayed, as a start does"));
            }
            let store = Store::inspect(directory, limits)?;
            Ok((Inspector::of(&store)?, store))
        });
        let (rows, store) = match opened {
            Ok(opened) => opened,
            Err(error) => return refused(directory, error, findings),
        };
        if let Err(error) = rows.check_pages(directory) {
            findings.problem(Kind::Ledger, error.to_string());
        }
        let tables = store.tables().clone();
        let txn = tables.snapshot().map_err(|error| format!("{}: {error}", directory.display()))?;
        match rows.meta() {
            Ok(meta) => Ok(Opened::Ready(Box::new(Source { rows, meta, tables, txn }))),
            Err(damage) => {
                findings.problem(Kind::Ledger, format!("the record of the filesystem: {damage}"));
                Ok(Opened::Ruined)
            }
        }
    }

    /// Goes through a table; damaged rows are reported. Answers whether it came to the end.
    pub(crate) fn each<T>(
        &self,
        table: Table,
        rows: impl Iterator<Item = Result<T, Damage>>,
        findings: &mut Findings,
        progress: &mut Progress,
        mut on_row: impl FnMut(Result<T, &[u8]>, &mut Findings),
    ) -> bool {
        progress.phase(table.name(), self.count(table), Unit::Rows);
        for row in rows {
            progress.row();
            match row {
                Ok(row) => on_row(Ok(row), findings),
                Err(Damage::Row { key, corrupt }) => {
                    findings.push_row(&key, &corrupt);
                    on_row(Err(&key), findings);
                }
                Err(Damage::Lmdb(error)) => {
                    let what = format!("table {} cannot be read to its end: {error}", table.name());
                    findings.problem(Kind::Ledger, what);
                    return false;
                }
            }
        }
        true
    }

    /// Where a name leads.
    pub(crate) fn name(&self, dir: Ino, name: &[u8]) -> Lookup<Found> {
        let key = entry::name_key(dir, name);
        self.look(Table::Names, key.as_bytes(), |value| entry::decode_name(key.as_bytes(), value))
    }

    /// What a cookie stands for: inode and name.
    pub(crate) fn entry(&self, dir: Ino, cookie: u64) -> Lookup<(Ino, Vec<u8>)> {
        let key = entry::entry_key(dir, cookie);
        self.look(Table::Entries, key.as_bytes(), |value| {
            let entry = entry::decode_entry(key.as_bytes(), value)?;
            Ok((entry.ino, entry.name.to_vec()))
        })
    }

    /// An inode's record.
    pub(crate) fn inode(&self, ino: Ino) -> Lookup<shard::inode::Inode> {
        self.look(Table::Inodes, inode::key(ino).as_bytes(), |value| inode::decode(ino, value))
    }

    /// The first name in `dir` that leads to `ino`.
    pub(crate) fn name_of(&self, dir: Ino, ino: Ino) -> Option<Vec<u8>> {
        let rows = self.tables.rows(Table::Names).prefix_iter(&self.txn, &dir.0.to_be_bytes()).ok()?;
        for row in rows {
            let (key, value) = row.ok()?;
            if entry::decode_name(key, value).is_ok_and(|found| found.ino == ino) {
                return entry::parse_name_key(key).ok().map(|(_, name)| name.to_vec());
            }
        }
        None
    }

    fn look<T>(&self, table: Table, key: &[u8], decode: impl FnOnce(&[u8]) -> Result<T, Corrupt>) -> Lookup<T> {
        match self.tables.rows(table).get(&self.txn, key) {
            Ok(Some(value)) => decode(value).map_or(Lookup::Damaged, Lookup::There),
            Ok(None) => Lookup::Missing,
            // The scan of the table meets the same page.
            Err(_) => Lookup::Damaged,
        }
    }

    fn count(&self, table: Table) -> u64 {
        self.tables.rows(table).len(&self.txn).unwrap_or(0)
    }
}

impl Findings {
    /// A row does not check.
    fn push_row(&mut self, key: &[u8], corrupt: &Corrupt) {
        let what = format!("row of {} ({}): {}", corrupt.table.name(), key_text(corrupt.table, key), corrupt.reason);
        match owner(corrupt.table, key) {
            Some(ino) => self.wrong(Kind::Row, ino, what),
            None => self.problem(Kind::Row, what),
        }
    }
}

/// The inode that a row belongs to: its number leads the key.
fn owner(table: Table, key: &[u8]) -> Option<Ino> {
    match table {
        Table::Meta | Table::Segments | Table::Replies => None,
        _ => leading(key).map(Ino),
    }
}

fn leading(key: &[u8]) -> Option<u64> {
    key.first_chunk().map(|number| u64::from_be_bytes(*number))
}

/// A key for people.
pub(crate) fn key_text(table: Table, key: &[u8]) -> String {
    let second = key.get(8..16).and_then(leading);
    match (table, leading(key), second) {
        (Table::Names, Some(dir), _) if key.len() > 12 && key.len() <= 12 + NAME_MAX => {
            format!("directory {dir}, name {:?}", text::name(&key[8..key.len() - 4]))
        }
        (Table::Entries, Some(dir), Some(cookie)) => format!("directory {dir}, cookie {cookie}"),
        (Table::Extents, Some(ino), Some(offset)) => format!("inode {ino}, offset {offset}"),
        (Table::Inodes | Table::Targets | Table::Orphans, Some(ino), _) => format!("inode {ino}"),
        (Table::Segments, Some(segment), _) => format!("segment {segment}"),
        _ => format!("key {}", text::hex(key)),
    }
}

/// A ledger that does not open is a problem where it is damaged, and a failure where it cannot be read.
fn refused(directory: &Path, error: OpenError, findings: &mut Findings) -> Result<Opened, String> {
    match error {
        OpenError::Io(ref found) if !is_about_contents(found) => Err(format!("{}: {error}", directory.display())),
        OpenError::Lmdb(heed::Error::Io(_)) | OpenError::InUse => Err(format!("{}: {error}", directory.display())),
        error => {
            findings.problem(Kind::Ledger, format!("{}: {error}", directory.display()));
            Ok(Opened::Ruined)
        }
    }
}

/// Whether a file could be read and is not what it should be, or is not there.
fn is_about_contents(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound)
}

/// Address space for the map; LMDB takes more where the file needs it.
const MAP_BYTES: u64 = 1 << 40;
/// Only counts where LMDB's lock file does not exist yet.
const READERS_MAX: u32 = 1024;
