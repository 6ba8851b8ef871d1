//! The format document against the code: every table of offsets is compared with the bytes that the
//! code writes for a value whose fields all differ, every limit with its constant.

use crate::fixture::{data, file};
use crate::pool::{FORMAT, SECRET_BYTES};
use cache::block::CHUNK_BYTES;
use cache::disk::slot_name;
use cache::extent::{BLOCK_BYTES, Extent, Place, SegmentId};
use cache::frame::{FRAME_BLOCKS_MAX, FRAME_RECORDS_MAX, Header, PAYLOAD_MAX, Record, RecordKind};
use cache::log::SEGMENT_BYTES_MIN;
use cache::world::Time;
use shard::fs::filesystem::{Options, Shared};
use shard::fs::write::FILE_BYTES_MAX;
use shard::inode::{FileId, Ino, Inode, Kind};
use shard::ledger::command::{Answer, NAME_MAX, ReplayKey, SegmentInfo, TARGET_MAX, Wcc};
use shard::ledger::journal::{self, JOURNAL_BYTES};
use shard::ledger::keeper::DATA_FILE;
use shard::ledger::record::entry::{COOKIE_PARENT, COOKIE_SELF, Found};
use shard::ledger::record::meta::{self, Meta};
use shard::ledger::record::reply::{self, Reply};
use shard::ledger::record::{EPOCH, Table, VERSION, entry, extent, inode, segment, tree};
use shard::ledger::redo::Redo;
use shard::ledger::root;
use shard::ledger::store::{LSN_FIRST, REPLY_SLOTS, RootDirectory};
use shard::net::handle::{HANDLE_BYTES, HandleKey, Target};
use siphasher::sip::SipHasher24;
use std::hash::Hasher;

const DOCUMENT: &str = include_str!("../../docs/format.md");

/// Cells of the rows of the `index`th table under a heading, without its head.
fn table(heading: &str, index: usize) -> Vec<Vec<&'static str>> {
    let mut lines = DOCUMENT.lines().skip_while(|line| line.trim_start_matches('#').trim() != heading).skip(1);
    let mut tables: Vec<Vec<Vec<&str>>> = Vec::new();
    let mut inside = false;
    for line in lines.by_ref().take_while(|line| !line.starts_with('#')) {
        let is_row = line.starts_with('|');
        if is_row && !inside {
            tables.push(Vec::new());
        }
        if is_row {
            let cells = line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            tables.last_mut().unwrap().push(cells);
        }
        inside = is_row;
    }
    let rows = tables.into_iter().nth(index).unwrap_or_else(|| panic!("{heading}: no table {index}"));
    rows.into_iter().skip(2).collect()
}

