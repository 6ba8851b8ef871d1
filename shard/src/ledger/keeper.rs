//! Keeps what the ledger commits: journal first, LMDB after it, checkpoints behind both.
//!
//! Caller: the ledger, which owns it. A commit is durable by its record in the journal; LMDB writes
//! without any flush. That is safe because of one thing: LMDB never writes over a page that a read
//! transaction can see, and the keeper holds a read transaction, the *pin*, on the tree of the newest
//! durable root. So whatever happens to later pages, that tree is whole, and the journal leads from it
//! to the newest commit.
//!
//! A checkpoint takes the newest tree: it is pinned too, the journal turns to its next epoch, a
//! thread of its own flushes LMDB's file and writes the new root, and gives the old pin back. While it
//! runs the ledger goes on; it waits only where the second file of the journal is full before the
//! checkpoint is through, or where LMDB could not use freed pages for too long.

use super::batch::Fault;
use super::env::Tables;
use super::journal::Journal;
use super::media::Media;
use super::redo::Redo;
use super::root::{Root, Roots, Tree};
use super::store::LedgerOptions;
use heed::{RoTxn, RwTxn, WithoutTls};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// The journal and the checkpoints of an open ledger.
pub struct Keeper {
    /// What the running batch changes.
    pub(super) redo: Redo,
    tables: Tables,
    journal: Journal,
    /// Epoch of the newest durable root.
    root_epoch: u64,
    /// Not here while a checkpoint runs.
    disk: Option<Disk>,
    flight: Option<Flight>,
    /// LMDB's file, to read its meta pages.
    data: File,
    /// Bytes of LMDB's file when the newest pin was taken.
    bytes_pinned: u64,
    /// Tests: while it is set, writes to the journal fail.
    fault: Option<Arc<AtomicBool>>,
    runner: Runner,
}

/// Who runs a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Runner {
    /// A thread of its own.
    Thread,
    /// The ledger's thread, a step each time that it tends to it: in tests, where every step must be
    /// in its place.
    Ledger,
}

/// What a checkpoint needs, and gives back.
struct Disk {
    data: Media,
    roots: Roots,
    pin: RoTxn<'static, WithoutTls>,
}

/// A checkpoint on its way.
struct Task {
    disk: Disk,
    next: RoTxn<'static, WithoutTls>,
    root: Root,
}

enum Flight {
    Thread(JoinHandle<io::Result<(Disk, u64)>>),
    Inline { task: Box<Task>, is_synced: bool },
}

impl Keeper {
    /// The keeper of a ledger that was just opened at a durable root.
    pub(super) fn new(opened: Opened<'_>, options: &LedgerOptions) -> io::Result<Keeper> {
        let Opened { directory, tables, roots, root, pin } = opened;
        let witness = options.witness.as_ref();
        let data = Media::observe(directory.join(DATA_FILE), witness)?;
        let bytes_pinned = tables.file_bytes();
        Ok(Keeper {
            redo: Redo::default(),
            tables,
            journal: Journal::open(directory, root.from, options.journal_bytes, witness)?,
            root_epoch: root.from.epoch,
            disk: Some(Disk { data, roots, pin }),
            flight: None,
            data: File::open(directory.join(DATA_FILE))?,
            bytes_pinned,
            fault: options.fault.clone(),
            runner: if witness.is_some() { Runner::Ledger } else { Runner::Thread },
        })
    }

    /// Commits what `redo` lists and `txn` did. Durable when it returns.
    pub(super) fn commit(&mut self, txn: RwTxn<'_>) -> Result<(), Fault> {
        if self.fault.as_ref().is_some_and(|fault| fault.load(Ordering::Relaxed)) {
            return Err(Fault::Injected);
        }
        if !self.journal.has_room(&self.redo) {
            self.wait()?;
            self.begin()?;
        }
        self.journal.append(&self.redo, self.root_epoch)?;
        txn.commit()?;
        Ok(())
    }

    /// Between two batches: takes note of a checkpoint that is through, begins one where it is time,
    /// and waits for one that is late.
    pub(super) fn tend(&mut self) -> Result<(), Fault> {
        self.poll()?;
        if self.growth() > 2 * GROWTH_MAX {
            self.wait()?;
        }
        if self.flight.is_none() && (self.growth() > GROWTH_MAX || self.journal.is_half_full()) {
            self.begin()?;
        }
        Ok(())
    }

