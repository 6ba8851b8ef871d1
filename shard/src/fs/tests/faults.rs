//! Disks that fail: an error to everyone who waits, a new verifier, and nothing but reading until a
//! restart. Damaged bytes are an error, never data.

use super::rig::{Rig, all, create, cut, get, options, put, remove, sync};
use super::seeds;
use crate::fs::write::Stability;
use crate::status::Status;
use cache::sim::Rng;
use futures_util::future::join_all;
use std::time::Duration;

#[test]
fn a_failed_flush_is_an_error_to_every_waiter_and_never_a_later_success() {
    seeds(200, |seed| {
        let mut rng = Rng::new(seed);
        let rig = Rig::new(seed, options(2, 1 << 40));
        let id = rig.world.run_until(create(&rig.fs[0], "file")).unwrap();
        rig.world.run_until(put(&rig.fs[0], id, 0, &[1; 5000], Stability::FileSync)).unwrap();
        let verifier = rig.shared.verifier();
        match rng.below(2) {
            0 => rig.disk.fail_nth_flush(1 + rng.below(3)),
            _ => rig.disk.fail_nth_write(1 + rng.below(3)),
        }
        let writers = (0..8_u64).map(|writer| {
            let fs = rig.fs[writer as usize % 2].clone();
            async move {
                let stability = if writer < 4 { Stability::FileSync } else { Stability::Unstable };
                let written = put(&fs, id, place(writer), &[writer as u8; 4000], stability).await;
                let committed = sync(&fs, id).await;
                (written, committed)
            }
        });
        let results = rig.world.run_until(join_all(writers));
        if !rig.shared.is_poisoned() {
            return;
        }
        assert_ne!(rig.shared.verifier(), verifier);
        let statuses = results.iter().flat_map(|(a, b)| [a.as_ref().err(), b.as_ref().err()]).flatten();
        for status in statuses {
            assert!(matches!(status, Status::Io | Status::ReadOnly), "{status:?}");
        }
        rig.world.run_until(async {
            for fs in &rig.fs {
                assert_eq!(put(fs, id, 0, &[9], Stability::Unstable).await.unwrap_err(), Status::ReadOnly);
                assert_eq!(cut(fs, id, 0).await.unwrap_err(), Status::ReadOnly);
                assert_eq!(sync(fs, id).await.unwrap_err(), Status::Io);
                fs.world.sleep(Duration::from_secs(3)).await;
                assert!(get(fs, id, 0, 5000).await.unwrap() == [1; 5000]);
            }
        });
        let acknowledged: Vec<bool> =
            results.iter().map(|(written, committed)| written.is_ok() && committed.is_ok()).collect();
        let rig = rig.crash();
        rig.world.run_until(async {
            for (writer, acknowledged) in acknowledged.into_iter().enumerate() {
                let found = get(&rig.fs[0], id, place(writer as u64), 4000).await.unwrap();
                assert!(!acknowledged || found == [writer as u8; 4000], "writer {writer}");
            }
            put(&rig.fs[0], id, 0, &[7; 10], Stability::FileSync).await.unwrap();
        });
    });
}

#[test]
fn a_failed_commit_of_the_ledger_stops_every_change() {
    let rig = Rig::new(3, options(2, 1 << 40));
    let id = rig.world.run_until(create(&rig.fs[0], "file")).unwrap();
    let verifier = rig.shared.verifier();
    rig.world.run_until(put(&rig.fs[1], id, 0, &[3; 100], Stability::FileSync)).unwrap();
    rig.fault.store(true, std::sync::atomic::Ordering::Relaxed);
    rig.world.run_until(async {
        put(&rig.fs[1], id, 0, &[1; 100], Stability::FileSync).await.unwrap();
        assert_eq!(remove(&rig.fs[0], "file").await.unwrap_err(), Status::Io);
        assert_ne!(rig.shared.verifier(), verifier);
        assert_eq!(put(&rig.fs[1], id, 0, &[2], Stability::Unstable).await.unwrap_err(), Status::ReadOnly);
        assert_eq!(sync(&rig.fs[1], id).await.unwrap_err(), Status::Io, "though nothing is left to wait for");
        assert!(all(&rig.fs[0], id).await.unwrap() == [1; 100]);
    });
    rig.fault.store(false, std::sync::atomic::Ordering::Relaxed);
    let rig = rig.crash();
    assert!(rig.world.run_until(all(&rig.fs[0], id)).unwrap() == [1; 100]);
}

