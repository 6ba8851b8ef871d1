//! Rows of the ledger, table by table. What is decoded at all is written again in the same bytes, so that nothing but
//! what a writer writes is ever believed; a checksum that fits does not make it right.
//!
//! Input: a byte that gives the table and whether the checksum is put right, a byte with the length of the key, the
//! key, the value.

use super::Target;
use cache::extent::{Extent, Place, SegmentId};
use cache::world::Time;
use shard::inode::{Ino, Inode, Kind};
use shard::ledger::command::{Answer, NAME_MAX, ReplayKey, SegmentInfo, TARGET_MAX, Wcc};
use shard::ledger::record::{Table, entry, extent, inode, meta, reply, segment, tree};

pub(super) const LEDGER: Target = Target {
    name: "ledger",
    about: "rows of the ledger: keys and values of every table",
    input_max: 4600,
    working_bytes: 0,
    words: &[b"head", b"\0\0\0\x01", b"\0\0\0\0\0\0\0\x05\0\0\0\x01"],
    seeds,
    run,
};

fn run(input: &[u8]) {
    let Some(([which, key_bytes], rest)) = input.split_first_chunk::<2>() else { return };
    let (key, value) = rest.split_at(usize::from(*key_bytes).min(rest.len()));
    let mut value = value.to_vec();
    if *which < 128 {
        let checksum = crc32c::crc32c_append(crc32c::crc32c(key), &value);
        value.extend_from_slice(&checksum.to_le_bytes());
    }
    let table = Table::ALL[usize::from(*which) % Table::ALL.len()];
    if let Some((own_key, again)) = written_again(table, key, &value) {
        assert!(own_key == key, "{table:?}: the key {key:02x?} is written as {own_key:02x?}");
        assert!(again == value, "{table:?}: {value:02x?} is written as {again:02x?}");
    }
}

