//! One core: a pinned thread, its event loop, and everything that lives on it alone.
//!
//! Caller: [`super::server`] starts the thread. Other threads reach a core through its
//! [`Mailbox`] only. When the memory for requests and replies is spent, the core stops reading
//! sockets until some is free again.

use super::accept::Incoming;
use super::buffers::Buffers;
use super::conn::{self, Connection, RECORD_BYTES_MAX};
use super::dispatch;
use super::gate::Gate;
use super::handle::HandleKey;
use super::mailbox::Mailbox;
use crate::policy::{ExportsCell, ExportsView};
use crate::stats::{Snapshot, Stats};
use cache::world::World;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

/// What other threads ask of a core.
pub(crate) enum Letter {
    /// Serve a connection.
    Connection(Incoming),
    /// Tell what was counted.
    Stats(SyncSender<Snapshot>),
    /// Answer what was read, close all connections, bring everything to disk, and end.
    Stop,
}

/// What a core allows its connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests under way on one connection; at the limit it is not read.
    pub requests_max: usize,
    /// Bytes of requests under way and unsent replies of one connection; at the limit it is not
    /// read. One request and its reply may go beyond.
    pub connection_bytes_max: usize,
    /// The same for all connections of a core, their large receive buffers included.
    pub core_bytes_max: usize,
    /// A record that was begun must make progress within this time.
    pub record_stall_secs: u32,
    /// A peer must take some of its replies within this time.
    pub send_stall_secs: u32,
    /// A connection without any traffic is closed after this time; clients connect anew by
    /// themselves.
    pub idle_secs: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            requests_max: 256,
            connection_bytes_max: 8 << 20,
            core_bytes_max: 256 << 20,
            record_stall_secs: 30,
            send_stall_secs: 60,
            idle_secs: 15 * 60,
        }
    }
}

/// What lives on one core.
pub struct Core {
    /// Its number, from 0 on.
    pub index: u16,
    /// Time, tasks, randomness.
    pub world: Rc<dyn World>,
    /// What is counted.
    pub stats: Stats,
    /// What connections may use.
    pub limits: Limits,
    pub(crate) exports: RefCell<ExportsView>,
    pub(crate) handles: HandleKey,
    pub(crate) buffers: Buffers,
    /// Readers wait here while the budget is spent.
    has_budget: Gate,
    /// Seconds since the core started, counted by its own timer from 1 on.
    seconds: Cell<u32>,
    roster: RefCell<Roster>,
}

impl Core {
    /// A core without connections.
    pub(crate) fn new(
        index: u16,
        world: Rc<dyn World>,
        limits: Limits,
        exports: Arc<ExportsCell>,
        handles: HandleKey,
    ) -> Core {
        Core {
            index,
            world,
            stats: Stats::new(dispatch::ROWS),
            limits,
            exports: RefCell::new(ExportsView::new(exports)),
            handles,
            buffers: Buffers::new(RECORD_BYTES_MAX + wire::record::MARK_BYTES * wire::record::FRAGMENTS_MAX),
            has_budget: Gate::default(),
            seconds: Cell::new(1),
            roster: RefCell::default(),
        }
    }

    /// Monotonic time in nanoseconds.
    #[inline]
    pub(crate) fn nanos(&self) -> u64 {
        self.world.monotonic().as_nanos() as u64
    }

    /// A cheap clock for limits of many seconds.
    #[inline]
    pub(crate) fn seconds(&self) -> u32 {
        self.seconds.get()
    }

    /// Counts memory held for requests and replies.
    pub(crate) fn hold(&self, bytes: usize) {
        self.stats.bytes_held.rise(bytes as u64);
    }

    /// Gives memory back to the budget.
    pub(crate) fn release(&self, bytes: usize) {
        self.stats.bytes_held.fall(bytes as u64);
        if self.is_in_budget() {
            self.has_budget.notify();
        }
    }

    /// Waits while the budget is spent.
    pub(crate) async fn wait_for_budget(&self) {
        if !self.is_in_budget() {
            self.stats.stalls.add(1);
            self.has_budget.until(|| self.is_in_budget()).await;
        }
    }

    fn is_in_budget(&self) -> bool {
        self.stats.bytes_held.value() < self.limits.core_bytes_max as u64
    }

    /// Enters a connection; the key is given back to [`Core::dismiss`].
    pub(crate) fn enroll(&self, connection: Weak<Connection>) -> usize {
        self.stats.accepted.add(1);
        self.stats.connections.rise(1);
        self.roster.borrow_mut().insert(connection)
    }

    /// Forgets a connection that is over.
    pub(crate) fn dismiss(&self, key: usize) {
        self.stats.connections.fall(1);
        self.roster.borrow_mut().remove(key);
    }

    /// Once a second: closes connections whose peers have stalled.
    pub(crate) fn tick(&self) {
        let seconds = self.seconds.get().saturating_add(1);
        self.seconds.set(seconds);
        for connection in self.connections() {
            connection.expire(seconds);
        }
    }

    /// Reads no more calls; answers what was read.
    pub(crate) fn drain(&self) {
        for connection in self.connections() {
            connection.drain();
        }
    }

    /// Ends all connections.
    pub(crate) fn close(&self) {
        for connection in self.connections() {
            connection.close();
        }
    }

    /// Those that are open.
    pub(crate) fn connections(&self) -> Vec<Rc<Connection>> {
        self.roster.borrow().places.iter().filter_map(|place| place.as_ref()?.upgrade()).collect()
    }

    /// Reads letters until one says stop.
    pub(crate) async fn collect(self: &Rc<Core>, mailbox: &Mailbox<Letter>) -> std::io::Result<()> {
        let bell = monoio::fs::File::from_std(mailbox.bell()?)?;
        let mut rung = Box::new([0; 8]);
        loop {
            while let Some(letter) = mailbox.take() {
                if self.open_letter(letter).is_break() {
                    return Ok(());
                }
            }
            if mailbox.is_quiet() {
                let (result, buffer) = bell.read_at(rung, 0).await;
                result?;
                rung = buffer;
            }
        }
    }

    fn open_letter(self: &Rc<Core>, letter: Letter) -> std::ops::ControlFlow<()> {
        match letter {
            Letter::Connection(Incoming { stream, peer, seat }) => {
                // Without a descriptor for it the connection is dropped here, and the client tries again.
                if conn::open(self, stream, peer, seat).is_err() {
                    self.stats.dropped.add(1);
                }
            }
            Letter::Stats(post) => {
                // Whoever asked may have stopped waiting.
                let _ = post.try_send(self.stats.snapshot());
            }
            Letter::Stop => return std::ops::ControlFlow::Break(()),
        }
        std::ops::ControlFlow::Continue(())
    }
}

/// The connections of a core.
#[derive(Default)]
struct Roster {
    places: Vec<Option<Weak<Connection>>>,
    free: Vec<usize>,
}

impl Roster {
    fn insert(&mut self, connection: Weak<Connection>) -> usize {
        match self.free.pop() {
            Some(key) => {
                self.places[key] = Some(connection);
                key
            }
            None => {
                self.places.push(Some(connection));
                self.places.len() - 1
            }
        }
    }

    fn remove(&mut self, key: usize) {
        if self.places[key].take().is_some() {
            self.free.push(key);
        }
    }
}

/// How often stalled connections are looked for.
pub(crate) const TICK: Duration = Duration::from_secs(1);
