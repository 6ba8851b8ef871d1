//! Pools made for tests, row by row and frame by frame with the project's own codecs, so that a test
//! can plant exactly one fault in a pool that is whole otherwise.
//!
//! The pool has one filesystem, `/projects`:
//!
//! | inode | what |
//! |---|---|
//! | 2 | `/a`: 8192 bytes of data, a hole up to 20000 |
//! | 4 | `/dir/b` and `/b2`: 5000 bytes of data; the log cuts it to 3000 |
//! | 3, 7 | `/dir`, `/dir/inner` |
//! | 5 | `/sym` -> `a` |
//! | 6 | `/pipe` |
//! | 8 | `/new`: empty in the ledger; the log has 6000 bytes at 4096 |
//! | 9 | removed, its 4096 bytes not swept |
//!
//! Segment 1 (slot 0) is folded, segment 2 (slot 1) is to be replayed, slot 2 is free.

use crate::pool::{FORMAT, SECRET_BYTES};
use cache::disk::slot_name;
use cache::extent::{BLOCK_BYTES, Extent, Place, SegmentId};
use cache::frame::{Header, Record, RecordKind};
use cache::world::Time;
use heed::RwTxn;
use shard::cred::Cred;
use shard::fs::filesystem::{LEDGER_DIRECTORY, LOG_DIRECTORY, Options, Shared};
use shard::inode::{FileId, Ino, Inode, Kind, ROOT};
use shard::ledger::apply::Ledger;
use shard::ledger::command::{Ask, CreateHow, Job, Name, SegmentInfo, SetAttr, Verb};
use shard::ledger::env::{Limits, Tables};
use shard::ledger::keeper::DATA_FILE;
use shard::ledger::record::entry::Found;
use shard::ledger::record::meta::{self, Meta};
use shard::ledger::record::{Table, entry, extent, inode, segment, tree};
use shard::ledger::store::{LedgerOptions, RootDirectory, Store};
use shard::ledger::{journal, root};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

/// Identity of the filesystem.
pub(crate) const FILESYSTEM: u64 = 0x0123_4567_89AB_CDEF;
/// Bytes of a slot file.
pub(crate) const SLOT_BYTES: u64 = 4 << 20;
/// What was given out; all numbers in the pool are below.
pub(crate) const META: Meta = Meta {
    filesystem: FILESYSTEM,
    next_ino: 100,
    lsn_limit: 1000,
    next_segment: 3,
    slots_made: 3,
    reply_slots: 4,
    replies: 0,
};
/// Any time.
pub(crate) const NOW: Time = Time { secs: 1_700_000_000, nanos: 5 };

