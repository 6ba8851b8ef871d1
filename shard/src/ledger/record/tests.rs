//! Every format: what goes in comes out, and nothing else ever does.

use super::entry::{Entry, Found};
use super::inode::directory_bytes;
use super::meta::Meta;
use super::reply::Reply;
use super::*;
use crate::inode::{Inode, Kind};
use crate::ledger::command::{Answer, ReplayKey, SegmentInfo, Wcc};
use cache::extent::{Extent, Place, SegmentId};
use std::borrow::Cow;

fn time(secs: i64, nanos: u32) -> Time {
    Time { secs, nanos }
}

fn inode(kind: Kind) -> Inode {
    let mut inode = Inode {
        ino: Ino(0x0102_0304),
        generation: 77,
        kind,
        mode: 0o6755,
        uid: 1000,
        gid: u32::MAX,
        nlink: 3,
        rdev: (0, 0),
        size: 0,
        used: 0,
        atime: time(-5, 999_999_999),
        mtime: time(1 << 40, 1),
        ctime: time(3, 2),
        btime: time(4, 3),
        change: u64::MAX,
        folded_lsn: 0,
        parent: Ino(0),
        entries: 0,
        verifier: None,
    };
    match kind {
        Kind::File => {
            inode.size = 1 << 50;
            inode.used = 4096;
            inode.folded_lsn = 9;
            inode.verifier = Some(*b"verifier");
        }
        Kind::Directory => {
            inode.parent = Ino(5);
            inode.entries = 129;
            inode.size = directory_bytes(129);
            inode.used = inode.size;
        }
        Kind::Symlink => inode.size = 11,
        Kind::BlockDevice | Kind::CharDevice => inode.rdev = (8, 17),
        Kind::Socket | Kind::Fifo => {}
    }
    inode
}

const KINDS: [Kind; 7] =
    [Kind::File, Kind::Directory, Kind::BlockDevice, Kind::CharDevice, Kind::Symlink, Kind::Socket, Kind::Fifo];

fn reply() -> Reply {
    let after = inode(Kind::Directory);
    let before = Inode { entries: 128, nlink: 2, mtime: time(1, 1), ctime: time(1, 2), change: 4, ..after };
    let before = Inode { size: directory_bytes(128), used: directory_bytes(128), ..before };
    let wcc = Wcc { before: Some(before), after: Some(after) };
    let answer = Answer {
        status: Ok(()),
        object: Some(inode(Kind::File)),
        existed: true,
        before: Some(inode(Kind::CharDevice)),
        dir: Some(wcc),
        to_dir: Some(Wcc { before: Some(after), after: Some(after) }),
        replayed: true,
    };
    Reply { number: 12, key: ReplayKey { client: 1, xid: 2, arguments: 3 }, answer }
}