/// A field as the code writes it.
type Field = (&'static str, Vec<u8>);

/// Compares a table of offsets with the bytes that the code wrote. The table begins at `start` and
/// names `fields` in their order; what has no name is zero. Answers where it ends.
#[track_caller]
fn compare(heading: &str, index: usize, bytes: &[u8], start: usize, fields: &[Field]) -> usize {
    let rows = table(heading, index);
    let mut fields = fields.iter();
    let mut at = start;
    for row in rows {
        let [offset, length, kind, name, _] = row[..] else { panic!("{heading}: a row without five cells: {row:?}") };
        match offset {
            "end" => assert_eq!(at + 4, bytes.len(), "{heading}: {name} is at the end"),
            offset => assert_eq!(offset.parse::<usize>().ok(), Some(at), "{heading}: offset of `{name}`"),
        }
        let wanted = match name {
            "" => vec![0; length.parse().unwrap()],
            name => {
                let (known, wanted) = fields.next().unwrap_or_else(|| panic!("{heading}: unknown field {name}"));
                assert_eq!(*known, name, "{heading}");
                wanted.clone()
            }
        };
        if length != "n" {
            assert_eq!(length.parse::<usize>().ok(), Some(wanted.len()), "{heading}: length of `{name}`");
        }
        let size = [("u8", 1), ("u16", 2), ("u32", 4), ("u64", 8), ("u128", 16), ("time", 12)];
        if let Some((_, size)) = size.iter().find(|(known, _)| *known == kind) {
            assert_eq!(wanted.len() % size, 0, "{heading}: type of `{name}`");
        }
        assert_eq!(bytes.get(at..at + wanted.len()), Some(&wanted[..]), "{heading}: bytes of `{name}`");
        at += wanted.len();
    }
    assert!(fields.next().is_none(), "{heading}: a field is not described");
    at
}

fn time(time: Time) -> Vec<u8> {
    [&time.secs.to_le_bytes()[..], &time.nanos.to_le_bytes()].concat()
}

fn checksum(key: &[u8], value: &[u8]) -> Vec<u8> {
    let sealed = [key, &value[..value.len() - 4]].concat();
    crc32c::crc32c(&sealed).to_le_bytes().to_vec()
}

macro_rules! le {
    ($value:expr) => {
        $value.to_le_bytes().to_vec()
    };
}

#[test]
fn every_limit_is_the_one_of_the_code() {
    let code = [
        ("BLOCK_BYTES", BLOCK_BYTES as u64),
        ("CHUNK_BYTES", CHUNK_BYTES as u64),
        ("SEGMENT_BYTES_MIN", SEGMENT_BYTES_MIN),
        ("FRAME_BLOCKS_MAX", FRAME_BLOCKS_MAX as u64),
        ("FRAME_RECORDS_MAX", FRAME_RECORDS_MAX as u64),
        ("PAYLOAD_MAX", PAYLOAD_MAX as u64),
        ("FILE_BYTES_MAX", FILE_BYTES_MAX),
        ("NAME_MAX", NAME_MAX as u64),
        ("TARGET_MAX", TARGET_MAX as u64),
        ("LSN_FIRST", LSN_FIRST),
        ("COOKIE_SELF", COOKIE_SELF),
        ("COOKIE_PARENT", COOKIE_PARENT),
        ("REPLY_SLOTS", u64::from(REPLY_SLOTS)),
        ("JOURNAL_BYTES", JOURNAL_BYTES),
        ("HANDLE_BYTES", HANDLE_BYTES as u64),
    ];
    let document: Vec<(&str, u64)> =
        table("Limits", 0).into_iter().map(|row| (row[0], row[1].parse().unwrap())).collect();
    assert_eq!(document, code);
}

#[test]
fn the_pool_and_its_names_are_described() {
    let rows = table("appliance/src/pool.rs: the pool", 0);
    let names: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    assert_eq!(names[..3], ["format", "lock", "secret"]);
    assert!(rows[0][1].contains(&format!("the {} bytes `basalt pool 5`", FORMAT.len())));
    assert_eq!(FORMAT, b"basalt pool 5\n");
    assert!(rows[2][1].starts_with(&format!("{SECRET_BYTES} random bytes, mode 0600")));
    let rows = table("appliance/src/pool.rs: the pool", 1);
    let directories = [shard::fs::filesystem::LEDGER_DIRECTORY, shard::fs::filesystem::LOG_DIRECTORY];
    assert_eq!(rows.iter().map(|row| row[0].trim_end_matches('/')).collect::<Vec<_>>(), directories);
    assert_eq!(slot_name(7), "seg.00000007");
}

#[test]
fn every_table_of_the_ledger_is_described_with_its_key() {
    let names: Vec<&str> = Table::ALL.iter().map(|table| table.name()).collect();
    let rows = table("shard/src/ledger/env.rs: the ledger", 0);
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), names);
    assert_eq!((VERSION, EPOCH), (1, 1));
    let ino = Ino(0x0102_0304_0506_0708);
    let number = 0x1112_1314_1516_1718_u64;
    let [ino_bytes, number_bytes] = [ino.0.to_be_bytes(), number.to_be_bytes()];
    let epoch = EPOCH.to_be_bytes();
    let keys: Vec<(&str, Vec<u8>, Vec<u8>)> = vec![
        ("the letters head", meta::KEY.to_vec(), b"head".to_vec()),
        ("ino u64, epoch u32", inode::key(ino).as_bytes().to_vec(), [&ino_bytes[..], &epoch].concat()),
        (
            "directory u64, name, epoch u32",
            entry::name_key(ino, b"n").as_bytes().to_vec(),
            [&ino_bytes[..], b"n", &epoch].concat(),
        ),
        (
            "directory u64, cookie u64, epoch u32",
            entry::entry_key(ino, number).as_bytes().to_vec(),
            [&ino_bytes[..], &number_bytes, &epoch].concat(),
        ),
        ("ino u64, epoch u32", tree::target_key(ino).as_bytes().to_vec(), [&ino_bytes[..], &epoch].concat()),
        (
            "ino u64, file offset u64, epoch u32",
            extent::key(ino, number).as_bytes().to_vec(),
            [&ino_bytes[..], &number_bytes, &epoch].concat(),
        ),
        ("segment u64", segment::key(SegmentId(number)).as_bytes().to_vec(), number_bytes.to_vec()),
        ("slot u32", reply::key(7).as_bytes().to_vec(), vec![0, 0, 0, 7]),
        ("ino u64", tree::orphan_key(ino).as_bytes().to_vec(), ino_bytes.to_vec()),
    ];
    let rows = table("shard/src/ledger/record/mod.rs: rows", 0);
    assert_eq!(rows.len(), keys.len());
    for ((row, name), (text, found, wanted)) in rows.iter().zip(names).zip(&keys) {
        assert_eq!((row[0], row[1].replace('`', "").as_str()), (name, *text));
        assert_eq!(found, wanted, "{name}");
        let longest = entry::name_key(ino, &[b'x'; NAME_MAX]).as_bytes().len();
        let bytes = if name == "names" { format!("13 to {longest}") } else { found.len().to_string() };
        assert_eq!(row[2], bytes, "{name}");
    }
}

