//! What a start takes up from the ledger's journal, whose files somebody has damaged or whose newest root is lost:
//! records that were written, in order, and never fewer than are whole; or it is refused. Without damage it is all.
//!
//! Input: a script. Each step is a kind and four numbers of one byte; it writes a record or a seal, begins an epoch, makes a root
//! durable, kills in the middle of a record and starts again, or changes, zeroes or copies what is there. The last byte
//! says which root a start finds.

use super::Target;
use shard::ledger::journal::{Contents, Damage, From, Head, Place, blocks_of, encode};
use shard::ledger::record::Table;
use shard::ledger::redo::Redo;

pub(super) const RECOVERY: Target = Target {
    name: "recovery",
    about: "what a start takes up from a damaged journal: what was written, in order, and all that is whole",
    input_max: 240,
    // The input is a script; what is decoded is the two files that it makes.
    working_bytes: 2 * 2 * FILE_BYTES,
    words: &[&[0, 1, 0, 0, 0], &[4, 0, 0, 0, 0], &[5, 0, 0, 0, 0], &[6, 1, 0, 0, 0]],
    seeds,
    run,
};

fn run(input: &[u8]) {
    let mut ledger = Ledger::new();
    let (steps, _) = input.as_chunks::<5>();
    steps.iter().for_each(|step| ledger.step(*step));
    let is_lost = input.last().is_some_and(|last| last % 4 == 0);
    ledger.start(if is_lost { ledger.root_before } else { ledger.root });
}

/// A ledger's journal, and what is known of it.
struct Ledger {
    contents: Contents,
    epoch: u64,
    place: Place,
    at_block: usize,
    redo: Redo,
    /// The newest durable root, and the one before it.
    root: From,
    root_before: From,
    /// The root of a checkpoint that is not through.
    root_next: Option<From>,
    /// All that was finished, in order.
    written: Vec<Written>,
    is_damaged: bool,
}

/// A record as it was written.
struct Written {
    head: Head,
    bytes: usize,
    print: u64,
}

impl Ledger {
    fn new() -> Ledger {
        let root = From { filesystem: FILESYSTEM, epoch: 4, place: Place { sequence: 0, previous: 0 } };
        Ledger {
            contents: Contents([vec![0; FILE_BYTES], vec![0; FILE_BYTES]]),
            epoch: root.epoch,
            place: root.place,
            at_block: 0,
            redo: Redo::default(),
            root,
            root_before: root,
            root_next: None,
            written: Vec::new(),
            is_damaged: false,
        }
    }

    fn step(&mut self, [kind, a, b, c, d]: [u8; 5]) {
        match kind % 12 {
            3 if d % 2 == 1 => self.append(None),
            0..=3 => self.append(Some((usize::from(a) * 48, b))),
            4 if self.root_next.is_none() => {
                self.epoch += 1;
                self.at_block = 0;
                self.root_next = Some(self.here());
            }
            4 => {}
            5 => {
                if let Some(root) = self.root_next.take() {
                    (self.root_before, self.root) = (self.root, root);
                }
            }
            6 => self.restart(usize::from(a)),
            _ => self.damage([kind % 12, a, b, c, d]),
        }
    }

    fn here(&self) -> From {
        From { filesystem: FILESYSTEM, epoch: self.epoch, place: self.place }
    }

    /// Writes a record, or without rows a seal, if there is room.
    fn append(&mut self, rows: Option<(usize, u8)>) {
        self.redo.clear();
        if let Some((value_bytes, fill)) = rows {
            self.redo.put(Table::Names, b"key", &VALUE[..value_bytes]);
            self.redo.put(Table::Meta, b"head", &[fill]);
        }
        let bytes = blocks_of(self.redo.as_bytes().len()) as usize * BLOCK_BYTES;
        let start = self.at_block * BLOCK_BYTES;
        if start + bytes > FILE_BYTES {
            return;
        }
        let (epoch, place, root) = (self.epoch, self.place, self.root.epoch);
        let block = self.at_block as u32;
        let head = Head { filesystem: FILESYSTEM, epoch, place, root, block, changes: self.redo.changes() };
        let record = &mut self.contents.0[file_of(epoch)][start..start + bytes];
        record.fill(0);
        let previous = encode(&head, self.redo.as_bytes(), record);
        self.written.push(Written { head, bytes, print: print(record) });
        self.place = Place { sequence: place.sequence + 1, previous };
        self.at_block += bytes / BLOCK_BYTES;
    }

    /// Killed, in the middle of the last record unless `sectors` are all of it, and started again.
    fn restart(&mut self, sectors: usize) {
        if let Some(last) = self.written.pop_if(|last| last.head.epoch == self.epoch) {
            let there = &mut self.contents.0[file_of(self.epoch)][last.range()];
            let is_whole = print(there) == last.print;
            let cut = (sectors * SECTOR_BYTES).min(there.len());
            there[cut..].fill(0);
            // Where only zeros were missing, it is finished all the same; where it was damaged before, it was acknowledged.
            match is_whole && print(there) != last.print {
                true => self.place = last.head.place,
                false => self.written.push(last),
            }
        }
        self.epoch = self.root.epoch + 2;
        self.at_block = 0;
        self.root_next = None;
        (self.root_before, self.root) = (self.root, self.here());
    }

