//! The log of one core in one filesystem: every byte goes through it once.
//!
//! Callers: the verbs that write (reserve, then commit, in one breath), COMMIT and stable writes
//! (`flush_to`), the checkpoint (`replay_point`, `durable`). Records gather in the open frame, which
//! leaves at the end of the turn or when it is full. Flushes are shared: at most one is under way,
//! and all who wait share the next. A failed write or flush poisons the log for ever.
//!
//! Guarantees: what is durable is a prefix of what was committed, in order of [`Position`].

mod frames;
mod heads;
mod seal;
mod spares;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::rc::{Rc, Weak};
use std::task::Poll;
use std::time::Duration;

use futures_channel::oneshot;

use crate::block::{CHUNK_BLOCKS, CHUNK_BYTES};
use crate::disk::Stable;
use crate::extent::{BLOCK_BYTES, Place, SegmentId};
use crate::frame::{FRAME_BLOCKS_MAX, FRAME_RECORDS_MAX, Header, PAYLOAD_MAX, Record, RecordKind};
use crate::signal::Signal;
use crate::table::Volume;
use crate::world::{LocalFuture, Time, World};
use frames::{ClosedFrame, OpenFrame, Stage};
use heads::Heads;
use seal::{Left, Tail};
use spares::Spare;

pub use seal::SEAL_PAUSE;

/// How far a core's log is; later records have the same or a higher one. Means nothing on another core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// The log cannot take or keep anything any more, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poisoned;

/// Why nothing was reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No room now: wait for [`Log::room`], then ask again.
    Later,
    /// No segment is left for this urgency.
    NoSpace,
    /// A write or a flush failed.
    Poisoned,
}

/// Who may take a segment when few are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Data: refused when only the reserve is left.
    Data,
    /// Truncation, cleaning: may take from the reserve.
    Reserve,
}

/// A segment to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentGrant {
    /// Its name, never used before.
    pub id: SegmentId,
    /// The slot file that holds it.
    pub slot: u32,
    /// The slot file must be made first.
    pub fresh: bool,
}

/// Gives out segments: the ledger.
pub trait SegmentSource {
    /// A segment of the configured size; `NoSpace` or `Poisoned`, never `Later`. The slot is known
    /// to [`crate::table::Slots`] before this completes.
    fn open(&self, urgency: Urgency) -> LocalFuture<Result<SegmentGrant, Refused>>;
}

/// What a log is made with.
#[derive(Clone, Copy, Debug)]
pub struct LogConfig {
    /// The core, as frames name it.
    pub core: u16,
    /// Bytes of a segment; a multiple of a chunk, at least [`SEGMENT_BYTES_MIN`].
    pub segment_bytes: u64,
    /// Most bytes appended and not yet written.
    pub unwritten_bytes_max: usize,
}

/// What the caller knows of a record beside its payload.
#[derive(Clone, Copy, Debug)]
pub struct RecordFields {
    /// Inode number.
    pub ino: u64,
    /// Generation.
    pub generation: u32,
    /// Log sequence number, taken after the reservation.
    pub lsn: u64,
    /// File offset; Truncate: the new length.
    pub offset: u64,
    /// Becomes mtime and ctime.
    pub time: Time,
    /// What it does.
    pub kind: RecordKind,
    /// Set-id bits were cleared.
    pub clears_setid: bool,
    /// Move: version of the bytes moved; otherwise 0.
    pub aux: u64,
}

/// Plain counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogCounters {
    /// Records committed.
    pub records: u64,
    /// Payload bytes committed.
    pub payload_bytes: u64,
    /// Frames written, seals among them.
    pub frames: u64,
    /// Bytes written, headers and padding included.
    pub written_bytes: u64,
    /// Flushes done.
    pub flushes: u64,
    /// Waiters answered by flushes.
    pub flush_waiters: u64,
    /// Segments opened.
    pub segments: u64,
}

/// Smallest segment: a full frame and its chunk's rounding.
pub const SEGMENT_BYTES_MIN: u64 = 4 * 1024 * 1024;

