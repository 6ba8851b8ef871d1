//! A power cut at any moment, at the level of the sectors of the ledger's files: what was acknowledged
//! is there, at most one batch more, and nothing else.

#![expect(clippy::disallowed_types, reason = "the ledger and the test meet here")]

use super::rig::*;
use crate::cred::Cred;
use crate::fs::filesystem::{Options, Shared};
use crate::fs::tests::seeds;
use crate::inode::{FileId, ROOT};
use crate::ledger::apply::{Ledger, Poisoned};
use crate::ledger::command::{Ask, CreateHow, Job, ReplayKey, Urgency};
use crate::ledger::journal;
use crate::ledger::media::{Step, Witness};
use crate::ledger::pages::Seen;
use crate::ledger::power::{Fuse, Power};
use crate::ledger::recent::Look;
use crate::ledger::record::{self, Table};
use crate::ledger::redo;
use crate::ledger::store::{LedgerOptions, OpenError, Store};
use cache::sim::Rng;
use cache::world::Time;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use tempfile::TempDir;

/// All rows of a ledger.
type RowMap = BTreeMap<(usize, Vec<u8>), Vec<u8>>;

/// A ledger, its power, and what its rows must be.
struct Machine {
    power: Power,
    options: LedgerOptions,
    dir: TempDir,
    truth: Arc<Mutex<Truth>>,
}

/// What the rows must be.
#[derive(Default)]
struct Truth {
    /// After all that was acknowledged.
    known: RowMap,
    /// After the batch whose record was begun as well.
    begun: Option<RowMap>,
}

#[test]
fn what_was_acknowledged_is_there_after_a_cut_of_every_sector() {
    seeds(300, |seed| {
        let mut rng = Rng::new(seed ^ 0x10c4);
        let machine = Machine::new(&mut rng);
        for _ in 0..4 {
            let Some(mut ledger) = machine.start(&mut rng) else { continue };
            if rng.one_in(2) {
                let fuse = Fuse { steps: rng.below(80), rng: Rng::new(rng.bits()) };
                machine.power.set_fuse(fuse);
            }
            for _ in 0..rng.below(40) {
                if !machine.step(&mut ledger, &mut rng) {
                    break;
                }
            }
            drop(ledger);
            machine.cut(&mut rng);
        }
    });
}

/// A start that applies a long journal commits to LMDB many times before its root is durable, and is
/// cut off, and cut off again.
#[test]
fn a_start_that_is_cut_off_is_as_if_it_had_not_begun() {
    seeds(40, |seed| {
        let mut rng = Rng::new(seed ^ 0x57a7);
        let mut machine = Machine::new(&mut rng);
        machine.options.journal_bytes = 1 << 20;
        for _ in 0..3 {
            let Some(mut ledger) = machine.start(&mut rng) else { continue };
            for _ in 0..60 {
                machine.batch(&mut ledger, &mut rng);
                if rng.one_in(8) {
                    machine.done(&mut ledger, Ledger::seal);
                }
            }
            drop(ledger);
            machine.cut(&mut rng);
        }
        machine.open().map(drop).unwrap();
    });
}

#[test]
fn a_ledger_that_was_not_finished_is_made_anew() {
    for steps in 0..12 {
        let mut rng = Rng::new(steps);
        let machine = Machine::new(&mut rng);
        machine.power.set_fuse(Fuse { steps, rng: Rng::new(steps) });
        assert!(machine.open().is_err());
        machine.cut(&mut rng);
        assert!(machine.start(&mut Rng::new(1)).is_some());
    }
}

impl Machine {
    fn new(rng: &mut Rng) -> Machine {
        let (power, truth) = (Power::new(), Arc::default());
        let mut options = options();
        options.limits.map_bytes = 64 << 20;
        options.journal_bytes = 4096 * (4 << rng.below(6));
        options.witness = Some(noting(&power, &truth));
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        Machine { power, options, dir, truth }
    }

    /// Opens the ledger; the power may go meanwhile, which is nothing new. `None` where it went for
    /// the third time.
    fn start(&self, rng: &mut Rng) -> Option<Ledger> {
        for _ in 0..3 {
            if rng.one_in(2) {
                self.power.set_fuse(Fuse { steps: rng.below(7), rng: Rng::new(rng.bits()) });
            }
            match self.open() {
                Ok(ledger) => return Some(ledger),
                Err(error) => assert!(self.power.is_gone(), "{error}"),
            }
            self.cut(rng);
        }
        None
    }

