//! Makes inputs for one target and keeps those that reach something new.
//!
//! Caller: `basalt-fuzz`. An input is worth keeping when it passes an edge of the control flow that no input passed
//! before, or passes one in another order of magnitude (1, 2, 3, 4–7, 8–15, 16–31, 32–127, 128 and more times). One
//! seed, one corpus and one number of executions are one exact run.

use crate::mutate::mutate;
use crate::random::Random;
use crate::{Target, execute, probe};
use rustix::time::ClockId;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The work on one target.
pub struct Campaign {
    pub target: &'static Target,
    /// Inputs worth changing, the oldest first.
    pub corpus: Vec<Vec<u8>>,
    /// How many of them were there at the beginning.
    pub corpus_given: usize,
    pub totals: Totals,
    /// What broke; the campaign is over then.
    pub failure: Option<Failure>,
    random: Random,
    coverage: Coverage,
    input: Vec<u8>,
}

/// What was done so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub executions: u64,
    /// Time by the clock.
    pub took: Duration,
    /// Time of the processor.
    pub processor: Duration,
    pub longest: Duration,
    pub peak_bytes_max: usize,
}

/// An input that broke something.
pub struct Failure {
    pub input: Vec<u8>,
    pub reason: String,
}

impl Campaign {
    /// Begins with inputs that are known; runs each.
    pub fn new(target: &'static Target, known: Vec<Vec<u8>>, seed: u64, watch: &Watch) -> Campaign {
        let mut campaign = Campaign {
            target,
            corpus: Vec::new(),
            corpus_given: 0,
            totals: Totals::default(),
            failure: None,
            random: Random::new(seed),
            coverage: Coverage::new(),
            input: Vec::new(),
        };
        for input in known {
            campaign.input = input;
            campaign.execute(watch, Keep::Always);
        }
        if campaign.corpus.is_empty() {
            campaign.corpus.push(Vec::new());
        }
        campaign.corpus_given = campaign.corpus.len();
        campaign
    }

    /// Goes on for some executions, for some time, or until something breaks.
    pub fn run(&mut self, executions: u64, time: Duration, watch: &Watch) {
        let (began, processor) = (Instant::now(), processor_time());
        let end = self.totals.executions + executions;
        while self.failure.is_none() && self.totals.executions < end && began.elapsed() < time {
            for _ in 0..BURST.min(end - self.totals.executions) {
                self.next_input();
                self.execute(watch, Keep::New);
                if self.failure.is_some() || self.totals.longest > SLOW {
                    break;
                }
            }
        }
        self.totals.took += began.elapsed();
        self.totals.processor += processor_time() - processor;
    }

    /// Edges that any input passed.
    pub fn edges(&self) -> usize {
        self.coverage.edges()
    }

    fn next_input(&mut self) {
        let count = self.corpus.len();
        // What was found last leads furthest.
        let index = match self.random.below(2) {
            0 => count - 1 - self.random.below(count.div_ceil(4)),
            _ => self.random.below(count),
        };
        let other = self.random.below(count);
        self.input.clear();
        self.input.extend_from_slice(&self.corpus[index]);
        let Campaign { target, corpus, random, input, .. } = self;
        mutate(input, &corpus[other], target.words, target.input_max, random);
    }

    fn execute(&mut self, watch: &Watch, keep: Keep) {
        watch.begin(self.target, &self.input);
        self.coverage.clear(match keep {
            Keep::Always => Look::Everywhere,
            Keep::New => Look::Usual,
        });
        let began = Instant::now();
        let outcome = execute(self.target, &self.input);
        let took = began.elapsed();
        let is_new = self.coverage.learn();
        self.totals.executions += 1;
        self.totals.longest = self.totals.longest.max(took);
        match outcome {
            Ok(peak_bytes) => self.totals.peak_bytes_max = self.totals.peak_bytes_max.max(peak_bytes),
            Err(reason) if self.failure.is_none() => {
                self.failure = Some(Failure { input: self.input.clone(), reason });
            }
            Err(_) => {}
        }
        if is_new || matches!(keep, Keep::Always) {
            self.corpus.push(self.input.clone());
        }
    }
}

/// What this thread has had of the processor.
fn processor_time() -> Duration {
    time_of(ClockId::ThreadCPUTime)
}

