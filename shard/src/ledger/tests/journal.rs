//! The journal and the root: damage is noticed, a torn tail is the end, a failure is for ever, and
//! LMDB's file and what waits for it stay small.

use super::rig::*;
use crate::cred::Cred;
use crate::ledger::apply::Poisoned;
use crate::ledger::command::CreateHow;
use crate::ledger::journal::{Contents, Damage, FILES, From, Head, decode, encode};
use crate::ledger::keeper::DATA_FILE;
use crate::ledger::media::{Step, Witness};
use crate::ledger::port::Hub;
use crate::ledger::root;
use crate::ledger::store::{LedgerOptions, OpenError, Store};
use crate::ledger::thread::LedgerThread;
use cache::log::SEAL_PAUSE;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A ledger that was killed with some records in its journal: its folder, and the names it has.
fn killed(names: &[&str]) -> (TempDir, PathBuf) {
    let mut rig = Rig::new();
    let root = rig.root();
    rig.ledger.settle().unwrap();
    for name in names {
        rig.file(root, name, 0o644);
    }
    let (ledger, dir) = rig.into_ledger();
    drop(ledger);
    let path = dir.path().join("ledger");
    (dir, path)
}

fn names(rig: &mut Rig) -> Vec<String> {
    let root = rig.root();
    rig.list(root).into_iter().map(|(_, name)| name).collect()
}

/// Where the journal is taken up, and the file of its first epoch.
fn beginning(ledger: &Path) -> (From, PathBuf) {
    let (root, _) = root::read(ledger).unwrap().unwrap();
    (root.from, ledger.join(FILES[(root.from.epoch % 2) as usize]))
}

fn flip(file: &Path, byte: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[byte] ^= 0x10;
    std::fs::write(file, bytes).unwrap();
}

fn plain() -> LedgerOptions {
    LedgerOptions { witness: None, ..options() }
}

/// All damage of one place: of every byte a bit, of every sector all bytes.
fn damages(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    let bits = (0..bytes.len()).map(|byte| (byte, byte + 1, 1 << (byte % 8)));
    let sectors =
        (0..bytes.len()).step_by(512).flat_map(|sector| [(sector, sector + 512, 0), (sector, sector + 512, 0x5a)]);
    bits.chain(sectors).map(|(from, to, flip)| {
        let mut damaged = bytes.to_vec();
        damaged[from..to].iter_mut().for_each(|byte| *byte = if flip == 0 { 0 } else { *byte ^ flip });
        (from, damaged)
    })
}

/// A ledger that was idle for a moment before it was killed.
#[test]
fn no_damage_of_a_sealed_journal_is_its_end() {
    let mut rig = Rig::new();
    let root = rig.root();
    rig.ledger.settle().unwrap();
    for name in ["a", "b", "c"] {
        rig.file(root, name, 0o644);
    }
    rig.ledger.seal().unwrap();
    rig.ledger.seal().unwrap();
    let (ledger, dir) = rig.into_ledger();
    drop(ledger);
    let path = dir.path().join("ledger");
    let (from, file) = beginning(&path);
    let whole = std::fs::read(&file).unwrap()[..6 * 4096].to_vec();
    let contents = Contents([whole.clone(), whole.clone()]);
    let is_seal: Vec<bool> = contents.records(from).unwrap().iter().map(|record| record.head.changes == 0).collect();
    assert_eq!(is_seal, [false, false, false, true], "one seal, behind the last record");
    for (byte, damaged) in damages(&whole[..4 * 4096]) {
        if damaged == whole[..4 * 4096] {
            continue;
        }
        let bytes = [&damaged, &whole[4 * 4096..]].concat();
        let contents = Contents([bytes.clone(), bytes]);
        match (byte / 4096, contents.records(from)) {
            (3, records) => assert_eq!(records.unwrap().len(), 3, "byte {byte}: nothing was in it"),
            (record, records) => {
                let broken = Damage::Broken { sequence: from.place.sequence + record as u64 };
                assert_eq!(records.unwrap_err(), broken, "byte {byte}");
            }
        }
    }
    let mut rig = Rig::reopen(dir);
    assert_eq!(names(&mut rig), ["a", "b", "c"]);
    rig.file(root, "d", 0o644);
    assert_eq!(names(&mut rig.crash()), ["a", "b", "c", "d"]);
}

/// Counts seals as they are written.
fn seals() -> (Arc<AtomicU64>, Witness) {
    let seals = Arc::new(AtomicU64::new(0));
    let count = seals.clone();
    let witness = Witness::new(move |step| {
        if let Step::Write(write) = step
            && decode(write.bytes).is_some_and(|record| record.head.changes == 0)
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    });
    (seals, witness)
}

