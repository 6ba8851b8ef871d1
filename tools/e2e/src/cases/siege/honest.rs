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
pub(super) const OPERATIONS: [&str; 4] = ["GETATTR", "LOOKUP", "READ", "WRITE"];

/// So many of them, the first ones, do not wait for the disk.
pub(super) const IN_MEMORY: usize = 3;

/// The median latency of each operation in one window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Medians([Duration; OPERATIONS.len()]);

/// How many times as long each operation took as beside nothing: the least of several comparisons.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times([f64; OPERATIONS.len()]);

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
        Ok(Medians(samples.map(median)))
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
    pub(super) fn least(&self, other: &Medians) -> Medians {
        Medians(std::array::from_fn(|index| self.0[index].min(other.0[index])))
    }

    pub(super) fn over(&self, quiet: &Medians) -> Times {
        Times(std::array::from_fn(|index| self.0[index].as_secs_f64() / quiet.0[index].as_secs_f64()))
    }
}

impl Times {
    /// Before there is a comparison.
    pub(super) const WORST: Times = Times([f64::INFINITY; OPERATIONS.len()]);

    pub(super) fn least(&self, other: &Times) -> Times {
        Times(std::array::from_fn(|index| self.0[index].min(other.0[index])))
    }

    /// Of the one of the first so many operations that was slowed down most.
    pub(super) fn most(&self, operations: usize) -> f64 {
        self.0[..operations].iter().copied().fold(0.0, f64::max)
    }
}

impl fmt::Display for Medians {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self.0.iter().map(|median| median.as_micros().to_string()).collect();
        write!(f, "{}", parts.join(" "))
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self.0.iter().map(|times| format!("{times:.2}")).collect();
        write!(f, "{}", parts.join(" "))
    }
}

fn median(mut samples: Vec<Duration>) -> Duration {
    samples.sort_unstable();
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}

const NAME: &str = "honest";
const DATA_BYTES: usize = 4096;