#[test]
fn meta_is_as_described() {
    let meta = Meta {
        filesystem: 0x1122_3344_5566_7788,
        next_ino: 2,
        lsn_limit: 3,
        next_segment: 4,
        slots_made: 5,
        reply_slots: 6,
        replies: 7,
    };
    let mut value = Vec::new();
    meta::encode(&meta, &mut value);
    let fields = [
        ("version", vec![VERSION]),
        ("filesystem", le!(meta.filesystem)),
        ("next_ino", le!(2_u64)),
        ("lsn_limit", le!(3_u64)),
        ("next_segment", le!(4_u64)),
        ("slots_made", le!(5_u32)),
        ("reply_slots", le!(6_u32)),
        ("replies", le!(7_u64)),
        ("checksum", checksum(meta::KEY, &value)),
    ];
    let end = compare("shard/src/ledger/record/meta.rs: meta", 0, &value, 0, &fields);
    assert_eq!(end, value.len());
}

/// An inode whose fields all differ.
fn sample(kind: Kind) -> Inode {
    let at = |secs| Time { secs, nanos: secs as u32 + 100 };
    Inode {
        kind,
        mode: 0o4751,
        uid: 11,
        gid: 12,
        nlink: 13,
        generation: 14,
        atime: at(15),
        mtime: at(16),
        ctime: at(17),
        btime: at(18),
        change: 19,
        size: 20,
        used: 21,
        folded_lsn: 22,
        parent: Ino(23),
        entries: 24,
        ..file(9, 0)
    }
}

#[test]
fn inodes_are_as_described() {
    const HEADING: &str = "shard/src/ledger/record/inode.rs: inodes";
    let kinds = [
        (Kind::File, 1, Some(1)),
        (Kind::Directory, 2, Some(2)),
        (Kind::BlockDevice, 3, None),
        (Kind::CharDevice, 4, None),
        (Kind::Symlink, 5, Some(3)),
        (Kind::Socket, 6, None),
        (Kind::Fifo, 7, None),
    ];
    for (kind, number, rest) in kinds {
        let mut inode = sample(kind);
        let device = matches!(kind, Kind::BlockDevice | Kind::CharDevice);
        if device {
            inode.rdev = (25, 26);
        }
        if kind == Kind::File {
            inode.verifier = Some(*b"verifier");
        }
        let mut value = Vec::new();
        inode::encode(&inode, &mut value);
        let flags = if kind == Kind::File { 1 } else { u8::from(device) * 2 };
        let common = [
            ("version", vec![VERSION]),
            ("kind", vec![number]),
            ("flags", vec![flags]),
            ("mode", le!(0o4751_u16)),
            ("uid", le!(11_u32)),
            ("gid", le!(12_u32)),
            ("nlink", le!(13_u32)),
            ("generation", le!(14_u32)),
            ("atime", time(inode.atime)),
            ("mtime", time(inode.mtime)),
            ("ctime", time(inode.ctime)),
            ("btime", time(inode.btime)),
            ("change", le!(19_u64)),
        ];
        let mut end = compare(HEADING, 0, &value, 0, &common);
        let own: Vec<Field> = match kind {
            Kind::File => vec![("size", le!(20_u64)), ("used", le!(21_u64)), ("folded_lsn", le!(22_u64))],
            Kind::Directory => vec![("parent", le!(23_u64)), ("entries", le!(24_u64))],
            Kind::Symlink => vec![("size", le!(20_u64))],
            _ => vec![],
        };
        if let Some(index) = rest {
            end = compare(HEADING, index, &value, end, &own);
        }
        let tail = match kind {
            Kind::File => b"verifier".to_vec(),
            _ if device => [25_u32.to_le_bytes(), 26_u32.to_le_bytes()].concat(),
            _ => vec![],
        };
        let key = inode::key(inode.ino);
        assert_eq!(value[end..], [tail, checksum(key.as_bytes(), &value)].concat(), "{kind:?}");
        let kinds = table(HEADING, 0)[1][4].replace('`', "");
        assert!(kinds.contains(&format!("{number} ")), "{kinds}");
    }
    assert_eq!(inode::directory_bytes(63), 4096);
    assert_eq!(inode::directory_bytes(64), 8192);
}