/// A core's log. Its tasks end when it is dropped; what was not flushed may be lost then.
pub struct Log {
    inner: Rc<LogInner>,
}

/// Payload that is in the log's memory, not yet a record. Dropped without [`Reservation::commit`],
/// it is as if it had never been. Nothing else is asked of the log while it exists, and nothing is awaited.
pub struct Reservation<'a> {
    log: &'a LogInner,
    place: Place,
    position: Position,
    blocks: u32,
    bytes: u64,
}

struct LogInner {
    config: LogConfig,
    volume: Volume,
    world: Rc<dyn World>,
    source: Rc<dyn SegmentSource>,
    state: RefCell<State>,
    /// Rung when a frame has to leave at the end of the turn.
    appended: Signal,
    /// Rung when a flush may be due.
    flush_due: Signal,
    /// Rung when no frame is on its way any more.
    all_durable: Signal,
    poisoned: Cell<bool>,
    reserved: Cell<bool>,
    counters: Cell<LogCounters>,
}

#[derive(Default)]
struct State {
    segment: Option<Segment>,
    /// Older ones that have no seal yet.
    left: Vec<Left>,
    /// Segments to go on with: at most one of each urgency.
    spares: Vec<Spare>,
    /// A segment is being asked for.
    asking: bool,
    /// The last answer was that there is none.
    is_spent: bool,
    /// The chunks that the open frame and the next one write to, in order.
    heads: Heads,
    open: Option<OpenFrame>,
    /// Frames that are closed and not yet durable, in order, without gaps.
    frames: VecDeque<ClosedFrame>,
    /// Frames closed so far.
    closed: u64,
    /// Bytes of committed blocks that the disk does not have yet.
    unwritten: usize,
    last: Position,
    durable: Position,
    /// Somebody waits, or is about to, until everything up to here is durable.
    wanted: Position,
    flush_waiters: Vec<(Position, oneshot::Sender<Result<(), Poisoned>>)>,
    segment_waiters: Vec<(Urgency, oneshot::Sender<Result<(), Refused>>)>,
    write_waiters: Vec<oneshot::Sender<()>>,
    /// Those who wait until nothing is written any more in segments older than theirs.
    settled_waiters: Vec<(SegmentId, oneshot::Sender<Result<(), Poisoned>>)>,
}

/// The segment being written.
struct Segment {
    grant: SegmentGrant,
    urgency: Urgency,
    /// First block that no committed record and no header has taken.
    next_block: u32,
    /// Checksum of the last frame's header.
    previous: u32,
    /// Frames before this block are durable.
    durable_to: u32,
    tail: Tail,
    /// The spare was asked for ahead of need.
    asked_ahead: bool,
}

/// What an append lacks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lack {
    Writes,
    Memory,
    Segment,
}

impl Log {
    /// A log that asks `source` for its first segment when it is first used.
    pub fn new(config: LogConfig, volume: Volume, world: Rc<dyn World>, source: Rc<dyn SegmentSource>) -> Log {
        assert!(config.segment_bytes >= SEGMENT_BYTES_MIN);
        assert!(config.segment_bytes.is_multiple_of(CHUNK_BYTES as u64));
        assert!(config.segment_bytes / BLOCK_BYTES as u64 <= u64::from(u32::MAX / 2));
        let inner = Rc::new(LogInner {
            config,
            volume,
            world: world.clone(),
            source,
            state: RefCell::default(),
            appended: Signal::default(),
            flush_due: Signal::default(),
            all_durable: Signal::default(),
            poisoned: Cell::new(false),
            reserved: Cell::new(false),
            counters: Cell::default(),
        });
        world.spawn(Box::pin(write_turns(Rc::downgrade(&inner))));
        world.spawn(Box::pin(flush_groups(Rc::downgrade(&inner))));
        world.spawn(Box::pin(seal::seal_pauses(Rc::downgrade(&inner))));
        Log { inner }
    }

