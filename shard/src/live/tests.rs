use super::*;
use crate::inode::{Ino, Kind};
use cache::extent::SegmentId;
use cache::sim::Rng;

/// A file as bytes: which write made each (0 is a hole), and which of its bytes it is.
type Bytes = Vec<(u64, u64)>;

/// The ledger's side of a file, and the folds that are on their way to it.
struct Ledger {
    inode: Inode,
    extents: ExtentMap,
    folds: Vec<Captured>,
}

#[test]
fn live_and_ledger_together_are_the_file_whatever_is_folded_when() {
    for seed in 0..3000 {
        let mut rng = Rng::new(seed);
        let mut model = Bytes::new();
        let mut ledger = Ledger { inode: inode(), extents: ExtentMap::new(), folds: Vec::new() };
        let mut live: Option<Live> = None;
        for lsn in 1..60 {
            step(&mut rng, lsn, &mut model, &mut ledger, &mut live);
            assert_eq!(seen(&ledger, live.as_ref()), model, "seed {seed}, step {lsn}");
        }
    }
}

fn step(rng: &mut Rng, lsn: u64, model: &mut Bytes, ledger: &mut Ledger, live: &mut Option<Live>) {
    let inode = ledger.inode;
    match rng.below(7) {
        0..=2 => {
            let (offset, bytes) = (rng.below(60), 1 + rng.below(30));
            let live = live.get_or_insert_with(|| Live::new(&inode));
            live.write(&inode, offset, bytes, place(lsn), stamp(lsn));
            let end = (offset + bytes) as usize;
            model.resize(model.len().max(end), (0, 0));
            (0..bytes).for_each(|index| model[(offset + index) as usize] = (lsn, index));
        }
        3 => {
            let size = rng.below(80);
            live.get_or_insert_with(|| Live::new(&inode)).truncate(&inode, size, stamp(lsn));
            model.resize(size as usize, (0, 0));
        }
        4 => ledger.folds.extend(live.as_mut().map(Live::capture)),
        // A cleaner's move: the ledger's extent goes elsewhere, its bytes stay what they are.
        5 => {
            let extents: Vec<_> = ledger.extents.iter().filter(|(_, extent)| extent.place != Place::Hole).collect();
            if extents.is_empty() {
                return;
            }
            let (offset, extent) = extents[rng.below(extents.len() as u64) as usize];
            let shows = live.as_ref().is_none_or(|live| live.shows_ledger(offset, extent.bytes));
            if shows {
                let live = live.get_or_insert_with(|| Live::new(&inode));
                live.moved(offset, Extent { lsn, ..extent }, stamp(lsn));
            }
        }
        // Folds of two cores arrive in any order.
        _ if ledger.folds.is_empty() => {}
        _ => {
            let fold = ledger.folds.swap_remove(rng.below(ledger.folds.len() as u64) as usize);
            if fold.lsn > ledger.inode.folded_lsn {
                ledger.fold(&fold);
                if live.as_mut().is_some_and(|live| live.folded(fold.lsn)) {
                    *live = None;
                }
            }
        }
    }
}

impl Ledger {
    fn fold(&mut self, fold: &Captured) {
        if let Some(cut) = fold.cut {
            self.extents.cut(cut);
        }
        for &(offset, extent) in &fold.extents {
            self.extents.insert(offset, Extent { lsn: 0, ..extent });
        }
        self.inode.overlay(&fold.attr);
        self.inode.folded_lsn = fold.lsn;
        assert_eq!(tiled(&self.extents), Some(self.inode.size), "the ledger's extents tile the file");
    }
}