#[test]
fn names_and_entries_are_as_described() {
    const HEADING: &str = "shard/src/ledger/record/entry.rs: names and entries";
    let key = entry::name_key(Ino(1), b"name");
    let mut value = Vec::new();
    entry::encode_name(key.as_bytes(), &Found { ino: Ino(2), kind: Kind::Fifo, cookie: 3 }, &mut value);
    let fields = [
        ("version", vec![VERSION]),
        ("ino", le!(2_u64)),
        ("cookie", le!(3_u64)),
        ("kind", vec![7]),
        ("checksum", checksum(key.as_bytes(), &value)),
    ];
    assert_eq!(compare(HEADING, 0, &value, 0, &fields), value.len());
    let key = entry::entry_key(Ino(1), 3);
    entry::encode_entry(key.as_bytes(), Ino(2), Kind::Fifo, b"name", &mut value);
    let fields = [
        ("version", vec![VERSION]),
        ("ino", le!(2_u64)),
        ("kind", vec![7]),
        ("name", b"name".to_vec()),
        ("checksum", checksum(key.as_bytes(), &value)),
    ];
    assert_eq!(compare(HEADING, 1, &value, 0, &fields), value.len());
}

#[test]
fn targets_and_orphans_are_as_described() {
    const HEADING: &str = "shard/src/ledger/record/tree.rs: targets and orphans";
    let mut value = Vec::new();
    tree::encode_target(Ino(1), b"target", &mut value);
    let sealed = checksum(tree::target_key(Ino(1)).as_bytes(), &value);
    let fields = [("version", vec![VERSION]), ("target", b"target".to_vec()), ("checksum", sealed)];
    assert_eq!(compare(HEADING, 0, &value, 0, &fields), value.len());
    tree::encode_orphan(Ino(1), 2, &mut value);
    let sealed = checksum(tree::orphan_key(Ino(1)).as_bytes(), &value);
    let fields = [("version", vec![VERSION]), ("generation", le!(2_u32)), ("checksum", sealed)];
    assert_eq!(compare(HEADING, 1, &value, 0, &fields), value.len());
}

#[test]
fn extents_are_as_described() {
    const HEADING: &str = "shard/src/ledger/record/extent.rs: extents";
    let key = extent::key(Ino(1), 2);
    let mut value = Vec::new();
    let hole = Extent { bytes: 3, place: Place::Hole, version: 4, lsn: 0 };
    extent::encode(key.as_bytes(), &hole, &mut value);
    let mut fields =
        vec![("version", vec![VERSION]), ("place", vec![0]), ("bytes", le!(3_u64)), ("written", le!(4_u64))];
    fields.push(("checksum", checksum(key.as_bytes(), &value)));
    assert_eq!(compare(HEADING, 0, &value, 0, &fields), value.len());
    let place = Place::Log { segment: SegmentId(5), frame: 6, block: 7, skew: 8 };
    extent::encode(key.as_bytes(), &Extent { place, ..hole }, &mut value);
    fields[1] = ("place", vec![1]);
    fields.truncate(4);
    fields.extend([("segment", le!(5_u64)), ("frame", le!(6_u32)), ("block", le!(7_u32)), ("skew", le!(8_u16))]);
    fields.push(("checksum", checksum(key.as_bytes(), &value)));
    assert_eq!(compare(HEADING, 1, &value, 0, &fields), value.len());
}

