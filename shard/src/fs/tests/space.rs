//! A full filesystem, and how it gets its space back.

use super::model::payload;
use super::rig::{Rig, SEGMENT_BYTES, all, create, cut, get, options, put, remove, sync};
use super::seeds;
use crate::fs::write::Stability;
use crate::fs::{Fs, checkpoint};
use crate::ledger::command::SegmentInfo;
use crate::status::Status;
use cache::sim::Rng;
use futures_util::future::{Either, select};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

/// Bytes written at a time.
const STEP: usize = 256 * 1024;
/// Many times what some segments take to be written, and the cleaner to find them.
const LONG: Duration = Duration::from_secs(10);

#[test]
fn a_full_filesystem_refuses_data_and_takes_everything_that_makes_room() {
    seeds(8, |seed| {
        let cores = 1 + (seed % 2) as u16;
        let rig = Rig::new(seed, options(cores, 14 * SEGMENT_BYTES));
        rig.world.run_until(async {
            let fs = &rig.fs[0];
            let keep = create(fs, "keep").await.unwrap();
            put(fs, keep, 0, &payload(1, STEP), Stability::Unstable).await.unwrap();
            let id = create(fs, "full").await.unwrap();
            let mut written = 0_u64;
            let status = loop {
                match put(&rig.any_core(), id, written, &payload(2, STEP), Stability::Unstable).await {
                    Ok(done) => written += u64::from(done.bytes),
                    Err(status) => break status,
                }
            };
            assert_eq!(status, Status::NoSpace);
            assert!(written > 4 * SEGMENT_BYTES, "only {written} bytes fitted");
            sync(fs, id).await.unwrap();
            // What is left of this core's segment, and one asked for ahead, is filled first.
            let mut left = 0;
            let status = loop {
                match put(fs, id, written + left, &payload(2, 8 * STEP), Stability::FileSync).await {
                    Ok(done) => left += u64::from(done.bytes),
                    Err(status) => break status,
                }
                assert!(left < 2 * SEGMENT_BYTES, "{left} bytes");
            };
            assert_eq!(status, Status::NoSpace);
            cut(&rig.any_core(), keep, 10).await.unwrap();
            remove(fs, "full").await.unwrap();
            assert!(all(fs, keep).await.unwrap() == payload(1, 10));
            fs.world.sleep(Duration::from_secs(3)).await;
            let id = create(fs, "again").await.unwrap();
            for step in 0..written * 3 / 4 / STEP as u64 {
                let offset = step * STEP as u64;
                put(&rig.any_core(), id, offset, &payload(3, STEP), Stability::Unstable).await.unwrap();
            }
        });
        assert!(!rig.shared.is_poisoned());
    });
}

#[test]
fn a_truncated_file_gives_its_space_to_a_writer_that_waits() {
    let rig = Rig::new(1, options(1, 12 * SEGMENT_BYTES));
    rig.world.run_until(async {
        let fs = &rig.fs[0];
        let id = create(fs, "file").await.unwrap();
        for round in 0..6 {
            let mut written = 0;
            while let Ok(done) = put(fs, id, written, &payload(round, STEP), Stability::Unstable).await {
                written += u64::from(done.bytes);
            }
            assert!(written > 4 * SEGMENT_BYTES, "round {round}: only {written} bytes fitted");
            cut(fs, id, 0).await.unwrap();
            fs.world.sleep(Duration::from_millis(1100)).await;
        }
    });
}

/// What it overwrote is in use until its log is folded, which it would do a second later.
#[test]
fn a_core_gets_the_space_that_another_core_overwrote_a_moment_ago() {
    let rig = Rig::new(1, options(2, 9 * SEGMENT_BYTES));
    rig.world.run_until(async {
        let file = create(&rig.fs[1], "file").await.unwrap();
        // The reserve is 4 segments. These take 4 of the other 5, and ask for the last.
        for round in 0..15 * SEGMENT_BYTES / 4 / STEP as u64 {
            put(&rig.fs[1], file, 0, &payload(round, STEP), Stability::Unstable).await.unwrap();
        }
        let other = create(&rig.fs[0], "other").await.unwrap();
        put(&rig.fs[0], other, 0, &payload(0, STEP), Stability::Unstable).await.unwrap();
        assert!(rig.fs[0].world.monotonic() < checkpoint::INTERVAL, "too slow to show it");
    });
}

