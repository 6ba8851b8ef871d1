//! A disk that crashes, in memory. It takes the promises of [`Disk`] literally: whatever no finished flush covers may be
//! lost, torn at 512 bytes, or kept, in any order.
//!
//! Callers: as of [`super`].

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use super::{Rng, SimWorld};
use crate::block::{Blank, Piece};
use crate::disk::{Disk, Stable};
use crate::extent::BLOCK_BYTES;
use crate::world::{LocalFuture, World};

/// What a disk tears at.
const SECTOR_BYTES: usize = 512;

/// A disk in memory that keeps only what it promised. Clones are the same disk: other cores' views.
#[derive(Clone)]
pub struct SimDisk {
    platter: Rc<RefCell<Platter>>,
    world: SimWorld,
}

struct Platter {
    rng: Rng,
    slots: BTreeMap<u32, SimSlot>,
    capacity_bytes: u64,
    write_fault: Fault,
    read_fault: Fault,
    flush_fault: Fault,
    writes: u64,
    reads: u64,
    flushes: u64,
    write_count: u64,
    completion_count: u64,
    delay_us_max: u64,
    /// No read of this slot succeeds.
    unreadable: Option<u32>,
    /// The number of a read, and what becomes of its bytes.
    distortion: Option<(u64, Distortion)>,
    watch: Option<Watch>,
    /// Flushes do nothing.
    lies: bool,
}

/// Told of each effect, right after it.
pub type Watch = Rc<dyn Fn(Effect)>;

/// What a disk did. At any of them the power may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A slot file was made.
    Created,
    /// A write was begun.
    WriteBegun,
    /// A write was finished; its owner does not know yet.
    WriteFinished,
    /// A flush was begun.
    FlushBegun,
    /// A flush was finished; its owner does not know yet.
    FlushFinished,
}

type Distortion = Box<dyn FnOnce(&mut [u8])>;

/// Counts down to an operation that fails.
#[derive(Default)]
struct Fault {
    left: u64,
}

#[derive(Clone, Default)]
struct SimSlot {
    bytes: u64,
    /// What a read sees.
    seen: Blocks,
    /// What a crash leaves for sure.
    durable: Blocks,
    /// When each block became durable: the number of the completion. An older write that a cache
    /// still holds never comes back over it.
    durable_since: BTreeMap<u64, u64>,
    /// Writes that no finished flush covers, by number.
    pending: BTreeMap<u64, Pending>,
}

type Block = Rc<[u8; BLOCK_BYTES]>;
type Blocks = BTreeMap<u64, Block>;

#[derive(Clone)]
struct Pending {
    /// Number of the first block.
    first: u64,
    blocks: Vec<Block>,
    /// Number of its completion.
    finished: Option<u64>,
    /// A flush of it failed: no later flush makes it durable.
    stuck: bool,
}

impl Fault {
    fn strikes(&mut self) -> bool {
        let strikes = self.left == 1;
        self.left = self.left.saturating_sub(1);
        strikes
    }

    fn check(strikes: bool) -> io::Result<()> {
        if strikes { Err(io::Error::other("the simulated disk fails")) } else { Ok(()) }
    }
}

impl SimDisk {
    /// An empty disk whose operations take time in `world`.
    pub fn new(world: &SimWorld, seed: u64) -> SimDisk {
        let platter = Platter {
            rng: Rng::new(seed),
            slots: BTreeMap::new(),
            capacity_bytes: u64::MAX,
            write_fault: Fault::default(),
            read_fault: Fault::default(),
            flush_fault: Fault::default(),
            writes: 0,
            reads: 0,
            flushes: 0,
            write_count: 0,
            completion_count: 0,
            delay_us_max: 500,
            unreadable: None,
            distortion: None,
            watch: None,
            lies: false,
        };
        SimDisk { platter: Rc::new(RefCell::new(platter)), world: world.clone() }
    }

    /// As the trait object that the code under test takes.
    pub fn disk(&self) -> Rc<dyn Disk> {
        Rc::new(self.clone())
    }

    /// Cuts the power: the disk as it is found afterwards, in the world of the next start. This one
    /// should not be used any more.
    pub fn crash(&self, world: &SimWorld) -> SimDisk {
        let seed = self.platter.borrow().rng.clone().bits();
        self.crash_with(world, seed)
    }

    /// The same, where `seed` decides what is left: one moment has many crashes.
    pub fn crash_with(&self, world: &SimWorld, seed: u64) -> SimDisk {
        let platter = self.platter.borrow();
        let mut rng = Rng::new(seed);
        let survivor = SimDisk::new(world, rng.bits());
        for (&number, slot) in &platter.slots {
            let mut blocks = slot.durable.clone();
            let mut pending: Vec<&Pending> = slot.pending.values().collect();
            while !pending.is_empty() {
                let write = pending.swap_remove(rng.below(pending.len() as u64) as usize);
                apply_torn(&mut blocks, write, &slot.durable_since, &mut rng);
            }
            let slot = SimSlot { bytes: slot.bytes, seen: blocks.clone(), durable: blocks, ..SimSlot::default() };
            survivor.platter.borrow_mut().slots.insert(number, slot);
        }
        survivor.platter.borrow_mut().capacity_bytes = platter.capacity_bytes;
        survivor
    }