#[test]
fn segments_are_as_described() {
    let info = SegmentInfo { id: SegmentId(1), slot: 2, core: 3, replay_from: Some(4), live_bytes: 5 };
    let mut value = Vec::new();
    segment::encode(&info, &mut value);
    let fields = [
        ("version", vec![VERSION]),
        ("slot", le!(2_u32)),
        ("core", le!(3_u16)),
        ("replayed", vec![1]),
        ("replay_from", le!(4_u32)),
        ("live_bytes", le!(5_u64)),
        ("checksum", checksum(segment::key(info.id).as_bytes(), &value)),
    ];
    assert_eq!(compare("shard/src/ledger/record/segment.rs: segments", 0, &value, 0, &fields), value.len());
}

#[test]
fn replies_are_as_described() {
    const HEADING: &str = "shard/src/ledger/record/reply.rs: replies";
    let (before, after) = (sample(Kind::Directory), Inode { entries: 99, nlink: 98, ..sample(Kind::Directory) });
    let directory = Wcc { before: Some(before), after: Some(after) };
    let object = sample(Kind::Fifo);
    let answer = Answer {
        status: Ok(()),
        object: Some(object),
        existed: false,
        before: None,
        dir: Some(directory),
        to_dir: None,
        replayed: true,
    };
    let key = ReplayKey { client: 2, xid: 3, arguments: 4 };
    let mut value = Vec::new();
    reply::encode(7, &Reply { number: 1, key, answer }, &mut value);
    let fields = [
        ("version", vec![VERSION]),
        ("number", le!(1_u64)),
        ("client", le!(2_u64)),
        ("xid", le!(3_u32)),
        ("arguments", le!(4_u64)),
        ("flags", vec![1 | 4]),
    ];
    let end = compare(HEADING, 0, &value, 0, &fields);
    let content = |inode: &Inode| {
        let mut row = Vec::new();
        inode::encode(inode, &mut row);
        [&inode.ino.0.to_le_bytes()[..], &row[1..row.len() - 4]].concat()
    };
    let different = [
        le!(before.entries),
        le!(before.nlink),
        time(before.mtime),
        time(before.ctime),
        le!(before.change),
        checksum(reply::key(7).as_bytes(), &value),
    ];
    assert_eq!(value[end..], [content(&object), content(&after), different.concat()].concat());
    let all = Answer { existed: true, before: Some(object), to_dir: Some(directory), ..answer };
    reply::encode(7, &Reply { number: 1, key, answer: all }, &mut value);
    assert_eq!(value[29], 1 | 2 | 4 | 16 | 32, "both directories are one");
    let other = Wcc { before: Some(before), after: Some(Inode { ino: Ino(5), ..after }) };
    reply::encode(7, &Reply { number: 1, key, answer: Answer { to_dir: Some(other), ..answer } }, &mut value);
    assert_eq!(value[29], 1 | 4 | 8);
    let flags: Vec<&str> = table(HEADING, 1).iter().map(|row| row[0]).collect();
    assert_eq!(flags, ["1", "2", "4", "8", "16", "32"]);
}

