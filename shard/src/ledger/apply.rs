//! The ledger itself: jobs in, one transaction, answers out.
//!
//! Callers: the ledger's thread, recovery at start, and the simulator, which drives it inline.
//! Synchronous, one owner. What [`Ledger::apply`] answers may be told to clients: it is durable.
//! After a failed transaction the ledger refuses everything for ever ([`Poisoned`]), because nobody
//! can say what of it reached the disk.

use super::batch::{Batch, Fault};
use super::command::{Answer, Ask, CreateHow, Done, Fold, Job, Publish, ReplayFrom, Verb};
use super::keeper::Keeper;
#[cfg(test)]
use super::recent::Look;
use super::record::meta::Meta;
use super::record::reply::{self, Reply};
use super::record::{Corrupt, Table, segment};
use super::replies::{Known, Replies};
use super::segments::{News, Segments};
use super::store::{Gauges, LedgerOptions, OpenError, Store};
use super::{fold, sweep, verbs};
use crate::fs::filesystem::Shared;
use crate::inode::Ino;
use crate::status::Status;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The one writer of a filesystem's metadata.
pub struct Ledger {
    store: Store,
    keeper: Keeper,
    options: LedgerOptions,
    shared: Arc<Shared>,
    meta: Meta,
    segments: Segments,
    replies: Replies,
    first_orphan: Ino,
    poisoned: bool,
}

/// A transaction failed, now or earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poisoned;

/// What a batch came to.
#[derive(Debug)]
pub struct Commit {
    /// Number of the newest commit: this one, or the one before when nothing changed.
    pub number: u64,
    /// One for each job, in their order.
    pub answers: Vec<Done>,
    /// What the lock table is to be told.
    pub publishes: Vec<Publish>,
    /// Segments that were opened or freed.
    pub segments: Vec<News>,
}

impl Ledger {
    /// The writer of `store`. Commits once, which reserves the log sequence numbers of this run.
    pub fn new(
        (store, keeper): (Store, Keeper),
        options: LedgerOptions,
        shared: Arc<Shared>,
    ) -> Result<Ledger, OpenError> {
        let meta = store.meta()?.ok_or(OpenError::Headless)?;
        let segments = load_segments(&store, &meta)?;
        let replies = load_replies(&store, &meta)?;
        count_rows(&store)?;
        let poisoned = false;
        let mut ledger =
            Ledger { store, keeper, options, shared, meta, segments, replies, first_orphan: Ino(0), poisoned };
        let reserved =
            ledger.apply(&[]).map_err(|Poisoned| OpenError::Io(std::io::Error::other("the first commit failed")))?;
        ledger.publish(&reserved);
        Ok(ledger)
    }

    /// Applies `jobs` in their order, in one transaction, and commits. Whoever calls it then calls
    /// [`Ledger::publish`], and only after that sends the answers.
    pub fn apply(&mut self, jobs: &[Job]) -> Result<Commit, Poisoned> {
        self.guard(|ledger| {
            ledger.keeper.tend()?;
            ledger.transact(jobs)
        })
    }

    /// Begins a checkpoint, if there is anything new and none runs: what the journal holds then need
    /// not be replayed, and LMDB may use again what it has freed.
    pub fn checkpoint(&mut self) -> Result<(), Poisoned> {
        self.guard(|ledger| ledger.keeper.checkpoint())
    }

    /// Says in the journal that its last record was durable, unless something says so. Called when nothing was asked of
    /// the ledger for [`cache::log::SEAL_PAUSE`].
    pub fn seal(&mut self) -> Result<(), Poisoned> {
        self.guard(|ledger| ledger.keeper.seal())
    }

    /// Takes note of a checkpoint that is through, and gives its memory back. Answers whether one is on its way.
    /// Called where there is nothing else to do.
    pub fn looks_at_checkpoint(&mut self) -> bool {
        let is_well = self.guard(|ledger| ledger.keeper.rest()).is_ok();
        self.gauge();
        is_well && self.keeper.is_checkpointing()
    }

    /// Whether there is anything new for a checkpoint.
    pub fn is_behind(&self) -> bool {
        !self.poisoned && self.keeper.is_behind()
    }

