//! The lock table: the one place where cores meet under a lock. Striped by inode; an inode's entry
//! holds what is live about it. Pure; does no I/O.
//!
//! Callers: every verb, the checkpoint, the ledger ([`LockTable::overlaid`], [`LockTable::publish`]).
//! A critical section is a short pure function: it never waits, never logs, never does I/O, and
//! never enters a second stripe.
//!
//! An entry is either as the ledger last published it or as a reader found it in a snapshot. A
//! snapshot that is older than the stripe's newest publication is refused, so an entry never goes
//! back in time.
//!
//! An entry also keeps extents that READ found in the ledger. They cannot be stale: a file's extents
//! in the ledger change by a fold only (a sweep takes them when the inode is gone for good), and each
//! fold gives the inode's record another `folded_lsn`. So what a snapshot has whose record says n is what
//! every snapshot has whose record says n. Extents are kept only where the entry's record says the same
//! as the snapshot they were read from, and go, under the same stripe, when it says something else.
//!
//! Each stripe has a version, which grows with whatever may change what one of its inodes looks like. A core that
//! remembers an inode together with its version ([`AsOf`]) knows without the lock whether it is still as of now.

#![expect(clippy::disallowed_types, reason = "this is where cores meet")]

use crate::inode::{Ino, Inode};
use crate::ledger::command::Publish;
use crate::live::Live;
use cache::extent::{Extent, ExtentMap};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Stripes of a table.
pub const STRIPES: usize = 4096;

/// Inodes by number, each in its stripe.
pub struct LockTable {
    stripes: Box<[Padded]>,
    entries_max: usize,
    /// The sum of all stripes' [`Stripe::kept`], and the most that it may be.
    kept: AtomicUsize,
    kept_max: usize,
    /// The stripe whose extents go next when there are too many.
    hand: AtomicUsize,
}

/// Two cache lines a stripe: cores that work in neighbours do not disturb each other, and those that only
/// look at the version not even in the same one.
#[repr(align(128))]
struct Padded {
    stripe: Mutex<Stripe>,
    version: Version,
}

/// Written under the stripe's lock, before it is given back; read by anyone.
#[derive(Default)]
#[repr(align(64))]
struct Version(AtomicU64);

/// An inode, and the version of its stripe that says so.
#[derive(Clone, Copy, Debug)]
pub struct AsOf {
    /// What a client sees.
    pub inode: Inode,
    /// While [`LockTable::version`] answers this, it is as of now.
    pub version: u64,
}

/// One stripe, locked.
#[derive(Default)]
pub struct Stripe {
    published: u64,
    entries: HashMap<Ino, Entry, BuildHasherDefault<InoHasher>>,
    /// Extents kept since they were last forgotten: at least as many as there are.
    kept: usize,
}

/// What is known of one inode.
#[derive(Debug)]
pub struct Entry {
    inode: Inode,
    live: Option<Box<Live>>,
    /// Some of the ledger's extents, as of `inode.folded_lsn`, unclipped.
    kept: ExtentMap,
    /// Used since the last eviction looked at it.
    used: bool,
}

impl LockTable {
    /// A table that keeps about `inodes_max` inodes; those with live data are kept beyond that.
    pub fn new(inodes_max: usize) -> LockTable {
        LockTable {
            stripes: (0..STRIPES).map(|_| Padded { stripe: Mutex::default(), version: Version::default() }).collect(),
            entries_max: (inodes_max / STRIPES).max(ENTRIES_MIN),
            kept: AtomicUsize::new(0),
            kept_max: inodes_max.saturating_mul(EXTENTS_PER_INODE),
            hand: AtomicUsize::new(0),
        }
    }

    /// Runs `section` under the stripe of `ino`. It may change what is there, so the version grows.
    pub fn with<T>(&self, ino: Ino, section: impl FnOnce(&mut Stripe) -> T) -> T {
        let Padded { stripe, version } = &self.stripes[stripe_index(ino)];
        let mut stripe = stripe.lock();
        let done = section(&mut stripe);
        version.0.store(version.0.load(Ordering::Relaxed) + 1, Ordering::Release);
        done
    }

