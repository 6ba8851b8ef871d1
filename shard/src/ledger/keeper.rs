//! Keeps what the ledger commits: in the journal at once, in LMDB with the next checkpoint.
//!
//! Caller: the ledger, which owns it. A commit is durable by its record in the journal, and its rows
//! are in the layer that grows above LMDB's tree ([`super::recent`]). LMDB itself is written by
//! checkpoints alone, each in one transaction, whose own commit flushes nothing. LMDB never writes over
//! a page of a tree that a read transaction can see, and the keeper holds one on the tree of the newest
//! durable root, through which the ledger looks too. So whatever happens to later pages, that tree is
//! whole, and the journal leads from it to the newest commit.
//!
//! A checkpoint freezes the layer and turns the journal to its next epoch. A thread of its own carries
//! the frozen rows over into LMDB, each with its last value, flushes LMDB's file and writes the new root;
//! then the keeper looks at the new tree and lets the frozen layer go. While it runs the ledger goes on; it
//! waits only where what has gathered meanwhile is twice what begins a checkpoint.

use super::batch::Fault;
use super::env::Tables;
use super::journal::{From, Journal};
use super::media::Media;
use super::pages::Seen;
use super::recent::{Layer, Look, Recent, View};
use super::record::Table;
use super::redo::Redo;
use super::root::{PAGE_BYTES, Root, Roots};
use super::store::LedgerOptions;
use super::stored::{Stored, StoredError};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// The journal and the checkpoints of an open ledger.
pub struct Keeper {
    /// What the running batch changes.
    pub(super) redo: Redo,
    recent: Arc<Recent>,
    /// In force: the tree of the newest durable root, and the layers above it.
    view: View,
    /// Since the last commit.
    seen: Seen,
    journal: Journal,
    /// Of the newest commit.
    number: u64,
    /// Epoch of the newest durable root.
    root_epoch: u64,
    /// Not here while a checkpoint runs.
    disk: Option<Disk>,
    flight: Option<Flight>,
    /// Rows that LMDB has. To give their memory back takes milliseconds: the next checkpoint's thread does it, or
    /// the ledger's when it has nothing else to do.
    spent: Option<Arc<Layer>>,
    /// Since the start.
    checkpoints: u64,
    recent_bytes_max: u64,
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
    tables: Tables,
    data: Media,
    roots: Roots,
}

/// A checkpoint that has to be begun.
struct Task {
    disk: Disk,
    rows: Arc<Layer>,
    /// What they are to be carried over into.
    stored: Arc<Stored>,
    spent: Option<Arc<Layer>>,
    from: From,
}

/// One whose rows are in LMDB.
struct Carried {
    disk: Disk,
    root: Root,
    stored: Stored,
}

/// One whose rows are durable there.
struct Synced(Carried);

/// One that is through: its epoch, and what is the tree now.
struct Done {
    disk: Disk,
    epoch: u64,
    stored: Stored,
}

enum Flight {
    Thread(JoinHandle<io::Result<Done>>),
    Inline(Step),
}

/// How far a checkpoint without a thread has come.
enum Step {
    Begun(Box<Task>),
    Carried(Box<Carried>),
    Synced(Box<Synced>),
}

impl Keeper {
    /// The keeper of a ledger that was just opened at a durable root.
    pub(super) fn new(opened: Opened<'_>, options: &LedgerOptions) -> io::Result<Keeper> {
        let Opened { directory, tables, recent, roots, root, stored } = opened;
        let number = stored.number();
        let view = View { stored: Arc::new(stored), growing: Arc::default(), frozen: None };
        recent.set(view.clone());
        let witness = options.witness.as_ref();
        let data = Media::observe(directory.join(DATA_FILE), witness)?;
        Ok(Keeper {
            redo: Redo::default(),
            number,
            view,
            seen: Seen::default(),
            recent,
            journal: Journal::open(directory, root.from, options.journal_bytes, witness)?,
            root_epoch: root.from.epoch,
            disk: Some(Disk { tables, data, roots }),
            checkpoints: 0,
            flight: None,
            spent: None,
            recent_bytes_max: options.recent_bytes_max,
            fault: options.fault.clone(),
            runner: if witness.is_some() { Runner::Ledger } else { Runner::Thread },
        })
    }

