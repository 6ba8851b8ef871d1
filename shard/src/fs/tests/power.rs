//! A power cut at any moment: what was acknowledged as stable is there, and nothing else than what
//! was written.

use super::model::payload;
use super::rig::{Rig, all, create, cut, options, put, sync};
use super::seeds;
use crate::fs::Fs;
use crate::fs::write::Stability;
use crate::inode::FileId;
use cache::sim::Rng;
use futures_util::future::{join_all, select};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

/// What a client did to a file, in order.
#[derive(Default)]
struct History {
    file: Option<FileId>,
    acts: Vec<Act>,
}

struct Act {
    change: Change,
    /// The client was told that it is durable.
    is_stable: bool,
}

#[derive(Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate { size: usize },
}

/// What one byte may be after the power cut; `None` for behind the end.
type Allowed = Vec<Option<u8>>;

#[test]
fn what_was_acknowledged_is_there_after_a_power_cut() {
    seeds(400, |seed| {
        let mut rng = Rng::new(seed ^ 0x9071);
        let mut rig = Rig::new(seed, options(1 + (seed % 2) as u16, 1 << 40));
        let mut histories: Vec<Rc<RefCell<History>>> = (0..3).map(|_| Rc::default()).collect();
        for round in 0..3 {
            let cores = rig.fs.clone();
            if rng.one_in(2) {
                rig.churn();
            }
            let clients = histories.iter().enumerate().map(|(number, history)| {
                let rng = Rng::new(seed * 100 + round * 10 + number as u64);
                work(&rig, &cores, rng, format!("file {number} of {round}"), history.clone())
            });
            let lasts_max = if rng.one_in(4) { 3_000_000 } else { 50_000 };
            let lasts = Duration::from_micros(1 + rng.below(lasts_max));
            let (world, timer) = (rig.world.clone(), rig.fs[0].world.sleep(lasts));
            world.run_until(async {
                let clients = pin!(join_all(clients));
                drop(select(clients, timer).await);
            });
            drop(cores);
            let verifier = rig.shared.verifier();
            if rng.one_in(3) {
                rig = rig.kill();
                histories = found(&rig, &histories);
            }
            rig = rig.crash();
            assert_ne!(rig.shared.verifier(), verifier, "unstable data vanishes with the verifier");
            histories = found(&rig, &histories);
        }
    });
}

/// Checks every file; what a recovery found is kept from then on.
fn found(rig: &Rig, histories: &[Rc<RefCell<History>>]) -> Vec<Rc<RefCell<History>>> {
    histories.iter().map(|history| Rc::new(RefCell::new(check(rig, &history.borrow())))).collect()
}

/// Works on a file until it is stopped.
async fn work(rig: &Rig, cores: &[Rc<Fs>], mut rng: Rng, name: String, history: Rc<RefCell<History>>) {
    let known = history.borrow().file;
    let id = match known {
        Some(id) => id,
        None => create(&cores[0], &name).await.unwrap(),
    };
    history.borrow_mut().file = Some(id);
    for op in 0..400 {
        let fs = cores[rig.world.below(cores.len() as u64) as usize].clone();
        match rng.below(12) {
            0..=6 => {
                let offset = rng.below(30_000) as usize;
                let bytes_max = if rng.one_in(8) { 60_000 } else { 9_000 };
                let bytes = payload(op + rng.below(7), 1 + rng.below(bytes_max) as usize);
                let stability = if rng.one_in(3) { Stability::FileSync } else { Stability::Unstable };
                let act = begin(&history, Change::Write { offset, bytes: bytes.clone() });
                put(&fs, id, offset as u64, &bytes, stability).await.unwrap();
                history.borrow_mut().acts[act].is_stable = stability == Stability::FileSync;
            }
            7 => {
                let size = rng.below(40_000) as usize;
                let act = begin(&history, Change::Truncate { size });
                cut(&fs, id, size as u64).await.unwrap();
                history.borrow_mut().acts[act].is_stable = true;
            }
            8 | 9 => {
                sync(&fs, id).await.unwrap();
                history.borrow_mut().acts.iter_mut().for_each(|act| act.is_stable = true);
            }
            10 if rng.one_in(4) => fs.world.sleep(Duration::from_millis(rng.below(1200))).await,
            _ => fs.world.sleep(Duration::from_micros(rng.below(300))).await,
        }
    }
}

fn begin(history: &RefCell<History>, change: Change) -> usize {
    let mut history = history.borrow_mut();
    history.acts.push(Act { change, is_stable: false });
    history.acts.len() - 1
}

/// Compares a file with its history; what was found is where the next history begins.
fn check(rig: &Rig, history: &History) -> History {
    let Some(id) = history.file else { return History::default() };
    let found = rig.world.run_until(all(&rig.any_core(), id)).unwrap();
    for at in places(history, found.len()) {
        let mut allowed = vec![None];
        for act in &history.acts {
            act.apply(at, &mut allowed);
        }
        let byte = found.get(at).copied();
        assert!(allowed.contains(&byte), "byte {at} of {} is {byte:?}, not of {allowed:?}", found.len());
    }
    let change = Change::Write { offset: 0, bytes: found };
    History { file: history.file, acts: vec![Act { change, is_stable: true }] }
}

/// The bytes to look at: those around every edge, and some in between.
fn places(history: &History, size: usize) -> BTreeSet<usize> {
    let edges = history.acts.iter().flat_map(|act| match &act.change {
        Change::Write { offset, bytes } => [*offset, offset + bytes.len()],
        Change::Truncate { size } => [*size, *size],
    });
    let edges: BTreeSet<usize> = edges.chain([size]).collect();
    let end = edges.last().copied().unwrap_or(0);
    let around = edges.iter().flat_map(|&edge| [edge.saturating_sub(1), edge, edge + 1]);
    around.chain((0..end).step_by(509)).collect()
}

impl Act {
    /// What the byte at `at` may be afterwards.
    fn apply(&self, at: usize, values: &mut Allowed) {
        let before = values.len();
        for index in 0..before {
            let value = self.becomes(at, values[index]);
            if self.is_stable {
                values[index] = value;
            } else if !values.contains(&value) {
                values.push(value);
            }
        }
        if self.is_stable {
            values.sort_unstable();
            values.dedup();
        }
    }

    fn becomes(&self, at: usize, before: Option<u8>) -> Option<u8> {
        match &self.change {
            Change::Write { bytes, .. } if bytes.is_empty() => before,
            Change::Write { offset, bytes } if at >= *offset && at < offset + bytes.len() => Some(bytes[at - offset]),
            Change::Write { offset, .. } if at < *offset => before.or(Some(0)),
            Change::Write { .. } => before,
            Change::Truncate { size } if at >= *size => None,
            Change::Truncate { .. } => before.or(Some(0)),
        }
    }
}