    /// Copies `payload` (at most [`PAYLOAD_MAX`] bytes; empty for Truncate) into the open frame. One
    /// payload is one extent: it never crosses a frame.
    pub fn reserve(&self, payload: &[u8], urgency: Urgency) -> Result<Reservation<'_>, Refused> {
        assert!(payload.len() <= PAYLOAD_MAX);
        assert!(!self.inner.reserved.get(), "one reservation at a time");
        if self.inner.poisoned.get() {
            return Err(Refused::Poisoned);
        }
        let blocks = payload.len().div_ceil(BLOCK_BYTES) as u32;
        let mut state = self.inner.state.borrow_mut();
        self.inner.make_room(&mut state, blocks, urgency).map_err(|_| Refused::Later)?;
        Ok(self.inner.copy(&mut state, payload, blocks))
    }

    /// How much of a payload of `bytes` the current segment has room for; all of it when that is
    /// nothing, as it goes into the next one. Who appends no more than this leaves no segment half full.
    pub fn fits(&self, bytes: usize) -> usize {
        let state = self.inner.state.borrow();
        let Some(segment) = &state.segment else { return bytes };
        let left = self.inner.frame_blocks().saturating_sub(segment.next_block + 1) as usize * BLOCK_BYTES;
        if left == 0 { bytes } else { bytes.min(left) }
    }

    /// Waits until `bytes` of payload are likely to find room.
    pub async fn room(&self, bytes: usize, urgency: Urgency) -> Result<(), Refused> {
        let blocks = bytes.min(PAYLOAD_MAX).div_ceil(BLOCK_BYTES) as u32;
        loop {
            if self.inner.poisoned.get() {
                return Err(Refused::Poisoned);
            }
            let lack = self.inner.make_room(&mut self.inner.state.borrow_mut(), blocks, urgency);
            match lack {
                Ok(()) => return Ok(()),
                Err(Lack::Writes) => self.inner.some_write().await,
                Err(Lack::Memory) => self.inner.world.sleep(MEMORY_PAUSE).await,
                Err(Lack::Segment) => self.inner.some_segment(urgency).await?,
            }
        }
    }

    /// When a payload of `bytes` has to wait because the disk is behind or a segment is on its way: that
    /// wait, which ends too when the log does. Waits that may be long, for space or memory, are not taken
    /// for one: [`Log::reserve`] tells.
    pub fn must_wait(&self, bytes: usize) -> Option<LocalFuture<()>> {
        if self.inner.poisoned.get() {
            return None;
        }
        let blocks = bytes.min(PAYLOAD_MAX).div_ceil(BLOCK_BYTES) as u32;
        let mut state = self.inner.state.borrow_mut();
        let is_short = match self.inner.make_room(&mut state, blocks, Urgency::Data) {
            Ok(()) | Err(Lack::Memory) => false,
            Err(Lack::Writes) => true,
            Err(Lack::Segment) => !state.is_spent,
        };
        let log = Log { inner: self.inner.clone() };
        // Whatever came of it, the caller asks again.
        let wait = async move {
            let _ = log.room(bytes, Urgency::Data).await;
        };
        is_short.then(|| Box::pin(wait) as LocalFuture<()>)
    }

    /// Waits until everything up to `position` is durable.
    pub async fn flush_to(&self, position: Position) -> Result<(), Poisoned> {
        if self.inner.poisoned.get() {
            return Err(Poisoned);
        }
        let receiver = {
            let mut state = self.inner.state.borrow_mut();
            assert!(position <= state.last, "a position comes from a commit");
            if position <= state.durable {
                return Ok(());
            }
            let (sender, receiver) = oneshot::channel();
            state.flush_waiters.push((position, sender));
            state.wanted = state.wanted.max(position);
            receiver
        };
        self.inner.flush_due.ring();
        receiver.await.unwrap_or(Err(Poisoned))
    }

    /// The position of the last record.
    pub fn position(&self) -> Position {
        self.inner.state.borrow().last
    }

    /// Everything up to here is durable.
    pub fn durable(&self) -> Position {
        self.inner.state.borrow().durable
    }

    /// Where a replay begins that needs none of the records committed before this call: the segment
    /// and the block. `None` while no segment was opened.
    pub fn replay_point(&self) -> Option<(SegmentId, u32)> {
        assert!(!self.inner.reserved.get(), "a reservation is in the open frame");
        let mut state = self.inner.state.borrow_mut();
        // Records of the open frame must not be behind the point: the frame ends here.
        self.inner.close_frame(&mut state);
        let segment = state.segment.as_ref()?;
        let block = state.open.as_ref().map_or(segment.next_block, |empty| empty.header_block);
        Some((segment.grant.id, block))
    }

    /// Waits until nothing is written any more in segments older than `segment`, whose frames are durable: a seal of
    /// theirs may still be under way. Only then may their slots be given to others.
    pub async fn settled_before(&self, segment: SegmentId) -> Result<(), Poisoned> {
        self.inner.settled_before(segment).await
    }

    /// Whether a write or a flush failed.
    pub fn is_poisoned(&self) -> bool {
        self.inner.poisoned.get()
    }

    /// What it counted.
    pub fn counters(&self) -> LogCounters {
        self.inner.counters.get()
    }
}

