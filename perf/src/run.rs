//! One test against one server, once: prepare, run, check, clean up, and the figures. Callers: `compare`, `load`.

use crate::cpu;
use crate::failure::Outcome;
use crate::load::{self, Measured, Role, Setting};
use crate::report::json::Json;
use crate::site::{MIB, Site, Verify};
use crate::work::{Kind, Shape, Test, Unit};
use std::time::Duration;

/// Where a run happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) pid: Option<u32>,
    pub(crate) client_core: Option<usize>,
}

/// How a run is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repeat {
    pub(crate) time: Duration,
    pub(crate) verify: Verify,
}

/// The figures of one run. A unit is the test's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    /// Units per second.
    pub(crate) rate: f64,
    pub(crate) mib_per_s: f64,
    /// The server's CPU time for a unit, in microseconds; NaN when it is not known.
    pub(crate) server_us: f64,
    /// The client's, in microseconds.
    pub(crate) client_us: f64,
    /// The share of the time that the client computed: near 1, the client is what limits.
    pub(crate) client_busy: f64,
    /// The cores that others used meanwhile, the kernel's own threads included; NaN when the server's CPU is not known.
    pub(crate) others_busy: f64,
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) longest_us: f64,
    pub(crate) units: f64,
    pub(crate) seconds: f64,
    /// Things compared afterwards.
    pub(crate) checked: f64,
    /// The server's memory after the run, in MiB.
    pub(crate) resident_mib: f64,
}

pub(crate) fn once(site: &mut Site, test: &Test, shape: Shape, place: Place, repeat: Repeat) -> Outcome<Figures> {
    let mut prepared = test.prepare(site, shape)?;
    let warm_up = match test.kind {
        Kind::Steady => repeat.time / WARM_UP_PART,
        Kind::UsedUp | Kind::Cold => Duration::ZERO,
    };
    let Place { pid, client_core } = place;
    let setting = Setting { server: site.address.nfs, pid, client_core, warm_up, time: repeat.time };
    let lanes = prepared.lanes(shape.in_flight);
    // What disturbs a test costs CPU too, and nobody can tell whose it was.
    let is_shared = lanes.iter().any(|lane| lane.role == Role::Background);
    let measured = load::run(setting, lanes)?;
    let checked = match repeat.verify {
        Verify::Yes => prepared.check(site)?,
        Verify::No => 0,
    };
    prepared.clean(site)?;
    let resident_kib = place.pid.map(cpu::resident_kib).transpose()?.map_or(0, |(now, _)| now);
    let figures = Figures::of(&measured);
    let server_us = if is_shared { f64::NAN } else { figures.server_us };
    Ok(Figures { checked: checked as f64, resident_mib: resident_kib as f64 / 1024.0, server_us, ..figures })
}

/// A run warms up for its time divided by this.
const WARM_UP_PART: u32 = 5;

impl Figures {
    fn of(measured: &Measured) -> Self {
        let seconds = measured.time.as_secs_f64();
        let units = measured.units as f64;
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let latency = &measured.latency;
        Self {
            rate: units / seconds,
            mib_per_s: measured.bytes as f64 / MIB as f64 / seconds,
            server_us: measured.server.map_or(f64::NAN, |time| micros(time) / units),
            client_us: micros(measured.client) / units,
            client_busy: measured.client.as_secs_f64() / seconds,
            others_busy: measured.server.map_or(f64::NAN, |server| {
                measured.machine.saturating_sub(server + measured.client).as_secs_f64() / seconds
            }),
            p50_us: latency.percentile_us(0.5),
            p90_us: latency.percentile_us(0.9),
            p99_us: latency.percentile_us(0.99),
            p999_us: latency.percentile_us(0.999),
            longest_us: latency.longest_us(),
            units,
            seconds,
            checked: 0.0,
            resident_mib: 0.0,
        }
    }

    /// Each figure is the median of the same figure of all runs, of which there is at least one.
    pub(crate) fn median(runs: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| {
            let mut values: Vec<f64> = runs.iter().map(figure).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        Self {
            rate: of(|run| run.rate),
            mib_per_s: of(|run| run.mib_per_s),
            server_us: of(|run| run.server_us),
            client_us: of(|run| run.client_us),
            client_busy: of(|run| run.client_busy),
            others_busy: of(|run| run.others_busy),
            p50_us: of(|run| run.p50_us),
            p90_us: of(|run| run.p90_us),
            p99_us: of(|run| run.p99_us),
            p999_us: of(|run| run.p999_us),
            longest_us: of(|run| run.longest_us),
            units: of(|run| run.units),
            seconds: of(|run| run.seconds),
            checked: of(|run| run.checked),
            resident_mib: of(|run| run.resident_mib),
        }
    }

    pub(crate) const HEADING: &str = "test                        rate/s unit      MiB/s  server us  client us  busy others     p50 us     p99 us   p99.9 us  checked";

    /// One line of a table for people.
    pub(crate) fn line(&self, test: &Test) -> String {
        let Self {
            rate,
            mib_per_s,
            server_us,
            client_us,
            client_busy,
            others_busy,
            p50_us,
            p99_us,
            p999_us,
            checked,
            ..
        } = self;
        let (name, unit) = (test.name, test.unit.name());
        format!(
            "{name:<22} {rate:>11.0} {unit:<5} {mib_per_s:>9.0} {server_us:>10.2} {client_us:>10.2} {client_busy:>5.2} \
             {others_busy:>6.2} {p50_us:>10.1} {p99_us:>10.1} {p999_us:>10.1} {checked:>8.0}"
        )
    }

    pub(crate) fn json(&self, test: &Test) -> Json {
        let unit = match test.unit {
            Unit::Operation => "operation",
            other => other.name(),
        };
        Json::object([
            ("test", Json::text(test.name)),
            ("unit", Json::text(unit)),
            ("units_per_s", Json::Number(self.rate)),
            ("mib_per_s", Json::Number(self.mib_per_s)),
            ("server_cpu_us_per_unit", Json::Number(self.server_us)),
            ("client_cpu_us_per_unit", Json::Number(self.client_us)),
            ("client_busy", Json::Number(self.client_busy)),
            ("others_busy", Json::Number(self.others_busy)),
            ("latency_us_p50", Json::Number(self.p50_us)),
            ("latency_us_p90", Json::Number(self.p90_us)),
            ("latency_us_p99", Json::Number(self.p99_us)),
            ("latency_us_p999", Json::Number(self.p999_us)),
            ("latency_us_longest", Json::Number(self.longest_us)),
            ("units", Json::Number(self.units)),
            ("seconds", Json::Number(self.seconds)),
            ("checked", Json::Number(self.checked)),
            ("server_resident_mib", Json::Number(self.resident_mib)),
        ])
    }
}