#[test]
fn the_ledgers_thread_seals_its_journal_when_nothing_is_asked_of_it() {
    let (seals, witness) = seals();
    let mut rig = Rig::seen_by(witness);
    let root = rig.root();
    let job = rig.job_of(Cred::root(), None, create(root, "a", CreateHow::Guarded, 0o644));
    let (mut ledger, _dir) = rig.into_ledger();
    ledger.settle().unwrap();
    let hub = Hub::new(1);
    let port = hub.port(0, Box::new(|| ()));
    let thread = LedgerThread::spawn(ledger, hub.clone()).unwrap();
    port.submit(job).map(drop).unwrap();
    let begun = Instant::now();
    while seals.load(Ordering::Relaxed) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "it was never sealed");
        std::thread::sleep(SEAL_PAUSE / 4);
    }
    assert!(begun.elapsed() >= SEAL_PAUSE);
    thread.stop().expect("it did not panic");
    assert_eq!(seals.load(Ordering::Relaxed), 1);
}

/// Of what is before its epoch the root tells; until it is durable the seal is in the epoch that the checkpoint has begun.
#[test]
fn a_seal_is_written_only_where_nothing_else_says_what_was_durable() {
    let (seals, witness) = seals();
    let mut rig = Rig::seen_by(witness);
    let root = rig.root();
    let seal = |rig: &mut Rig| {
        rig.ledger.seal().unwrap();
        seals.swap(0, Ordering::Relaxed)
    };
    rig.ledger.settle().unwrap();
    assert_eq!(seal(&mut rig), 0, "all of it is in the root");
    rig.file(root, "a", 0o644);
    assert_eq!((seal(&mut rig), seal(&mut rig)), (1, 0), "a seal never follows a seal");
    rig.ledger.settle().unwrap();
    assert_eq!(seal(&mut rig), 0);
    rig.file(root, "b", 0o644);
    rig.ledger.checkpoint().unwrap();
    assert_eq!(seal(&mut rig), 1, "the checkpoint is on its way");
    assert!(!rig.ledger.is_behind(), "a seal is nothing that a checkpoint is made for");
    rig.ledger.settle().unwrap();
    rig.file(root, "c", 0o644);
    assert_eq!((seal(&mut rig), seal(&mut rig)), (1, 0));
}

#[test]
fn a_flipped_bit_in_a_record_is_damage_unless_it_is_the_last_one() {
    let (_dir, ledger) = killed(&["a", "b", "c"]);
    let (from, file) = beginning(&ledger);
    let whole = std::fs::read(&file).unwrap();
    assert_eq!(Contents::read(&ledger).unwrap().records(from).unwrap().len(), 3);
    for byte in 0..3 * 4096 {
        let mut bytes = whole[..6 * 4096].to_vec();
        bytes[byte] ^= 1 << (byte % 8);
        let contents = Contents([bytes.clone(), bytes]);
        let records = contents.records(from);
        let broken = Damage::Broken { sequence: from.place.sequence + (byte / 4096) as u64 };
        match byte / 4096 {
            2 => assert_eq!(records.unwrap().len(), 2, "byte {byte}: as if it was never finished"),
            _ => assert_eq!(records.unwrap_err(), broken, "byte {byte}"),
        }
    }
    flip(&file, 4096);
    assert!(matches!(Store::open(&ledger, &plain()), Err(OpenError::Journal(Damage::Broken { .. }))));
}

/// The third record with another head, whose checksum is right.
fn with_another_head(whole: &[u8], change: impl Fn(&mut Head)) -> Vec<u8> {
    let third = decode(&whole[2 * 4096..]).unwrap();
    let (mut head, redo) = (third.head, third.redo);
    change(&mut head);
    let mut bytes = whole.to_vec();
    bytes[2 * 4096..3 * 4096].fill(0);
    encode(&head, redo, &mut bytes[2 * 4096..3 * 4096]);
    bytes
}