impl Reservation<'_> {
    /// Where the payload is; [`Place::Hole`] without payload.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The position that the record will have.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Makes it a record. `stable` tells whether somebody is about to wait until it is durable: the write
    /// of its frame is then durable when it ends, and needs no flush after it.
    pub fn commit(self, fields: RecordFields, stable: Stable) -> Position {
        assert!((fields.kind == RecordKind::Truncate) == (self.bytes == 0), "only Truncate has no payload");
        self.log.commit(&self, fields);
        if stable == Stable::Now {
            self.log.state.borrow_mut().wanted = self.position;
        }
        self.position
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.log.reserved.set(false);
    }
}

impl LogInner {
    /// Sees to it that a payload of `blocks` blocks fits into an open frame. Closes what is full.
    fn make_room(self: &Rc<Self>, state: &mut State, blocks: u32, urgency: Urgency) -> Result<(), Lack> {
        let bytes = (blocks as usize + 1) * BLOCK_BYTES;
        if state.unwritten > 0 && state.unwritten + bytes > self.config.unwritten_bytes_max {
            return Err(Lack::Writes);
        }
        if !self.segment_fits(state, urgency) {
            self.switch_segment(state, urgency)?;
        }
        let full = state.open.as_ref().is_some_and(|open| {
            open.records.len() == FRAME_RECORDS_MAX || open.blocks + blocks as usize > FRAME_BLOCKS_MAX
        });
        if full {
            self.close_frame(state);
        }
        let needed = blocks + u32::from(state.open.is_none());
        let end = state.segment.as_ref().map_or(u32::MAX, |segment| segment.next_block + needed);
        if end > self.frame_blocks() {
            self.switch_segment(state, urgency)?;
            return self.make_room(state, blocks, urgency);
        }
        self.supply_heads(state, end)?;
        if state.open.is_none() {
            let segment = state.segment.as_mut().expect("it was just measured");
            state.open = Some(OpenFrame::at(segment.next_block));
            segment.next_block += 1;
        }
        Ok(())
    }

    /// Whether the current segment may be written at this urgency.
    fn segment_fits(&self, state: &State, urgency: Urgency) -> bool {
        state.segment.as_ref().is_some_and(|segment| segment.urgency == Urgency::Data || urgency == Urgency::Reserve)
    }

