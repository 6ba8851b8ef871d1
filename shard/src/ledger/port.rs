//! The way from the cores to the ledger and back: bounded queues, one lane per core.
//!
//! Callers: the verbs of each core ([`Port::submit`]), the core's loop when its doorbell rings
//! ([`Port::deliver`]), the ledger's thread or the simulator ([`Hub::pump`]). A lane has room for
//! [`JOBS_MAX`] jobs on their way, there and back together; beyond that the answer is
//! [`Status::Delay`], never a longer list. The ledger rings a core once per batch; a core wakes the
//! ledger only when it sleeps.

use super::apply::{Ledger, Poisoned};
use super::command::{Done, Job};
use crate::status::Status;
use crossbeam::queue::ArrayQueue;
use futures_channel::oneshot;
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Duration;

/// Wakes a core. Called from the ledger's thread.
pub type Doorbell = Box<dyn Fn() + Send + Sync>;

/// The lanes of all cores of one filesystem.
pub struct Hub {
    lanes: Box<[Lane]>,
    sleeper: OnceLock<Thread>,
    asleep: AtomicBool,
    closing: AtomicBool,
}

struct Lane {
    jobs: ArrayQueue<(Ticket, Job)>,
    answers: ArrayQueue<(Ticket, Done)>,
    doorbell: OnceLock<Doorbell>,
}

/// Names a job of a core that is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticket(u32);

/// A core's end of its lane. Lives on the core.
pub struct Port {
    hub: Arc<Hub>,
    core: u16,
    waiting: RefCell<Waiting>,
}

/// Who waits for which ticket.
struct Waiting {
    senders: Vec<Option<oneshot::Sender<Done>>>,
    free: Vec<Ticket>,
}

/// Where a job of a batch came from.
#[derive(Clone, Copy)]
struct Origin {
    lane: usize,
    ticket: Ticket,
}

impl Hub {
    /// Lanes for the cores 0 to `cores` - 1.
    pub fn new(cores: u16) -> Arc<Hub> {
        Arc::new(Hub {
            lanes: (0..cores).map(|_| Lane::new()).collect(),
            sleeper: OnceLock::new(),
            asleep: AtomicBool::new(false),
            closing: AtomicBool::new(false),
        })
    }

    /// The port of `core`, which `doorbell` wakes. Taken once for each core.
    pub fn port(self: &Arc<Hub>, core: u16, doorbell: Doorbell) -> Port {
        let is_first = self.lanes[usize::from(core)].doorbell.set(doorbell).is_ok();
        assert!(is_first, "a core takes its port once");
        let waiting = Waiting {
            senders: (0..JOBS_MAX).map(|_| None).collect(),
            free: (0..JOBS_MAX as u32).rev().map(Ticket).collect(),
        };
        Port { hub: self.clone(), core, waiting: RefCell::new(waiting) }
    }

    /// Takes what is waiting, up to [`BATCH_MAX`] jobs, applies it, and answers. `turn` is where it
    /// begins, so that no core is always the last. Answers whether there was anything.
    pub fn pump(&self, ledger: &mut Ledger, turn: usize) -> bool {
        let (origins, jobs) = self.take(turn);
        if jobs.is_empty() {
            return false;
        }
        let answers = match ledger.apply(&jobs) {
            Ok(commit) => {
                ledger.publish(&commit);
                commit.answers
            }
            Err(Poisoned) => jobs.iter().map(|_| Done::Refused(Status::Io)).collect(),
        };
        assert_eq!(origins.len(), answers.len(), "a job has one answer");
        self.answer(origins, answers);
        true
    }

    fn take(&self, turn: usize) -> (Vec<Origin>, Vec<Job>) {
        let (mut origins, mut jobs) = (Vec::new(), Vec::new());
        for step in 0..self.lanes.len() {
            let lane = (turn + step) % self.lanes.len();
            while jobs.len() < BATCH_MAX
                && let Some((ticket, job)) = self.lanes[lane].jobs.pop()
            {
                origins.push(Origin { lane, ticket });
                jobs.push(job);
            }
        }
        (origins, jobs)
    }

