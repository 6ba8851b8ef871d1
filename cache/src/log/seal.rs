//! Seals: a frame without records says that the one before it was durable. Damage to the last frame is then known for
//! what it is, and not taken for a write that was cut off.
//!
//! Caller: the log. A segment is sealed when it was left and its last frame is durable, and when nothing came for a
//! moment after its last frame was durable. Nobody waits for a seal who asked for anything else; an append that comes
//! while a seal is written is durable after it. Who gives up segments waits for their seals
//! ([`super::Log::settled_before`]).

use super::{ClosedFrame, Lack, LogInner, Poisoned, Position, Stage, State, offset};
use crate::block::{Blank, Piece};
use crate::disk::Stable;
use crate::extent::{BLOCK_BYTES, SegmentId};
use crate::frame::Header;
use futures_channel::oneshot;
use std::future::poll_fn;
use std::io;
use std::rc::{Rc, Weak};
use std::task::Poll;
use std::time::Duration;

/// What a segment ends with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    Nothing,
    Frame,
    Seal,
}

/// A segment that takes no more frames and has no seal yet.
pub(super) struct Left {
    id: SegmentId,
    slot: u32,
    /// Where the seal goes.
    block: u32,
    /// Position of the last frame.
    last: Position,
    /// Taken when its write is begun.
    seal: Option<Piece>,
}

impl LogInner {
    /// The segment takes no more frames. Its seal is made now, so that no lack of memory is in its way later.
    pub(super) fn leave_segment(&self, state: &mut State) -> Result<(), Lack> {
        self.close_frame(state);
        if state.segment.as_ref().is_none_or(|segment| segment.tail != Tail::Frame) {
            return Ok(());
        }
        let blank = self.volume.cache().allocate().ok_or(Lack::Memory)?;
        let (block, seal) = self.make_seal(state, blank);
        let Some(segment) = &state.segment else { unreachable!("it was just looked at") };
        let (id, slot, last) = (segment.grant.id, segment.grant.slot, Position(state.closed));
        state.left.push(Left { id, slot, block, last, seal: Some(seal) });
        Ok(())
    }

    /// Writes the seals of segments that were left, where everything before is durable.
    pub(super) fn seal_left(self: &Rc<Self>, state: &mut State) {
        let durable = state.durable;
        for left in state.left.iter_mut().filter(|left| left.last <= durable) {
            let Some(seal) = left.seal.take() else { continue };
            let write = self.volume.disk().write(left.slot, offset(left.block), vec![seal], Stable::Now);
            let (log, id) = (self.clone(), left.id);
            self.world.spawn(Box::pin(async move {
                let result = write.await;
                log.left_is_sealed(id, result);
            }));
        }
    }

    fn left_is_sealed(&self, id: SegmentId, result: io::Result<()>) {
        if result.is_err() {
            self.poison();
            return;
        }
        let mut state = self.state.borrow_mut();
        state.left.retain(|left| left.id != id);
        self.count_frame(BLOCK_BYTES);
        self.answer_settled(&mut state);
    }

    /// Answers those who wait until nothing is written any more in older segments.
    pub(super) fn answer_settled(&self, state: &mut State) {
        if state.settled_waiters.is_empty() {
            return;
        }
        let oldest = state.oldest_written();
        for (_, waiter) in state.settled_waiters.extract_if(.., |(segment, _)| oldest >= *segment) {
            let _ = waiter.send(Ok(()));
        }
    }

    /// Waits until every segment older than `segment` has its seal and is written no more.
    pub(super) async fn settled_before(&self, segment: SegmentId) -> Result<(), Poisoned> {
        let receiver = {
            let mut state = self.state.borrow_mut();
            if self.poisoned.get() {
                return Err(Poisoned);
            }
            if state.oldest_written() >= segment {
                return Ok(());
            }
            let (sender, receiver) = oneshot::channel();
            state.settled_waiters.push((segment, sender));
            receiver
        };
        receiver.await.unwrap_or(Err(Poisoned))
    }

    /// The last position, where all of the log is durable and its segment ends with a frame that no seal follows.
    fn unsealed(&self) -> Option<Position> {
        let state = self.state.borrow();
        let segment = state.segment.as_ref()?;
        let is_quiet = state.frames.is_empty() && state.open.as_ref().is_none_or(|open| open.records.is_empty());
        (is_quiet && segment.tail == Tail::Frame && !self.poisoned.get()).then_some(state.durable)
    }

    /// Seals the segment that is written, all of whose frames are durable. Without memory nothing is done.
    fn seal(self: &Rc<Self>) {
        let Some(blank) = self.volume.cache().allocate() else { return };
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        assert!(state.frames.is_empty());
        let (block, seal) = self.make_seal(state, blank);
        state.heads.let_go(block + 1);
        let Some(segment) = &state.segment else { unreachable!("it was just sealed") };
        let write = self.volume.disk().write(segment.grant.slot, offset(block), vec![seal], Stable::Now);
        state.closed += 1;
        state.unwritten += BLOCK_BYTES;
        state.frames.push_back(ClosedFrame {
            segment: segment.grant.id,
            slot: segment.grant.slot,
            header_block: block,
            end_block: block + 1,
            pieces: Vec::new(),
            stage: Stage::Writing,
        });
        let (log, position) = (self.clone(), Position(state.closed));
        self.world.spawn(Box::pin(async move {
            let result = write.await;
            log.written(position, Stable::Now, result);
        }));
    }

    /// The seal behind the last frame of the segment, and where it goes. An open frame has no records.
    fn make_seal(&self, state: &mut State, blank: Blank) -> (u32, Piece) {
        let Some(segment) = state.segment.as_mut() else { unreachable!("the caller looked at it") };
        if let Some(empty) = state.open.take() {
            assert!(empty.records.is_empty());
            segment.next_block = empty.header_block;
        }
        let block = segment.next_block;
        assert!(block < self.segment_blocks(), "the last block is kept for the seal");
        let header = Header {
            segment: segment.grant.id,
            block,
            payload_blocks: 0,
            lowest_lsn: 0,
            durable_to: block,
            core: self.config.core,
            previous: segment.previous,
            filesystem: self.volume.identity(),
        };
        let mut bytes = [0; BLOCK_BYTES];
        segment.previous = header.encode(&[], &[], &mut bytes);
        segment.next_block += 1;
        segment.tail = Tail::Seal;
        let mut head = blank.head();
        head.write_header(0, &bytes);
        (block, Piece::new(head.chunk().clone(), 0, BLOCK_BYTES))
    }
}

impl State {
    /// The oldest segment that is still written.
    fn oldest_written(&self) -> SegmentId {
        let frame = self.frames.front().map(|frame| frame.segment);
        let left = self.left.first().map(|left| left.id);
        frame.into_iter().chain(left).min().unwrap_or(SegmentId(u64::MAX))
    }
}

/// Seals the log's segment whenever nothing came for a moment.
pub(super) async fn seal_pauses(log: Weak<LogInner>) {
    loop {
        poll_fn(|cx| log.upgrade().map_or(Poll::Ready(()), |log| log.all_durable.poll_heard(cx))).await;
        loop {
            let Some(inner) = log.upgrade() else { return };
            let Some(last) = inner.unsealed() else { break };
            let pause = inner.world.sleep(SEAL_PAUSE);
            drop(inner);
            pause.await;
            let Some(inner) = log.upgrade() else { return };
            if inner.unsealed() == Some(last) {
                inner.seal();
            }
        }
    }
}

/// How long nothing has come when the last frame is sealed.
pub const SEAL_PAUSE: Duration = Duration::from_millis(20);