    /// Runs `section` on the entry of `ino`, when it is known here, under its stripe.
    pub fn look<T>(&self, ino: Ino, section: impl FnOnce(&Entry) -> T) -> Option<T> {
        self.stripes[stripe_index(ino)].stripe.lock().entry(ino).map(|entry| section(entry))
    }

    /// The version of the stripe of `ino`.
    pub fn version(&self, ino: Ino) -> u64 {
        self.stripes[stripe_index(ino)].version.0.load(Ordering::Acquire)
    }

    /// The inode as of now, when it is known here.
    pub fn attr(&self, ino: Ino) -> Option<Inode> {
        self.as_of_now(ino).map(|seen| seen.inode)
    }

    /// The same, to be remembered.
    pub fn as_of_now(&self, ino: Ino) -> Option<AsOf> {
        let Padded { stripe, version } = &self.stripes[stripe_index(ino)];
        let mut stripe = stripe.lock();
        let inode = stripe.entry(ino)?.attr();
        Some(AsOf { inode, version: version.0.load(Ordering::Relaxed) })
    }

    /// Takes an inode that was read from the snapshot of `commit` and answers it as of now; `None`
    /// when the snapshot is too old: refresh and read again.
    pub fn learn(&self, commit: u64, inode: &Inode) -> Option<Inode> {
        self.with(inode.ino, |stripe| stripe.learn(commit, inode, self.entries_max).map(|entry| entry.attr()))
    }

    /// `inode`, which is the ledger's record, joined with what the log says of it: what a client
    /// sees. A ledger that keeps the result as its record keeps its own `size` and `used`: the
    /// extents that go with the log's are not folded yet.
    pub fn overlaid(&self, inode: &Inode) -> Inode {
        match self.stripes[stripe_index(inode.ino)].stripe.lock().entries.get(&inode.ino) {
            Some(Entry { live: Some(live), .. }) => live.join(*inode),
            _ => *inode,
        }
    }

    /// Takes extents of `ino`, in order, from a snapshot of the ledger whose record of the inode says
    /// `folded_lsn`. They are not kept where the record is another one by now.
    pub fn keep(&self, ino: Ino, folded_lsn: u64, extents: &[(u64, Extent)]) {
        for _ in 0..FORGET_STRIPES {
            if self.kept.load(Ordering::Relaxed) + extents.len() <= self.kept_max {
                break;
            }
            let place = self.hand.fetch_add(1, Ordering::Relaxed) % STRIPES;
            let mut stripe = self.stripes[place].stripe.lock();
            self.kept.fetch_sub(stripe.forget(), Ordering::Relaxed);
        }
        if self.kept.load(Ordering::Relaxed) + extents.len() > self.kept_max {
            return;
        }
        let mut stripe = self.stripes[stripe_index(ino)].stripe.lock();
        self.kept.fetch_add(stripe.keep(ino, folded_lsn, extents), Ordering::Relaxed);
    }

    /// Takes what a commit of the ledger changed. Called by the ledger's owner alone, in the order
    /// of the commits, after the commit's number was stored.
    pub fn publish(&self, commit: u64, changes: &[Publish]) {
        for change in changes {
            match change {
                Publish::Inode(inode) => self.with(inode.ino, |stripe| {
                    stripe.published = commit;
                    stripe.set(inode, self.entries_max);
                }),
                Publish::Gone(ino) => self.with(*ino, |stripe| {
                    stripe.published = commit;
                    stripe.entries.remove(ino);
                }),
                Publish::Folded { inode, lsn } => self.with(inode.ino, |stripe| {
                    stripe.published = commit;
                    stripe.set(inode, self.entries_max).folded(*lsn);
                }),
            }
        }
    }

    /// Inodes in the table, and those with live data.
    pub fn count(&self) -> (usize, usize) {
        self.stripes.iter().fold((0, 0), |(entries, live), stripe| {
            let stripe = stripe.stripe.lock();
            let with_live = stripe.entries.values().filter(|entry| entry.live.is_some()).count();
            (entries + stripe.entries.len(), live + with_live)
        })
    }
}