    /// Goes on in a spare segment.
    fn switch_segment(self: &Rc<Self>, state: &mut State, urgency: Urgency) -> Result<(), Lack> {
        // An older one is given up with this, which it cannot be while zeros are on their way to it.
        let first_zeroing = state.spares.iter().filter(|spare| spare.zeroing).map(|spare| spare.grant.id).min();
        let is_held = |spare: &Spare| first_zeroing.is_some_and(|first| first <= spare.grant.id);
        let usable = |spare: &Spare| spare.serves(urgency) && spare.made && !is_held(spare);
        let usable = state.spares.iter().enumerate().filter(|(_, spare)| usable(spare));
        let (index, _) = usable.min_by_key(|(_, spare)| spare.grant.id).ok_or(Lack::Segment)?;
        self.leave_segment(state)?;
        let spare = state.spares.swap_remove(index);
        // Whoever folds the log up to this segment gives up all that were opened before it.
        state.spares.retain(|other| other.grant.id > spare.grant.id);
        state.open = None;
        state.heads.clear();
        state.segment = Some(Segment {
            grant: spare.grant,
            urgency: spare.urgency,
            next_block: 0,
            previous: 0,
            durable_to: 0,
            tail: Tail::Nothing,
            asked_ahead: false,
        });
        self.seal_left(state);
        self.count(|counters| counters.segments += 1);
        Ok(())
    }

    /// Has chunks for every block below `end`.
    fn supply_heads(&self, state: &mut State, end: u32) -> Result<(), Lack> {
        let segment = state.segment.as_ref().expect("a segment was chosen before its chunks");
        let first = segment.next_block / CHUNK_BLOCKS as u32;
        loop {
            let next = state.heads.next().unwrap_or(first);
            if next * CHUNK_BLOCKS as u32 >= end {
                return Ok(());
            }
            let blank = self.volume.cache().allocate().ok_or(Lack::Memory)?;
            let head = blank.head();
            self.volume.cache().adopt_head(self.volume.key(segment.grant.id, next), head.chunk());
            state.heads.push(next, head);
        }
    }

