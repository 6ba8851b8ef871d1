//! One core's part of a filesystem: its log, its view of the ledger, its cache. Everything here
//! lives on the core's thread.
//!
//! Callers: the core at start ([`Fs::start`]) and at its end ([`Fs::stop`]), every verb.

use super::ahead::Streams;
use super::backlog::Backlog;
use super::filesystem::Shared;
use super::peers::PeerLogs;
use super::seen::Seen;
use super::segments::LedgerSegments;
use super::signal::Signal;
use super::{checkpoint, clean};
use crate::inode::{FileId, Ino, Inode};
use crate::ledger::port::{Doorbell, Hub, Port};
use crate::ledger::reader::Reader;
use crate::ledger::store::Store;
use crate::ledger::touch::{Touch, TouchPort};
use crate::status::Status;
use crate::table::Entry;
use cache::block::Piece;
use cache::disk::Disk;
use cache::extent::Extent;
use cache::log::{Log, LogConfig, Position};
use cache::table::{BlockCache, Volume};
use cache::world::{LocalFuture, World};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// A filesystem as one core sees it.
pub struct Fs {
    /// What it shares with the other cores.
    pub shared: Arc<Shared>,
    /// Which core this is.
    pub core: u16,
    /// Time, tasks, randomness.
    pub world: Rc<dyn World>,
    /// The bytes of the log, through the block cache.
    pub volume: Volume,
    /// This core's log.
    pub log: Log,
    /// This core's view of the ledger.
    pub reader: RefCell<Reader>,
    /// The way to the ledger.
    pub port: Rc<Port>,
    /// The way to those who take page faults of the ledger.
    pub touches: Rc<TouchPort>,
    /// Counters.
    pub stats: FsStats,
    pub(super) peers: Rc<dyn PeerLogs>,
    pub(super) backlog: Backlog,
    pub(super) cleaner: clean::State,
    pub(super) stopping: Cell<bool>,
    pub(super) wake: Signal,
    pub(super) scratch: RefCell<Scratch>,
    pub(super) streams: RefCell<Streams>,
    seen: RefCell<Seen>,
}

/// What a core builds its [`Fs`] from; travels to the core's thread.
pub struct Seed {
    /// What it shares with the other cores.
    pub shared: Arc<Shared>,
    /// Which core it is for.
    pub core: u16,
    /// The way to the ledger.
    pub hub: Arc<Hub>,
    /// Metadata at rest.
    pub store: Store,
}

/// What a core lends to its filesystems.
pub struct Means {
    /// Time, tasks, randomness.
    pub world: Rc<dyn World>,
    /// The filesystem's slot files, through the core's ring.
    pub disk: Rc<dyn Disk>,
    /// The core's block cache.
    pub cache: Rc<BlockCache>,
    /// The way to the other cores.
    pub peers: Rc<dyn PeerLogs>,
    /// Wakes this core from the ledger's thread; the core then calls [`Port::deliver`] of
    /// [`Fs::port`].
    pub doorbell: Doorbell,
}

/// What a core counts of one filesystem.
#[derive(Default)]
pub struct FsStats {
    /// Bytes read.
    pub read_bytes: Cell<u64>,
    /// Bytes written.
    pub written_bytes: Cell<u64>,
    /// Reads that waited for the disk.
    pub read_misses: Cell<u64>,
    /// Calls that waited for pages of the ledger.
    pub touches: Cell<u64>,
    /// Checkpoints.
    pub checkpoints: Cell<u64>,
    /// Bytes moved by the cleaner.
    pub moved_bytes: Cell<u64>,
    /// Segments that the cleaner could not read, and leaves alone.
    pub unreadable_segments: Cell<u64>,
    /// Reads of bytes or extents that turned out to be damaged.
    pub corrupt: Cell<u64>,
}

/// Lists that reads fill and empty again, kept to spare the allocator.
#[derive(Default)]
pub(super) struct Scratch {
    /// Live extents, clipped to the range.
    pub(super) live: Vec<(u64, Extent)>,
    /// The ledger's extents as the lock table keeps them, clipped to the range.
    pub(super) kept: Vec<(u64, Extent)>,
    /// Extents just found in the ledger, unclipped.
    pub(super) found: Vec<(u64, Extent)>,
    /// What the range consists of.
    pub(super) tiled: Vec<(u64, Extent)>,
    /// Its bytes.
    pub(super) pieces: Vec<Piece>,
}

impl Fs {
    /// Builds the core's part and starts its background tasks. Called on the core's own thread.
    pub fn start(seed: Seed, means: Means) -> Rc<Fs> {
        let Seed { shared, core, hub, store } = seed;
        let Means { world, disk, cache, peers, doorbell } = means;
        let doorbell = Arc::new(doorbell);
        let ring = || -> Doorbell {
            let doorbell = Arc::clone(&doorbell);
            Box::new(move || doorbell())
        };
        let port = Rc::new(hub.port(core, ring()));
        let touches = Rc::new(TouchPort::new(&shared, core, ring()));
        let reader = Reader::new(&store, Arc::clone(&shared));
        let volume = Volume::new(cache, disk, Arc::clone(&shared.slots), shared.index, shared.identity);
        let config = LogConfig {
            core,
            segment_bytes: shared.options.segment_bytes,
            unwritten_bytes_max: shared.options.unwritten_bytes_max,
        };
        let source = Rc::new(LedgerSegments { shared: Arc::clone(&shared), port: Rc::clone(&port), core });
        let log = Log::new(config, volume.clone(), Rc::clone(&world), source);
        let fs = Rc::new(Fs {
            shared,
            core,
            world,
            volume,
            log,
            reader: RefCell::new(reader),
            port,
            touches,
            stats: FsStats::default(),
            peers,
            backlog: Backlog::default(),
            cleaner: clean::State::default(),
            stopping: Cell::new(false),
            wake: Signal::default(),
            scratch: RefCell::default(),
            streams: RefCell::default(),
            seen: RefCell::default(),
        });
        fs.world.spawn(Box::pin(checkpoint::run(Rc::downgrade(&fs))));
        fs.world.spawn(Box::pin(clean::run(Rc::downgrade(&fs))));
        fs
    }

