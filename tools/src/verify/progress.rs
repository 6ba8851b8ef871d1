//! Says on standard error how far a long run is: a line every few seconds, none for a short run.

use crate::text;
use std::time::{Duration, Instant};

/// How far a filesystem's check is.
pub(crate) struct Progress {
    share: String,
    is_quiet: bool,
    last: Instant,
    phase: &'static str,
    done: u64,
    /// What `done` comes to in the end; 0 when that is not known.
    total: u64,
    unit: Unit,
}

/// What is counted.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    Rows,
    Bytes,
}

/// Time between two lines.
const INTERVAL: Duration = Duration::from_secs(5);
/// The clock is looked at once in this many steps of rows.
const STEPS: u64 = 1 << 14;

impl Progress {
    pub(crate) fn new(share: &str, is_quiet: bool) -> Progress {
        let last = Instant::now();
        Progress { share: share.to_owned(), is_quiet, last, phase: "", done: 0, total: 0, unit: Unit::Rows }
    }

    /// A part of the work begins.
    pub(crate) fn phase(&mut self, phase: &'static str, total: u64, unit: Unit) {
        (self.phase, self.done, self.total, self.unit) = (phase, 0, total, unit);
    }

    /// One row more.
    pub(crate) fn row(&mut self) {
        self.done += 1;
        if self.done.is_multiple_of(STEPS) {
            self.tell();
        }
    }

    /// Some bytes more.
    pub(crate) fn bytes(&mut self, bytes: u64) {
        self.done += bytes;
        self.tell();
    }

    fn tell(&mut self) {
        if self.is_quiet || self.last.elapsed() < INTERVAL {
            return;
        }
        self.last = Instant::now();
        let amount = |count| match self.unit {
            Unit::Rows => format!("{count}"),
            Unit::Bytes => text::bytes(count),
        };
        let (share, phase, done) = (&self.share, self.phase, amount(self.done));
        match self.total {
            0 => eprintln!("{share}: {phase}: {done}"),
            total => {
                let percent = u128::from(self.done) * 100 / u128::from(total);
                eprintln!("{share}: {phase}: {done} of {} ({percent} %)", amount(total));
            }
        }
    }
}