/// What a reader finds; panics at a gap.
fn seen(ledger: &Ledger, live: Option<&Live>) -> Bytes {
    let size = live.map_or(ledger.inode.size, |live| live.attr().size);
    let below = live.map_or(u64::MAX, Live::ledger_below);
    let byte = |at: u64| {
        let newest = live.and_then(|live| live.extents().range(at, at + 1).next());
        let older = || ledger.extents.range(at, at + 1).next().filter(|_| at < below);
        let (_, extent) = newest.or_else(older).unwrap_or_else(|| panic!("nothing at {at} of {size}"));
        match extent.place {
            Place::Hole => (0, 0),
            Place::Log { segment, block, skew, .. } => (segment.0, u64::from(block) * 4096 + u64::from(skew)),
        }
    };
    (0..size).map(byte).collect()
}

fn tiled(extents: &ExtentMap) -> Option<u64> {
    extents.iter().try_fold(0, |at, (offset, extent)| (offset == at).then_some(at + extent.bytes))
}

/// A place that says which write it is and, by its block and skew, which byte.
fn place(lsn: u64) -> Place {
    Place::Log { segment: SegmentId(lsn), frame: 0, block: 0, skew: 0 }
}

fn stamp(lsn: u64) -> Stamp {
    let now = Time { secs: lsn as i64, nanos: 0 };
    Stamp { lsn, now, core: (lsn % 2) as u16, position: lsn, clears_setid: false }
}

fn inode() -> Inode {
    let time = Time::default();
    Inode {
        ino: Ino(7),
        generation: 1,
        kind: Kind::File,
        mode: 0o6755,
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
        change: 0,
        folded_lsn: 0,
        parent: Ino(0),
        entries: 0,
        verifier: None,
    }
}

#[test]
fn many_truncations_between_two_folds_leave_one_cut() {
    let inode = Inode { size: 1000, ..inode() };
    let mut live = Live::new(&inode);
    for lsn in 1..100 {
        live.truncate(&inode, lsn * 7 % 13, stamp(lsn * 2));
        live.write(&inode, 500, 10, place(lsn), stamp(lsn * 2 + 1));
    }
    assert_eq!(live.cuts.len(), 1);
    live.capture();
    live.truncate(&inode, 400, stamp(1000));
    assert_eq!((live.cuts.len(), live.ledger_below()), (2, 0), "the fold under way takes the first one only");
    live.folded(199);
    assert_eq!(live.ledger_below(), 400);
}

#[test]
fn a_clearing_of_set_id_bits_does_not_outlive_a_later_chmod() {
    let mut inode = inode();
    let mut live = Live::new(&inode);
    live.write(&inode, 0, 1, place(1), Stamp { clears_setid: true, ..stamp(1) });
    assert_eq!(live.join(inode).mode, 0o0755);
    live.write(&inode, 0, 1, place(2), stamp(2));
    assert_eq!(live.join(inode).mode, 0o0755, "root's write does not bring them back");
    inode.change = 3;
    assert_eq!(live.join(inode).mode, 0o6755, "chmod sets them again");
    live.write(&inode, 0, 1, place(4), stamp(4));
    assert_eq!(live.join(inode).mode, 0o6755, "root's write leaves them");
}

#[test]
fn used_counts_what_is_not_folded() {
    let inode = inode();
    let mut live = Live::new(&inode);
    live.write(&inode, 0, 10_000, place(1), stamp(1));
    assert_eq!(live.join(inode).used, 10_000);
    live.write(&inode, 0, 10_000, place(2), stamp(2));
    assert_eq!(live.join(inode).used, 12_288, "never more than the file is long");
    live.truncate(&inode, 1 << 40, stamp(3));
    assert_eq!(live.join(inode).used, 20_000, "a hole uses nothing");
}

#[test]
fn each_core_has_its_last_position() {
    let inode = inode();
    let mut live = Live::new(&inode);
    for lsn in 1..=4 {
        live.write(&inode, 0, 1, place(lsn), stamp(lsn));
    }
    assert_eq!(live.last(), [(1, 3), (0, 4)]);
    assert_eq!(live.capture().last, [(1, 3), (0, 4)]);
}