    /// Kills who uses the disk, not the disk: what it finished stays in its cache, which a later power cut may
    /// still lose. Of the writes under way each block is there or not.
    pub fn kill(&self, world: &SimWorld, seed: u64) -> SimDisk {
        let platter = self.platter.borrow();
        let mut rng = Rng::new(seed);
        let survivor = SimDisk::new(world, rng.bits());
        let mut next = survivor.platter.borrow_mut();
        next.write_count = platter.write_count;
        next.completion_count = platter.completion_count;
        next.capacity_bytes = platter.capacity_bytes;
        for (&number, slot) in &platter.slots {
            let mut slot = slot.clone();
            for (number, write) in std::mem::take(&mut slot.pending) {
                if write.finished.is_some() {
                    slot.pending.insert(number, write);
                    continue;
                }
                let fate = rng.below(3);
                for (index, block) in write.blocks.into_iter().enumerate() {
                    if fate == 0 || (fate == 1 && rng.one_in(2)) {
                        next.write_count += 1;
                        next.completion_count += 1;
                        let first = write.first + index as u64;
                        let finished = Some(next.completion_count);
                        slot.seen.insert(first, block.clone());
                        let part = Pending { first, blocks: vec![block], finished, stuck: write.stuck };
                        slot.pending.insert(next.write_count, part);
                    }
                }
            }
            next.slots.insert(number, slot);
        }
        drop(next);
        survivor
    }

    /// Tells `watch` of each effect from now on.
    pub fn watch(&self, watch: Watch) {
        self.platter.borrow_mut().watch = Some(watch);
    }

    /// From now on nothing becomes durable, whatever a flush says: what a test of a test needs.
    pub fn lie(&self) {
        self.platter.borrow_mut().lies = true;
    }

    /// Tells of no effect any more.
    pub fn unwatch(&self) {
        self.platter.borrow_mut().watch = None;
    }

    fn tell(&self, effect: Effect) {
        let watch = self.platter.borrow().watch.clone();
        if let Some(watch) = watch {
            watch(effect);
        }
    }

    /// The `count`th write from now on fails (1 is the next); some of it may be on the disk.
    pub fn fail_nth_write(&self, count: u64) {
        self.platter.borrow_mut().write_fault.left = count;
    }

    /// The `count`th read from now on fails.
    pub fn fail_nth_read(&self, count: u64) {
        self.platter.borrow_mut().read_fault.left = count;
    }

    /// From now on no read of this slot succeeds.
    pub fn fail_reads_of(&self, slot: u32) {
        self.platter.borrow_mut().unreadable = Some(slot);
    }

    /// The `count`th flush from now on fails; what it would have covered is never durable for sure.
    /// A write that is stable at once counts as a flush too.
    pub fn fail_nth_flush(&self, count: u64) {
        self.platter.borrow_mut().flush_fault.left = count;
    }

    /// Bytes of all slot files together, beyond which none is made.
    pub fn set_capacity(&self, bytes: u64) {
        self.platter.borrow_mut().capacity_bytes = bytes;
    }

    /// Inverts the bits of a byte, everywhere it is kept.
    pub fn damage(&self, slot: u32, offset: u64) {
        let mut platter = self.platter.borrow_mut();
        let Some(slot) = platter.slots.get_mut(&slot) else { return };
        let (block, within) = (offset / BLOCK_BYTES as u64, offset as usize % BLOCK_BYTES);
        for blocks in [&mut slot.seen, &mut slot.durable] {
            Rc::make_mut(blocks.entry(block).or_insert_with(zero_block))[within] ^= 0xff;
        }
    }

    /// Slots and numbers of the blocks that were ever written.
    pub fn written(&self) -> Vec<(u32, u64)> {
        let platter = self.platter.borrow();
        platter.slots.iter().flat_map(|(&number, slot)| slot.seen.keys().map(move |&block| (number, block))).collect()
    }

    /// Length of a slot file in bytes, and the content of a block as a read sees it; zeros where none was written.
    pub fn peek(&self, slot: u32, block: u64) -> (u64, [u8; BLOCK_BYTES]) {
        let platter = self.platter.borrow();
        let Some(slot) = platter.slots.get(&slot) else { return (0, [0; BLOCK_BYTES]) };
        (slot.bytes, slot.seen.get(&block).map_or([0; BLOCK_BYTES], |bytes| **bytes))
    }

