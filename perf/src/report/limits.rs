//! How near each server comes to what the machine can do, and what big transfers do to small questions: the ratios
//! that goals are stated in.

use super::{Report, Row, grouped, line, micros, ratio, rule};
use crate::probe::Limit;
use crate::run::Figures;

/// A test's rate, held against a limit of the machine in the same unit.
struct Held {
    test: &'static str,
    limit: Limit,
}

const HELD: &[Held] = &[
    Held { test: "create-one", limit: Limit::Flushes },
    Held { test: "write-4k-sync-one", limit: Limit::Flushes },
    Held { test: "write-4k-sync", limit: Limit::SharedFlushes },
    Held { test: "read-4k-random", limit: Limit::SmallReads },
    Held { test: "read-1m-seq", limit: Limit::SequentialReads },
    Held { test: "read-1m", limit: Limit::Loopback },
];

/// Small questions alone, and beside a stream of WRITEs.
const IDLE: &str = "getattr-one";
const BESIDE_WRITES: &str = "getattr-beside-writes";

/// The section, or nothing when no test of it ran.
pub(super) fn section(report: &Report) -> String {
    let rows: String = HELD.iter().filter_map(|held| held_row(report, held)).collect();
    let rows = rows + &beside_writes(report).unwrap_or_default();
    if rows.is_empty() {
        return String::new();
    }
    let titles = report.columns.iter().map(|column| column.title.clone());
    format!(
        "\n## Against the machine, and against itself\n\n{}{}{rows}",
        line("ratio", titles),
        rule(report.columns.len())
    )
}

fn held_row(report: &Report, held: &Held) -> Option<String> {
    let row = row(report, held.test)?;
    let reading = held.limit.among(&report.probes)?;
    let cells = cells(report, |column| Some(ratio(row.median(column)?.rate, reading.rate)));
    Some(line(&format!("{} / {} ({}/s)", row.label(), reading.title, grouped(reading.rate)), cells))
}

fn beside_writes(report: &Report) -> Option<String> {
    let (idle, beside) = (row(report, IDLE)?, row(report, BESIDE_WRITES)?);
    let cells = cells(report, |column| {
        let [beside, idle] = [beside.median(column)?, idle.median(column)?].map(|figures: Figures| figures.p99_us);
        Some(format!("{} ({} / {} µs)", ratio(beside, idle), micros(beside), micros(idle)))
    });
    Some(line("99 % of GETATTR (1), beside WRITEs / idle", cells))
}

fn row<'r>(report: &'r Report, test: &str) -> Option<&'r Row> {
    report.rows.iter().find(|row| row.test.name == test)
}

fn cells(report: &Report, cell: impl Fn(usize) -> Option<String>) -> impl Iterator<Item = String> {
    (0..report.columns.len()).map(move |column| cell(column).unwrap_or("–".to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::TESTS;

    #[test]
    fn every_test_that_is_held_against_something_exists() {
        let names = HELD.iter().map(|held| held.test).chain([IDLE, BESIDE_WRITES]);
        for name in names {
            assert!(TESTS.iter().any(|test| test.name == name), "{name}");
        }
    }
}