/// The row as the ledger would write what it reads; nothing when it refuses to read it.
fn written_again(table: Table, key: &[u8], value: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut out = Vec::new();
    let own_key = match table {
        Table::Meta => {
            if key != meta::KEY {
                return None;
            }
            meta::encode(&meta::decode(value).ok()?, &mut out);
            key.to_vec()
        }
        Table::Inodes => {
            let ino = inode::parse_key(key).ok()?;
            inode::encode(&inode::decode(ino, value).ok()?, &mut out);
            inode::key(ino).as_bytes().to_vec()
        }
        Table::Names => {
            let (dir, name) = entry::parse_name_key(key).ok()?;
            assert!(name.len() <= NAME_MAX);
            entry::encode_name(key, &entry::decode_name(key, value).ok()?, &mut out);
            entry::name_key(dir, name).as_bytes().to_vec()
        }
        Table::Entries => {
            let (dir, cookie) = entry::parse_entry_key(key).ok()?;
            let read = entry::decode_entry(key, value).ok()?;
            assert!(read.name.len() <= NAME_MAX && read.cookie == cookie);
            entry::encode_entry(key, read.ino, read.kind, &read.name, &mut out);
            entry::entry_key(dir, cookie).as_bytes().to_vec()
        }
        Table::Targets => {
            let ino = tree::parse_target_key(key).ok()?;
            let target = tree::decode_target(key, value).ok()?;
            assert!(target.len() <= TARGET_MAX);
            tree::encode_target(ino, target, &mut out);
            tree::target_key(ino).as_bytes().to_vec()
        }
        Table::Extents => {
            let (ino, at) = extent::parse_key(key).ok()?;
            let (offset, read) = extent::decode(key, value).ok()?;
            assert!(offset == at && read.bytes > 0 && offset.checked_add(read.bytes).is_some());
            extent::encode(key, &read, &mut out);
            extent::key(ino, offset).as_bytes().to_vec()
        }
        Table::Segments => {
            let read = segment::decode(key, value).ok()?;
            segment::encode(&read, &mut out);
            segment::key(read.id).as_bytes().to_vec()
        }
        Table::Replies => {
            let slot = u32::from_be_bytes(key.try_into().ok()?);
            reply::encode(slot, &reply::decode(key, value).ok()?, &mut out);
            reply::key(slot).as_bytes().to_vec()
        }
        Table::Orphans => {
            let (ino, generation) = tree::decode_orphan(key, value).ok()?;
            tree::encode_orphan(ino, generation, &mut out);
            tree::orphan_key(ino).as_bytes().to_vec()
        }
    };
    Some((own_key, out))
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let mut value = Vec::new();
    let mut add = |table: usize, key: &[u8], value: &[u8]| {
        assert!(
            written_again(Table::ALL[table], key, value).is_some_and(|again| again == (key.to_vec(), value.to_vec()))
        );
        // Without its checksum: it is put right when the row is run.
        let content = &value[..value.len() - 4];
        seeds.push([&[table as u8, key.len() as u8], key, content].concat());
        seeds.push([&[table as u8 + 9 * 15, key.len() as u8], key, value].concat());
    };
    let row = meta::Meta {
        filesystem: 1,
        next_ino: 2,
        lsn_limit: 3,
        next_segment: 4,
        slots_made: 5,
        reply_slots: 6,
        replies: 7,
    };
    meta::encode(&row, &mut value);
    add(0, meta::KEY, &value);
    for kind in [Kind::File, Kind::Directory, Kind::BlockDevice, Kind::Symlink, Kind::Fifo] {
        let inode = inode_of(kind);
        inode::encode(&inode, &mut value);
        add(1, inode::key(inode.ino).as_bytes(), &value);
    }
    let key = entry::name_key(Ino(5), b"name");
    entry::encode_name(key.as_bytes(), &entry::Found { ino: Ino(9), kind: Kind::File, cookie: 40 }, &mut value);
    add(2, key.as_bytes(), &value);
    let key = entry::entry_key(Ino(5), 40);
    entry::encode_entry(key.as_bytes(), Ino(9), Kind::File, b"name", &mut value);
    add(3, key.as_bytes(), &value);
    tree::encode_target(Ino(5), b"../target", &mut value);
    add(4, tree::target_key(Ino(5)).as_bytes(), &value);
    for place in [Place::Hole, Place::Log { segment: SegmentId(4), frame: 5, block: 6, skew: 4095 }] {
        let key = extent::key(Ino(5), 4096);
        extent::encode(key.as_bytes(), &Extent { bytes: 7, place, version: 8, lsn: 0 }, &mut value);
        add(5, key.as_bytes(), &value);
    }
    for replay_from in [None, Some(7)] {
        let info = SegmentInfo { id: SegmentId(3), slot: 4, core: 5, replay_from, live_bytes: 1 << 33 };
        segment::encode(&info, &mut value);
        add(6, segment::key(info.id).as_bytes(), &value);
    }
    for reply in replies() {
        reply::encode(3, &reply, &mut value);
        add(7, reply::key(3).as_bytes(), &value);
    }
    tree::encode_orphan(Ino(5), 6, &mut value);
    add(8, tree::orphan_key(Ino(5)).as_bytes(), &value);
    seeds
}

fn inode_of(kind: Kind) -> Inode {
    let time = Time { secs: 3, nanos: 4 };
    let is_dir = kind == Kind::Directory;
    Inode {
        ino: Ino(5),
        generation: 7,
        kind,
        mode: 0o644,
        uid: 1000,
        gid: 100,
        nlink: 2,
        rdev: if kind == Kind::BlockDevice { (8, 17) } else { (0, 0) },
        size: if is_dir { inode::directory_bytes(3) } else { 0 },
        used: if is_dir { inode::directory_bytes(3) } else { 0 },
        atime: time,
        mtime: time,
        ctime: time,
        btime: time,
        change: 40,
        folded_lsn: 0,
        parent: Ino(u64::from(is_dir)),
        entries: if is_dir { 3 } else { 0 },
        verifier: (kind == Kind::File).then_some(*b"verifier"),
    }
}

fn replies() -> [reply::Reply; 2] {
    let dir = inode_of(Kind::Directory);
    let wcc = Wcc { before: Some(Inode { nlink: 1, ..dir }), after: Some(dir) };
    let answer = Answer {
        status: Ok(()),
        object: Some(inode_of(Kind::File)),
        existed: true,
        before: Some(inode_of(Kind::Symlink)),
        dir: Some(wcc),
        to_dir: Some(Wcc { before: Some(dir), after: Some(dir) }),
        replayed: true,
    };
    let key = ReplayKey { client: 1, xid: 2, arguments: 3 };
    let small = Answer { object: None, before: None, existed: false, to_dir: Some(wcc), ..answer };
    [answer, small].map(|answer| reply::Reply { number: 12, key, answer })
}