#[test]
fn the_journal_is_as_described() {
    let mut list = Redo::default();
    list.put(Table::Names, b"key", b"value");
    list.delete(Table::Orphans, b"gone");
    let change = |table: Table, kind: u8, key: &[u8], value: &[u8]| {
        let fields = [
            ("table", vec![Table::ALL.iter().position(|known| *known == table).unwrap() as u8]),
            ("kind", vec![kind]),
            ("key_bytes", le!(key.len() as u16)),
            ("value_bytes", le!(value.len() as u32)),
            ("key", key.to_vec()),
        ];
        (fields, value.to_vec())
    };
    // The key and the value have no fixed places, so the table is compared without them.
    let rows = table("shard/src/ledger/redo.rs: row changes", 0);
    let mut at = 0;
    for (fields, value) in [change(Table::Names, 1, b"key", b"value"), change(Table::Orphans, 0, b"gone", b"")] {
        let fields: Vec<Field> = fields.into_iter().chain([("value", value)]).collect();
        assert_eq!(rows.iter().map(|row| row[3]).collect::<Vec<_>>(), fields.iter().map(|f| f.0).collect::<Vec<_>>());
        let start = at;
        for (row, (name, wanted)) in rows.iter().zip(&fields) {
            let offset: usize = row[0].parse().unwrap();
            assert!(offset == at - start || *name == "value", "offset of `{name}`");
            assert!(row[1] == "n" || row[1] == wanted.len().to_string(), "length of `{name}`");
            assert_eq!(list.as_bytes()[at..at + wanted.len()], wanted[..], "bytes of `{name}`");
            at += wanted.len();
        }
    }
    assert_eq!(at, list.as_bytes().len());

    const HEADING: &str = "shard/src/ledger/journal.rs: the journal";
    let place = journal::Place { sequence: 3, previous: 4 };
    let head = journal::Head { filesystem: 1, epoch: 2, place, root: 5, block: 6, changes: list.changes() };
    let mut record = vec![0; BLOCK_BYTES];
    let sealed = journal::encode(&head, list.as_bytes(), &mut record);
    let mut unsealed = record.clone();
    unsealed[60..64].fill(0);
    assert_eq!(sealed, crc32c::crc32c(&unsealed));
    let fields = [
        ("magic", b"BSLJ".to_vec()),
        ("version", le!(1_u16)),
        ("filesystem", le!(1_u64)),
        ("epoch", le!(2_u64)),
        ("sequence", le!(3_u64)),
        ("root", le!(5_u64)),
        ("block", le!(6_u32)),
        ("bytes", le!(list.as_bytes().len() as u32)),
        ("changes", le!(2_u32)),
        ("previous", le!(4_u32)),
        ("checksum", le!(sealed)),
        ("redo", list.as_bytes().to_vec()),
    ];
    let end = compare(HEADING, 0, &record, 0, &fields);
    assert!(record[end..].iter().all(|&byte| byte == 0));
    assert_eq!(journal::decode(&record).unwrap().head, head);
    assert_eq!(journal::FILES, ["journal.0", "journal.1"]);
}

#[test]
fn the_root_is_as_described() {
    const HEADING: &str = "shard/src/ledger/root.rs: the root";
    let fixture = crate::fixture::Fixture::empty();
    let slots = std::fs::read(fixture.ledger().join(root::FILE)).unwrap();
    assert_eq!(slots.len(), 2 * BLOCK_BYTES);
    let (slot, found) = slots
        .chunks(BLOCK_BYTES)
        .filter_map(|slot| Some((slot, root::decode(slot)?)))
        .max_by_key(|(_, found)| found.from.epoch)
        .unwrap();
    let data = std::fs::read(fixture.ledger().join(DATA_FILE)).unwrap();
    let page = (found.tree.number() % 2) as usize * BLOCK_BYTES;
    let fields = [
        ("magic", b"BSLR".to_vec()),
        ("version", le!(3_u16)),
        ("filesystem", le!(found.from.filesystem)),
        ("epoch", le!(found.from.epoch)),
        ("sequence", le!(found.from.place.sequence)),
        ("previous", le!(found.from.place.previous)),
        ("tree", data[page + 16..page + 16 + root::META_BYTES].to_vec()),
        ("digest", le!(found.digest)),
        ("checksum", le!(crc32c::crc32c(&slot[..BLOCK_BYTES - 4]))),
    ];
    assert_eq!(compare(HEADING, 0, slot, 0, &fields), BLOCK_BYTES);
    let mut again = vec![0; BLOCK_BYTES];
    root::encode(&found, &mut again);
    assert_eq!(again, slot);
    // As a start leaves LMDB's meta pages.
    for number in 0..2_u64 {
        let mut page = number.to_le_bytes().to_vec();
        page.extend([0, 0, 8, 0, 0, 0, 0, 0]);
        page.extend(&fields[6].1);
        page.resize(BLOCK_BYTES, 0);
        assert!(data[number as usize * BLOCK_BYTES..][..BLOCK_BYTES] == page, "page {number}");
    }
    let rows = table("shard/src/ledger/env.rs: the ledger", 1);
    let files = rows.iter().flat_map(|row| row[0].split(", ")).map(|name| name.trim_matches('`'));
    assert_eq!(files.collect::<Vec<_>>(), [DATA_FILE, "lock.mdb", journal::FILES[0], journal::FILES[1], root::FILE]);
}