    /// Folds everything and ends the background tasks. Connections are closed before.
    pub async fn stop(self: &Rc<Fs>) -> Result<(), Status> {
        self.stopping.set(true);
        self.wake.raise();
        // The first waits for one that is under way; a move may have come in between.
        loop {
            checkpoint::fold_all(self).await?;
            if self.backlog.is_empty() {
                return Ok(());
            }
        }
    }

    /// The inode that `id` names, as of now.
    pub fn attr(&self, id: FileId) -> Result<Inode, Status> {
        for _ in 0..LEARN_ATTEMPTS_MAX {
            match self.known(id.ino) {
                Some(inode) if inode.generation == id.generation => return Ok(inode),
                Some(_) => return Err(Status::Stale),
                None => self.learn(id)?,
            }
        }
        Err(Status::Delay)
    }

    /// The inode as of now, when the table knows it.
    pub(super) fn known(&self, ino: Ino) -> Option<Inode> {
        let table = &self.shared.table;
        if let Some(inode) = self.seen.borrow().find(table, ino) {
            return Some(inode);
        }
        let seen = table.as_of_now(ino)?;
        self.seen.borrow_mut().keep(&seen);
        Some(seen.inode)
    }

    /// What to wait for before this is looked up, so that no page fault of the ledger stops the core;
    /// `None` where there will hardly be any.
    pub fn touch(&self, touch: Touch) -> Option<LocalFuture<()>> {
        if self.touches.is_idle() || matches!(touch, Touch::Inode(ino) if self.known(ino).is_some()) {
            return None;
        }
        let touched = self.touches.submit(touch)?;
        self.stats.touches.set(self.stats.touches.get() + 1);
        Some(Box::pin(touched))
    }

    /// Hands out what came from other threads. Called when the core's doorbell rang.
    pub fn deliver(&self) {
        self.port.deliver();
        self.touches.deliver();
    }

    /// Looks at the entry of `id` under its stripe; reads the ledger first where the inode is not in
    /// the table. [`Status::Stale`] when it is gone or of another generation.
    pub fn look_at<T>(&self, id: FileId, section: impl FnOnce(&Entry) -> T) -> Result<T, Status> {
        let mut section = Some(section);
        for _ in 0..LEARN_ATTEMPTS_MAX {
            let seen = self.shared.table.look(id.ino, |entry| match entry.inode().generation == id.generation {
                true => section.take().map(|section| section(entry)).ok_or(Status::Delay),
                false => Err(Status::Stale),
            });
            match seen {
                Some(result) => return result,
                None => self.learn(id)?,
            }
        }
        Err(Status::Delay)
    }

    /// The same for what changes the entry.
    pub fn with_entry<T>(&self, id: FileId, section: impl FnOnce(&mut Entry) -> T) -> Result<T, Status> {
        let mut section = Some(section);
        for _ in 0..LEARN_ATTEMPTS_MAX {
            let seen = self.shared.table.with(id.ino, |stripe| {
                let entry = stripe.entry(id.ino)?;
                if entry.inode().generation != id.generation {
                    return Some(Err(Status::Stale));
                }
                section.take().map(|section| Ok(section(entry)))
            });
            match seen {
                Some(result) => return result,
                None => self.learn(id)?,
            }
        }
        Err(Status::Delay)
    }

    fn learn(&self, id: FileId) -> Result<(), Status> {
        let mut reader = self.reader.borrow_mut();
        reader.refresh()?;
        let inode = reader.inode(id.ino)?.ok_or(Status::Stale)?;
        // Too old where it is refused: the next round reads a newer snapshot.
        self.shared.table.learn(reader.commit(), &inode);
        Ok(())
    }

    /// Whether anything may be changed: not after a failure.
    pub fn writable(&self) -> Result<(), Status> {
        if self.shared.is_poisoned() { Err(Status::ReadOnly) } else { Ok(()) }
    }

    /// Makes this core's log durable up to `position`.
    pub async fn flush(&self, position: Position) -> Result<(), Status> {
        let flushed = self.log.flush_to(position).await;
        self.shared.set_durable(self.core, self.log.durable().0);
        match flushed {
            Ok(()) if !self.shared.is_poisoned() => Ok(()),
            _ => Err(self.fail()),
        }
    }

    /// The log failed: nothing is changed any more. Answers what waiters are told.
    pub(super) fn fail(&self) -> Status {
        self.shared.poison(self.world.random());
        Status::Io
    }
}

/// Looks into the table and the ledger before a verb gives up; more than one is needed only while
/// the inode is being changed.
const LEARN_ATTEMPTS_MAX: usize = 1000;