    /// Takes a checkpoint of everything: the next start has nothing to replay.
    pub fn settle(&mut self) -> Result<(), Poisoned> {
        self.guard(|ledger| Ok(ledger.keeper.settle()?))
    }

    /// Does it, unless something has failed before; a failure is for ever.
    fn guard<T>(&mut self, work: impl FnOnce(&mut Ledger) -> Result<T, Fault>) -> Result<T, Poisoned> {
        if self.poisoned {
            return Err(Poisoned);
        }
        work(self).map_err(|fault| {
            self.poison(&fault);
            Poisoned
        })
    }

    /// Lets the cores see a commit: where segments are, its number, then what it changed.
    pub fn publish(&self, commit: &Commit) {
        for news in &commit.segments {
            match *news {
                News::Opened { id, slot } => self.shared.slots.insert(id, slot),
                News::Freed(id) => self.shared.slots.remove(id),
            }
        }
        self.shared.committed.store(commit.number, Ordering::Release);
        self.shared.table.publish(commit.number, &commit.publishes);
    }

    /// What all cores share of the filesystem.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The store that it writes.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// All rows as they are now.
    #[cfg(test)]
    pub(super) fn newest(&self) -> Look<'_> {
        self.keeper.newest()
    }

    fn transact(&mut self, jobs: &[Job]) -> Result<Commit, Fault> {
        let Ledger { store, keeper, options, shared, meta, segments, replies, first_orphan, .. } = self;
        let mut batch = Batch::begin(store, keeper, options, shared, meta, segments, first_orphan);
        let mut answers = Vec::with_capacity(jobs.len());
        for job in jobs {
            answers.push(match done(&mut batch, replies, job) {
                Ok(done) => done,
                Err(Fault::Refused(status)) => Done::Refused(status),
                Err(fault) => return Err(fault),
            });
        }
        let (committed, publishes) = batch.finish()?;
        if committed {
            self.store.gauges().commits.fetch_add(1, Ordering::Relaxed);
            self.gauge();
        }
        Ok(Commit { number: self.keeper.number(), answers, publishes, segments: self.segments.news() })
    }

    fn gauge(&self) {
        let gauges: &Gauges = self.store.gauges();
        let set = |gauge: &AtomicU64, value| gauge.store(value, Ordering::Relaxed);
        set(&gauges.live_bytes, self.segments.live_bytes());
        set(&gauges.segments, self.segments.count() as u64);
        set(&gauges.slots_made, u64::from(self.meta.slots_made));
        set(&gauges.reserve_segments, u64::from(self.options.reserve_segments));
        set(&gauges.disk_reserve_bytes, data_reserve(&self.options));
        set(&gauges.ledger_bytes, self.store.tables().file_bytes());
        set(&gauges.checkpoints, self.keeper.checkpoints());
        set(&gauges.recent_bytes, self.keeper.recent_bytes());
        set(&self.shared.live_bytes, self.segments.live_bytes());
        let slots_max = self.options.capacity_bytes / self.options.segment_bytes.max(1);
        let fresh = slots_max.saturating_sub(u64::from(self.meta.slots_made));
        set(&self.shared.free_segments, fresh.saturating_add(self.segments.free_slots() as u64));
    }

    fn poison(&mut self, fault: &Fault) {
        self.poisoned = true;
        let directory = self.store.directory().display();
        tracing::error!(%directory, %fault, "the ledger failed; read-only until restarted");
        // Without randomness the old verifier is inverted, which is different too.
        let verifier = getrandom::u64().unwrap_or_else(|_| !u64::from_be_bytes(self.shared.verifier()));
        self.shared.poison(verifier);
    }
}

/// Bytes of the disk that data leaves: it stops before the ledger does, so that a disk that data has
/// filled still takes names.
pub(super) fn data_reserve(options: &LedgerOptions) -> u64 {
    options.reserve_bytes.saturating_mul(2)
}

fn done(batch: &mut Batch<'_>, replies: &mut Replies, job: &Job) -> Result<Done, Fault> {
    match job {
        Job::Ask(ask) => Ok(Done::Answer(Box::new(answer(batch, replies, ask)?))),
        Job::Fold { files, from } => folded(batch, files, *from),
        Job::OpenSegment { core, urgency } => {
            let room = batch.slot_room()?;
            let (info, fresh) = batch.segments.open(batch.meta, *core, *urgency, room)?;
            Ok(Done::Segment { info, fresh })
        }
        Job::Sweep => Ok(Done::Swept { more: sweep::apply(batch)? }),
    }
}

