//! One core: a pinned thread, its event loop, and everything that lives on it alone.
//!
//! Caller: [`super::server`] starts the thread ([`run`]). Other threads reach a core through its
//! [`Mailbox`] only. The memory for requests and replies is shared by rule: a connection may hold a
//! quarter of what is free at the moment, and always one small call. Whoever has much to do waits in line after a while: one of those in the line
//! goes on each time the event loop comes around, so that the others wait for one of them at most.

use super::accept::Incoming;
use super::buffers::Buffers;
use super::conn::{self, Connection, RECORD_BYTES_MAX};
use super::dispatch;
use super::gate::{Gate, Line};
use super::handle::HandleKey;
use super::mailbox::Mailbox;
use super::peers::{PeerAsk, Peers};
use super::sleep::SleepLimit;
use super::world::MonoioWorld;
use crate::fs::{Fs, Means, Seed};
use crate::mount::MountList;
use crate::policy::{ExportsCell, ExportsView};
use crate::stats::{Snapshot, Stats, StoreSnapshot};
use crate::status::Status;
use cache::block::Arena;
use cache::disk::{Disk, Ring, RingDisk};
use cache::table::{BlockCache, Directory};
use cache::world::World;
use monoio::time::TimeDriver;
use monoio::{IoUringDriver, Runtime, RuntimeBuilder};
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

/// What other threads ask of a core.
pub(crate) enum Letter {
    /// Serve a connection.
    Connection(Incoming),
    /// Another core needs something of this core's log.
    Ask(PeerAsk),
    /// The answer of another core to what this one asked for.
    Served { number: u64, result: Result<(), Status> },
    /// Tell what was counted.
    Stats(SyncSender<Snapshot>),
    /// Answer what was read, close all connections, bring everything to disk, and say so.
    Stop(SyncSender<Result<(), Status>>),
    /// Every core has stopped: end the thread.
    End,
}

/// What a core is made of; travels to its thread.
pub(crate) struct Plan {
    pub(crate) index: u16,
    pub(crate) processor: usize,
    /// The sysfs attribute that limits its sleep, if this core sets it.
    pub(crate) sleep_limit: Option<File>,
    /// Those of all cores, in order.
    pub(crate) mailboxes: Arc<[Arc<Mailbox<Letter>>]>,
    pub(crate) limits: Limits,
    pub(crate) exports: Arc<ExportsCell>,
    pub(crate) mounts: Arc<MountList>,
    pub(crate) handles: HandleKey,
    pub(crate) seeds: Vec<Seed>,
    pub(crate) directory: Arc<Directory>,
    /// Memory of its block cache.
    pub(crate) arena: Arena,
    pub(crate) drain: Duration,
}

/// A filesystem, as a core serves it.
pub(crate) struct Share {
    /// Its id, as handles name it.
    pub(crate) id: u64,
    pub(crate) fs: Rc<Fs>,
}

/// What a core allows its connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests under way on one connection; at the limit it is not read.
    pub requests_max: usize,
    /// Bytes of requests under way and unsent replies of one connection; at the limit it is not
    /// read. One request and its reply may go beyond.
    pub connection_bytes_max: usize,
    /// The same for all connections of a core, their large receive buffers included. The
    /// [`conn::OWN_BYTES`] that a connection has in any case are not. One reply may go beyond.
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
    /// Who has mounted what.
    pub(crate) mounts: Arc<MountList>,
    pub(crate) buffers: Buffers,
    /// Sorted by id.
    shares: Vec<Share>,
    peers: Option<Rc<Peers>>,
    /// Readers wait here for memory.
    has_memory: Line,
    /// Readers that had their turn wait here for another.
    turns: Line,
    /// A task leads the line of turns.
    turning: Cell<bool>,
    /// Seconds since the core started, counted by its own timer from 1 on.
    seconds: Cell<u32>,
    /// A ledger has too little memory, as of the last second: look-ups wait for their pages.
    is_short: Cell<bool>,
    sleep: SleepLimit,
    /// Connections whose receive windows are wide.
    pub(super) wide_windows: Cell<usize>,
    roster: RefCell<Roster>,
    /// Set when the core is to stop: whom to tell when it has.
    stop: RefCell<Option<SyncSender<Result<(), Status>>>>,
    has_stop: Gate,
}

