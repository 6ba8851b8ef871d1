//! Seals of the log: damage at its end is known, and no seal comes to a segment that was given up.

use super::rig::{Rig, SEGMENT_BYTES, all, create, options, put};
use super::seeds;
use crate::fs::checkpoint;
use crate::fs::write::Stability;
use cache::extent::BLOCK_BYTES;
use cache::log::SEAL_PAUSE;
use cache::world::World;
use futures_util::FutureExt;
use std::time::Duration;

#[test]
fn damage_in_the_last_frame_stops_the_recovery_once_the_log_was_quiet() {
    for rest in [Duration::ZERO, 2 * SEAL_PAUSE] {
        let rig = Rig::new(6, options(1, 1 << 40));
        let id = rig.world.run_until(create(&rig.fs[0], "file")).unwrap();
        rig.world.run_until(async {
            for version in [1, 2] {
                put(&rig.fs[0], id, 0, &[version; 4096], Stability::FileSync).await.unwrap();
            }
            rig.world.sleep(rest).await;
        });
        // Two frames of a header and a block.
        rig.disk.damage(0, 3 * BLOCK_BYTES as u64 + 10);
        match (rig.try_crash(), rest.is_zero()) {
            (Ok(rig), true) => assert!(rig.world.run_until(all(&rig.fs[0], id)).unwrap() == [1; 4096], "cut off"),
            (Ok(_), false) => panic!("damage was taken for a write that was cut off"),
            (Err(error), is_cut_off) => assert!(!is_cut_off, "{error}"),
        }
    }
}

#[test]
fn segments_are_given_up_only_when_nothing_is_written_to_them_any_more() {
    seeds(100, |seed| {
        let rig = Rig::new(seed, options(1, 1 << 40));
        rig.world.run_until(async {
            let fs = &rig.fs[0];
            let id = create(fs, "file").await.unwrap();
            for round in 0..6 {
                for step in 0..SEGMENT_BYTES / STEP as u64 {
                    put(fs, id, step * STEP as u64, &[round; STEP], Stability::Unstable).await.unwrap();
                }
                checkpoint::fold_all(fs).await.unwrap();
                let (now, _) = fs.log.replay_point().unwrap();
                let settled = fs.log.settled_before(now).now_or_never();
                assert_eq!(settled, Some(Ok(())), "a seal may come to a slot that is somebody else's");
            }
        });
    });
}

/// Bytes written at a time.
const STEP: usize = 256 * 1024;
