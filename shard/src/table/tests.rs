use super::*;
use crate::inode::Kind;
use crate::live::Stamp;
use cache::extent::{Place, SegmentId};
use cache::world::Time;

pub(crate) fn inode(ino: u64, change: u64) -> Inode {
    let time = Time::default();
    Inode {
        ino: Ino(ino),
        generation: 1,
        kind: Kind::File,
        mode: 0o644,
        uid: 1,
        gid: 1,
        nlink: 1,
        rdev: (0, 0),
        size: 0,
        used: 0,
        atime: time,
        mtime: time,
        ctime: time,
        btime: time,
        change,
        folded_lsn: 0,
        parent: Ino(0),
        entries: 0,
        verifier: None,
    }
}

fn write(table: &LockTable, ino: u64, lsn: u64) {
    table.with(Ino(ino), |stripe| {
        let (live, inode) = stripe.entry(Ino(ino)).expect("known").live_mut();
        let place = Place::Log { segment: SegmentId(1), frame: 0, block: 1, skew: 0 };
        let now = Time { secs: lsn as i64, nanos: 0 };
        live.write(inode, lsn * 10, 10, place, Stamp { lsn, now, core: 0, position: lsn, clears_setid: false });
    });
}

/// Inodes that share a stripe with inode 1.
fn neighbours(count: usize) -> Vec<u64> {
    (2..).filter(|&ino| stripe_index(Ino(ino)) == stripe_index(Ino(1))).take(count).collect()
}

#[test]
fn a_snapshot_older_than_the_newest_publication_is_refused() {
    let table = LockTable::new(1 << 16);
    let neighbour = neighbours(1)[0];
    table.publish(5, &[Publish::Inode(inode(neighbour, 50))]);
    assert_eq!(table.learn(4, &inode(1, 10)), None, "it may have been in that publication's batch");
    assert_eq!(table.learn(5, &inode(1, 11)).map(|inode| inode.change), Some(11));
    assert_eq!(table.learn(9, &inode(1, 99)).map(|inode| inode.change), Some(11), "what is known stays");
}

#[test]
fn an_inode_that_is_gone_does_not_come_back_from_an_old_snapshot() {
    let table = LockTable::new(1 << 16);
    table.publish(1, &[Publish::Inode(inode(1, 10))]);
    write(&table, 1, 11);
    table.publish(2, &[Publish::Gone(Ino(1))]);
    assert_eq!(table.attr(Ino(1)), None);
    assert_eq!(table.learn(1, &inode(1, 10)), None);
    assert_eq!(table.count(), (0, 0), "its live data is gone with it");
}

#[test]
fn the_logs_view_joins_the_ledgers_record() {
    let table = LockTable::new(1 << 16);
    table.publish(1, &[Publish::Inode(inode(1, 10))]);
    write(&table, 1, 11);
    let seen = table.attr(Ino(1)).unwrap();
    assert_eq!((seen.size, seen.change, seen.mtime.secs), (120, 11, 11));
    table.publish(2, &[Publish::Inode(Inode { mode: 0o600, ..inode(1, 12) })]);
    let seen = table.attr(Ino(1)).unwrap();
    assert_eq!((seen.size, seen.change, seen.mode), (120, 12, 0o600), "the later change wins, the size is the log's");
    assert_eq!(table.overlaid(&inode(1, 10)).change, 11);
    assert_eq!(table.overlaid(&inode(2, 10)), inode(2, 10), "one without live data is as it is");
}

#[test]
fn a_fold_takes_what_it_covers_and_leaves_what_came_later() {
    let table = LockTable::new(1 << 16);
    table.publish(1, &[Publish::Inode(inode(1, 10))]);
    write(&table, 1, 11);
    write(&table, 1, 12);
    let folded = Inode { size: 120, folded_lsn: 11, ..inode(1, 11) };
    table.publish(2, &[Publish::Folded { inode: folded, lsn: 11 }]);
    table.with(Ino(1), |stripe| {
        let entry = stripe.entry(Ino(1)).unwrap();
        let offsets: Vec<u64> = entry.live().unwrap().extents().iter().map(|(offset, _)| offset).collect();
        assert_eq!(offsets, [120]);
        assert_eq!((entry.inode().folded_lsn, entry.attr().size), (11, 130));
    });
    let folded = Inode { size: 130, folded_lsn: 12, ..inode(1, 12) };
    table.publish(3, &[Publish::Folded { inode: folded, lsn: 12 }]);
    assert_eq!(table.count(), (1, 0), "nothing is live any more");
    assert_eq!(table.attr(Ino(1)).unwrap(), folded);
}

#[test]
fn eviction_spares_live_data_and_what_was_used() {
    let table = LockTable::new(0);
    let inos = neighbours(40);
    table.publish(1, &[Publish::Inode(inode(1, 10))]);
    write(&table, 1, 11);
    for ino in &inos {
        table.publish(1, &[Publish::Inode(inode(*ino, 1))]);
        assert!(table.attr(Ino(inos[0])).is_some() || *ino != inos[1], "used a moment ago");
    }
    let (entries, live) = table.count();
    assert!(entries <= ENTRIES_MIN + 1, "{entries} entries");
    assert_eq!(live, 1);
    assert_eq!(table.attr(Ino(1)).unwrap().size, 120);
    assert!(table.attr(Ino(*inos.last().unwrap())).is_some());
}