    /// Copies a payload behind the committed blocks of the open frame.
    fn copy(&self, state: &mut State, payload: &[u8], blocks: u32) -> Reservation<'_> {
        let State { segment: Some(segment), open: Some(open), heads, .. } = state else {
            unreachable!("room was made")
        };
        let committed = open.blocks;
        open.checksums.truncate(committed);
        for (count, data) in payload.chunks(BLOCK_BYTES).enumerate() {
            let (head, index) = heads.at(segment.next_block + count as u32);
            let checksum = match data.first_chunk::<BLOCK_BYTES>() {
                Some(whole) if payload.len() >= STREAM_BYTES_MIN => head.stream(index, whole),
                _ => head.write(index, data),
            };
            open.checksums.push(checksum);
        }
        let place = match blocks {
            0 => Place::Hole,
            _ => Place::Log { segment: segment.grant.id, frame: open.header_block, block: segment.next_block, skew: 0 },
        };
        self.reserved.set(true);
        Reservation { log: self, place, position: Position(state.closed + 1), blocks, bytes: payload.len() as u64 }
    }

    fn commit(&self, reservation: &Reservation<'_>, fields: RecordFields) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let State { segment: Some(segment), open: Some(open), heads, .. } = state else {
            unreachable!("a reservation keeps its frame open")
        };
        let first_block = if reservation.blocks == 0 { 0 } else { segment.next_block - open.header_block - 1 };
        if open.records.is_empty() {
            state.unwritten += BLOCK_BYTES;
        }
        open.records.push(Record {
            ino: fields.ino,
            generation: fields.generation,
            lsn: fields.lsn,
            offset: fields.offset,
            bytes: reservation.bytes,
            time: fields.time,
            kind: fields.kind,
            clears_setid: fields.clears_setid,
            skew: 0,
            first_block: first_block as u16,
            aux: fields.aux,
        });
        open.blocks += reservation.blocks as usize;
        let end = segment.next_block + reservation.blocks;
        heads.publish(segment.next_block, end);
        segment.next_block = end;
        state.unwritten += reservation.blocks as usize * BLOCK_BYTES;
        state.last = reservation.position;
        self.count(|counters| {
            counters.records += 1;
            counters.payload_bytes += reservation.bytes;
        });
        self.appended.ring();
    }

    /// Ends the open frame, if it has records: its header is written, and it waits for its write.
    fn close_frame(&self, state: &mut State) {
        if state.open.as_ref().is_none_or(|open| open.records.is_empty()) {
            return;
        }
        let (Some(mut open), Some(segment)) = (state.open.take(), state.segment.as_mut()) else {
            unreachable!("an open frame is in a segment")
        };
        open.checksums.truncate(open.blocks);
        let header = Header {
            segment: segment.grant.id,
            block: open.header_block,
            payload_blocks: open.checksums.len() as u32,
            lowest_lsn: open.records.iter().map(|record| record.lsn).min().unwrap_or(0),
            durable_to: segment.durable_to,
            core: self.config.core,
            previous: segment.previous,
            filesystem: self.volume.identity(),
        };
        let mut block = [0; BLOCK_BYTES];
        segment.previous = header.encode(&open.records, &open.checksums, &mut block);
        segment.tail = Tail::Frame;
        let (head, index) = state.heads.at(open.header_block);
        head.write_header(index, &block);
        state.frames.push_back(ClosedFrame {
            segment: segment.grant.id,
            slot: segment.grant.slot,
            header_block: open.header_block,
            end_block: segment.next_block,
            pieces: state.heads.pieces(open.header_block, segment.next_block),
            stage: Stage::Closed,
        });
        state.closed += 1;
        state.heads.let_go(segment.next_block);
    }

    /// Sends every closed frame on its way. The end of a turn.
    fn write_frames(self: &Rc<Self>) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        self.close_frame(state);
        let first = state.closed + 1 - state.frames.len() as u64;
        for (index, frame) in state.frames.iter_mut().enumerate() {
            if frame.stage != Stage::Closed {
                continue;
            }
            frame.stage = Stage::Writing;
            let position = Position(first + index as u64);
            let stable = if position <= state.wanted { Stable::Now } else { Stable::Later };
            let pieces = std::mem::take(&mut frame.pieces);
            let write = self.volume.disk().write(frame.slot, offset(frame.header_block), pieces, stable);
            let log = self.clone();
            let is_long = frame.bytes() >= LONG_WRITE_BYTES;
            self.world.spawn(Box::pin(async move {
                if is_long {
                    log.world.pause().await;
                }
                let result = write.await;
                log.written(position, stable, result);
            }));
        }
        self.ask_ahead(state);
    }

    /// A frame's write has ended.
    fn written(self: &Rc<Self>, position: Position, stable: Stable, result: io::Result<()>) {
        if result.is_err() {
            self.poison();
            return;
        }
        let mut state = self.state.borrow_mut();
        let first = state.closed + 1 - state.frames.len() as u64;
        let frame = &mut state.frames[(position.0 - first) as usize];
        frame.stage = if stable == Stable::Now { Stage::Durable } else { Stage::Written };
        let bytes = frame.bytes();
        state.unwritten -= bytes;
        self.count_frame(bytes);
        for waiter in state.write_waiters.drain(..) {
            // A waiter that went away needs no room.
            let _ = waiter.send(());
        }
        self.advance(&mut state);
        self.flush_due.ring();
    }

    /// Moves the durable position over the frames that are, and answers who waited for it.
    fn advance(self: &Rc<Self>, state: &mut State) {
        while state.frames.front().is_some_and(|frame| frame.stage == Stage::Durable) {
            let frame = state.frames.pop_front().expect("it was just seen");
            state.durable.0 += 1;
            if let Some(segment) = state.segment.as_mut().filter(|segment| segment.grant.id == frame.segment) {
                segment.durable_to = frame.end_block;
            }
        }
        if self.poisoned.get() {
            return;
        }
        self.seal_left(state);
        self.answer_settled(state);
        if state.frames.is_empty() {
            self.all_durable.ring();
        }
        let durable = state.durable;
        for (_, waiter) in state.flush_waiters.extract_if(.., |(position, _)| *position <= durable) {
            self.count(|counters| counters.flush_waiters += 1);
            let _ = waiter.send(Ok(()));
        }
    }

    /// The slots to flush, and up to which frame that makes everything durable; `None` when nobody
    /// would be helped by it now.
    fn flush_plan(&self) -> Option<(Vec<u32>, Position)> {
        let state = self.state.borrow();
        let mut reached = state.durable;
        let mut slots = Vec::new();
        for frame in state.frames.iter().take_while(|frame| frame.stage >= Stage::Written) {
            reached.0 += 1;
            if frame.stage == Stage::Written && slots.last() != Some(&frame.slot) {
                slots.push(frame.slot);
            }
        }
        let helps = state.flush_waiters.iter().any(|(position, _)| *position <= reached);
        (helps && !slots.is_empty()).then_some((slots, reached))
    }

    /// One flush for everyone who waits.
    async fn flush(self: &Rc<Self>, slots: Vec<u32>, reached: Position) {
        for slot in slots {
            if self.volume.disk().flush(slot).await.is_err() {
                self.poison();
                return;
            }
        }
        let mut state = self.state.borrow_mut();
        let count = reached.0.saturating_sub(state.durable.0) as usize;
        for frame in state.frames.iter_mut().take(count) {
            frame.stage = Stage::Durable;
        }
        self.count(|counters| counters.flushes += 1);
        self.advance(&mut state);
    }

    /// Ends the log for ever: everyone who waits is told.
    fn poison(&self) {
        self.poisoned.set(true);
        let mut state = self.state.borrow_mut();
        for (_, waiter) in state.flush_waiters.drain(..) {
            let _ = waiter.send(Err(Poisoned));
        }
        for (_, waiter) in state.segment_waiters.drain(..) {
            let _ = waiter.send(Err(Refused::Poisoned));
        }
        for waiter in state.write_waiters.drain(..) {
            let _ = waiter.send(());
        }
        for (_, waiter) in state.settled_waiters.drain(..) {
            let _ = waiter.send(Err(Poisoned));
        }
    }

    /// Waits for the end of some write.
    async fn some_write(&self) {
        let (sender, receiver) = oneshot::channel();
        self.state.borrow_mut().write_waiters.push(sender);
        // Whether it was a write or the end of the log: the caller looks again.
        let _ = receiver.await;
    }

    fn segment_blocks(&self) -> u32 {
        (self.config.segment_bytes / BLOCK_BYTES as u64) as u32
    }

    /// Blocks that frames with records may have: the last one is kept for a seal.
    fn frame_blocks(&self) -> u32 {
        self.segment_blocks() - 1
    }

    fn count_frame(&self, bytes: usize) {
        self.count(|counters| {
            counters.frames += 1;
            counters.written_bytes += bytes as u64;
        });
    }

    fn count(&self, change: impl FnOnce(&mut LogCounters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }
}