#[test]
fn overwriting_goes_on_for_ever_in_a_small_filesystem() {
    seeds(10, |seed| {
        let mut rng = Rng::new(seed);
        let cores = 1 + (seed % 2) as u16;
        let rig = Rig::new(seed, options(cores, 16 * SEGMENT_BYTES));
        // Scattered: what stays live lies in every segment, so it has to be moved.
        let blocks = 6 * SEGMENT_BYTES / 16_384;
        let (id, model) = rig.world.run_until(async {
            let id = create(&rig.fs[0], "file").await.unwrap();
            let mut model = vec![0_u64; blocks as usize];
            for op in 0..5 * blocks {
                let block = if op < blocks { op } else { rng.below(blocks) };
                let bytes = payload(op, 16_384);
                put(&rig.any_core(), id, block * 16_384, &bytes, Stability::Unstable).await.unwrap();
                model[block as usize] = op;
                if rng.one_in(200) {
                    sync(&rig.any_core(), id).await.unwrap();
                    rig.fs[0].world.sleep(Duration::from_millis(rng.below(700))).await;
                }
            }
            sync(&rig.any_core(), id).await.unwrap();
            (id, model)
        });
        let moved: u64 = rig.fs.iter().map(|fs| fs.stats.moved_bytes.get()).sum();
        assert!(moved > 0, "the cleaner had nothing to do");
        let check = |rig: &Rig| {
            let found = rig.world.run_until(all(&rig.any_core(), id)).unwrap();
            for (block, &op) in model.iter().enumerate() {
                assert!(found[block * 16_384..][..16_384] == payload(op, 16_384), "block {block}");
            }
        };
        check(&rig);
        let rig = rig.crash();
        check(&rig);
        assert_eq!(rig.fs.iter().map(|fs| fs.stats.corrupt.get()).sum::<u64>(), 0);
    });
}

/// Large records do not divide a small segment, small ones leave most of their block empty: neither is
/// garbage, and cleaning it would go round for ever.
#[test]
fn a_filesystem_full_of_live_data_says_so_and_does_not_clean_for_ever() {
    let rig = Rig::new(1, options(1, 14 * SEGMENT_BYTES));
    rig.world.run_until(async {
        let fs = &rig.fs[0];
        let mut files = 0;
        for bytes in [SEGMENT_BYTES as usize / 2 - 4096, 100] {
            let refused = loop {
                files += 1;
                let id = match create(fs, &format!("file {files}")).await {
                    Ok(id) => id,
                    Err(status) => break status,
                };
                match put(fs, id, 0, &payload(1, bytes), Stability::Unstable).await {
                    Ok(_) => {}
                    Err(status) => break status,
                }
            };
            assert_eq!(refused, Status::NoSpace);
        }
        let moved = fs.stats.moved_bytes.get();
        fs.world.sleep(Duration::from_secs(20)).await;
        assert_eq!(fs.stats.moved_bytes.get(), moved, "nobody wants space, and none can be had");
        for _ in 0..20 {
            let id = create(fs, "one more").await;
            if let Ok(id) = id {
                assert_eq!(
                    put(fs, id, 0, &payload(1, 1 << 16), Stability::FileSync).await.map(|_| ()),
                    Err(Status::NoSpace)
                );
                remove(fs, "one more").await.unwrap();
            }
            fs.world.sleep(Duration::from_secs(2)).await;
        }
        let wanted = fs.stats.moved_bytes.get() - moved;
        assert!(wanted < 4 * SEGMENT_BYTES, "{wanted} bytes were moved in vain");
    });
}

/// The emptiest of all, so that the cleaner takes it first.
#[test]
fn a_segment_that_cannot_be_read_does_not_keep_others_from_being_cleaned() {
    let rig = Rig::new(3, options(1, 14 * SEGMENT_BYTES));
    rig.world.run_until(async {
        let fs = &rig.fs[0];
        let (keep, gone) = (create(fs, "keep").await.unwrap(), create(fs, "gone").await.unwrap());
        // A quarter of the first segment, half of the others.
        let stays = |step: u64| step.is_multiple_of(if step * (STEP as u64) < SEGMENT_BYTES { 4 } else { 2 });
        let steps = 9 * SEGMENT_BYTES / STEP as u64;
        for step in 0..steps {
            let id = if stays(step) { keep } else { gone };
            put(fs, id, step * STEP as u64, &payload(step, STEP), Stability::Unstable).await.unwrap();
        }
        sync(fs, keep).await.unwrap();
        let first = segment_in(fs, 0).await.unwrap().id;
        rig.disk.fail_reads_of(0);
        remove(fs, "gone").await.unwrap();
        let more = create(fs, "more").await.unwrap();
        let writes = async {
            for step in 0..5 * SEGMENT_BYTES / STEP as u64 {
                put(fs, more, step * STEP as u64, &payload(step, STEP), Stability::Unstable).await.unwrap();
            }
        };
        let is_in_time = matches!(select(pin!(writes), fs.world.sleep(LONG)).await, Either::Left(_));
        assert!(is_in_time, "the cleaner goes round for ever");
        let bad = segment_in(fs, 0).await.unwrap();
        assert!(bad.id == first, "what cannot be read stays where it is");
        assert_eq!(fs.stats.unreadable_segments.get(), 1, "it is counted, and not tried again");
        let mut lost = 0;
        for step in (0..steps).filter(|&step| stays(step)) {
            match get(fs, keep, step * STEP as u64, STEP).await {
                Ok(bytes) => assert!(bytes == payload(step, STEP), "step {step}"),
                Err(status) => lost += u64::from(status == Status::Io) * STEP as u64,
            }
        }
        assert!(lost <= bad.live_bytes + STEP as u64, "{lost} bytes");
    });
    assert!(!rig.shared.is_poisoned());
}

async fn segment_in(fs: &Rc<Fs>, slot: u32) -> Option<SegmentInfo> {
    checkpoint::fold_all(fs).await.unwrap();
    let mut reader = fs.reader.borrow_mut();
    reader.refresh().unwrap();
    reader.segments().unwrap().into_iter().find(|info| info.slot == slot)
}