    fn damage(&mut self, [kind, a, b, c, d]: [u8; 5]) {
        self.is_damaged = true;
        let at = (usize::from(a) << 8 | usize::from(b)) % FILE_BYTES;
        let (file, block) = (usize::from(d) % 2, usize::from(a) % BLOCKS * BLOCK_BYTES);
        match kind {
            7 => self.contents.0[file][at] ^= c | 1,
            8 => self.contents.0[file][block..block + BLOCK_BYTES].fill(b),
            // A tear at a sector.
            9 => self.contents.0[file][at & !(SECTOR_BYTES - 1)..]
                .iter_mut()
                .take(SECTOR_BYTES)
                .for_each(|byte| *byte = 0),
            // A misdirected write.
            10 => {
                let to = usize::from(c) % BLOCKS * BLOCK_BYTES;
                let moved: [u8; BLOCK_BYTES] =
                    self.contents.0[file][block..block + BLOCK_BYTES].try_into().expect("the range is a block");
                self.contents.0[usize::from(d) / 2 % 2][to..to + BLOCK_BYTES].copy_from_slice(&moved);
            }
            // A record of another filesystem.
            _ => {
                let block_number = (block / BLOCK_BYTES) as u32;
                let (epoch, root) = (self.epoch + u64::from(b % 3), self.root.epoch + u64::from(c % 3));
                let head = Head { filesystem: 6, epoch, place: self.place, root, block: block_number, changes: 0 };
                let record = &mut self.contents.0[file][block..block + BLOCK_BYTES];
                record.fill(0);
                encode(&head, &[], record);
            }
        }
    }

    /// What a start that finds this root does, against what was written.
    fn start(&self, from: From) {
        let expected = self.written.iter().filter(|written| written.head.epoch >= from.epoch);
        match self.contents.records(from) {
            Ok(records) => {
                let mut expected = expected;
                for record in &records {
                    let written = expected.next().expect("no more than were written");
                    assert_eq!(record.head, written.head, "a record out of its order");
                    assert!(self.is_whole(written), "a record that nobody wrote");
                }
                for missing in expected {
                    assert!(!self.is_whole(missing), "{:?} is whole and was left out", missing.head);
                }
                let tells = |written: &&Written| written.head.root > from.epoch && self.is_whole(written);
                let newer = self.written.iter().find(tells);
                assert!(newer.is_none(), "a newer root is told of");
                let is_all = records.len() == self.written.iter().filter(|one| one.head.epoch >= from.epoch).count();
                assert!(is_all || self.is_damaged || from != self.root);
            }
            Err(Damage::Broken { sequence }) => {
                assert!(self.is_damaged || from != self.root, "refused without damage");
                assert!((from.place.sequence..=self.place.sequence).contains(&sequence));
            }
            Err(Damage::RootLost { epoch }) => {
                assert!(from != self.root && from.epoch < epoch && epoch <= self.root.epoch, "no root is lost");
            }
            Err(damage @ Damage::Record { .. }) => panic!("{damage}: nobody has looked at the lists"),
        }
    }

    fn is_whole(&self, written: &Written) -> bool {
        print(&self.contents.0[file_of(written.head.epoch)][written.range()]) == written.print
    }
}

impl Written {
    /// Where it is in its file.
    fn range(&self) -> std::ops::Range<usize> {
        let start = self.head.block as usize * BLOCK_BYTES;
        start..start + self.bytes
    }
}

/// Tells the bytes of a record from all that one change makes of them, by other means than its checksum.
fn print(record: &[u8]) -> u64 {
    let step = |print: u64, word: &[u8; 8]| (print ^ u64::from_le_bytes(*word)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    record.as_chunks::<8>().0.iter().fold(1, |print, word| step(print.rotate_left(23), word))
}

fn file_of(epoch: u64) -> usize {
    (epoch % 2) as usize
}

const FILESYSTEM: u64 = 5;
const BLOCK_BYTES: usize = 4096;
const SECTOR_BYTES: usize = 512;
const BLOCKS: usize = 16;
const FILE_BYTES: usize = BLOCKS * BLOCK_BYTES;
const VALUE: [u8; 255 * 48] = [7; 255 * 48];

fn seeds() -> Vec<Vec<u8>> {
    let (record, long, turn, root) = ([0, 1, 2, 0, 0], [0, 200, 3, 0, 0], [4, 0, 0, 0, 1], [5, 0, 0, 0, 1]);
    let (kill, flip, lost) = ([6, 1, 0, 0, 1], [7, 16, 100, 0, 0], [5, 0, 0, 0, 0]);
    let seal = [3, 0, 0, 0, 1];
    let scripts: [&[[u8; 5]]; 7] = [
        &[record, long, record, turn],
        &[record, turn, record, root, record, long, turn, record, root],
        &[record, long, kill, record, record, turn, record],
        &[record, record, record, flip, turn],
        &[record, turn, seal, flip],
        &[record, turn, record, root, record, lost],
        &[record, [10, 0, 0, 1, 2], [11, 3, 1, 1, 0], [8, 0, 0, 0, 1], [9, 0, 0, 0, 1]],
    ];
    scripts.iter().map(|script| script.as_flattened().to_vec()).collect()
}