#[test]
fn a_stripe_full_of_live_data_takes_one_more() {
    let table = LockTable::new(0);
    let inos = neighbours(20);
    for (index, ino) in inos.iter().enumerate() {
        table.publish(1, &[Publish::Inode(inode(*ino, 1))]);
        write(&table, *ino, 100 + index as u64);
    }
    assert_eq!(table.count(), (20, 20));
}

#[test]
fn inodes_spread_over_the_stripes() {
    let mut counts = vec![0; STRIPES];
    for ino in 0..STRIPES as u64 * 8 {
        counts[stripe_index(Ino(ino))] += 1;
    }
    assert!(counts.iter().all(|&count| (4..=12).contains(&count)), "consecutive numbers meet in few stripes");
}

fn extent(bytes: u64) -> Extent {
    let place = Place::Log { segment: SegmentId(1), frame: 0, block: 1, skew: 0 };
    Extent { bytes, place, version: 3, lsn: 0 }
}

fn kept(table: &LockTable, ino: u64) -> usize {
    table.with(Ino(ino), |stripe| stripe.entry(Ino(ino)).map_or(0, |entry| entry.kept().len()))
}

#[test]
fn extents_are_kept_for_the_state_that_they_were_read_in_and_go_with_it() {
    let table = LockTable::new(1 << 16);
    table.keep(Ino(1), 0, &[(0, extent(10))]);
    assert_eq!(kept(&table, 1), 0, "the inode is not known");
    table.publish(1, &[Publish::Inode(Inode { folded_lsn: 7, ..inode(1, 10) })]);
    table.keep(Ino(1), 8, &[(0, extent(10))]);
    table.keep(Ino(1), 6, &[(0, extent(10))]);
    assert_eq!(kept(&table, 1), 0, "the snapshot is newer or older than the record");
    table.keep(Ino(1), 7, &[(0, extent(10)), (10, extent(5))]);
    table.keep(Ino(1), 7, &[(10, extent(5)), (15, extent(5))]);
    assert_eq!(kept(&table, 1), 3);
    table.publish(2, &[Publish::Inode(Inode { folded_lsn: 7, mode: 0o600, ..inode(1, 11) })]);
    assert_eq!(kept(&table, 1), 3, "a change of other attributes moves no bytes");
    write(&table, 1, 12);
    table.publish(3, &[Publish::Folded { inode: Inode { folded_lsn: 12, ..inode(1, 12) }, lsn: 12 }]);
    assert_eq!(kept(&table, 1), 0, "a fold does");
}

#[test]
fn extents_are_kept_up_to_a_limit_and_the_newest_find_room() {
    let inodes = STRIPES as u64;
    let table = LockTable::new(STRIPES);
    let limit = STRIPES * EXTENTS_PER_INODE;
    for ino in 0..inodes {
        table.publish(1, &[Publish::Inode(inode(ino, 10))]);
        let extents: Vec<_> = (0..7).map(|index| (index * 10, extent(10))).collect();
        table.keep(Ino(ino), 0, &extents);
        assert!(table.kept.load(Ordering::Relaxed) <= limit);
    }
    let all: usize = (0..inodes).map(|ino| kept(&table, ino)).sum();
    assert!(all <= limit && all > limit / 2, "{all} of {limit}");
    assert_eq!(kept(&table, inodes - 1), 7);
    let many: Vec<_> = (0..limit as u64 + 1).map(|index| (index * 10, extent(10))).collect();
    table.keep(Ino(1), 0, &many);
    assert!(kept(&table, 1) <= 7, "more than all of them are not kept at all");
}

#[test]
fn a_version_stays_while_one_looks_and_grows_with_every_change() {
    let table = LockTable::new(1 << 16);
    let version = || table.version(Ino(1));
    table.publish(1, &[Publish::Inode(inode(1, 10))]);
    let made = version();
    let seen = table.as_of_now(Ino(1)).unwrap();
    assert_eq!((seen.version, seen.inode.change), (made, 10));
    table.attr(Ino(1));
    table.overlaid(&inode(1, 10));
    table.count();
    assert_eq!(version(), made, "nobody changed anything");
    write(&table, 1, 11);
    let written = version();
    assert!(written > made, "a record of the log");
    table.publish(2, &[Publish::Folded { inode: Inode { folded_lsn: 11, ..inode(1, 11) }, lsn: 11 }]);
    let folded = version();
    assert!(folded > written, "a fold");
    table.publish(3, &[Publish::Gone(Ino(1))]);
    assert!(version() > folded, "a removal");
    let gone = version();
    assert!(table.learn(3, &inode(1, 12)).is_some());
    assert!(version() > gone, "a snapshot that may be newer than what a core remembers");
}

#[test]
fn a_core_never_sees_an_older_state_than_another_one_was_told() {
    let table = LockTable::new(1 << 16);
    table.publish(1, &[Publish::Inode(inode(1, 0))]);
    let told = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for change in 1..20_000 {
                table.publish(change, &[Publish::Inode(inode(1, change))]);
                told.store(change, Ordering::SeqCst);
            }
        });
        let mut remembered = table.as_of_now(Ino(1)).unwrap();
        while told.load(Ordering::SeqCst) < 19_999 {
            let least = told.load(Ordering::SeqCst);
            if table.version(Ino(1)) != remembered.version {
                remembered = table.as_of_now(Ino(1)).unwrap();
            }
            assert!(remembered.inode.change >= least, "{} after {least} was told", remembered.inode.change);
        }
    });
}