#[test]
fn frames_and_records_are_as_described() {
    const HEADING: &str = "cache/src/frame.rs: the log";
    let header = Header {
        segment: SegmentId(1),
        block: 50,
        payload_blocks: 6,
        lowest_lsn: 8,
        durable_to: 4,
        core: 5,
        previous: 6,
        filesystem: 7,
    };
    let record = Record {
        ino: 9,
        generation: 10,
        lsn: 8,
        offset: 11,
        bytes: 12,
        time: Time { secs: 13, nanos: 14 },
        kind: RecordKind::Move,
        clears_setid: true,
        skew: 15,
        first_block: 5,
        aux: 16,
    };
    let checksums = [21, 22, 23, 24, 25, 26];
    let mut block = [0; BLOCK_BYTES];
    let sum = header.encode(&[record], &checksums, &mut block);
    let mut zeroed = block;
    zeroed[60..64].fill(0);
    assert_eq!(crc32c::crc32c(&zeroed), sum);
    let mut records = block[64..128].to_vec();
    records.resize(FRAME_RECORDS_MAX * 64, 0);
    let mut sums: Vec<u8> = checksums.iter().flat_map(|sum: &u32| sum.to_le_bytes()).collect();
    sums.resize(FRAME_BLOCKS_MAX * 4, 0);
    let fields = [
        ("magic", b"BSLF".to_vec()),
        ("version", le!(2_u16)),
        ("record_count", le!(1_u16)),
        ("segment", le!(1_u64)),
        ("block", le!(50_u32)),
        ("payload_blocks", le!(6_u32)),
        ("lowest_lsn", le!(8_u64)),
        ("durable_to", le!(4_u32)),
        ("core", le!(5_u16)),
        ("previous", le!(6_u32)),
        ("filesystem", le!(7_u64)),
        ("checksum", le!(sum)),
        ("records", records),
        ("checksums", sums),
    ];
    assert_eq!(compare(HEADING, 0, &block, 0, &fields), BLOCK_BYTES);
    let fields = [
        ("ino", le!(9_u64)),
        ("lsn", le!(8_u64)),
        ("offset", le!(11_u64)),
        ("bytes", le!(12_u64)),
        ("time", time(record.time)),
        ("kind", vec![3]),
        ("flags", vec![1]),
        ("skew", le!(15_u16)),
        ("first_block", le!(5_u16)),
        ("generation", le!(10_u32)),
        ("aux", le!(16_u64)),
    ];
    assert_eq!(compare(HEADING, 1, &block[64..128], 0, &fields), 64);
    for (kind, number) in [(RecordKind::Data, 1), (RecordKind::Truncate, 2), (RecordKind::Move, 3)] {
        let bytes = if kind == RecordKind::Truncate { 0 } else { 1 };
        let header = Header { payload_blocks: bytes as u32, ..header };
        header.encode(&[Record { kind, ..data(1, 8, 0, bytes) }], &checksums[..bytes as usize], &mut block);
        assert_eq!(block[64 + 44], number);
    }
}

#[test]
fn file_handles_are_as_described() {
    let target = Target { filesystem: 1, file: FileId { ino: Ino(2), generation: 3 } };
    let handle = HandleKey::new(&[7; SECRET_BYTES]).seal(target);
    let fields = [
        ("version", vec![1]),
        ("filesystem", le!(1_u64)),
        ("ino", le!(2_u64)),
        ("generation", le!(3_u32)),
        ("mac", handle[24..].to_vec()),
    ];
    let end = compare("shard/src/net/handle.rs: file handles", 0, &handle, 0, &fields);
    assert_eq!(end, HANDLE_BYTES);
}

#[test]
fn the_filesystem_in_a_handle_is_made_as_described() {
    let root = RootDirectory { mode: 0o755, uid: 0, gid: 0, now: Time::default() };
    let identity = 0x1122_3344_5566_7788;
    let options = Options::new(1, root);
    let shared = Shared::new(0, identity, std::path::Path::new("/"), options, LSN_FIRST, 0, 0);
    let mut hasher = SipHasher24::new_with_keys(identity, 0);
    hasher.write(b"filesystem");
    assert_eq!(shared.id, hasher.finish());
    assert_eq!(shared.identity, identity);
    let row = &table("shard/src/net/handle.rs: file handles", 0)[2];
    assert!(
        row[4].starts_with("SipHash-2-4, 64 bits, of the letters `filesystem`, keyed with the identity"),
        "{row:?}"
    );
}

#[test]
fn headings_name_files_that_exist() {
    let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    for line in DOCUMENT.lines().filter(|line| line.starts_with('#') && line.contains(".rs")) {
        let file = line.trim_start_matches('#').trim().split(':').next().unwrap();
        assert!(root.join(file).is_file(), "{file}");
    }
}