impl Stripe {
    /// The entry of `ino`, when it is known here.
    pub fn entry(&mut self, ino: Ino) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(&ino)?;
        entry.used = true;
        Some(entry)
    }

    fn learn(&mut self, commit: u64, inode: &Inode, entries_max: usize) -> Option<&mut Entry> {
        if self.entries.contains_key(&inode.ino) {
            return self.entry(inode.ino);
        }
        if commit < self.published {
            return None;
        }
        Some(self.set(inode, entries_max))
    }

    fn set(&mut self, inode: &Inode, entries_max: usize) -> &mut Entry {
        if self.entries.len() >= entries_max && !self.entries.contains_key(&inode.ino) {
            self.evict(entries_max);
        }
        let entry = self.entries.entry(inode.ino).or_insert_with(|| Entry::new(inode));
        if entry.inode.folded_lsn != inode.folded_lsn {
            entry.kept = ExtentMap::new();
        }
        entry.inode = *inode;
        entry
    }

    /// Answers how many are kept.
    fn keep(&mut self, ino: Ino, folded_lsn: u64, extents: &[(u64, Extent)]) -> usize {
        let Some(entry) = self.entries.get_mut(&ino).filter(|entry| entry.inode.folded_lsn == folded_lsn) else {
            return 0;
        };
        extents.iter().for_each(|(offset, extent)| entry.kept.insert(*offset, *extent));
        self.kept += extents.len();
        extents.len()
    }

    /// Drops the extents of all entries, and answers as how many they were counted.
    fn forget(&mut self) -> usize {
        if self.kept > 0 {
            self.entries.values_mut().for_each(|entry| entry.kept = ExtentMap::new());
        }
        std::mem::take(&mut self.kept)
    }

    /// Makes room for one: clean entries not used since the last time go first.
    fn evict(&mut self, entries_max: usize) {
        self.entries.retain(|_, entry| entry.live.is_some() || std::mem::take(&mut entry.used));
        if self.entries.len() >= entries_max {
            self.entries.retain(|_, entry| entry.live.is_some());
        }
    }
}

impl Entry {
    fn new(inode: &Inode) -> Entry {
        Entry { inode: *inode, live: None, kept: ExtentMap::new(), used: true }
    }

    /// The inode as of now: the ledger's record joined with the log's view.
    pub fn attr(&self) -> Inode {
        match &self.live {
            Some(live) => live.join(self.inode),
            None => self.inode,
        }
    }

    /// The ledger's record, as of its last publication.
    pub fn inode(&self) -> &Inode {
        &self.inode
    }

    /// What the log says, if it says anything.
    pub fn live(&self) -> Option<&Live> {
        self.live.as_deref()
    }

    /// Some of the ledger's extents: those that go with [`Entry::inode`], and with [`Entry::live`] as
    /// the ledger's do.
    pub fn kept(&self) -> &ExtentMap {
        &self.kept
    }

    /// What the log says, and the ledger's record, for a new record of the log.
    pub fn live_mut(&mut self) -> (&mut Live, &Inode) {
        let Entry { inode, live, .. } = self;
        (live.get_or_insert_with(|| Box::new(Live::new(inode))), inode)
    }

    fn folded(&mut self, lsn: u64) {
        if self.live.as_mut().is_some_and(|live| live.folded(lsn)) {
            self.live = None;
        }
    }
}

/// Numbers of inodes are ours and count upwards: one multiplication spreads them.
#[derive(Default)]
struct InoHasher(u64);

impl Hasher for InoHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0 ^ value).wrapping_mul(SPREAD).rotate_left(29);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

fn stripe_index(ino: Ino) -> usize {
    (ino.0.wrapping_mul(SPREAD) >> (u64::BITS - STRIPES.trailing_zeros())) as usize
}

/// An odd number whose bits are mixed well: 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
/// Entries that a stripe may always keep.
const ENTRIES_MIN: usize = 4;
/// Extents of the ledger that are kept, for each inode that is: at most some 80 bytes each.
const EXTENTS_PER_INODE: usize = 2;
/// Stripes whose extents go to make room for those of one read; where that is too little, they are not kept.
const FORGET_STRIPES: usize = 16;

const _: () = assert!(STRIPES.is_power_of_two());

#[cfg(test)]
pub(crate) mod tests;
