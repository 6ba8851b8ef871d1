//! What happens when space or the disk fails.

use super::rig::*;
use crate::cred::Cred;
use crate::inode::LogAttr;
use crate::ledger::apply::Poisoned;
use crate::ledger::command::*;
use crate::status::Status;
use cache::extent::{Extent, Place};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn open(urgency: Urgency) -> Job {
    Job::OpenSegment { core: 0, urgency }
}

#[test]
fn without_space_names_are_refused_and_removal_works() {
    let mut rig = Rig::new();
    let root = rig.root();
    let file = rig.file(root, "f", 0o644).id();
    rig.file(root, "g", 0o644);
    rig.mkdir(root, "d", 0o755);
    let mut rig = rig.crash_with(|options| options.reserve_bytes = u64::MAX);
    for verb in [
        create(root, "x", CreateHow::Guarded, 0),
        mkdir(root, "x", 0),
        symlink(root, "x", b"y"),
        link(file, root, "x"),
        rename(root, "f", root, "x"),
    ] {
        assert_eq!(rig.refused(Cred::root(), verb.clone()), Status::NoSpace, "{verb:?}");
    }
    assert!(matches!(rig.job(open(Urgency::Reserve)), Done::Refused(Status::NoSpace)));
    rig.ok(create(root, "f", CreateHow::Unchecked, 0));
    rig.ok(rename(root, "f", root, "g"));
    rig.chmod(file, 0o600);
    rig.ok(remove(root, "g"));
    rig.ok(rmdir(root, "d"));
    assert!(matches!(rig.job(Job::Sweep), Done::Swept { more: false }));
}

#[test]
fn a_capacity_is_kept_and_its_reserve_is_for_the_urgent() {
    let mut rig = Rig::with(|options| {
        options.segment_bytes = 1 << 20;
        options.capacity_bytes = 4 << 20;
        options.reserve_segments = 1;
    });
    let mut slots = Vec::new();
    while let Done::Segment { info, fresh } = rig.job(open(Urgency::Data)) {
        assert!(fresh);
        slots.push(info.slot);
    }
    assert_eq!(slots, [0, 1, 2]);
    assert!(matches!(rig.job(open(Urgency::Reserve)), Done::Segment { .. }));
    assert!(matches!(rig.job(open(Urgency::Reserve)), Done::Refused(Status::NoSpace)));

    // The three of data are folded without leaving anything: their slots come back.
    let newest = rig.reader.segments().unwrap().last().unwrap().id;
    let from = Some(ReplayFrom { core: 0, segment: newest, block: 0 });
    assert!(matches!(rig.job(Job::Fold { files: Vec::new(), from }), Done::Folded));
    assert_eq!(rig.reader.segments().unwrap().len(), 1);
    let mut rig = rig.crash();
    let Done::Segment { info, fresh } = rig.job(open(Urgency::Data)) else { panic!("there is room") };
    assert_eq!((info.slot, fresh), (0, false));
    assert!(info.id > newest, "a segment's name is never given out again");
    assert_eq!(rig.shared.slots.slot(info.id), Some(0));
    assert_eq!(rig.shared.slots.slot(newest), Some(3), "known again after a restart");
}

#[test]
fn a_failed_commit_is_an_error_for_all_and_for_ever() {
    let fault = Arc::new(AtomicBool::new(false));
    let mut rig = Rig::with(|options| options.fault = Some(fault.clone()));
    let root = rig.root();
    rig.file(root, "before", 0o644);
    let verifier = rig.shared.verifier();
    fault.store(true, Ordering::Relaxed);
    let jobs = ["a", "b"].map(|at| rig.job_of(Cred::root(), None, create(root, at, CreateHow::Guarded, 0o644)));
    assert_eq!(rig.ledger.apply(&jobs).unwrap_err(), Poisoned);
    assert!(rig.shared.is_poisoned());
    assert_ne!(rig.shared.verifier(), verifier, "unstable data may be gone");
    fault.store(false, Ordering::Relaxed);
    assert_eq!(rig.ledger.apply(&jobs).unwrap_err(), Poisoned, "never a later success");
    assert_eq!(rig.ledger.apply(&[Job::Sweep]).unwrap_err(), Poisoned);
    let names: Vec<_> = rig.list(root).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["before"], "reading goes on");
    let mut rig = rig.crash_with(|options| options.fault = None);
    assert_eq!(rig.list(root).len(), 1);
    rig.file(root, "a", 0o644);
}

#[test]
fn log_sequence_numbers_never_go_back() {
    let mut rig = Rig::new();
    let root = rig.root();
    let change = rig.file(root, "f", 0o644).change;
    let given_out = rig.shared.lsn();
    assert!(given_out > change);
    let mut rig = rig.crash();
    assert!(rig.shared.lsn() > given_out);
    assert!(rig.file(root, "g", 0o644).change > given_out);
}

#[test]
fn inode_numbers_are_never_given_out_again() {
    let mut rig = Rig::new();
    let root = rig.root();
    let first = rig.file(root, "f", 0o644);
    rig.ok(remove(root, "f"));
    let mut rig = rig.crash();
    assert!(rig.file(root, "f", 0o644).ino > first.ino);
}

#[test]
fn a_fold_that_would_leave_a_gap_is_refused() {
    let mut rig = Rig::new();
    let root = rig.root();
    let file = rig.file(root, "f", 0o644);
    let Done::Segment { info, .. } = rig.job(open(Urgency::Data)) else { panic!("there is room") };
    let place = |block| Place::Log { segment: info.id, frame: 0, block, skew: 0 };
    let extent = |bytes, block| Extent { bytes, place: place(block), version: 9, lsn: 9 };
    let fold = |lsn, size, extents: &[(u64, Extent)]| Fold {
        id: file.id(),
        lsn,
        cut: None,
        extents: extents.to_vec(),
        attr: LogAttr { size, mtime: file.mtime, ctime: file.ctime, change: file.change + lsn, clears_setid: false },
    };
    let unknown = Place::Log { segment: cache::extent::SegmentId(99), frame: 0, block: 1, skew: 0 };
    for bad in [
        fold(1, 20, &[(0, extent(10, 1))]),
        fold(1, 5, &[(0, extent(10, 1))]),
        fold(1, 20, &[(10, extent(10, 1))]),
        fold(1, 20, &[(0, extent(10, 1)), (5, extent(15, 1))]),
        fold(1, 20, &[(10, extent(10, 1)), (0, extent(10, 1))]),
        fold(1, 10, &[(0, Extent { place: unknown, ..extent(10, 1) })]),
        fold(1, u64::MAX, &[(u64::MAX, extent(10, 1))]),
    ] {
        let what = format!("{bad:?}");
        assert!(matches!(rig.fold(bad), Done::Refused(Status::ServerFault)), "{what}");
    }
    assert_eq!(rig.attr(file.id()), file);
    assert!(matches!(rig.fold(fold(1, 20, &[(0, extent(10, 1)), (10, extent(10, 2))])), Done::Folded));
    assert_eq!(rig.attr(file.id()).size, 20);
    assert!(matches!(rig.fold(fold(1, 99, &[])), Done::Folded), "it was done before, whatever it says");
    assert_eq!(rig.attr(file.id()).size, 20);
}
