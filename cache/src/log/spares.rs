//! The segments that a log goes on in: asked for, made, and filled with zeros while there is nothing to do.
//!
//! Caller: the log, which takes a spare when its segment is full.

use super::{LogInner, Refused, SegmentGrant, State, Urgency};
use crate::extent::SegmentId;
use futures_channel::oneshot;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// A segment to come.
pub(super) struct Spare {
    pub(super) grant: SegmentGrant,
    pub(super) urgency: Urgency,
    /// The slot file is there.
    pub(super) made: bool,
    /// Zeros are on their way to it: a write now could be overtaken by them.
    pub(super) zeroing: bool,
}

impl Spare {
    /// Whether it may be written at this urgency.
    pub(super) fn serves(&self, urgency: Urgency) -> bool {
        self.urgency == Urgency::Data || urgency == Urgency::Reserve
    }
}

impl LogInner {
    /// Waits for a segment to be there.
    pub(super) async fn some_segment(self: &Rc<Self>, urgency: Urgency) -> Result<(), Refused> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.state.borrow_mut();
            state.segment_waiters.push((urgency, sender));
            self.ask(&mut state, urgency);
        }
        receiver.await.unwrap_or(Err(Refused::Poisoned))
    }

    /// Asks for the next segment when half of this one is used.
    pub(super) fn ask_ahead(self: &Rc<Self>, state: &mut State) {
        let half = self.segment_blocks() / 2;
        let Some(segment) = state.segment.as_mut() else { return };
        if segment.next_block >= half && !segment.asked_ahead && segment.urgency == Urgency::Data {
            segment.asked_ahead = true;
            if state.spares.is_empty() {
                self.ask(state, Urgency::Data);
            }
        }
    }

    /// Asks for a segment unless that is being done.
    fn ask(self: &Rc<Self>, state: &mut State, urgency: Urgency) {
        // A spare that is there is being zeroed: the end of that step wakes who waits.
        let coming = state.spares.iter().any(|spare| spare.made && spare.serves(urgency));
        if coming || std::mem::replace(&mut state.asking, true) {
            return;
        }
        let log = self.clone();
        self.world.spawn(Box::pin(async move {
            let result = log.open_segment(urgency).await;
            log.asked(urgency, result.map(|_| ()));
            if let Ok(grant) = result
                && grant.fresh
            {
                log.zero_spare(grant).await;
            }
        }));
    }

    /// Gets a segment and makes its slot file.
    async fn open_segment(&self, urgency: Urgency) -> Result<SegmentGrant, Refused> {
        let unmade = |spare: &Spare| !spare.made && spare.urgency == urgency;
        let unmade = self.state.borrow().spares.iter().find(|spare| unmade(spare)).map(|spare| spare.grant);
        let grant = match unmade {
            Some(grant) => grant,
            None => self.source.open(urgency).await?,
        };
        if unmade.is_none() {
            let spare = Spare { grant, urgency, made: !grant.fresh, zeroing: false };
            self.state.borrow_mut().spares.push(spare);
        }
        if !grant.fresh {
            return Ok(grant);
        }
        match self.volume.disk().create(grant.slot, self.config.segment_bytes).await {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::StorageFull => return Err(Refused::NoSpace),
            Err(_) => return Err(Refused::Poisoned),
        }
        let mut state = self.state.borrow_mut();
        if let Some(spare) = state.spares.iter_mut().find(|spare| spare.grant.id == grant.id) {
            spare.made = true;
        }
        Ok(grant)
    }

    /// Tells those who wait for a segment what came of it.
    fn asked(self: &Rc<Self>, urgency: Urgency, result: Result<(), Refused>) {
        if result == Err(Refused::Poisoned) {
            self.poison();
            return;
        }
        let mut state = self.state.borrow_mut();
        state.asking = false;
        let refused = result.is_err();
        state.is_spent = refused;
        let answered = |wants: Urgency| !refused || wants == urgency || urgency == Urgency::Reserve;
        for (_, waiter) in state.segment_waiters.extract_if(.., |(wants, _)| answered(*wants)) {
            let _ = waiter.send(if refused { Err(Refused::NoSpace) } else { Ok(()) });
        }
        if let Some(&(wants, _)) = state.segment_waiters.first() {
            self.ask(&mut state, wants);
        }
    }

    /// Writes zeros into fresh spares while the log has nothing to do: small stable writes into
    /// written space are much cheaper. Stops when the spare is taken or all of it is written.
    async fn zero_spare(self: Rc<Self>, grant: SegmentGrant) {
        let log = Rc::downgrade(&self);
        let world = self.world.clone();
        drop(self);
        let mut at = 0;
        loop {
            world.sleep(ZERO_PAUSE).await;
            let Some(log) = log.upgrade() else { return };
            match log.begin_zeroing(grant.id) {
                Zeroing::Gone => return,
                Zeroing::Busy => continue,
                Zeroing::Begun => {}
            }
            let end = (at + ZERO_STEP_BYTES).min(log.config.segment_bytes);
            let mut result = log.volume.disk().zero(grant.slot, at..end).await;
            if result.is_ok() && end == log.config.segment_bytes {
                result = log.volume.disk().flush(grant.slot).await;
            }
            log.end_zeroing(grant.id);
            if result.is_err() {
                log.poison();
            }
            if result.is_err() || end == log.config.segment_bytes {
                return;
            }
            at = end;
        }
    }

    fn begin_zeroing(&self, id: SegmentId) -> Zeroing {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let idle = state.unwritten == 0 && state.flush_waiters.is_empty() && state.segment_waiters.is_empty();
        let spare = state.spares.iter_mut().find(|spare| spare.grant.id == id);
        match spare.filter(|_| !self.poisoned.get()) {
            None => Zeroing::Gone,
            Some(_) if !idle => Zeroing::Busy,
            Some(spare) => {
                spare.zeroing = true;
                Zeroing::Begun
            }
        }
    }

    fn end_zeroing(&self, id: SegmentId) {
        let mut state = self.state.borrow_mut();
        if let Some(spare) = state.spares.iter_mut().find(|spare| spare.grant.id == id) {
            spare.zeroing = false;
        }
        for (_, waiter) in state.segment_waiters.drain(..) {
            // A waiter that went away needs no segment.
            let _ = waiter.send(Ok(()));
        }
    }
}

/// Whether a step of zeroing may begin.
enum Zeroing {
    Begun,
    Busy,
    /// The segment is in use, or the log has ended.
    Gone,
}

/// Pause before each step of zeroing.
const ZERO_PAUSE: Duration = Duration::from_millis(5);
/// Bytes zeroed in one step: what a write that comes meanwhile has to wait for.
const ZERO_STEP_BYTES: u64 = 1024 * 1024;