/// A pool in a temporary folder.
pub(crate) struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    /// The pool described above.
    pub(crate) fn new() -> Fixture {
        let fixture = Fixture::empty();
        fixture.edit(|rows| {
            rows.meta(&META);
            rows.inode(&Inode { nlink: 3, entries: 6, ..directory(1, 1) });
            rows.inode(&Inode { used: 8192, ..file(2, 20_000) });
            rows.inode(&Inode { nlink: 3, entries: 2, ..directory(3, 1) });
            rows.inode(&Inode { nlink: 2, used: 5000, ..file(4, 5000) });
            rows.inode(&Inode { kind: Kind::Symlink, size: 1, used: 0, ..file(5, 0) });
            rows.inode(&Inode { kind: Kind::Fifo, ..file(6, 0) });
            rows.inode(&directory(7, 3));
            rows.inode(&file(8, 0));
            for (dir, name, ino, kind, cookie) in [
                (1, "a", 2, Kind::File, 20),
                (1, "dir", 3, Kind::Directory, 21),
                (3, "b", 4, Kind::File, 22),
                (1, "b2", 4, Kind::File, 23),
                (1, "sym", 5, Kind::Symlink, 24),
                (1, "pipe", 6, Kind::Fifo, 25),
                (3, "inner", 7, Kind::Directory, 26),
                (1, "new", 8, Kind::File, 27),
            ] {
                rows.name(dir, name, ino, kind, cookie);
                rows.entry(dir, name, ino, kind, cookie);
            }
            rows.target(5, b"a");
            rows.orphan(9, 1);
            // One frame for inode 2, one for inode 4 and the removed file.
            rows.extent(2, 0, log(8192, 1, 0, 1, 50));
            rows.extent(2, 8192, Extent { bytes: 11_808, place: Place::Hole, version: 51, lsn: 0 });
            rows.extent(4, 0, log(5000, 1, 3, 4, 52));
            rows.extent(9, 0, log(4096, 1, 3, 6, 53));
            rows.segment(1, 0, None, 8192 + 8192 + 4096);
            rows.segment(2, 1, Some(0), 0);
        });
        let mut first = Segment::new(1);
        first.frame(&[data(2, 50, 0, 8192)]);
        first.frame(&[data(4, 52, 0, 5000), data(9, 53, 0, 4096)]);
        fixture.slot(0, &first);
        let mut second = Segment::new(2);
        second.frame(&[data(8, 60, 4096, 6000)]);
        let truncate = Record { kind: RecordKind::Truncate, bytes: 0, ..data(4, 61, 3000, 0) };
        // Takes effect: the ledger shows through there. What was removed needs nothing.
        let moved = Record { kind: RecordKind::Move, aux: 50, ..data(2, 62, 0, 8192) };
        second.frame(&[truncate, moved, data(9, 63, 0, 100)]);
        second.frame(&[]);
        fixture.slot(1, &second);
        fixture
    }

    /// A pool with the folder of a share and nothing in it.
    pub(crate) fn new_share() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let fixture = Fixture { folder };
        fs::write(fixture.pool().join("format"), FORMAT).unwrap();
        fs::write(fixture.pool().join("secret"), [7; SECRET_BYTES]).unwrap();
        fs::write(fixture.pool().join("lock"), "").unwrap();
        fs::create_dir_all(fixture.log()).unwrap();
        fixture
    }

    /// A pool with a filesystem as it is when it was just made.
    pub(crate) fn empty() -> Fixture {
        let fixture = Fixture::new_share();
        drop(Store::open(&fixture.ledger(), &ledger_options()).unwrap());
        fixture
    }

    /// A copy without LMDB's lock file: what a process that was killed leaves. Within one process a
    /// task that was dropped may keep the environment open, and LMDB opens each file but once.
    pub(crate) fn copied(&self) -> Fixture {
        let copy = Fixture::new_share();
        fs::create_dir_all(copy.ledger()).unwrap();
        for name in [DATA_FILE, root::FILE, journal::FILES[0], journal::FILES[1]] {
            fs::copy(self.ledger().join(name), copy.ledger().join(name)).unwrap();
        }
        for entry in fs::read_dir(self.log()).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.log().join(entry.file_name())).unwrap();
        }
        copy
    }

    pub(crate) fn pool(&self) -> PathBuf {
        self.folder.path().to_path_buf()
    }

    pub(crate) fn filesystem(&self) -> PathBuf {
        self.pool().join("projects")
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.filesystem().join(LEDGER_DIRECTORY)
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.filesystem().join(LOG_DIRECTORY)
    }

    pub(crate) fn slot_file(&self, slot: u32) -> PathBuf {
        self.log().join(slot_name(slot))
    }

    /// Changes rows.
    pub(crate) fn edit(&self, change: impl FnOnce(&mut Rows<'_>)) {
        let (store, mut keeper) = Store::open(&self.ledger(), &ledger_options()).unwrap();
        let tables = store.tables();
        let mut rows = Rows { txn: tables.env().write_txn().unwrap(), tables, value: Vec::new() };
        change(&mut rows);
        rows.txn.commit().unwrap();
        keeper.settle().unwrap();
    }

    /// Two batches in the ledger's journal and in nothing else that is durable: the second makes a file.
    pub(crate) fn crash_with_a_name(&self, name: &str) {
        let opened = Store::open(&self.ledger(), &ledger_options()).unwrap();
        let (lsn, commit) = (opened.0.next_lsn().unwrap(), opened.0.committed().unwrap());
        let root = RootDirectory { mode: 0o755, uid: 0, gid: 0, now: NOW };
        let options = Options::new(1, root);
        let shared = Arc::new(Shared::new(0, FILESYSTEM, &self.filesystem(), options, lsn, commit, 1));
        let mut ledger = Ledger::new(opened, ledger_options(), shared).unwrap();
        let dir = FileId { ino: ROOT, generation: 1 };
        let how = CreateHow::Guarded;
        let verb = Verb::Create { dir, name: Name::new(name.as_bytes()).unwrap(), how, attr: SetAttr::default() };
        let ask = Ask { cred: Cred::root(), now: NOW, replay: None, verb };
        ledger.apply(&[Job::Ask(Box::new(ask))]).unwrap();
    }

    /// Flips a bit of the first record of the journal.
    pub(crate) fn flip_in_journal(&self) {
        for name in journal::FILES {
            let file = File::options().read(true).write(true).open(self.ledger().join(name)).unwrap();
            let mut found = [0];
            file.read_exact_at(&mut found, 70).unwrap();
            file.write_all_at(&[found[0] ^ 1], 70).unwrap();
        }
    }

    /// Writes a slot file.
    pub(crate) fn slot(&self, slot: u32, segment: &Segment) {
        let mut file = File::create(self.slot_file(slot)).unwrap();
        file.write_all(&segment.bytes).unwrap();
        file.set_len(SLOT_BYTES).unwrap();
    }

    /// Flips a bit of a slot file.
    pub(crate) fn flip(&self, slot: u32, byte: u64) {
        let file = File::options().read(true).write(true).open(self.slot_file(slot)).unwrap();
        let mut found = [0];
        file.read_exact_at(&mut found, byte).unwrap();
        file.write_all_at(&[found[0] ^ 1], byte).unwrap();
    }
}