    /// Puts other content into a block, everywhere it is kept, in a slot file of this length.
    pub fn poke(&self, slot: u32, slot_bytes: u64, block: u64, content: &[u8; BLOCK_BYTES]) {
        let mut platter = self.platter.borrow_mut();
        let slot = platter.slots.entry(slot).or_default();
        slot.bytes = slot_bytes;
        for blocks in [&mut slot.seen, &mut slot.durable] {
            blocks.insert(block, Rc::new(*content));
        }
    }

    /// The `count`th read from now on gives what `distort` makes of it; the disk keeps what it has.
    pub fn distort_nth_read(&self, count: u64, distort: impl FnOnce(&mut [u8]) + 'static) {
        let mut platter = self.platter.borrow_mut();
        let count = platter.reads + count;
        platter.distortion = Some((count, Box::new(distort)));
    }

    /// Writes asked for so far.
    pub fn writes(&self) -> u64 {
        self.platter.borrow().writes
    }

    /// Chunks read so far.
    pub fn reads(&self) -> u64 {
        self.platter.borrow().reads
    }

    /// Flushes asked for so far.
    pub fn flushes(&self) -> u64 {
        self.platter.borrow().flushes
    }

    fn write_blocks(&self, slot: u32, offset: u64, blocks: Vec<Block>, stable: Stable) -> LocalFuture<io::Result<()>> {
        let disk = self.clone();
        Box::pin(async move {
            let first = offset / BLOCK_BYTES as u64;
            let (number, fails) = disk.platter.borrow_mut().begin_write(slot, first, blocks, stable)?;
            disk.tell(Effect::WriteBegun);
            disk.delay().await;
            Fault::check(fails)?;
            disk.platter.borrow_mut().finish_write(slot, number, stable);
            disk.tell(Effect::WriteFinished);
            Ok(())
        })
    }

    fn delay(&self) -> LocalFuture<()> {
        let mut platter = self.platter.borrow_mut();
        let delay_us_max = platter.delay_us_max;
        let delay = Duration::from_micros(1 + platter.rng.below(delay_us_max));
        self.world.sleep(delay)
    }
}

impl Disk for SimDisk {
    fn create(&self, slot: u32, bytes: u64) -> LocalFuture<io::Result<()>> {
        let disk = self.clone();
        Box::pin(async move {
            disk.delay().await;
            let mut platter = disk.platter.borrow_mut();
            let others: u64 = platter.slots.iter().filter(|(number, _)| **number != slot).map(|(_, s)| s.bytes).sum();
            if others.saturating_add(bytes) > platter.capacity_bytes {
                return Err(io::ErrorKind::StorageFull.into());
            }
            platter.slots.entry(slot).or_default().bytes = bytes;
            drop(platter);
            disk.tell(Effect::Created);
            Ok(())
        })
    }

    fn zero(&self, slot: u32, range: Range<u64>) -> LocalFuture<io::Result<()>> {
        assert!(range.start.is_multiple_of(BLOCK_BYTES as u64) && range.end.is_multiple_of(BLOCK_BYTES as u64));
        let count = (range.end - range.start) as usize / BLOCK_BYTES;
        self.write_blocks(slot, range.start, vec![zero_block(); count], Stable::Later)
    }

    fn write(&self, slot: u32, offset: u64, pieces: Vec<Piece>, stable: Stable) -> LocalFuture<io::Result<()>> {
        let total: usize = pieces.iter().map(Piece::len).sum();
        assert!(offset.is_multiple_of(BLOCK_BYTES as u64) && total.is_multiple_of(BLOCK_BYTES));
        let blocks = pieces.iter().flat_map(|piece| piece.as_slice().as_chunks::<BLOCK_BYTES>().0);
        let written = self.write_blocks(slot, offset, blocks.map(|block| Rc::new(*block)).collect(), stable);
        Box::pin(async move {
            let result = written.await;
            // As the kernel does, it holds the memory until the write has ended: what is not yet on the
            // disk must not be evicted.
            drop(pieces);
            result
        })
    }

    fn read(&self, slot: u32, offset: u64, into: Blank) -> LocalFuture<io::Result<Blank>> {
        assert!(offset.is_multiple_of(BLOCK_BYTES as u64));
        let disk = self.clone();
        Box::pin(async move {
            let mut blank = into;
            disk.delay().await;
            let mut platter = disk.platter.borrow_mut();
            platter.reads += 1;
            let fails = platter.read_fault.strikes() || platter.unreadable == Some(slot);
            Fault::check(fails)?;
            let slot = platter.slots.get(&slot).ok_or(io::ErrorKind::NotFound)?;
            for (index, block) in blank.bytes_mut().chunks_exact_mut(BLOCK_BYTES).enumerate() {
                match slot.seen.get(&(offset / BLOCK_BYTES as u64 + index as u64)) {
                    Some(bytes) => block.copy_from_slice(&bytes[..]),
                    None => block.fill(0),
                }
            }
            let reads = platter.reads;
            if let Some((_, distort)) = platter.distortion.take_if(|(count, _)| *count == reads) {
                distort(blank.bytes_mut());
            }
            Ok(blank)
        })
    }

