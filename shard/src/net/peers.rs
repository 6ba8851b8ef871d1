//! A core's way to the other cores, by their mailboxes: what it asks of their logs.
//!
//! Callers: COMMIT, the checkpoint and the cleaner, through [`PeerLogs`]; [`super::core`] for the letters that
//! come back. The answer travels as a letter too: a task is only ever woken by its own core.

use super::core::Letter;
use super::mailbox::Mailbox;
use crate::fs::{LogAsk, PeerLogs};
use crate::status::Status;
use cache::world::{LocalFuture, World};
use futures_channel::oneshot;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// A core asks something of another one's log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerAsk {
    /// The core that asks.
    pub(crate) from: u16,
    /// Its number for the question.
    pub(crate) number: u64,
    /// The filesystem's index in this process.
    pub(crate) filesystem: u32,
    /// What is asked.
    pub(crate) ask: LogAsk,
}

/// The other cores, as one core sees them.
pub(crate) struct Peers {
    core: u16,
    mailboxes: Arc<[Arc<Mailbox<Letter>>]>,
    world: Rc<dyn World>,
    waiting: RefCell<HashMap<u64, oneshot::Sender<Result<(), Status>>>>,
    next: Cell<u64>,
}

impl Peers {
    /// For the core with this number; the mailboxes are those of all cores in order.
    pub(crate) fn new(core: u16, mailboxes: Arc<[Arc<Mailbox<Letter>>]>, world: Rc<dyn World>) -> Peers {
        Peers { core, mailboxes, world, waiting: RefCell::default(), next: Cell::new(0) }
    }

    /// The answer to a question of this core came.
    pub(crate) fn answered(&self, number: u64, result: Result<(), Status>) {
        if let Some(waiting) = self.waiting.borrow_mut().remove(&number) {
            // Whoever asked may be gone.
            let _ = waiting.send(result);
        }
    }

    /// Answers a question of another core; waits for room in its mailbox.
    pub(crate) async fn answer(&self, ask: PeerAsk, result: Result<(), Status>) {
        let Some(mailbox) = self.mailboxes.get(usize::from(ask.from)) else { return };
        let mut letter = Letter::Served { number: ask.number, result };
        while let Err(back) = mailbox.post(letter) {
            letter = back;
            self.world.sleep(FULL_PAUSE).await;
        }
    }
}

impl PeerLogs for Peers {
    fn ask(&self, filesystem: u32, core: u16, ask: LogAsk) -> LocalFuture<Result<(), Status>> {
        let number = self.next.get();
        self.next.set(number + 1);
        let ask = PeerAsk { from: self.core, number, filesystem, ask };
        let posted = self.mailboxes.get(usize::from(core)).map(|mailbox| mailbox.post(Letter::Ask(ask)));
        match posted {
            Some(Ok(())) => {}
            Some(Err(_)) => return Box::pin(async { Err(Status::Delay) }),
            None => return Box::pin(async { Err(Status::ServerFault) }),
        }
        let (waiting, answer) = oneshot::channel();
        self.waiting.borrow_mut().insert(number, waiting);
        Box::pin(async move { answer.await.unwrap_or(Err(Status::ServerFault)) })
    }
}

/// Rest while the other core's mailbox is full.
const FULL_PAUSE: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;
    use cache::sim::SimWorld;
    use futures_util::FutureExt;

    #[test]
    fn each_question_gets_its_own_answer_in_whatever_order_they_come() {
        let mailboxes: Arc<[_]> = (0..2).map(|_| Arc::new(Mailbox::new(4).unwrap())).collect();
        let peers = Peers::new(0, mailboxes.clone(), Rc::new(SimWorld::new(1)));
        let mut answers = [(); 3].map(|()| peers.ask(0, 1, LogAsk::Fold));
        let asked = [(); 3].map(|()| match mailboxes[1].take() {
            Some(Letter::Ask(ask)) => ask.number,
            _ => panic!("nothing was asked"),
        });
        for (index, result) in [(2, Err(Status::Io)), (0, Ok(())), (1, Err(Status::NoSpace))] {
            assert_eq!(answers[index].as_mut().now_or_never(), None);
            peers.answered(asked[index], result);
            assert_eq!(answers[index].as_mut().now_or_never(), Some(result));
        }
        peers.answered(asked[0], Ok(()));
    }
}