    /// Begins a checkpoint, if there is anything that the last one does not have, and none runs.
    pub(super) fn checkpoint(&mut self) -> Result<(), Fault> {
        self.poll()?;
        if self.flight.is_none() && self.journal.has_records() {
            self.begin()?;
        }
        Ok(())
    }

    /// Takes the checkpoint of all that is committed to its end, also where no batch has brought it.
    pub fn settle(&mut self) -> io::Result<()> {
        let settled = self.wait().and_then(|()| self.begin()).and_then(|()| self.wait());
        settled.map_err(|fault| io::Error::other(fault.to_string()))
    }

    /// Whether something is committed that no checkpoint has or is about to have.
    pub(super) fn is_behind(&self) -> bool {
        self.journal.has_records()
    }

    /// By how much LMDB's file has grown since the newest pin, because freed pages could not be used.
    fn growth(&self) -> u64 {
        self.tables.file_bytes().saturating_sub(self.bytes_pinned)
    }

    /// Begins a checkpoint of the newest tree. None runs.
    fn begin(&mut self) -> Result<(), Fault> {
        let next = self.tables.snapshot()?;
        let tree = Tree::of_transaction(&self.data, next.id() as u64)?;
        let from = self.journal.turn()?;
        let disk = self.disk.take().expect("no other checkpoint runs");
        let task = Task { disk, next, root: Root { from, tree } };
        self.bytes_pinned = self.tables.file_bytes();
        self.flight = Some(match self.runner {
            Runner::Ledger => Flight::Inline { task: Box::new(task), is_synced: false },
            Runner::Thread => {
                let thread = std::thread::Builder::new().name("checkpoint".to_owned());
                Flight::Thread(thread.spawn(move || task.run())?)
            }
        });
        Ok(())
    }

    /// Takes note of a checkpoint that is through; one without a thread goes on by a step.
    fn poll(&mut self) -> Result<(), Fault> {
        match self.flight.take() {
            Some(Flight::Thread(thread)) if thread.is_finished() => self.land(Flight::Thread(thread)),
            Some(Flight::Inline { task, is_synced: false }) => {
                task.sync()?;
                self.flight = Some(Flight::Inline { task, is_synced: true });
                Ok(())
            }
            Some(flight @ Flight::Inline { is_synced: true, .. }) => self.land(flight),
            flight => {
                self.flight = flight;
                Ok(())
            }
        }
    }

    /// Waits until no checkpoint runs.
    fn wait(&mut self) -> Result<(), Fault> {
        match self.flight.take() {
            Some(flight) => self.land(flight),
            None => Ok(()),
        }
    }

    fn land(&mut self, flight: Flight) -> Result<(), Fault> {
        let landed = match flight {
            Flight::Thread(thread) => {
                thread.join().unwrap_or_else(|_| Err(io::Error::other("the checkpoint panicked")))
            }
            Flight::Inline { task, is_synced: true } => task.write(),
            Flight::Inline { task, is_synced: false } => task.run(),
        };
        let (disk, epoch) = landed?;
        self.disk = Some(disk);
        self.root_epoch = epoch;
        Ok(())
    }
}

impl Drop for Keeper {
    /// Nothing of it runs on.
    fn drop(&mut self) {
        if let Some(Flight::Thread(thread)) = self.flight.take()
            && let Ok(Err(error)) = thread.join()
        {
            tracing::error!(%error, "the last checkpoint of the ledger failed; the next start replays the journal");
        }
    }
}

impl Task {
    fn run(self) -> io::Result<(Disk, u64)> {
        self.sync()?;
        self.write()
    }

    /// Makes the tree durable.
    fn sync(&self) -> io::Result<()> {
        self.disk.data.sync()
    }

    /// Makes it the root, and lets the one before go.
    fn write(mut self) -> io::Result<(Disk, u64)> {
        self.disk.roots.write(&self.root)?;
        self.disk.pin = self.next;
        Ok((self.disk, self.root.from.epoch))
    }
}

/// A ledger as the start has opened it.
pub(super) struct Opened<'a> {
    pub(super) directory: &'a Path,
    pub(super) tables: Tables,
    pub(super) roots: Roots,
    /// Durable.
    pub(super) root: Root,
    /// A snapshot of the root's tree.
    pub(super) pin: RoTxn<'static, WithoutTls>,
}

/// LMDB's file, within the ledger's directory.
pub const DATA_FILE: &str = "data.mdb";
/// Bytes by which LMDB's file grows before a checkpoint lets it use again what it has freed.
const GROWTH_MAX: u64 = 32 << 20;