fn time_of(clock: ClockId) -> Duration {
    let time = rustix::time::clock_gettime(clock);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Which inputs are kept.
#[derive(Clone, Copy)]
enum Keep {
    /// Whatever it reaches.
    Always,
    /// When it reaches something new.
    New,
}

/// Executions between two looks at the clock.
const BURST: u64 = 256;
/// A target with executions as long as this looks at the clock after each.
const SLOW: Duration = Duration::from_millis(1);

/// The least of `inputs` that pass all edges that they pass together, the shortest first.
pub fn least(target: &Target, mut inputs: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    inputs.sort_by_key(Vec::len);
    let mut coverage = Coverage::new();
    let mut edges = 0;
    inputs.retain(|input| {
        coverage.clear(Look::Everywhere);
        let holds = execute(target, input).is_ok();
        coverage.learn();
        let before = std::mem::replace(&mut edges, coverage.edges());
        holds && edges > before
    });
    inputs
}

/// The shortest and plainest input found that still breaks something.
pub fn shrink(target: &Target, mut input: Vec<u8>) -> Vec<u8> {
    let breaks = |input: &[u8]| execute(target, input).is_err();
    let mut block = input.len().next_power_of_two();
    while block > 0 {
        let mut at = 0;
        while at < input.len() {
            let mut shorter = input.clone();
            shorter.drain(at..(at + block).min(input.len()));
            match breaks(&shorter) {
                true => input = shorter,
                false => at += block,
            }
        }
        block /= 2;
    }
    for at in 0..input.len() {
        let before = std::mem::replace(&mut input[at], 0);
        if !breaks(&input) {
            input[at] = before;
        }
    }
    input
}

/// What inputs have reached. A target passes a small part of all code, so that only pages of counters where something
/// was met before are looked at, and all of them now and then. This code is instrumented like all other: it compares
/// arrays at once rather than bytes in a loop.
struct Coverage {
    /// For each edge the magnitudes seen, one bit each; in pages.
    seen: Vec<[u8; PAGE]>,
    /// Of the last execution.
    counts: Vec<[u8; PAGE]>,
    /// Pages to look at.
    pages: Vec<usize>,
    executions: u64,
}

impl Coverage {
    fn new() -> Coverage {
        let pages = probe::edge_count().div_ceil(PAGE);
        Coverage { seen: vec![[0; PAGE]; pages], counts: vec![[0; PAGE]; pages], pages: Vec::new(), executions: 0 }
    }

    /// Forgets what was executed since the last call; the next execution is what [`Coverage::learn`] is about.
    fn clear(&mut self, look: Look) {
        self.executions += 1;
        if look == Look::Everywhere || self.executions.is_multiple_of(EVERYWHERE) {
            self.pages = (0..self.seen.len()).collect();
        }
        self.take();
    }

    /// Whether the execution reached anything new.
    fn learn(&mut self) -> bool {
        self.take();
        let mut is_new = false;
        for &page in &self.pages {
            if self.counts[page] != [0; PAGE] {
                is_new |= learn_page(&mut self.seen[page], &self.counts[page]);
            }
        }
        if self.pages.len() == self.seen.len() {
            self.pages.retain(|&page| self.seen[page] != [0; PAGE]);
        }
        is_new
    }

    fn take(&mut self) {
        let edges = probe::edge_count();
        for &page in &self.pages {
            let first = page * PAGE;
            probe::take_edges(first, &mut self.counts[page][..PAGE.min(edges - first)]);
        }
    }

    /// Edges passed by any input.
    fn edges(&self) -> usize {
        self.seen.as_flattened().iter().filter(|&&magnitudes| magnitudes != 0).count()
    }
}

fn learn_page(seen: &mut [u8; PAGE], counts: &[u8; PAGE]) -> bool {
    let mut is_new = false;
    for (seen, counts) in seen.as_chunks_mut::<16>().0.iter_mut().zip(counts.as_chunks::<16>().0) {
        if *counts == [0; 16] {
            continue;
        }
        for (seen, count) in seen.iter_mut().zip(counts) {
            let magnitude = MAGNITUDES[usize::from(*count)];
            is_new |= magnitude & !*seen != 0;
            *seen |= magnitude;
        }
    }
    is_new
}

/// Where an execution is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Where something was met before.
    Usual,
    Everywhere,
}

/// Edges of a page.
const PAGE: usize = 128;
/// Every so many executions all pages are looked at.
const EVERYWHERE: u64 = 256;

/// The bit of each count.
const MAGNITUDES: [u8; 256] = {
    let mut table = [0; 256];
    let mut count = 1;
    while count < 256 {
        table[count] = match count {
            1 => 1,
            2 => 2,
            3 => 4,
            4..=7 => 8,
            8..=15 => 16,
            16..=31 => 32,
            32..=127 => 64,
            _ => 128,
        };
        count += 1;
    }
    table
};

/// What is being executed, for whoever watches that it ends.
#[derive(Default)]
pub struct Watch {
    executions: AtomicU64,
    current: Mutex<(&'static str, Vec<u8>)>,
}

impl Watch {
    fn begin(&self, target: &Target, input: &[u8]) {
        let mut current = self.current.lock().expect("nobody panics with the lock held");
        current.0 = target.name;
        current.1.clear();
        current.1.extend_from_slice(input);
        drop(current);
        self.executions.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until one execution takes more processor time than `limit`, or none for ten times as long; the target and
    /// the input. By the clock alone a machine that others use too would make hangs.
    pub fn hang(&self, limit: Duration) -> (&'static str, Vec<u8>) {
        let (mut last, mut began, mut before) = (0, Duration::ZERO, Duration::ZERO);
        let mut idle = Duration::ZERO;
        loop {
            std::thread::sleep(limit / 10);
            let (executions, processor) = (self.executions.load(Ordering::Relaxed), time_of(ClockId::ProcessCPUTime));
            if executions != last {
                (last, began, idle) = (executions, processor, Duration::ZERO);
            }
            idle = if processor - before < IDLE { idle + limit / 10 } else { Duration::ZERO };
            before = processor;
            if executions != 0 && (processor - began > limit || idle > 10 * limit) {
                return self.current.lock().expect("nobody panics with the lock held").clone();
            }
        }
    }
}

/// Who watches takes less between two looks.
const IDLE: Duration = Duration::from_millis(1);