#[test]
fn a_damaged_byte_is_an_error_and_the_rest_can_be_read() {
    let rig = Rig::new(5, options(1, 1 << 40));
    let id = rig.world.run_until(create(&rig.fs[0], "file")).unwrap();
    rig.world.run_until(put(&rig.fs[0], id, 0, &[7; 65_536], Stability::FileSync)).unwrap();
    let rig = rig.restart();
    // The first frame: one header block, then the file.
    rig.disk.damage(0, 4096 * 3 + 10);
    rig.world.run_until(async {
        assert_eq!(get(&rig.fs[0], id, 8192, 10).await.unwrap_err(), Status::Io);
        assert!(get(&rig.fs[0], id, 0, 8192).await.unwrap() == [7; 8192]);
        assert!(get(&rig.fs[0], id, 12_288, 100).await.unwrap() == [7; 100]);
    });
    assert_eq!(rig.fs[0].stats.corrupt.get(), 1);
}

#[test]
fn damage_in_what_was_durable_stops_the_recovery() {
    let rig = Rig::new(6, options(1, 1 << 40));
    let id = rig.world.run_until(create(&rig.fs[0], "file")).unwrap();
    rig.world.run_until(async {
        for round in 0..3 {
            put(&rig.fs[0], id, round * 4096, &[7; 4096], Stability::FileSync).await.unwrap();
        }
    });
    rig.disk.damage(0, 10);
    assert!(rig.try_crash().is_err(), "a later frame says that the first was durable");
}

#[test]
fn a_failed_read_is_an_error_once() {
    let rig = Rig::new(7, options(1, 1 << 40));
    let id = rig.world.run_until(create(&rig.fs[0], "file")).unwrap();
    rig.world.run_until(put(&rig.fs[0], id, 0, &[7; 4096], Stability::FileSync)).unwrap();
    let rig = rig.restart();
    rig.disk.fail_nth_read(1);
    rig.world.run_until(async {
        assert_eq!(all(&rig.fs[0], id).await.unwrap_err(), Status::Io);
        assert!(all(&rig.fs[0], id).await.unwrap() == [7; 4096]);
    });
    assert!(!rig.shared.is_poisoned());
}

/// Where a writer writes, apart from all others.
fn place(writer: u64) -> u64 {
    (writer + 1) * 10_000
}

/// A client may write what it likes: bytes that look like a frame of the log must not become one, so
/// nothing that clients see may be the identity in the frames.
#[test]
fn clients_do_not_learn_the_identity_of_the_log() {
    let rig = Rig::new(7, options(1, 1 << 40));
    let id = rig.shared.id;
    assert_ne!(id, rig.shared.identity);
    assert_eq!(id, rig.restart().shared.id, "handles stay good");
}

#[test]
fn what_a_failed_flush_left_in_the_cache_is_written_again_by_the_recovery() {
    seeds(60, |seed| {
        let rig = Rig::new(seed, options(1, 1 << 40));
        let id = rig.world.run_until(create(&rig.fs[0], "file")).unwrap();
        rig.world.run_until(put(&rig.fs[0], id, 0, &[1; 5000], Stability::Unstable)).unwrap();
        rig.disk.fail_nth_flush(1);
        assert_eq!(rig.world.run_until(sync(&rig.fs[0], id)).unwrap_err(), Status::Io);
        // The daemon dies and finds in the disk's cache what the disk never promised to keep.
        let rig = rig.kill();
        let fs = rig.fs[0].clone();
        let found = rig.world.run_until(all(&fs, id)).unwrap();
        drop(fs);
        let rig = rig.crash();
        let fs = rig.fs[0].clone();
        assert!(rig.world.run_until(all(&fs, id)).unwrap() == found, "what a recovery found is kept");
    });
}
