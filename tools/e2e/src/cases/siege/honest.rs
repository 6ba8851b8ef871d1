//! An honest client: one call after the other, each timed.

use super::attacks::Target;
use crate::client;
use crate::failure::{Failure, ensure};
use std::fmt;
use std::time::{Duration, Instant};
use wire::nfs3::{FileHandleBuf, StableHow};

pub(super) struct Client {
    client: client::Client,
    root: FileHandleBuf,
    file: FileHandleBuf,
}

/// What it does in turn.
const OPERATIONS: [&str; 4] = ["GETATTR", "LOOKUP", "READ", "WRITE"];

/// The median latency of each operation in one window, or the lowest of several.
#[derive(Clone, Copy, Debug)]
pub(super) struct Medians {
    operations: [Duration; OPERATIONS.len()],
}

impl Client {
    pub(super) fn new(target: &Target) -> Result<Client, Failure> {
        let mut client = client::Client::new(target.address, 7 << 20);
        let file = client.create(target.root, NAME, 0o644)?;
        let written = client.write(file, 0, &[3; DATA_BYTES], StableHow::FileSync)?;
        ensure!(written.is_ok(), "WRITE: {written:?}");
        Ok(Client { client, root: target.root, file })
    }

    /// Works for `time`.
    pub(super) fn window(&mut self, time: Duration) -> Result<Medians, Failure> {
        let began = Instant::now();
        let mut samples = [const { Vec::new() }; OPERATIONS.len()];
        while began.elapsed() < time {
            for (index, samples) in samples.iter_mut().enumerate() {
                let asked = Instant::now();
                self.operate(index)?;
                samples.push(asked.elapsed());
            }
        }
        Ok(Medians { operations: samples.map(median) })
    }

    fn operate(&mut self, index: usize) -> Result<(), Failure> {
        match index {
            0 => self.client.getattr(self.file).map(drop),
            1 => self.client.lookup(self.root, NAME).map(drop),
            2 => {
                let data = self.client.read(self.file, 0, DATA_BYTES as u32)?;
                ensure!(data == [3; DATA_BYTES], "READ gave other bytes");
                Ok(())
            }
            _ => {
                let written = self.client.write(self.file, 0, &[3; DATA_BYTES], StableHow::FileSync)?;
                ensure!(written.is_ok(), "WRITE: {written:?}");
                Ok(())
            }
        }
    }
}

impl Medians {
    /// Before there is a window.
    pub(super) const WORST: Medians = Medians { operations: [Duration::MAX; OPERATIONS.len()] };

    /// The lower one of each operation.
    pub(super) fn best(&self, other: &Medians) -> Medians {
        Medians { operations: std::array::from_fn(|index| self.operations[index].min(other.operations[index])) }
    }

    /// How many times as long as the other's a round of all operations takes.
    pub(super) fn over(&self, other: &Medians) -> f64 {
        self.round().as_secs_f64() / other.round().as_secs_f64()
    }

    fn round(&self) -> Duration {
        self.operations.iter().sum()
    }
}

impl fmt::Display for Medians {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} us", self.round().as_micros())?;
        let parts = OPERATIONS.iter().zip(self.operations);
        let parts: Vec<_> = parts.map(|(name, median)| format!("{name} {}", median.as_micros())).collect();
        write!(f, " ({})", parts.join(", "))
    }
}

fn median(mut samples: Vec<Duration>) -> Duration {
    samples.sort_unstable();
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}

const NAME: &str = "honest";
const DATA_BYTES: usize = 4096;
