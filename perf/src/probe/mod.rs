//! What the machine can do, without any server: the limits that figures are held against.

mod disk;
mod fio;
mod lmdb;
mod loopback;

use crate::failure::Outcome;
use crate::report::json::Json;
use crate::report::{grouped, micros};
use std::path::Path;
use std::time::Duration;

/// What one probe found.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) title: String,
    /// Per second.
    pub(crate) rate: f64,
    pub(crate) unit: &'static str,
    /// Microseconds of CPU per unit, if the probe knows.
    pub(crate) cpu_us: Option<f64>,
}

impl Reading {
    pub(crate) fn text(&self) -> String {
        let rate = format!("{} {}/s", grouped(self.rate), self.unit);
        self.cpu_us.map_or(rate.clone(), |cpu| format!("{rate}, {} µs of CPU each", micros(cpu)))
    }

    pub(crate) fn json(&self) -> Json {
        Json::object([
            ("probe", Json::text(&self.title)),
            ("unit", Json::text(self.unit)),
            ("units_per_s", Json::Number(self.rate)),
            ("cpu_us_per_unit", self.cpu_us.map_or(Json::Null, Json::Number)),
        ])
    }
}

/// All probes, each for this long.
pub(crate) fn all(store: &Path, time: Duration) -> Outcome<Vec<Reading>> {
    let mut readings = loopback::probe(time)?;
    readings.extend(disk::probe(store, time)?);
    readings.extend(fio::probe(store, time)?);
    readings.extend(lmdb::probe(store, time)?);
    Ok(readings)
}

/// A limit of the machine that a test is held against.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    Flushes,
    SharedFlushes,
    SmallReads,
    SequentialReads,
    Loopback,
}

impl Limit {
    /// What was found of it, if it was probed.
    pub(crate) fn among(self, readings: &[Reading]) -> Option<&Reading> {
        let find = |title: &str| readings.iter().find(|reading| reading.title == title);
        match self {
            Self::Flushes => find(disk::FLUSHES),
            Self::SharedFlushes => find(disk::SHARED_FLUSHES),
            Self::SmallReads => find(disk::SMALL_READS),
            Self::SequentialReads => find(fio::SEQUENTIAL_READS).or_else(|| find(disk::SEQUENTIAL_READS)),
            Self::Loopback => find(loopback::SENDING),
        }
    }
}

pub(crate) fn show(store: &Path, time: Duration) -> Outcome<()> {
    for reading in all(store, time)? {
        println!("{:<62} {}", reading.title, reading.text());
    }
    Ok(())
}