    /// What the store holds after the journal was replayed is what was acknowledged, or the batch that
    /// was begun is there too. Then the ledger commits its first batch.
    fn open(&self) -> Result<Ledger, OpenError> {
        let path = self.dir.path().join("ledger");
        let (store, keeper) = Store::open(&path, &self.options)?;
        let view = store.recent().view().unwrap();
        let found = rows(&Look { view: &view, seen: &Seen::default(), number: u64::MAX });
        let mut truth = self.truth.lock();
        let begun = truth.begun.take();
        let is_expected = truth.known.is_empty() || found == truth.known || Some(&found) == begun.as_ref();
        assert!(is_expected, "after the cut: {}", difference(&found, &truth.known));
        truth.known = found;
        drop(truth);
        let (lsn, commit) = (store.next_lsn()?, store.committed()?);
        let cores = Options::new(1, self.options.root);
        let shared = Arc::new(Shared::new(0, 7, self.dir.path(), cores, lsn, commit, 9));
        let ledger = Ledger::new((store, keeper), self.options.clone(), shared)?;
        self.acknowledged(&ledger);
        Ok(ledger)
    }

    fn cut(&self, rng: &mut Rng) {
        self.power.cut(&self.dir.path().join("ledger"), rng).unwrap();
    }

    /// A random batch, checkpoint or seal. Answers whether the power is still there.
    fn step(&self, ledger: &mut Ledger, rng: &mut Rng) -> bool {
        match rng.below(12) {
            0 => self.done(ledger, Ledger::checkpoint),
            1 => self.done(ledger, Ledger::settle),
            2 | 3 => self.done(ledger, Ledger::seal),
            _ => self.batch(ledger, rng),
        }
    }

    fn batch(&self, ledger: &mut Ledger, rng: &mut Rng) -> bool {
        let count = if rng.one_in(30) { 200 } else { 1 + rng.below(6) };
        let jobs: Vec<Job> = (0..count).map(|_| job(rng)).collect();
        self.done(ledger, |ledger| ledger.apply(&jobs).map(|commit| ledger.publish(&commit)))
    }

    fn done(&self, ledger: &mut Ledger, act: impl FnOnce(&mut Ledger) -> Result<(), Poisoned>) -> bool {
        let done = act(ledger);
        assert_eq!(done.is_err(), self.power.is_gone());
        if done.is_ok() {
            self.acknowledged(ledger);
        }
        done.is_ok()
    }

    /// The batch that was begun is through; the journal has what the layers and LMDB have.
    fn acknowledged(&self, ledger: &Ledger) {
        let mut truth = self.truth.lock();
        if let Some(begun) = truth.begun.take() {
            truth.known = begun;
        }
        let found = rows(&ledger.newest());
        assert!(found == truth.known, "the journal and the rows: {}", difference(&found, &truth.known));
    }
}

/// A witness that reads the journal as it is written, and then asks the power.
fn noting(power: &Power, truth: &Arc<Mutex<Truth>>) -> Witness {
    let (power, truth) = (power.witness(), Arc::clone(truth));
    Witness::new(move |step| {
        if let Step::Write(write) = step
            && let Some(record) = journal::decode(write.bytes)
        {
            let mut truth = truth.lock();
            let mut begun = truth.known.clone();
            for change in redo::changes(record.redo) {
                let change = change.unwrap();
                let key = (change.table as usize, change.key.to_vec());
                match change.value {
                    Some(value) => _ = begun.insert(key, value.to_vec()),
                    None => _ = begun.remove(&key),
                }
            }
            truth.begun = Some(begun);
        }
        power.see(step)
    })
}

fn job(rng: &mut Rng) -> Job {
    if rng.one_in(20) {
        return Job::OpenSegment { core: 0, urgency: Urgency::Reserve };
    }
    let root = FileId { ino: ROOT, generation: 1 };
    let (at, other) = (format!("n{}", rng.below(60)), format!("n{}", rng.below(60)));
    let verb = match rng.below(9) {
        0..=2 => create(root, &at, CreateHow::Guarded, 0o644),
        3 => mkdir(root, &at, 0o755),
        4 => symlink(root, &at, &vec![b'x'; 1 + rng.below(2000) as usize]),
        5 => rename(root, &at, root, &other),
        6 => rmdir(root, &at),
        7 => setattr(root, mode(0o700 + rng.below(0o77) as u32)),
        _ => remove(root, &at),
    };
    let key = ReplayKey { client: rng.below(3), xid: rng.bits() as u32, arguments: rng.bits() };
    let replay = rng.one_in(3).then_some(key);
    Job::Ask(Box::new(Ask { cred: Cred::root(), now: Time { secs: 3000, nanos: 0 }, replay, verb }))
}

/// All rows; each of them checks.
fn rows(look: &Look<'_>) -> RowMap {
    let mut all = RowMap::new();
    for table in Table::ALL {
        for row in look.range(table, &[0], &[u8::MAX; 300]).unwrap() {
            let (key, value) = row.unwrap();
            assert!(record::is_whole(table, &key, &value));
            all.insert((table as usize, key.to_vec()), value.to_vec());
        }
    }
    all
}

/// The first key that is not the same in both.
fn difference(found: &RowMap, wanted: &RowMap) -> String {
    let keys = found.keys().chain(wanted.keys());
    let differing: Vec<_> = keys.filter(|key| found.get(*key) != wanted.get(*key)).collect();
    format!("{} rows of {} and {}, first {:?}", differing.len(), found.len(), wanted.len(), differing.first())
}
