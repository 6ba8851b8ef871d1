//! The journal: each batch of row changes as one durable record, written before anyone sees it.
//!
//! Callers: the keeper (appends), the start (reads), fuzzing. Two files take turns: records of epoch e are in
//! file e modulo 2, from its first block on without gaps; a checkpoint begins the next epoch. A record
//! is written with one write that is durable when it returns, and the next one begins only then: so
//! whatever lies behind a record that does not check was never acknowledged, or there is damage. That the last one was
//! durable says a seal, which is a record without changes; it follows when the ledger has been idle for a moment.
//! docs/format.md has every byte.

use super::media::{ALIGNMENT, Aligned, Media, Witness};
use super::redo::Redo;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A record's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Identity of the filesystem: a secret, so that no bytes of a client pass for a record.
    pub filesystem: u64,
    /// Which run of the journal it belongs to.
    pub epoch: u64,
    /// Where it is in the row of all records.
    pub place: Place,
    /// Epoch of the newest root that was durable when it was written.
    pub root: u64,
    /// The block of its file where it begins.
    pub block: u32,
    /// Changes in its redo list.
    pub changes: u32,
}

/// A place in the row of all records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Records before it since the filesystem was made.
    pub sequence: u64,
    /// Checksum of the one before; 0 for the first.
    pub previous: u32,
}

/// A record that checks.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its head.
    pub head: Head,
    /// Its redo list.
    pub redo: &'a [u8],
    checksum: u32,
}

impl Record<'_> {
    /// Where the next one is.
    pub fn next(&self) -> Place {
        Place { sequence: self.head.place.sequence.saturating_add(1), previous: self.checksum }
    }
}

/// What a start takes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct From {
    /// Identity of the filesystem.
    pub filesystem: u64,
    /// The first epoch to apply.
    pub epoch: u64,
    /// Place of its first record.
    pub place: Place,
}

/// What was durable is damaged: nothing is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A record does not check although a later one was written.
    Broken {
        /// The sequence number that is missing.
        sequence: u64,
    },
    /// A record tells of a root that is not there.
    RootLost {
        /// Its epoch.
        epoch: u64,
    },
    /// A record checks, but its redo list is none.
    Record {
        /// Its sequence number.
        sequence: u64,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Broken { sequence } => write!(f, "record {sequence} is damaged; later ones are there"),
            Damage::RootLost { epoch } => write!(f, "the root of epoch {epoch} is damaged"),
            Damage::Record { sequence } => write!(f, "record {sequence} is not possible"),
        }
    }
}

/// The two files, and where the next record goes.
#[derive(Debug)]
pub(super) struct Journal {
    files: [Media; 2],
    filesystem: u64,
    epoch: u64,
    place: Place,
    at_block: u32,
    blocks: u32,
    /// The running epoch has a record that is no seal.
    has_changes: bool,
    /// No record follows the last one that has changes.
    is_open: bool,
    buffer: Aligned,
}

impl Journal {
    /// Makes the files in `directory`, durably, of `bytes` each.
    pub(super) fn make(directory: &Path, bytes: u64, witness: Option<&Witness>) -> io::Result<()> {
        for path in paths(directory) {
            Media::make(path, bytes, witness)?;
        }
        Ok(())
    }

    /// Opens the files for writing: the next record is the first of `from`'s epoch. What they hold is
    /// not needed any more.
    pub(super) fn open(directory: &Path, from: From, bytes: u64, witness: Option<&Witness>) -> io::Result<Journal> {
        let open = |path| -> io::Result<Media> {
            let file = Media::open(path, witness)?;
            if file.bytes()? != bytes {
                file.resize(bytes)?;
                file.sync()?;
            }
            Ok(file)
        };
        let [even, odd] = paths(directory);
        Ok(Journal {
            files: [open(even)?, open(odd)?],
            filesystem: from.filesystem,
            epoch: from.epoch,
            place: from.place,
            at_block: 0,
            blocks: u32::try_from(bytes / ALIGNMENT as u64).unwrap_or(u32::MAX),
            has_changes: false,
            is_open: false,
            buffer: Aligned::default(),
        })
    }

