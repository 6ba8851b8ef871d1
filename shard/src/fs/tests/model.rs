//! What a file holds is what the model says, whatever folds, moves and restarts happen meanwhile.

use super::rig::{Rig, all, create, cut, get, options, put, sync};
use super::seeds;
use crate::fs::write::Stability;
use crate::inode::FileId;
use cache::sim::Rng;
use std::cell::RefCell;
use std::rc::Rc;

/// A file and what it should hold.
struct File {
    id: FileId,
    bytes: Vec<u8>,
}

#[test]
fn a_file_reads_back_what_was_written() {
    seeds(100, |seed| {
        let rig = Rig::new(seed, options(2, 1 << 40));
        if seed % 2 == 0 {
            rig.churn();
        }
        let files = run(&rig, seed, 3, 60);
        let rig = rig.restart();
        check_all(&rig, &files);
        assert_eq!(rig.recovered.files, 0, "a clean stop leaves nothing to recover");
    });
}

#[test]
fn a_file_of_one_core_reads_back_what_was_written() {
    seeds(50, |seed| {
        let rig = Rig::new(seed, options(1, 1 << 40));
        let files = run(&rig, seed ^ 0x0c0e, 2, 60);
        check_all(&rig, &files);
    });
}

#[test]
fn a_gap_reads_as_zeros_and_the_bytes_behind_a_cut_do_not_come_back() {
    let rig = Rig::new(1, options(2, 1 << 40));
    let (a, b) = (rig.fs[0].clone(), rig.fs[1].clone());
    rig.world.run_until(async {
        let id = create(&a, "file").await.unwrap();
        put(&a, id, 0, &[1; 9000], Stability::FileSync).await.unwrap();
        cut(&b, id, 100).await.unwrap();
        cut(&a, id, 5000).await.unwrap();
        put(&b, id, 6000, &[2; 10], Stability::Unstable).await.unwrap();
        let mut expected = vec![0; 6010];
        expected[..100].fill(1);
        expected[6000..].fill(2);
        assert_eq!(all(&a, id).await.unwrap(), expected);
        a.stop().await.unwrap();
        b.stop().await.unwrap();
        assert_eq!(all(&a, id).await.unwrap(), expected);
    });
}

#[test]
fn before_and_after_are_of_one_moment() {
    seeds(50, |seed| {
        let rig = Rig::new(seed, options(2, 1 << 40));
        let id = rig.world.run_until(create(&rig.fs[0], "file")).unwrap();
        let seen = Rc::new(RefCell::new(Vec::new()));
        let writers = (0..4).map(|writer| {
            let (fs, seen) = (rig.fs[writer % 2].clone(), seen.clone());
            async move {
                for round in 0..20 {
                    let offset = (writer * 20 + round) as u64 * 7;
                    let done = put(&fs, id, offset, &[1; 7], Stability::Unstable).await.unwrap();
                    seen.borrow_mut().push((done.before, done.after));
                    fs.world.sleep(std::time::Duration::from_micros(3)).await;
                }
            }
        });
        rig.world.run_until(futures_util::future::join_all(writers));
        let mut seen = seen.take();
        seen.sort_by_key(|(before, _)| before.change);
        for pair in seen.windows(2) {
            let ((_, after), (before, next)) = (pair[0], pair[1]);
            assert_eq!((after.change, after.size, after.ctime), (before.change, before.size, before.ctime));
            assert!(next.ctime > after.ctime, "a client sees a change by its ctime");
        }
    });
}

/// Runs `ops` operations on each of `count` files, all files at once, each file's one by one.
fn run(rig: &Rig, seed: u64, count: u64, ops: u64) -> Vec<File> {
    let tasks = (0..count).map(|number| exercise(rig, Rng::new(seed * 1000 + number), format!("file {number}"), ops));
    rig.world.run_until(futures_util::future::join_all(tasks))
}

async fn exercise(rig: &Rig, mut rng: Rng, name: String, ops: u64) -> File {
    let id = create(&rig.any_core(), &name).await.unwrap();
    let mut bytes = Vec::new();
    for op in 0..ops {
        let fs = rig.any_core();
        match rng.below(10) {
            0..=4 => {
                let offset = rng.below(bytes.len() as u64 + 20_000);
                let payload = payload(op, size(&mut rng));
                let stability = match rng.below(3) {
                    0 => Stability::FileSync,
                    _ => Stability::Unstable,
                };
                let done = put(&fs, id, offset, &payload, stability).await.unwrap();
                assert_eq!(done.before.size, bytes.len() as u64);
                let end = offset as usize + payload.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[offset as usize..end].copy_from_slice(&payload);
                assert_eq!(done.after.size, bytes.len() as u64);
            }
            5 => {
                let size = rng.below(bytes.len() as u64 * 2 + 100);
                let after = cut(&fs, id, size).await.unwrap();
                bytes.resize(size as usize, 0);
                assert_eq!(after.size, size);
            }
            6 => drop(sync(&fs, id).await.unwrap()),
            7 => fs.world.sleep(std::time::Duration::from_millis(rng.below(1500))).await,
            _ => {
                let offset = rng.below(bytes.len() as u64 + 10);
                let count = rng.below(60_000) as usize;
                let got = get(&fs, id, offset, count).await.unwrap();
                let expected = bytes.get(offset as usize..).unwrap_or_default();
                let expected = &expected[..count.min(expected.len())];
                assert!(got == expected, "{name}: bytes at {offset} after {op} operations");
            }
        }
    }
    assert!(all(&rig.any_core(), id).await.unwrap() == bytes, "{name} at the end");
    File { id, bytes }
}

fn check_all(rig: &Rig, files: &[File]) {
    rig.world.run_until(async {
        for file in files {
            assert!(all(&rig.any_core(), file.id).await.unwrap() == file.bytes, "{:?} after a restart", file.id);
        }
    });
}

fn size(rng: &mut Rng) -> usize {
    match rng.below(4) {
        0 => 1 + rng.below(100) as usize,
        1 => 4096,
        2 => 1 + rng.below(20_000) as usize,
        _ => 1 + rng.below(300_000) as usize,
    }
}

/// Bytes that name their operation and place.
pub(super) fn payload(op: u64, count: usize) -> Vec<u8> {
    (0..count).map(|index| (op as usize * 31 + index / 7 + 1) as u8 | 1).collect()
}