    fn flush(&self, slot: u32) -> LocalFuture<io::Result<()>> {
        let disk = self.clone();
        Box::pin(async move {
            let (covered, fails) = disk.platter.borrow_mut().begin_flush(slot);
            disk.tell(Effect::FlushBegun);
            disk.delay().await;
            disk.platter.borrow_mut().finish_flush(slot, &covered, fails);
            disk.tell(Effect::FlushFinished);
            Fault::check(fails)
        })
    }

    fn close(&self, _slot: u32) {}
}

impl Platter {
    fn begin_write(&mut self, slot: u32, first: u64, blocks: Vec<Block>, stable: Stable) -> io::Result<(u64, bool)> {
        self.writes += 1;
        self.write_count += 1;
        let fails = self.write_fault.strikes() || (stable == Stable::Now && self.flush_fault.strikes());
        let slot = self.slots.get_mut(&slot).ok_or(io::ErrorKind::NotFound)?;
        slot.pending.insert(self.write_count, Pending { first, blocks, finished: None, stuck: fails });
        Ok((self.write_count, fails))
    }

    fn finish_write(&mut self, slot: u32, number: u64, stable: Stable) {
        let Some(slot) = self.slots.get_mut(&slot) else { return };
        let Some(write) = slot.pending.get_mut(&number) else { return };
        self.completion_count += 1;
        write.finished = Some(self.completion_count);
        apply(&mut slot.seen, write);
        if stable == Stable::Now
            && !self.lies
            && let Some(write) = slot.pending.remove(&number)
        {
            slot.make_durable(&write);
        }
    }

    fn begin_flush(&mut self, slot: u32) -> (Vec<u64>, bool) {
        self.flushes += 1;
        let fails = self.flush_fault.strikes();
        let Some(slot) = self.slots.get(&slot) else { return (Vec::new(), true) };
        let covered = slot.pending.iter().filter(|(_, write)| write.finished.is_some() && !write.stuck);
        (covered.map(|(&number, _)| number).collect(), fails)
    }

    fn finish_flush(&mut self, slot: u32, covered: &[u64], fails: bool) {
        if self.lies {
            return;
        }
        let Some(slot) = self.slots.get_mut(&slot) else { return };
        for number in covered {
            if fails {
                if let Some(write) = slot.pending.get_mut(number) {
                    write.stuck = true;
                }
            } else if let Some(write) = slot.pending.remove(number) {
                slot.make_durable(&write);
            }
        }
    }
}

impl SimSlot {
    fn make_durable(&mut self, write: &Pending) {
        for (number, block) in write.numbered() {
            if write.is_overtaken(number, &self.durable_since) {
                continue;
            }
            self.durable.insert(number, block.clone());
            let since = self.durable_since.entry(number).or_default();
            *since = write.finished.unwrap_or(0).max(*since);
        }
    }
}

impl Pending {
    fn numbered(&self) -> impl Iterator<Item = (u64, &Block)> {
        (self.first..).zip(&self.blocks)
    }

    /// A write that was finished later has made the block durable.
    fn is_overtaken(&self, block: u64, durable_since: &BTreeMap<u64, u64>) -> bool {
        let since = durable_since.get(&block).copied().unwrap_or(0);
        self.finished.is_some_and(|finished| finished < since)
    }
}

thread_local! {
    static ZERO_BLOCK: Block = Rc::new([0; BLOCK_BYTES]);
}

fn zero_block() -> Block {
    ZERO_BLOCK.with(Rc::clone)
}

fn apply(blocks: &mut Blocks, write: &Pending) {
    blocks.extend(write.numbered().map(|(number, block)| (number, block.clone())));
}

/// What a crash leaves of a write: all, nothing, or any of its sectors.
fn apply_torn(blocks: &mut Blocks, write: &Pending, durable_since: &BTreeMap<u64, u64>, rng: &mut Rng) {
    let fate = rng.below(4);
    for (number, block) in write.numbered() {
        if write.is_overtaken(number, durable_since) {
            continue;
        }
        if fate == 0 {
            blocks.insert(number, block.clone());
            continue;
        }
        for at in (0..BLOCK_BYTES).step_by(SECTOR_BYTES) {
            if fate > 1 && rng.one_in(fate) {
                let kept = Rc::make_mut(blocks.entry(number).or_insert_with(zero_block));
                kept[at..at + SECTOR_BYTES].copy_from_slice(&block[at..at + SECTOR_BYTES]);
            }
        }
    }
}