    /// Whether the running epoch has filled its file. A record that does not fit any more makes the file grow,
    /// until its next turn.
    pub(super) fn is_full(&self) -> bool {
        self.at_block >= self.blocks
    }

    /// Whether the running epoch has filled half of its file.
    pub(super) fn is_half_full(&self) -> bool {
        self.at_block > self.blocks / 2
    }

    /// Whether the running epoch has a record with changes.
    pub(super) fn has_changes(&self) -> bool {
        self.has_changes
    }

    /// Whether nothing says of the last record that it was durable: neither one behind it nor the root of this epoch,
    /// `root` being that of the newest durable one.
    pub(super) fn wants_seal(&self, root: u64) -> bool {
        self.is_open && (self.has_changes || root < self.epoch)
    }

    /// Appends a record, durably; one without changes is a seal. `root` is the epoch of the newest durable root.
    pub(super) fn append(&mut self, redo: &Redo, root: u64) -> io::Result<()> {
        let head = Head {
            filesystem: self.filesystem,
            epoch: self.epoch,
            place: self.place,
            root,
            block: self.at_block,
            changes: redo.changes(),
        };
        let blocks = blocks_of(redo.as_bytes().len());
        let grown = u32::try_from(u64::from(self.at_block) + blocks).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let record = self.buffer.zeroed(blocks as usize * ALIGNMENT);
        let checksum = encode(&head, redo.as_bytes(), record);
        let file = &self.files[file_of(self.epoch)];
        file.write(u64::from(self.at_block) * ALIGNMENT as u64, record)?;
        self.at_block = grown;
        self.is_open = redo.changes() > 0;
        self.has_changes |= self.is_open;
        self.place = Place { sequence: self.place.sequence + 1, previous: checksum };
        Ok(())
    }

    /// Begins the next epoch in the other file, whose records are not needed any more. Answers where
    /// a start takes up from now on.
    pub(super) fn turn(&mut self) -> io::Result<From> {
        self.epoch += 1;
        self.at_block = 0;
        self.has_changes = false;
        let file = &self.files[file_of(self.epoch)];
        let bytes = u64::from(self.blocks) * ALIGNMENT as u64;
        if file.bytes()? > bytes {
            file.resize(bytes)?;
        }
        Ok(From { filesystem: self.filesystem, epoch: self.epoch, place: self.place })
    }
}

/// What the two files hold, read whole.
pub struct Contents(pub [Vec<u8>; 2]);

impl Contents {
    /// Reads the files.
    pub(super) fn read(directory: &Path) -> io::Result<Contents> {
        let [even, odd] = paths(directory);
        Ok(Contents([std::fs::read(even)?, std::fs::read(odd)?]))
    }

    /// The records from `from` on: of its epoch, then of the next, until one does not check.
    pub fn records(&self, from: From) -> Result<Vec<Record<'_>>, Damage> {
        let mut records = Vec::new();
        let mut place = from.place;
        for epoch in [from.epoch, from.epoch.saturating_add(1)] {
            let mut block = 0;
            while let Some(record) = self.record(from.filesystem, file_of(epoch), block)
                && record.head.epoch == epoch
                && record.head.place == place
            {
                block += blocks_of(record.redo.len()) as usize;
                place = record.next();
                records.push(record);
            }
        }
        self.rule_out(from, place)?;
        Ok(records)
    }

    /// Nothing may lie behind the end, and nothing may tell of a newer root. What is not in its place tells so too: its
    /// write went elsewhere.
    fn rule_out(&self, from: From, end: Place) -> Result<(), Damage> {
        for bytes in &self.0 {
            for at in (0..bytes.len()).step_by(ALIGNMENT) {
                let Some(head) = decode(&bytes[at..]).map(|record| record.head) else { continue };
                if head.filesystem != from.filesystem {
                    continue;
                }
                if head.root > from.epoch {
                    return Err(Damage::RootLost { epoch: head.root });
                }
                if head.epoch >= from.epoch && head.place.sequence >= end.sequence {
                    return Err(Damage::Broken { sequence: end.sequence });
                }
            }
        }
        Ok(())
    }

    fn record(&self, filesystem: u64, file: usize, block: usize) -> Option<Record<'_>> {
        let bytes = self.0[file].get(block * ALIGNMENT..)?;
        let record = decode(bytes)?;
        (record.head.filesystem == filesystem && record.head.block as usize == block).then_some(record)
    }
}