#[test]
fn a_record_that_checks_is_applied_only_where_it_belongs() {
    let (_dir, ledger) = killed(&["a", "b", "c"]);
    let (from, file) = beginning(&ledger);
    let whole = std::fs::read(&file).unwrap();
    let records = |change: fn(&mut Head)| {
        let bytes = with_another_head(&whole, change);
        Contents([bytes.clone(), bytes]).records(from).map(|records| records.len())
    };
    let sequence = from.place.sequence + 2;
    assert_eq!(records(|_| ()), Ok(3));
    assert_eq!(records(|head| head.filesystem ^= 1), Ok(2), "another filesystem's is none");
    assert_eq!(records(|head| head.block += 1), Err(Damage::Broken { sequence }), "its write went elsewhere");
    assert_eq!(records(|head| head.epoch -= 1), Ok(2), "an earlier turn has left it");
    assert_eq!(records(|head| head.epoch += 2), Err(Damage::Broken { sequence }));
    assert_eq!(records(|head| head.place.previous ^= 1), Err(Damage::Broken { sequence }));
    assert_eq!(records(|head| head.place.sequence += 1), Err(Damage::Broken { sequence }));
    std::fs::write(&file, with_another_head(&whole, |head| head.changes += 1)).unwrap();
    let refused = Store::open(&ledger, &plain()).map(drop);
    assert!(matches!(refused, Err(OpenError::Journal(Damage::Record { sequence: of })) if of == sequence));
}

#[test]
fn a_torn_tail_is_the_end() {
    let (dir, ledger) = killed(&["a", "b"]);
    let (_, file) = beginning(&ledger);
    flip(&file, 4096 + 600);
    let mut rig = Rig::reopen(dir);
    assert_eq!(names(&mut rig), ["a"]);
    let root = rig.root();
    rig.file(root, "c", 0o644);
    assert_eq!(names(&mut rig.crash()), ["a", "c"]);
}

#[test]
fn a_damaged_root_is_noticed_or_does_not_matter() {
    // Nothing was written after the newest root: the one before leads to the same rows.
    let mut rig = Rig::new();
    let root = rig.root();
    rig.file(root, "a", 0o644);
    rig.ledger.settle().unwrap();
    let (ledger, dir) = rig.into_ledger();
    drop(ledger);
    let path = dir.path().join("ledger");
    let (newest, slot) = root::read(&path).unwrap().unwrap();
    flip(&path.join(root::FILE), slot * root::SLOT_BYTES + 50);
    assert_eq!(root::read(&path).unwrap().unwrap().0.from.epoch, newest.from.epoch - 1);
    let mut rig = Rig::reopen(dir);
    assert_eq!(names(&mut rig), ["a"]);

    // A record tells that there was a newer one.
    rig.file(root, "b", 0o644);
    let (ledger, dir) = rig.into_ledger();
    drop(ledger);
    let path = dir.path().join("ledger");
    let (_, slot) = root::read(&path).unwrap().unwrap();
    flip(&path.join(root::FILE), slot * root::SLOT_BYTES + 50);
    assert!(matches!(Store::open(&path, &plain()), Err(OpenError::Journal(Damage::RootLost { .. }))));
    std::fs::write(path.join(root::FILE), [0; 8192]).unwrap();
    assert!(matches!(Store::open(&path, &plain()), Err(OpenError::Rootless)));
}

/// Each kind of step may fail: the batch that meets it is refused, and all that follow; what was
/// acknowledged is there after a restart.
#[test]
fn a_failed_step_to_the_disk_is_an_error_for_ever() {
    for kind in 0..4 {
        let bomb = Arc::new(AtomicU64::new(u64::MAX));
        let armed = bomb.clone();
        let witness = Witness::new(move |step| {
            let this = match step {
                Step::Write(bytes) => u64::from(bytes.path.ends_with(root::FILE)),
                Step::Sync(_) => 2,
                Step::Synced(_) => 3,
                Step::Wrote(_) => return Ok(()),
            };
            if this == armed.load(Ordering::Relaxed) { Err(std::io::Error::other("bad disk")) } else { Ok(()) }
        });
        let mut rig = Rig::seen_by(witness);
        let root = rig.root();
        let mut acknowledged = Vec::new();
        for index in 0..40 {
            if index == 10 {
                bomb.store(kind, Ordering::Relaxed);
            }
            let name = format!("f{index}");
            let job = rig.job_of(Cred::root(), None, create(root, &name, CreateHow::Guarded, 0o644));
            match rig.ledger.apply(&[job]) {
                Ok(commit) => {
                    rig.ledger.publish(&commit);
                    acknowledged.push(name);
                }
                Err(Poisoned) => break,
            }
            rig.ledger.checkpoint().ok();
        }
        assert!((10..40).contains(&acknowledged.len()), "kind {kind}: {}", acknowledged.len());
        assert!(rig.shared.is_poisoned());
        bomb.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(rig.ledger.apply(&[]).unwrap_err(), Poisoned, "never a later success");
        assert_eq!(rig.ledger.settle().unwrap_err(), Poisoned);
        assert_eq!(names(&mut rig), acknowledged, "reading goes on");
        let (ledger, dir) = rig.into_ledger();
        drop(ledger);
        assert_eq!(names(&mut Rig::reopen(dir)), acknowledged);
    }
}