/// Each file is folded by itself; the log may forget only what all of them have.
fn folded(batch: &mut Batch<'_>, files: &[Fold], from: Option<ReplayFrom>) -> Result<Done, Fault> {
    let mut refused = None;
    for file in files {
        match fold::apply(batch, file) {
            Ok(()) => {}
            Err(Fault::Refused(status)) => refused = Some(status),
            Err(fault) => return Err(fault),
        }
    }
    if let Some(status) = refused {
        return Err(Fault::Refused(status));
    }
    if let Some(from) = from {
        batch.segments.replay_from(from);
    }
    Ok(Done::Folded)
}

/// Answers a request: from the replies if it was answered before, else by doing it.
fn answer(batch: &mut Batch<'_>, replies: &mut Replies, ask: &Ask) -> Result<Answer, Fault> {
    let Some(key) = ask.replay else { return verbs::apply(batch, ask) };
    if let Some(known) = replies.find(&key) {
        batch.gauges().replays.fetch_add(1, Ordering::Relaxed);
        return match known {
            Known::Light(answer) => Ok(*answer),
            Known::Slot(slot) => stored(batch, slot),
        };
    }
    let changes = batch.changes();
    let answer = verbs::apply(batch, ask)?;
    let has_effect = batch.changes() != changes || truncates(&ask.verb, &answer);
    match answer.status {
        Ok(()) if has_effect => {
            let number = batch.meta.replies;
            let slot = replies.next_slot(batch.meta, key);
            reply::encode(slot, &Reply { number, key, answer }, &mut batch.scratch);
            batch.put(Table::Replies, reply::key(slot).as_bytes());
        }
        // What failed with the disk may be tried again.
        Err(Status::Io) => {}
        _ => replies.keep_light(key, &answer),
    }
    Ok(answer)
}

/// The caller goes on to truncate the file that CREATE found.
fn truncates(verb: &Verb, answer: &Answer) -> bool {
    match verb {
        Verb::Create { attr, how: CreateHow::Unchecked, .. } => answer.existed && attr.size.is_some(),
        _ => false,
    }
}

fn stored(batch: &mut Batch<'_>, slot: u32) -> Result<Answer, Fault> {
    let key = reply::key(slot);
    match batch.rows().get(Table::Replies, key.as_bytes())? {
        Some(value) => match reply::decode(key.as_bytes(), &value) {
            Ok(reply) => Ok(reply.answer),
            Err(corrupt) => Err(batch.corrupt(corrupt)),
        },
        None => Err(batch.corrupt(Corrupt { table: Table::Replies, reason: "a stored reply is not there" })),
    }
}

fn count_rows(store: &Store) -> Result<(), OpenError> {
    let txn = store.tables().env().read_txn()?;
    let count = |table| store.tables().rows(table).len(&txn);
    store.gauges().inodes.store(count(Table::Inodes)?, Ordering::Relaxed);
    store.gauges().orphans.store(count(Table::Orphans)?, Ordering::Relaxed);
    Ok(())
}

fn load_segments(store: &Store, meta: &Meta) -> Result<Segments, OpenError> {
    let txn = store.tables().env().read_txn()?;
    let mut rows = Vec::new();
    for row in store.tables().rows(Table::Segments).iter(&txn)? {
        let (key, value) = row?;
        rows.push(segment::decode(key, value)?);
    }
    Ok(Segments::new(rows, meta.slots_made))
}

/// A damaged reply is left out: the ring is a cache, and its slot is written again in its turn.
fn load_replies(store: &Store, meta: &Meta) -> Result<Replies, OpenError> {
    let txn = store.tables().env().read_txn()?;
    let mut rows = Vec::new();
    for row in store.tables().rows(Table::Replies).iter(&txn)? {
        let (key, value) = row?;
        let slot = <[u8; 4]>::try_from(key).map(u32::from_be_bytes);
        match (slot, reply::decode(key, value)) {
            (Ok(slot), Ok(reply)) => rows.push((slot, reply.key)),
            _ => store.gauges().count_corrupt(),
        }
    }
    Ok(Replies::new(meta, rows))
}
