//! The byte formats of the ledger's tables. Pure codecs: bytes in, values out, no LMDB.
//!
//! Callers: the ledger's writer, its readers, verify and dump.
//!
//! **Keys.** Numbers in keys are big endian, so that LMDB's byte order is their order. Tables whose
//! rows belong to the tree (inodes, names, entries, targets, extents) end their keys with a snapshot
//! epoch, u32, [`EPOCH`] today: a snapshot will be one record and not a copy.
//!
//! | table | key |
//! |---|---|
//! | `meta` | the four bytes `head` |
//! | `inodes`, `targets` | ino u64, epoch u32 |
//! | `names` | dir u64, name (1 to 255 bytes), epoch u32 |
//! | `entries` | dir u64, cookie u64, epoch u32 |
//! | `extents` | ino u64, file offset u64, epoch u32 |
//! | `segments` | segment id u64 |
//! | `replies` | slot u32 |
//! | `orphans` | ino u64 |
//!
//! **Values.** Numbers in values are little endian. Every value is sealed: byte 0 is the format
//! version ([`VERSION`]), the last four bytes are the CRC-32C of the key followed by all bytes before
//! them. A value that does not check, or is longer or shorter than its content says, or holds a
//! number that cannot be, is [`Corrupt`] and never data. What lies between is described at the
//! record's own module, with offsets counted from byte 1 of the value.

use crate::inode::Ino;
use cache::world::Time;
use std::fmt;

pub mod entry;
pub mod extent;
pub mod inode;
pub mod meta;
pub mod reply;
pub mod segment;
pub mod tree;

/// Format version of all values.
pub const VERSION: u8 = 1;
/// Snapshot epoch of all rows of the living tree.
pub const EPOCH: u32 = 1;

/// The ledger's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    /// One record about the filesystem.
    Meta,
    /// Inodes by number.
    Inodes,
    /// Directory entries by name.
    Names,
    /// Directory entries by cookie.
    Entries,
    /// Targets of symbolic links.
    Targets,
    /// Extents of files, and of removed files until they are swept.
    Extents,
    /// Log segments.
    Segments,
    /// Answers to requests that must take effect once.
    Replies,
    /// Removed files whose extents are not freed yet.
    Orphans,
}

impl Table {
    /// All tables.
    pub const ALL: [Table; 9] = [
        Table::Meta,
        Table::Inodes,
        Table::Names,
        Table::Entries,
        Table::Targets,
        Table::Extents,
        Table::Segments,
        Table::Replies,
        Table::Orphans,
    ];

    /// Its name in LMDB.
    pub fn name(self) -> &'static str {
        match self {
            Table::Meta => "meta",
            Table::Inodes => "inodes",
            Table::Names => "names",
            Table::Entries => "entries",
            Table::Targets => "targets",
            Table::Extents => "extents",
            Table::Segments => "segments",
            Table::Replies => "replies",
            Table::Orphans => "orphans",
        }
    }
}

/// A row that is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt {
    /// Where it was read.
    pub table: Table,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {}: {}", self.table.name(), self.reason)
    }
}

impl std::error::Error for Corrupt {}

/// A key on the stack.
#[derive(Clone, Copy)]
pub struct Key<const N: usize> {
    bytes: [u8; N],
    count: usize,
}

impl<const N: usize> Key<N> {
    fn new() -> Key<N> {
        Key { bytes: [0; N], count: 0 }
    }

    fn with(mut self, part: &[u8]) -> Key<N> {
        self.bytes[self.count..self.count + part.len()].copy_from_slice(part);
        self.count += part.len();
        self
    }

    /// The bytes of the key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.count]
    }
}

/// Begins a value in `out`, which is emptied first.
fn begin(out: &mut Vec<u8>) {
    out.clear();
    out.push(VERSION);
}