/// With the thread that runs checkpoints, and a journal that is full all the time.
#[test]
fn a_ledger_that_is_killed_has_everything_and_its_file_stays_small() {
    let mut rig = Rig::plain(|options| options.journal_bytes = 64 << 10);
    let root = rig.root();
    for index in 0..3000 {
        rig.file(root, &format!("f{}", index % 1000), 0o644);
        if index >= 500 {
            rig.ok(remove(root, &format!("f{}", (index - 500) % 1000)));
        }
    }
    let before = rig.list(root);
    let (ledger, dir) = rig.into_ledger();
    drop(ledger);
    let bytes = std::fs::metadata(dir.path().join("ledger").join(DATA_FILE)).unwrap().len();
    assert!(bytes < 8 << 20, "5,500 commits of some 15 pages each, and {bytes} bytes");
    let mut rig = Rig::reopen(dir);
    assert_eq!(rig.list(root), before);
}

/// What LMDB has freed it uses again after the next checkpoint.
#[test]
fn freed_pages_are_used_again() {
    let mut rig = Rig::plain(|options| options.journal_bytes = 64 << 20);
    let root = rig.root();
    for index in 0..300 {
        for part in 0..20 {
            rig.chmod(root, 0o700 + (index + part) % 64);
        }
        rig.ledger.settle().unwrap();
    }
    let (_ledger, dir) = rig.into_ledger();
    let bytes = std::fs::metadata(dir.path().join("ledger").join(DATA_FILE)).unwrap().len();
    assert!(bytes < 1 << 20, "{bytes} bytes");
}

/// Whatever room the journal has: rows that wait take memory.
#[test]
fn rows_that_wait_for_a_checkpoint_are_bounded_in_memory() {
    let mut rig = Rig::plain(|options| options.journal_bytes = 256 << 20);
    let root = rig.root();
    let target = vec![b'x'; 4000];
    for index in 0..12_000 {
        rig.ok(symlink(root, &format!("l{index}"), &target));
        let waiting = rig.reader.gauges().recent_bytes.load(Ordering::Relaxed);
        assert!(waiting < 34 << 20, "{waiting} bytes after {index} links");
    }
    let checkpoints = rig.reader.gauges().checkpoints.load(Ordering::Relaxed);
    assert!(checkpoints >= 2, "{checkpoints} checkpoints for 60 MB of rows");
}

/// A batch shows when it is published, which comes after its record; a look that began before goes on as it was.
#[test]
fn what_is_not_published_is_not_seen() {
    let mut rig = Rig::new();
    let root = rig.root();
    rig.file(root, "before", 0o644);
    for step in 0..6 {
        let (made, gone) =
            (format!("made-{step}"), if step == 0 { "before".into() } else { format!("made-{}", step - 1) });
        let jobs = [create(root, &made, CreateHow::Guarded, 0o644), remove(root, &gone)];
        let jobs = jobs.map(|verb| rig.job_of(Cred::root(), None, verb));
        let seen = rig.list(root);
        let commit = rig.ledger.apply(&jobs).unwrap();
        if step % 2 == 1 {
            rig.ledger.checkpoint().unwrap();
        }
        assert_eq!(rig.list(root), seen);
        assert!(rig.find(root, &made).is_none());
        assert!(rig.find(root, &gone).is_some());
        rig.ledger.publish(&commit);
        assert!(rig.find(root, &made).is_some());
        assert!(rig.find(root, &gone).is_none());
        assert_eq!(rig.list(root).len(), 1);
    }
}

#[test]
fn a_clean_stop_leaves_nothing_to_replay() {
    let mut rig = Rig::new();
    let root = rig.root();
    rig.file(root, "a", 0o644);
    rig.ledger.settle().unwrap();
    let limits = rig.options.limits;
    let (ledger, dir) = rig.into_ledger();
    drop(ledger);
    let path = dir.path().join("ledger");
    let contents = |name: &str| std::fs::read(path.join(name)).unwrap();
    let before = [root::FILE, DATA_FILE, FILES[0], FILES[1]].map(contents);
    assert_eq!(Store::bring_up(&path, limits).unwrap(), 0);
    assert!(before == [root::FILE, DATA_FILE, FILES[0], FILES[1]].map(contents), "and a tool writes nothing");
}

#[test]
fn a_tool_sees_what_a_start_would_see() {
    let (dir, path) = killed(&["a", "b", "c"]);
    let limits = options().limits;
    assert_eq!(Store::bring_up(&path, limits).unwrap(), 3);
    assert_eq!(Store::bring_up(&path, limits).unwrap(), 0, "once");
    assert_eq!(names(&mut Rig::reopen(dir)), ["a", "b", "c"]);
}