impl OpenFrame {
    fn at(header_block: u32) -> OpenFrame {
        OpenFrame { header_block, records: Vec::with_capacity(FRAME_RECORDS_MAX), blocks: 0, checksums: Vec::new() }
    }
}

/// Sends the frames of a turn once the tasks that were ready have run.
async fn write_turns(log: Weak<LogInner>) {
    loop {
        poll_fn(|cx| log.upgrade().map_or(Poll::Ready(()), |log| log.appended.poll_heard(cx))).await;
        let Some(log) = log.upgrade() else { return };
        log.write_frames();
    }
}

/// Runs one flush after the other, as long as somebody waits.
async fn flush_groups(log: Weak<LogInner>) {
    loop {
        poll_fn(|cx| log.upgrade().map_or(Poll::Ready(()), |log| log.flush_due.poll_heard(cx))).await;
        let Some(log) = log.upgrade() else { return };
        while !log.poisoned.get() {
            let Some((slots, reached)) = log.flush_plan() else { break };
            log.flush(slots, reached).await;
        }
    }
}

/// Where a block begins in its slot.
fn offset(block: u32) -> u64 {
    u64::from(block) * BLOCK_BYTES as u64
}

/// From this length on a frame's write waits until the event loop has come around: to hand it to the kernel takes as
/// long as some tens of small calls, and what made the frame may have taken as long already.
const LONG_WRITE_BYTES: usize = 256 * 1024;
/// From this length on a payload is copied past the processor's caches.
const STREAM_BYTES_MIN: usize = 64 * 1024;
/// Pause between two looks for memory.
const MEMORY_PAUSE: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests;