fn ledger_options() -> LedgerOptions {
    let limits = Limits { map_bytes: 1 << 30, readers_max: 16 };
    LedgerOptions { limits, journal_bytes: 64 << 10, reserve_bytes: 0, ..LedgerOptions::new(FILESYSTEM, NOW) }
}

/// A regular file with one link.
pub(crate) fn file(ino: u64, size: u64) -> Inode {
    Inode {
        ino: Ino(ino),
        generation: 1,
        kind: Kind::File,
        mode: 0o644,
        uid: 1000,
        gid: 100,
        nlink: 1,
        rdev: (0, 0),
        size,
        used: 0,
        atime: NOW,
        mtime: NOW,
        ctime: NOW,
        btime: NOW,
        change: 55,
        folded_lsn: 55,
        parent: Ino(0),
        entries: 0,
        verifier: None,
    }
}

/// An empty directory.
pub(crate) fn directory(ino: u64, parent: u64) -> Inode {
    Inode { kind: Kind::Directory, nlink: 2, parent: Ino(parent), folded_lsn: 0, ..file(ino, 0) }
}

/// An extent in the log, from the beginning of a block.
pub(crate) fn log(bytes: u64, segment: u64, frame: u32, block: u32, version: u64) -> Extent {
    let place = Place::Log { segment: SegmentId(segment), frame, block, skew: 0 };
    Extent { bytes, place, version, lsn: 0 }
}

/// A record of data; its payload block is set when it is put into a frame.
pub(crate) fn data(ino: u64, lsn: u64, offset: u64, bytes: u64) -> Record {
    Record {
        ino,
        generation: 1,
        lsn,
        offset,
        bytes,
        time: NOW,
        kind: RecordKind::Data,
        clears_setid: false,
        skew: 0,
        first_block: 0,
        aux: 0,
    }
}

/// Rows of the ledger, written with good checksums.
pub(crate) struct Rows<'t> {
    txn: RwTxn<'t>,
    tables: &'t Tables,
    value: Vec<u8>,
}

