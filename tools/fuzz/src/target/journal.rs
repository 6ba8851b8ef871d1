//! The ledger's journal: one record and the list of row changes in it. What is decoded at all is written again in the
//! same bytes.
//!
//! Input: a byte that says whether the record's checksum is put right, then the record from its start; the rest of its
//! two blocks is zero. The same bytes are offered as a list of changes too.

use super::Target;
use shard::ledger::journal::{HEAD_BYTES, Head, Place, blocks_of, decode, encode};
use shard::ledger::record::Table;
use shard::ledger::redo::{Redo, changes};

pub(super) const JOURNAL: Target = Target {
    name: "journal",
    about: "the ledger's journal: a record, its row changes, its checksum",
    input_max: 1 + RECORD_BYTES,
    working_bytes: 0,
    words: &[b"BSLJ\x01\0\0\0", b"\x05\x01\x04\0\x08\0\0\0", b"\x05\0\x04\0\0\0\0\0"],
    seeds,
    run,
};

fn run(input: &[u8]) {
    let Some((how, bytes)) = input.split_first() else { return };
    let bytes = &bytes[..bytes.len().min(RECORD_BYTES)];
    list(bytes);
    let mut record = [0; RECORD_BYTES];
    record[..bytes.len()].copy_from_slice(bytes);
    if how % 8 != 0 {
        seal(&mut record);
    }
    let Some(found) = decode(&record) else { return };
    let record = &record[..blocks_of(found.redo.len()) as usize * BLOCK_BYTES];
    let mut again = [0; RECORD_BYTES];
    let checksum = encode(&found.head, found.redo, &mut again[..record.len()]);
    assert!(again[..record.len()] == *record, "read and written again, the record is another one");
    assert_eq!(checksum.to_le_bytes(), record[CHECKSUM]);
    let next = found.next();
    assert_eq!(next.previous, checksum);
    assert!(next.sequence >= found.head.place.sequence);
    list(found.redo);
}

/// A list of changes is written again in the same bytes, up to where it is none; behind that nothing is read.
fn list(bytes: &[u8]) {
    let mut again = Redo::default();
    let mut found = changes(bytes);
    let is_whole = loop {
        match found.next() {
            None => break true,
            Some(None) => break false,
            Some(Some(change)) => match change.value {
                Some(value) => again.put(change.table, change.key, value),
                None => again.delete(change.table, change.key),
            },
        }
    };
    assert!(found.next().is_none(), "what is no list goes on");
    assert!(bytes.starts_with(again.as_bytes()), "read and written again, the list is another one");
    assert_eq!(again.as_bytes().len() == bytes.len(), is_whole);
}

/// Puts the checksum right, of as many blocks as the record says; of one where it says too many.
fn seal(record: &mut [u8; RECORD_BYTES]) {
    let redo_bytes = u32::from_le_bytes(record[REDO_BYTES].try_into().expect("the range has the length of the number"));
    let blocks = blocks_of(redo_bytes as usize) as usize;
    let blocks = if blocks * BLOCK_BYTES <= RECORD_BYTES { blocks } else { 1 };
    record[CHECKSUM].fill(0);
    let checksum = crc32c::crc32c(&record[..blocks * BLOCK_BYTES]);
    record[CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
}

const BLOCK_BYTES: usize = 4096;
/// The longest record that is made.
const RECORD_BYTES: usize = 2 * BLOCK_BYTES;
const REDO_BYTES: std::ops::Range<usize> = 44..48;
const CHECKSUM: std::ops::Range<usize> = 60..HEAD_BYTES;

fn seeds() -> Vec<Vec<u8>> {
    let mut small = Redo::default();
    small.put(Table::Names, b"key", b"value");
    small.delete(Table::Orphans, b"gone");
    let mut large = Redo::default();
    large.put(Table::Targets, b"key", &[7; BLOCK_BYTES]);
    large.put(Table::Meta, b"head", b"");
    let place = Place { sequence: 9, previous: 3 };
    let mut seeds = Vec::new();
    for redo in [&Redo::default(), &small, &large] {
        let head = Head { filesystem: 5, epoch: 4, place, root: 2, block: 6, changes: redo.changes() };
        let mut record = vec![0; blocks_of(redo.as_bytes().len()) as usize * BLOCK_BYTES];
        encode(&head, redo.as_bytes(), &mut record);
        assert!(decode(&record).is_some_and(|found| found.head == head && found.redo == redo.as_bytes()));
        seeds.push([&[0], &record[..]].concat());
        seeds.push([&[1], &record[..HEAD_BYTES + redo.as_bytes().len()]].concat());
        seeds.push([&[0], redo.as_bytes()].concat());
    }
    seeds
}