/// Writes a record into `out`, zeroed and as long as [`blocks_of`] says. Answers its checksum.
pub fn encode(head: &Head, redo: &[u8], out: &mut [u8]) -> u32 {
    assert_eq!(out.len() as u64, blocks_of(redo.len()) * ALIGNMENT as u64);
    let bytes = u32::try_from(redo.len()).expect("a batch is shorter");
    out[..4].copy_from_slice(&MAGIC);
    out[4..6].copy_from_slice(&VERSION.to_le_bytes());
    out[8..16].copy_from_slice(&head.filesystem.to_le_bytes());
    out[16..24].copy_from_slice(&head.epoch.to_le_bytes());
    out[24..32].copy_from_slice(&head.place.sequence.to_le_bytes());
    out[32..40].copy_from_slice(&head.root.to_le_bytes());
    out[40..44].copy_from_slice(&head.block.to_le_bytes());
    out[44..48].copy_from_slice(&bytes.to_le_bytes());
    out[48..52].copy_from_slice(&head.changes.to_le_bytes());
    out[52..56].copy_from_slice(&head.place.previous.to_le_bytes());
    out[HEAD_BYTES..HEAD_BYTES + redo.len()].copy_from_slice(redo);
    let checksum = checksum(out);
    out[CHECKSUM_AT..HEAD_BYTES].copy_from_slice(&checksum.to_le_bytes());
    checksum
}

/// Reads the record at the beginning of `bytes`; `None` where there is none that checks.
pub fn decode(bytes: &[u8]) -> Option<Record<'_>> {
    let head = bytes.first_chunk::<HEAD_BYTES>()?;
    let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|index| head[at + index]));
    let u64_at = |at: usize| u64::from_le_bytes(std::array::from_fn(|index| head[at + index]));
    if head[..4] != MAGIC || head[4..6] != VERSION.to_le_bytes() || head[6..8] != [0; 2] || u32_at(56) != 0 {
        return None;
    }
    let redo_bytes = u32_at(44) as usize;
    let record = bytes.get(..blocks_of(redo_bytes) as usize * ALIGNMENT)?;
    let (redo, padding) = record[HEAD_BYTES..].split_at(redo_bytes);
    if checksum(record) != u32_at(CHECKSUM_AT) || padding.iter().any(|&byte| byte != 0) {
        return None;
    }
    let head = Head {
        filesystem: u64_at(8),
        epoch: u64_at(16),
        place: Place { sequence: u64_at(24), previous: u32_at(52) },
        root: u64_at(32),
        block: u32_at(40),
        changes: u32_at(48),
    };
    Some(Record { head, redo, checksum: u32_at(CHECKSUM_AT) })
}

/// Blocks of a record whose redo list has so many bytes.
pub fn blocks_of(redo_bytes: usize) -> u64 {
    (HEAD_BYTES + redo_bytes).div_ceil(ALIGNMENT) as u64
}

/// Of a record, taken as if the field itself were zero.
fn checksum(record: &[u8]) -> u32 {
    let head = crc32c::crc32c_append(crc32c::crc32c(&record[..CHECKSUM_AT]), &[0; 4]);
    crc32c::crc32c_append(head, &record[HEAD_BYTES..])
}

fn file_of(epoch: u64) -> usize {
    (epoch % 2) as usize
}

fn paths(directory: &Path) -> [PathBuf; 2] {
    FILES.map(|name| directory.join(name))
}

/// The two files, within the ledger's directory.
pub const FILES: [&str; 2] = ["journal.0", "journal.1"];
/// Bytes of each file by default: what a second brings, so that a full file does not make checkpoints
/// more frequent than time does, and a start has less than a second of replay.
pub const JOURNAL_BYTES: u64 = 32 << 20;
/// Bytes of a record before its redo list.
pub const HEAD_BYTES: usize = 64;
const CHECKSUM_AT: usize = 60;
const MAGIC: [u8; 4] = *b"BSLJ";
const VERSION: u16 = 1;