/// A row of each kind, and a function that says whether a value still reads as it did.
type Sample = (&'static str, Vec<u8>, Vec<u8>, Box<dyn Fn(&[u8], &[u8]) -> bool>);

fn samples() -> Vec<Sample> {
    let mut samples: Vec<Sample> = Vec::new();
    let mut value = Vec::new();
    for kind in KINDS {
        let sample = inode(kind);
        super::inode::encode(&sample, &mut value);
        let key = super::inode::key(sample.ino).as_bytes().to_vec();
        let same = move |key: &[u8], value: &[u8]| {
            super::inode::parse_key(key).is_ok_and(|ino| super::inode::decode(ino, value) == Ok(sample))
        };
        samples.push(("inode", key, value.clone(), Box::new(same)));
    }

    let found = Found { ino: Ino(9), kind: Kind::Fifo, cookie: 1 << 40 };
    let key = entry::name_key(Ino(5), b"name").as_bytes().to_vec();
    entry::encode_name(&key, &found, &mut value);
    let same = move |key: &[u8], value: &[u8]| {
        entry::parse_name_key(key) == Ok((Ino(5), b"name")) && entry::decode_name(key, value) == Ok(found)
    };
    samples.push(("name", key, value.clone(), Box::new(same)));

    let key = entry::entry_key(Ino(5), 99).as_bytes().to_vec();
    entry::encode_entry(&key, Ino(9), Kind::Socket, &[b'n'; 255], &mut value);
    let same = |key: &[u8], value: &[u8]| {
        let entry = Entry { cookie: 99, ino: Ino(9), kind: Kind::Socket, name: Cow::Borrowed(&[b'n'; 255]) };
        entry::parse_entry_key(key) == Ok((Ino(5), 99)) && entry::decode_entry(key, value) == Ok(entry)
    };
    samples.push(("entry", key, value.clone(), Box::new(same)));

    let place = Place::Log { segment: SegmentId(4), frame: 5, block: 6, skew: 4095 };
    for place in [Place::Hole, place] {
        let extent = Extent { bytes: 7, place, version: 8, lsn: 0 };
        let key = extent::key(Ino(5), 4096).as_bytes().to_vec();
        extent::encode(&key, &extent, &mut value);
        let same = move |key: &[u8], value: &[u8]| extent::decode(key, value) == Ok((4096, extent));
        samples.push(("extent", key, value.clone(), Box::new(same)));
    }

    for replay_from in [None, Some(0), Some(7)] {
        let info = SegmentInfo { id: SegmentId(3), slot: 4, core: 5, replay_from, live_bytes: 1 << 33 };
        segment::encode(&info, &mut value);
        let key = segment::key(info.id).as_bytes().to_vec();
        let same = move |key: &[u8], value: &[u8]| segment::decode(key, value) == Ok(info);
        samples.push(("segment", key, value.clone(), Box::new(same)));
    }

    let key = tree::target_key(Ino(5)).as_bytes().to_vec();
    tree::encode_target(Ino(5), b"../target", &mut value);
    let same = |key: &[u8], value: &[u8]| tree::decode_target(key, value) == Ok(b"../target");
    samples.push(("target", key, value.clone(), Box::new(same)));

    let key = tree::orphan_key(Ino(5)).as_bytes().to_vec();
    tree::encode_orphan(Ino(5), 6, &mut value);
    let same = |key: &[u8], value: &[u8]| tree::decode_orphan(key, value) == Ok((Ino(5), 6));
    samples.push(("orphan", key, value.clone(), Box::new(same)));

    let meta =
        Meta { filesystem: 1, next_ino: 2, lsn_limit: 3, next_segment: 4, slots_made: 5, reply_slots: 6, replies: 7 };
    meta::encode(&meta, &mut value);
    let same = move |key: &[u8], value: &[u8]| key == meta::KEY && meta::decode(value) == Ok(meta);
    samples.push(("meta", meta::KEY.to_vec(), value.clone(), Box::new(same)));

    let reply = reply();
    super::reply::encode(3, &reply, &mut value);
    let key = super::reply::key(3).as_bytes().to_vec();
    let same = move |key: &[u8], value: &[u8]| super::reply::decode(key, value) == Ok(reply);
    samples.push(("reply", key, value.clone(), Box::new(same)));
    samples
}

#[test]
fn what_is_written_is_read() {
    for (what, key, value, reads_the_same) in samples() {
        assert!(reads_the_same(&key, &value), "{what}");
    }
}

#[test]
fn a_reply_about_one_directory_says_it_once() {
    let mut reply = reply();
    reply.answer.to_dir = reply.answer.dir;
    let mut value = Vec::new();
    super::reply::encode(1, &reply, &mut value);
    let read = super::reply::decode(super::reply::key(1).as_bytes(), &value);
    assert_eq!(read, Ok(reply));
}

#[test]
fn every_flipped_bit_is_noticed() {
    for (what, key, value, reads_the_same) in samples() {
        for bit in 0..value.len() * 8 {
            let mut damaged = value.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(!reads_the_same(&key, &damaged), "{what}: bit {bit} of the value");
        }
        for bit in 0..key.len() * 8 {
            let mut damaged = key.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(!reads_the_same(&damaged, &value), "{what}: bit {bit} of the key");
        }
    }
}

#[test]
fn every_length_but_the_right_one_is_noticed() {
    for (what, key, value, reads_the_same) in samples() {
        for count in 0..value.len() {
            assert!(!reads_the_same(&key, &value[..count]), "{what}: {count} bytes");
        }
        let mut longer = value.clone();
        longer.push(0);
        assert!(!reads_the_same(&key, &longer), "{what}: a byte too many");
        for count in 0..key.len() {
            assert!(!reads_the_same(&key[..count], &value), "{what}: a key of {count} bytes");
        }
    }
}

/// A checksum that fits does not make a record right: hostile content is refused, not believed.
#[test]
fn sealed_nonsense_is_refused_without_a_panic() {
    let mut state = 0x1234_5678_9abc_def0_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for (_, key, value, _) in samples() {
        for _ in 0..2_000 {
            let content = value.len() - 5;
            let mut forged = vec![VERSION];
            forged.extend_from_slice(&value[1..1 + content]);
            let hits = 1 + random() as usize % 8;
            for _ in 0..hits {
                let at = 1 + random() as usize % content.max(1);
                if at < forged.len() {
                    forged[at] = random() as u8;
                }
            }
            forged.truncate(1 + random() as usize % (content + 1));
            seal(&key, &mut forged);
            let _ = super::inode::decode(Ino(0x0102_0304), &forged);
            let _ = entry::decode_name(&key, &forged);
            let _ = entry::decode_entry(&key, &forged);
            let _ = extent::decode(&key, &forged);
            let _ = segment::decode(&key, &forged);
            let _ = tree::decode_target(&key, &forged);
            let _ = tree::decode_orphan(&key, &forged);
            let _ = meta::decode(&forged);
            let _ = super::reply::decode(&key, &forged);
        }
    }
}

/// A value with one byte changed and a checksum that fits.
fn resealed(key: &[u8], mut value: Vec<u8>, at: usize, byte: u8) -> Vec<u8> {
    value.truncate(value.len() - 4);
    value[at] = byte;
    seal(key, &mut value);
    value
}

#[test]
fn an_inode_with_a_device_number_of_nothing_is_refused() {
    let device = Inode { rdev: (0, 17), ..inode(Kind::CharDevice) };
    let mut value = Vec::new();
    super::inode::encode(&device, &mut value);
    let key = super::inode::key(device.ino);
    let minor = value.len() - 4 - 4;
    let zeroed = resealed(key.as_bytes(), value, minor, 0);
    assert!(super::inode::decode(device.ino, &zeroed).is_err());
}

#[test]
fn a_reply_with_flags_that_no_writer_sets_is_refused() {
    let at = 29;
    let key = super::reply::key(3);
    let one_dir = Answer { object: None, before: None, to_dir: reply().answer.dir, ..reply().answer };
    let no_dir = Answer { dir: None, to_dir: None, ..one_dir };
    for (answer, flags) in [(reply().answer, 64), (reply().answer, 128), (reply().answer, 32), (no_dir, 32)] {
        let mut value = Vec::new();
        super::reply::encode(3, &Reply { answer, ..reply() }, &mut value);
        assert!(super::reply::decode(key.as_bytes(), &value).is_ok());
        let flags = value[at] | flags;
        let forged = resealed(key.as_bytes(), value, at, flags);
        assert!(super::reply::decode(key.as_bytes(), &forged).is_err(), "flags {flags}");
    }
}

#[test]
fn another_format_version_is_refused() {
    for (what, key, mut value, reads_the_same) in samples() {
        value.truncate(value.len() - 4);
        value[0] = VERSION + 1;
        seal(&key, &mut value);
        assert!(!reads_the_same(&key, &value), "{what}");
    }
}

#[test]
fn keys_sort_as_their_numbers_do() {
    let keys: Vec<_> = [(1, 2), (1, 255), (1, 256), (2, 0), (256, 0)]
        .map(|(dir, cookie)| entry::entry_key(Ino(dir), cookie).as_bytes().to_vec())
        .into();
    assert!(keys.is_sorted());
}

#[test]
fn a_directory_grows_by_a_block_for_64_entries() {
    assert_eq!(directory_bytes(0), 4096);
    assert_eq!(directory_bytes(63), 4096);
    assert_eq!(directory_bytes(64), 8192);
    assert_eq!(directory_bytes(u64::MAX), u64::MAX, "no overflow");
}