    /// Everything up to the newest change, what the running batch has put included.
    pub(super) fn newest(&self) -> Look<'_> {
        Look { view: &self.view, seen: &self.seen, number: u64::MAX }
    }

    /// Puts a row, or deletes it where `value` is `None`, as part of the next commit.
    pub(super) fn set(&mut self, table: Table, key: &[u8], value: Option<&[u8]>) {
        match value {
            Some(value) => self.redo.put(table, key, value),
            None => self.redo.delete(table, key),
        }
        // Only the sweep looks at orphans, first come first: it is not to pass by those that came and went.
        let is_over = table == Table::Orphans && value.is_none() && self.view.growing.forget(table, key);
        if !is_over {
            self.view.growing.put(table, key, value, self.number + 1);
        }
    }

    /// Commits what `redo` lists. Durable when it returns.
    pub(super) fn commit(&mut self) -> Result<(), Fault> {
        self.meet_fault()?;
        self.journal.append(&self.redo, self.root_epoch)?;
        self.number += 1;
        self.seen.clear();
        Ok(())
    }

    /// Says in the journal that its last record was durable, where nothing says so yet. No batch is running.
    pub(super) fn seal(&mut self) -> Result<(), Fault> {
        if !self.journal.wants_seal(self.root_epoch) {
            return Ok(());
        }
        self.meet_fault()?;
        Ok(self.journal.append(&Redo::default(), self.root_epoch)?)
    }

    fn meet_fault(&self) -> Result<(), Fault> {
        let is_set = self.fault.as_ref().is_some_and(|fault| fault.load(Ordering::Relaxed));
        if is_set { Err(Fault::Injected) } else { Ok(()) }
    }

    /// Number of the newest commit.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Between two batches: takes note of a checkpoint that is through, begins one where it is time,
    /// and waits for one that is late.
    pub(super) fn tend(&mut self) -> Result<(), Fault> {
        self.poll()?;
        let waiting = self.view.growing.bytes();
        if self.journal.is_full() || waiting > self.recent_bytes_max / 2 {
            self.wait()?;
        }
        if self.flight.is_none() && (self.journal.is_half_full() || waiting > self.recent_bytes_max / 4) {
            self.begin()?;
        }
        Ok(())
    }

    /// Begins a checkpoint, if there is anything that the last one does not have, and none runs.
    pub(super) fn checkpoint(&mut self) -> Result<(), Fault> {
        self.poll()?;
        if self.flight.is_none() && self.journal.has_changes() {
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
        self.journal.has_changes()
    }

    /// Takes note of a checkpoint that is through, and gives back what is not needed any more.
    pub(super) fn rest(&mut self) -> Result<(), Fault> {
        self.poll()?;
        self.spent = None;
        Ok(())
    }

    /// Bytes of LMDB's file that rows are in; the rest of it is free.
    pub(super) fn stored_bytes(&self) -> u64 {
        self.view.stored.page_count() * PAGE_BYTES as u64
    }

    /// Checkpoints since the start.
    pub(super) fn checkpoints(&self) -> u64 {
        self.checkpoints
    }

    /// Memory of the rows that LMDB does not have, about.
    pub(super) fn recent_bytes(&self) -> u64 {
        self.view.growing.bytes() + self.view.frozen.as_ref().map_or(0, |layer| layer.bytes())
    }

    /// Whether a checkpoint is on its way.
    pub(super) fn is_checkpointing(&self) -> bool {
        self.flight.is_some()
    }

    /// Begins a checkpoint of all that is committed. None runs, and no batch.
    fn begin(&mut self) -> Result<(), Fault> {
        let from = self.journal.turn()?;
        let rows = Arc::clone(&self.view.growing);
        let stored = Arc::clone(&self.view.stored);
        self.show(View { stored: Arc::clone(&stored), growing: Arc::default(), frozen: Some(Arc::clone(&rows)) });
        let disk = self.disk.take().expect("no other checkpoint runs");
        let task = Box::new(Task { disk, rows, stored, spent: self.spent.take(), from });
        self.flight = Some(match self.runner {
            Runner::Ledger => Flight::Inline(Step::Begun(task)),
            Runner::Thread => {
                let thread = std::thread::Builder::new().name("checkpoint".to_owned());
                let run = move || {
                    // Where it stays as it is, calls wait for it a little longer.
                    let _ = crate::system::step_back(NICE);
                    task.carry()?.sync()?.write()
                };
                Flight::Thread(thread.spawn(run)?)
            }
        });
        Ok(())
    }

    /// Takes note of a checkpoint that is through; one without a thread goes on by a step.
    fn poll(&mut self) -> Result<(), Fault> {
        match self.flight.take() {
            Some(Flight::Thread(thread)) if !thread.is_finished() => self.flight = Some(Flight::Thread(thread)),
            Some(Flight::Inline(Step::Begun(task))) => {
                self.flight = Some(Flight::Inline(Step::Carried(Box::new(task.carry()?))));
            }
            Some(Flight::Inline(Step::Carried(task))) => {
                self.flight = Some(Flight::Inline(Step::Synced(Box::new(task.sync()?))));
            }
            Some(flight) => self.land(flight)?,
            None => {}
        }
        Ok(())
    }

    /// Waits until no checkpoint runs.
    fn wait(&mut self) -> Result<(), Fault> {
        match self.flight.take() {
            Some(flight) => self.land(flight),
            None => Ok(()),
        }
    }

    fn land(&mut self, flight: Flight) -> Result<(), Fault> {
        let Done { disk, epoch, stored } = match flight {
            Flight::Thread(thread) => {
                thread.join().unwrap_or_else(|_| Err(io::Error::other("the checkpoint panicked")))?
            }
            Flight::Inline(Step::Begun(task)) => task.carry()?.sync()?.write()?,
            Flight::Inline(Step::Carried(task)) => task.sync()?.write()?,
            Flight::Inline(Step::Synced(task)) => task.write()?,
        };
        self.disk = Some(disk);
        self.root_epoch = epoch;
        self.spent = self.view.frozen.take();
        self.seen.clear();
        self.show(View { stored: Arc::new(stored), growing: Arc::clone(&self.view.growing), frozen: None });
        self.checkpoints += 1;
        Ok(())
    }

    fn show(&mut self, view: View) {
        self.view = view.clone();
        self.recent.set(view);
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
    /// Carries the rows over into LMDB.
    fn carry(self) -> io::Result<Carried> {
        let Task { disk, rows, stored: before, spent, from } = self;
        drop(spent);
        disk.carry(&rows).map_err(StoredError::from)?;
        let stored = Stored::after(&before, &disk.tables)?;
        let root = stored.root(from);
        Ok(Carried { disk, root, stored })
    }
}

impl Disk {
    fn carry(&self, rows: &Layer) -> heed::Result<()> {
        let mut txn = self.tables.env().write_txn()?;
        for table in Table::ALL {
            let stored = self.tables.rows(table);
            for (key, value) in rows.newest(table) {
                match value {
                    Some(value) => stored.put(&mut txn, &key, &value)?,
                    None => _ = stored.delete(&mut txn, &key)?,
                }
            }
        }
        txn.commit()
    }
}

impl Carried {
    /// Makes the tree durable.
    fn sync(self) -> io::Result<Synced> {
        self.disk.data.sync()?;
        Ok(Synced(self))
    }
}

impl Synced {
    /// Makes it the root.
    fn write(self) -> io::Result<Done> {
        let Synced(Carried { mut disk, root, stored }) = self;
        disk.roots.write(&root)?;
        Ok(Done { disk, epoch: root.from.epoch, stored })
    }
}

/// A ledger as the start has opened it.
pub(super) struct Opened<'a> {
    pub(super) directory: &'a Path,
    pub(super) tables: Tables,
    pub(super) recent: Arc<Recent>,
    pub(super) roots: Roots,
    /// Durable.
    pub(super) root: Root,
    /// The root's tree.
    pub(super) stored: Stored,
}

/// A checkpoint's thread shares its core with those who answer: where they have work it has a third of what one of
/// them has, and so it ends in time.
const NICE: i32 = 5;
/// LMDB's file, within the ledger's directory.
pub const DATA_FILE: &str = "data.mdb";