impl Core {
    /// A core without connections and filesystems.
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
            mounts: Arc::default(),
            buffers: Buffers::new(BUFFER_BYTES, limits.core_bytes_max / IDLE_BUFFERS_SHARE),
            shares: Vec::new(),
            peers: None,
            has_memory: Line::default(),
            turns: Line::default(),
            turning: Cell::new(false),
            seconds: Cell::new(1),
            is_short: Cell::new(false),
            sleep: SleepLimit::new(None),
            wide_windows: Cell::new(0),
            roster: RefCell::default(),
            stop: RefCell::new(None),
            has_stop: Gate::default(),
        }
    }

    /// The filesystem with this id.
    #[inline]
    pub(crate) fn share(&self, id: u64) -> Option<&Share> {
        let at = self.shares.binary_search_by_key(&id, |share| share.id).ok()?;
        self.shares.get(at)
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
        if bytes > 0 && !self.has_memory.is_empty() {
            self.has_memory.next();
        }
    }

    /// What one connection may hold now: a share of what is free, and all of it while nobody holds any.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        let held = self.stats.bytes_held.value() as usize;
        let free = self.limits.core_bytes_max.saturating_sub(held);
        if held == 0 { usize::MAX } else { free / ROOM_SHARE }
    }

    /// Waits for memory until there is enough.
    pub(crate) async fn wait_for_memory(&self, is_enough: impl Fn() -> bool) {
        if is_enough() {
            return;
        }
        self.buffers.trim();
        while !is_enough() {
            self.has_memory.wait().await;
        }
        // What was given back may do for the next one too.
        self.has_memory.next();
    }

    /// Waits until the event loop has come around and those before in the line have had their turn.
    pub(crate) async fn wait_for_turn(self: &Rc<Core>) {
        self.begin_turn();
        self.turns.wait().await;
    }

    /// Takes a turn without waiting, unless someone has one until the event loop comes around.
    pub(crate) fn begin_turn(self: &Rc<Core>) -> bool {
        let is_free = !self.turning.replace(true);
        if is_free {
            self.world.spawn(Box::pin(self.clone().take_turns()));
        }
        is_free
    }

    /// Whether someone waits for a turn: what is long should be cut.
    pub(crate) fn is_crowded(&self) -> bool {
        !self.turns.is_empty()
    }

    async fn take_turns(self: Rc<Core>) {
        loop {
            self.world.pause().await;
            if !self.turns.next() {
                break;
            }
        }
        self.turning.set(false);
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

    /// Once a second: closes connections whose peers have stalled, and what else is due now and then.
    pub(crate) fn tick(&self) {
        let seconds = self.seconds.get().saturating_add(1);
        self.seconds.set(seconds);
        for connection in self.connections() {
            connection.expire(seconds);
        }
        self.has_memory.all();
        self.look_for_room();
        self.sleep.look();
        self.rest_readers();
    }

    fn look_for_room(&self) {
        self.is_short.set(self.shares.iter().any(|share| !share.fs.touches.is_idle()));
    }

    /// Whether a ledger has too little memory.
    #[inline]
    pub(crate) fn is_short(&self) -> bool {
        self.is_short.get()
    }

    /// A batch of calls is served: nothing is looked up until the next.
    pub(crate) fn rest(&self) {
        self.sleep.served();
        self.rest_readers();
    }

    fn rest_readers(&self) {
        self.shares.iter().for_each(|share| share.fs.reader.borrow_mut().rest());
    }

    /// Reads no more calls; answers what was read.
    pub(crate) fn drain(&self) {
        for connection in self.connections() {
            connection.drain();
        }
        self.has_memory.all();
    }

    /// Answers what was read for as long as `drain`, then ends all connections.
    async fn let_go(&self, drain: Duration) {
        self.drain();
        self.wait_for_connections(drain).await;
        self.close();
        self.wait_for_connections(CLOSE_TIME).await;
    }

    async fn wait_for_connections(&self, time: Duration) {
        let deadline = self.world.monotonic() + time;
        while self.stats.connections.value() > 0 && self.world.monotonic() < deadline {
            self.world.sleep(DRAIN_PAUSE).await;
        }
    }

    /// Ends all connections.
    pub(crate) fn close(&self) {
        for connection in self.connections() {
            connection.close();
        }
        self.has_memory.all();
    }

    /// Those that are open.
    pub(crate) fn connections(&self) -> Vec<Rc<Connection>> {
        self.roster.borrow().places.iter().filter_map(|place| place.as_ref()?.upgrade()).collect()
    }

    /// Reads letters until one says end.
    async fn collect(self: Rc<Core>, mailbox: Arc<Mailbox<Letter>>) -> io::Result<()> {
        let bell = monoio::fs::File::from_std(mailbox.bell()?)?;
        let mut rung = Box::new([0; 8]);
        loop {
            if self.look(&mailbox).is_break() {
                return Ok(());
            }
            if mailbox.is_quiet() {
                let (result, buffer) = bell.read_at(rung, 0).await;
                rung = buffer;
                if result.is_err() {
                    // A core that cannot hear the bell looks by itself.
                    self.world.sleep(DEAF_PAUSE).await;
                }
            } else {
                self.world.pause().await;
            }
        }
    }

    /// Takes what is in the mailbox, or was left beside it: at most so many letters that the connections get
    /// their turn.
    pub(crate) fn look(self: &Rc<Core>, mailbox: &Mailbox<Letter>) -> ControlFlow<()> {
        if mailbox.was_called() {
            self.shares.iter().for_each(|share| share.fs.deliver());
        }
        for _ in 0..LETTERS_A_TURN {
            let Some(letter) = mailbox.take() else { break };
            self.open_letter(letter)?;
        }
        ControlFlow::Continue(())
    }

    fn open_letter(self: &Rc<Core>, letter: Letter) -> ControlFlow<()> {
        match letter {
            Letter::Connection(Incoming { stream, peer, seat }) => {
                // What the event loop does not take is dropped here, and the client tries again.
                if conn::open(self, stream, peer, seat).is_err() {
                    self.stats.dropped.add(1);
                }
            }
            Letter::Ask(ask) => self.serve_peer(ask),
            Letter::Served { number, result } => {
                if let Some(peers) = &self.peers {
                    peers.answered(number, result);
                }
            }
            Letter::Stats(post) => {
                // Whoever asked may have stopped waiting.
                let _ = post.try_send(self.snapshot());
            }
            Letter::Stop(done) => {
                *self.stop.borrow_mut() = Some(done);
                self.has_stop.notify();
            }
            Letter::End => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    /// What this core counted, its cache and its filesystems included.
    fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.stats.snapshot();
        snapshot.stores = self.shares.iter().map(|share| StoreSnapshot::of(&share.fs)).collect();
        // All filesystems of a core have one cache.
        snapshot.cache = self.shares.first().map(|share| share.fs.volume.cache().counters()).unwrap_or_default();
        snapshot
    }

    fn serve_peer(self: &Rc<Core>, ask: PeerAsk) {
        let Some(peers) = self.peers.clone() else { return };
        let share = self.shares.iter().find(|share| share.fs.shared.index == ask.filesystem);
        let served = share.map(|share| share.fs.serve_peer(ask.ask));
        self.world.spawn(Box::pin(async move {
            let result = match served {
                Some(served) => served.await,
                None => Err(Status::ServerFault),
            };
            peers.answer(ask, result).await;
        }));
    }
}

/// The core's thread, from start to end. Says when it serves, or why it does not.
pub(crate) fn run(plan: Plan, started: &SyncSender<io::Result<()>>) {
    // Without its own processor it is slower, not wrong.
    core_affinity::set_for_current(core_affinity::CoreId { id: plan.processor });
    let ended = runtime().and_then(|mut runtime| runtime.block_on(live(plan, started)));
    if let Err(error) = ended {
        // Whoever starts it hears of it; later there is nobody.
        let _ = started.try_send(Err(error));
    }
}

/// The event loop. Its ring is told that one thread uses it and enters the kernel often enough, which
/// saves interrupts; kernels before 6.0 do not know that.
fn runtime() -> io::Result<Runtime<TimeDriver<IoUringDriver>>> {
    let mut modern = io_uring_06::IoUring::builder();
    modern.setup_coop_taskrun().setup_single_issuer();
    let build = |ring| {
        let builder = RuntimeBuilder::<IoUringDriver>::new().uring_builder(ring);
        builder.with_entries(RING_ENTRIES).enable_timer().build()
    };
    build(modern).or_else(|_| build(io_uring_06::IoUring::builder()))
}

async fn live(plan: Plan, started: &SyncSender<io::Result<()>>) -> io::Result<()> {
    let mailbox = plan.mailboxes[usize::from(plan.index)].clone();
    let drain = plan.drain;
    let ring = Ring::new(DISK_DEPTH)?;
    let core = build(plan, Rc::new(MonoioWorld::new()?), |seed| {
        Rc::new(RingDisk::new(ring.clone(), &seed.shared.log_directory()))
    });
    let collector = monoio::spawn(core.clone().collect(mailbox));
    let _ = started.try_send(Ok(()));

    core.has_stop.until(|| core.stop.borrow().is_some()).await;
    core.let_go(drain).await;
    let mut result = Ok(());
    for share in &core.shares {
        result = result.and(share.fs.stop().await);
    }
    if let Some(done) = core.stop.take() {
        let _ = done.try_send(result);
    }
    collector.await
}

/// Brings up what lives on the core, in `world` and over the disk that each filesystem gets.
pub(crate) fn build(plan: Plan, world: Rc<dyn World>, disk: impl Fn(&Seed) -> Rc<dyn Disk>) -> Rc<Core> {
    let mailbox = plan.mailboxes[usize::from(plan.index)].clone();
    let peers = Rc::new(Peers::new(plan.index, plan.mailboxes, world.clone()));
    let cache = BlockCache::over(plan.directory, world.clone(), plan.arena);
    let mut shares = Vec::new();
    for seed in plan.seeds {
        let (id, disk) = (seed.shared.id, disk(&seed));
        let bell = mailbox.clone();
        let (world, cache, peers) = (world.clone(), cache.clone(), peers.clone());
        let fs = Fs::start(seed, Means { world, disk, cache, peers, doorbell: Box::new(move || bell.call()) });
        shares.push(Share { id, fs });
    }
    shares.sort_by_key(|share| share.id);
    let mut core = Core::new(plan.index, world, plan.limits, plan.exports, plan.handles);
    core.mounts = plan.mounts;
    core.sleep = SleepLimit::new(plan.sleep_limit);
    core.shares = shares;
    core.peers = Some(peers);
    let core = Rc::new(core);
    core.look_for_room();
    core.world.spawn(Box::pin(tick(Rc::downgrade(&core))));
    core
}

/// Once a second, while the core lives.
async fn tick(core: Weak<Core>) {
    while let Some(this) = core.upgrade() {
        let pause = this.world.sleep(TICK);
        drop(this);
        pause.await;
        if let Some(core) = core.upgrade() {
            core.tick();
        }
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

/// A receive buffer for the longest record, with all its marks.
const BUFFER_BYTES: usize = RECORD_BYTES_MAX + wire::record::MARK_BYTES * wire::record::FRAGMENTS_MAX;
/// One connection may hold this part of the memory that is free.
const ROOM_SHARE: usize = 4;
/// Idle receive buffers may take this part of the memory.
const IDLE_BUFFERS_SHARE: usize = 8;
/// Letters that are opened before the connections have their turn.
const LETTERS_A_TURN: usize = 8;
/// Operations in the ring of the event loop between two turns; more are submitted early.
const RING_ENTRIES: u32 = 4096;
/// Operations of the disk ring that the kernel works on at a time.
const DISK_DEPTH: u32 = 256;
/// How often a core looks into its mailbox when its bell does not work.
const DEAF_PAUSE: Duration = Duration::from_millis(1);
/// Most time for the kernel to let go of closed connections.
const CLOSE_TIME: Duration = Duration::from_secs(1);
/// How often a stopping core looks whether all connections are gone.
const DRAIN_PAUSE: Duration = Duration::from_millis(2);
/// How often stalled connections are looked for.
pub(crate) const TICK: Duration = Duration::from_secs(1);