    fn answer(&self, origins: Vec<Origin>, answers: Vec<Done>) {
        let mut rung = vec![false; self.lanes.len()];
        for (origin, done) in origins.into_iter().zip(answers) {
            let pushed = self.lanes[origin.lane].answers.push((origin.ticket, done));
            assert!(pushed.is_ok(), "a lane has room for the answers to all its tickets");
            rung[origin.lane] = true;
        }
        for (lane, _) in self.lanes.iter().zip(rung).filter(|(_, rings)| *rings) {
            if let Some(doorbell) = lane.doorbell.get() {
                doorbell();
            }
        }
    }

    /// No further jobs are taken from cores.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.wake();
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Sleeps until a core submits something, the hub closes, or `at_most` has passed.
    pub(super) fn sleep(&self, at_most: Option<Duration>) {
        self.sleeper.get_or_init(std::thread::current);
        self.asleep.store(true, Ordering::Relaxed);
        // Pairs with the fence of `wake`: either it sees the flag, or the job is seen here.
        fence(Ordering::SeqCst);
        if self.lanes.iter().all(|lane| lane.jobs.is_empty()) && !self.is_closing() {
            match at_most {
                Some(time) => std::thread::park_timeout(time),
                None => std::thread::park(),
            }
        }
        self.asleep.store(false, Ordering::Relaxed);
    }

    fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed)
            && self.asleep.swap(false, Ordering::Relaxed)
            && let Some(sleeper) = self.sleeper.get()
        {
            sleeper.unpark();
        }
    }
}

impl Lane {
    fn new() -> Lane {
        Lane { jobs: ArrayQueue::new(JOBS_MAX), answers: ArrayQueue::new(JOBS_MAX), doorbell: OnceLock::new() }
    }
}

impl Port {
    /// Sends a job. The receiver gets the answer from a later [`Port::deliver`]; it may be dropped,
    /// and the job is done all the same. [`Status::Delay`] when too many are on their way.
    pub fn submit(&self, job: Job) -> Result<oneshot::Receiver<Done>, Status> {
        if self.hub.is_closing() {
            return Err(Status::Delay);
        }
        let mut waiting = self.waiting.borrow_mut();
        let ticket = waiting.free.pop().ok_or(Status::Delay)?;
        let (sender, receiver) = oneshot::channel();
        waiting.senders[ticket.0 as usize] = Some(sender);
        let pushed = self.lane().jobs.push((ticket, job));
        assert!(pushed.is_ok(), "a lane has room for the jobs of all its tickets");
        drop(waiting);
        self.hub.wake();
        Ok(receiver)
    }

    /// Sends a job at once and waits for what comes back. The job is done also when the future is
    /// dropped.
    pub fn call(&self, job: Job) -> impl Future<Output = Done> + use<> {
        let submitted = self.submit(job);
        async move {
            match submitted {
                Ok(answer) => answer.await.unwrap_or(Done::Refused(Status::Io)),
                Err(status) => Done::Refused(status),
            }
        }
    }

    /// Hands out the answers that have come. Called when the core's doorbell rang.
    pub fn deliver(&self) {
        while let Some((ticket, done)) = self.lane().answers.pop() {
            let mut waiting = self.waiting.borrow_mut();
            let sender = waiting.senders[ticket.0 as usize].take();
            waiting.free.push(ticket);
            drop(waiting);
            let sender = sender.expect("an answer names a ticket that is out");
            // Whoever asked may have gone.
            let _ = sender.send(done);
        }
    }

    /// The core it belongs to.
    pub fn core(&self) -> u16 {
        self.core
    }

    fn lane(&self) -> &Lane {
        &self.hub.lanes[usize::from(self.core)]
    }
}

/// Jobs of one core on their way to the ledger and back.
pub const JOBS_MAX: usize = 1024;
/// Jobs in one transaction.
pub const BATCH_MAX: usize = 512;