/// Ends a value: appends its checksum.
fn seal(key: &[u8], out: &mut Vec<u8>) {
    let checksum = checksum(key, out);
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// A value with any content.
#[cfg(any(test, feature = "sim"))]
pub(super) fn sealed(key: &[u8], content: &[u8]) -> Vec<u8> {
    let mut value = Vec::new();
    begin(&mut value);
    value.extend_from_slice(content);
    seal(key, &mut value);
    value
}

/// Checks a value and gives its content.
fn open<'a>(table: Table, key: &[u8], value: &'a [u8]) -> Result<Fields<'a>, Corrupt> {
    let corrupt = |reason| Err(Corrupt { table, reason });
    let Some((sealed, stored)) = value.split_last_chunk::<4>() else {
        return corrupt("shorter than a checksum");
    };
    if checksum(key, sealed) != u32::from_le_bytes(*stored) {
        return corrupt("checksum");
    }
    match sealed.split_first() {
        Some((&VERSION, rest)) => Ok(Fields { table, rest }),
        Some(_) => corrupt("format version"),
        None => corrupt("no format version"),
    }
}

/// Whether a row of any table is what was written.
pub(super) fn is_whole(table: Table, key: &[u8], value: &[u8]) -> bool {
    open(table, key, value).is_ok()
}

fn checksum(key: &[u8], sealed: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), sealed)
}

/// The content of a value, taken field by field.
#[derive(Clone, Copy)]
struct Fields<'a> {
    table: Table,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn corrupt(&self, reason: &'static str) -> Corrupt {
        Corrupt { table: self.table, reason }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Corrupt> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(self.corrupt("shorter than its content"))?;
        self.rest = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, Corrupt> {
        Ok(self.array::<1>()?[0])
    }

    fn u16(&mut self) -> Result<u16, Corrupt> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, Corrupt> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Corrupt> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn time(&mut self) -> Result<Time, Corrupt> {
        let secs = i64::from_le_bytes(self.array()?);
        let nanos = self.u32()?;
        if nanos >= NANOS_PER_SEC {
            return Err(self.corrupt("nanoseconds beyond a second"));
        }
        Ok(Time { secs, nanos })
    }

    /// All that is left.
    fn remainder(self) -> &'a [u8] {
        self.rest
    }

    /// Nothing may be left.
    fn end(self) -> Result<(), Corrupt> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.corrupt("longer than its content")) }
    }
}

fn put_time(out: &mut Vec<u8>, time: Time) {
    out.extend_from_slice(&time.secs.to_le_bytes());
    out.extend_from_slice(&time.nanos.to_le_bytes());
}

/// Splits the fixed part off a key that ends with the living epoch.
fn key_u64s<const N: usize>(table: Table, key: &[u8]) -> Result<[u64; N], Corrupt> {
    let corrupt = |reason| Corrupt { table, reason };
    let (numbers, epoch) = key.split_last_chunk::<4>().ok_or(corrupt("short key"))?;
    if u32::from_be_bytes(*epoch) != EPOCH {
        return Err(corrupt("epoch of the key"));
    }
    if numbers.len() != N * 8 {
        return Err(corrupt("length of the key"));
    }
    let mut parsed = [0; N];
    for (number, bytes) in parsed.iter_mut().zip(numbers.as_chunks::<8>().0) {
        *number = u64::from_be_bytes(*bytes);
    }
    Ok(parsed)
}

/// Key of a row that belongs to an inode: ino, epoch.
fn ino_key(ino: Ino) -> Key<12> {
    Key::new().with(&ino.0.to_be_bytes()).with(&EPOCH.to_be_bytes())
}

/// Key of a row among others of an inode: ino, number, epoch.
fn pair_key(ino: Ino, number: u64) -> Key<20> {
    Key::new().with(&ino.0.to_be_bytes()).with(&number.to_be_bytes()).with(&EPOCH.to_be_bytes())
}

const NANOS_PER_SEC: u32 = 1_000_000_000;

#[cfg(test)]
mod tests;