impl Rows<'_> {
    pub(crate) fn meta(&mut self, meta: &Meta) {
        meta::encode(meta, &mut self.value);
        self.put(Table::Meta, meta::KEY);
    }

    pub(crate) fn inode(&mut self, inode: &Inode) {
        inode::encode(inode, &mut self.value);
        self.put(Table::Inodes, inode::key(inode.ino).as_bytes());
    }

    pub(crate) fn name(&mut self, dir: u64, name: &str, ino: u64, kind: Kind, cookie: u64) {
        let key = entry::name_key(Ino(dir), name.as_bytes());
        entry::encode_name(key.as_bytes(), &Found { ino: Ino(ino), kind, cookie }, &mut self.value);
        self.put(Table::Names, key.as_bytes());
    }

    pub(crate) fn entry(&mut self, dir: u64, name: &str, ino: u64, kind: Kind, cookie: u64) {
        let key = entry::entry_key(Ino(dir), cookie);
        entry::encode_entry(key.as_bytes(), Ino(ino), kind, name.as_bytes(), &mut self.value);
        self.put(Table::Entries, key.as_bytes());
    }

    pub(crate) fn target(&mut self, ino: u64, target: &[u8]) {
        tree::encode_target(Ino(ino), target, &mut self.value);
        self.put(Table::Targets, tree::target_key(Ino(ino)).as_bytes());
    }

    pub(crate) fn orphan(&mut self, ino: u64, generation: u32) {
        tree::encode_orphan(Ino(ino), generation, &mut self.value);
        self.put(Table::Orphans, tree::orphan_key(Ino(ino)).as_bytes());
    }

    pub(crate) fn extent(&mut self, ino: u64, offset: u64, found: Extent) {
        let key = extent::key(Ino(ino), offset);
        extent::encode(key.as_bytes(), &found, &mut self.value);
        self.put(Table::Extents, key.as_bytes());
    }

    pub(crate) fn segment(&mut self, id: u64, slot: u32, replay_from: Option<u32>, live_bytes: u64) {
        let info = SegmentInfo { id: SegmentId(id), slot, core: 0, replay_from, live_bytes };
        segment::encode(&info, &mut self.value);
        self.put(Table::Segments, segment::key(info.id).as_bytes());
    }

    pub(crate) fn delete(&mut self, table: Table, key: &[u8]) {
        assert!(self.tables.rows(table).delete(&mut self.txn, key).unwrap(), "the row is there");
    }

    /// Flips a bit of a row's value.
    pub(crate) fn damage(&mut self, table: Table, key: &[u8]) {
        let found = self.tables.rows(table).get(&self.txn, key).unwrap().expect("the row is there");
        self.value = found.to_vec();
        self.value[1] ^= 1;
        self.put(table, key);
    }

    /// Puts a row's value under another key.
    pub(crate) fn move_row(&mut self, table: Table, from: &[u8], to: &[u8]) {
        self.value = self.tables.rows(table).get(&self.txn, from).unwrap().expect("the row is there").to_vec();
        self.delete(table, from);
        self.put(table, to);
    }

    fn put(&mut self, table: Table, key: &[u8]) {
        self.tables.rows(table).put(&mut self.txn, key, &self.value).unwrap();
    }
}

/// A segment that is filled frame by frame.
pub(crate) struct Segment {
    id: u64,
    pub(crate) bytes: Vec<u8>,
    previous: u32,
}

impl Segment {
    pub(crate) fn new(id: u64) -> Segment {
        Segment { id, bytes: Vec::new(), previous: 0 }
    }

    /// Appends a frame, without records a seal; each record's payload has the record's number in all of its bytes.
    pub(crate) fn frame(&mut self, records: &[Record]) {
        let block = (self.bytes.len() / BLOCK_BYTES) as u32;
        let mut payload = Vec::new();
        let mut placed = Vec::new();
        for record in records {
            let first_block = if record.bytes > 0 { (payload.len() / BLOCK_BYTES) as u16 } else { 0 };
            placed.push(Record { first_block, ..*record });
            payload.extend(std::iter::repeat_n(record.lsn as u8, record.bytes as usize));
            payload.resize(payload.len().next_multiple_of(BLOCK_BYTES), 0);
        }
        let checksums: Vec<u32> = payload.chunks(BLOCK_BYTES).map(crc32c::crc32c).collect();
        let header = Header {
            segment: SegmentId(self.id),
            block,
            payload_blocks: checksums.len() as u32,
            lowest_lsn: records.iter().map(|record| record.lsn).min().unwrap_or(0),
            durable_to: block,
            core: 0,
            previous: self.previous,
            filesystem: FILESYSTEM,
        };
        let mut bytes = [0; BLOCK_BYTES];
        self.previous = header.encode(&placed, &checksums, &mut bytes);
        self.bytes.extend(bytes);
        self.bytes.extend(payload);
    }
}
