//! What a comparison writes: `report.md` for people, `results.json` with every run, and two charts.

mod chart;
pub(crate) mod json;
mod limits;
pub(crate) mod machine;

use crate::failure::{Outcome, While};
use crate::peer::Description;
use crate::probe::Reading;
use crate::run::Figures;
use crate::work::{Kind, Test, Unit};
use json::Json;
use machine::Machine;
use std::fs;
use std::path::Path;

pub(crate) struct Report {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Row>,
    pub(crate) probes: Vec<Reading>,
    pub(crate) rounds: usize,
    /// Of each test in each round.
    pub(crate) seconds: f64,
    pub(crate) are_caches_cold: bool,
    pub(crate) machine: Machine,
}

/// A server.
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) durability: String,
}

impl Column {
    pub(crate) fn of(peer: &Description) -> Self {
        let Description { name, title, durability, .. } = peer.clone();
        Self { name, title, durability }
    }
}

/// A test, with the runs of each column.
pub(crate) struct Row {
    pub(crate) test: &'static Test,
    pub(crate) runs: Vec<Vec<Figures>>,
}

impl Row {
    pub(crate) fn new(test: &'static Test, columns: usize) -> Self {
        Self { test, runs: vec![Vec::new(); columns] }
    }

    fn median(&self, column: usize) -> Option<Figures> {
        self.runs.get(column).filter(|runs| !runs.is_empty()).map(|runs| Figures::median(runs))
    }

    fn label(&self) -> String {
        let in_flight = self.test.connections * self.test.in_flight;
        match self.test.unit {
            Unit::Operation if in_flight == 1 => self.test.title.to_string(),
            Unit::Operation => format!("{} ({in_flight})", self.test.title),
            unit => format!("{} ({in_flight}), per {}", self.test.title, unit.name()),
        }
    }
}

/// The column that ratios are of.
const SUBJECT: &str = "basalt";

impl Report {
    /// Writes everything into a folder, which is made.
    pub(crate) fn write(&self, folder: &Path) -> Outcome<()> {
        fs::create_dir_all(folder).during(folder.display())?;
        fs::write(folder.join("report.md"), self.markdown())?;
        fs::write(folder.join("results.json"), format!("{}\n", self.json()))?;
        fs::write(
            folder.join("rates.svg"),
            chart::draw(self, "Units per second (log scale, longer is better)", |f| f.rate),
        )?;
        fs::write(
            folder.join("cpu.svg"),
            chart::draw(self, "Server CPU, µs per unit (log scale, shorter is better)", |f| f.server_us),
        )?;
        Ok(())
    }

    pub(crate) fn markdown(&self) -> String {
        let Self { machine, rounds, seconds, .. } = self;
        let mut text = format!(
            "# NFSv3 servers compared, {}\n\n{}\n\nServer on one core, client on another; median of {rounds} \
             interleaved rounds of {seconds} s each. In brackets: calls in flight over all connections. Others used \
             {:.2} cores meanwhile (median), the kernel's own threads included.{}\n",
            machine.date,
            machine.line(),
            self.others_busy(),
            if self.are_caches_cold {
                ""
            } else {
                " **The page cache could not be emptied: reads from the disk are not.**"
            },
        );
        text += "\n## Units per second · server CPU in µs per unit\n\n";
        text += &self.table(|figures| format!("{} · {}", grouped(figures.rate), micros(figures.server_us)), true);
        if let Some(subject) = self.columns.iter().position(|column| column.name == SUBJECT) {
            text += &format!("\n## {} against the others: rate × · CPU ×\n\n", self.columns[subject].title);
            text += &self.ratios(subject);
        }
        text += "\n## Latency in µs: median / 99 % / 99.9 %\n\n";
        text += &self.table(|f| format!("{} / {} / {}", micros(f.p50_us), micros(f.p99_us), micros(f.p999_us)), false);
        text += &limits::section(self);
        text += "\n![Rates](rates.svg)\n\n![CPU](cpu.svg)\n";
        if !self.probes.is_empty() {
            text += "\n## The machine itself\n\n| probe | |\n|---|---:|\n";
            text.extend(self.probes.iter().map(|reading| format!("| {} | {} |\n", reading.title, reading.text())));
        }
        text
    }

    fn others_busy(&self) -> f64 {
        let runs = self.rows.iter().flat_map(|row| row.runs.iter().flatten());
        let runs: Vec<_> = runs.filter(|run| run.others_busy.is_finite()).copied().collect();
        if runs.is_empty() { 0.0 } else { Figures::median(&runs).others_busy }
    }

    fn table(&self, cell: impl Fn(&Figures) -> String, with_durability: bool) -> String {
        let titles = self.columns.iter().map(|column| column.title.clone());
        let mut text = line("test", titles) + &rule(self.columns.len());
        if with_durability {
            text += &line(
                "*on the disk before the reply*",
                self.columns.iter().map(|column| format!("*{}*", column.durability)),
            );
        }
        for row in &self.rows {
            let cells =
                (0..self.columns.len()).map(|column| row.median(column).map_or("–".to_string(), |f| cell(&f)));
            text += &line(&row.label(), cells);
        }
        text
    }

    fn ratios(&self, subject: usize) -> String {
        let others: Vec<_> = (0..self.columns.len()).filter(|column| *column != subject).collect();
        let mut text =
            line("test", others.iter().map(|column| self.columns[*column].title.clone())) + &rule(others.len());
        for row in &self.rows {
            let own = row.median(subject);
            let cells = others.iter().map(|column| match (own, row.median(*column)) {
                (Some(own), Some(other)) => {
                    format!("{} · {}", ratio(own.rate, other.rate), ratio(own.server_us, other.server_us))
                }
                _ => "–".to_string(),
            });
            text += &line(&row.label(), cells);
        }
        text
    }

    fn json(&self) -> Json {
        let columns = self.columns.iter().map(|column| {
            Json::object([
                ("name", Json::text(&column.name)),
                ("title", Json::text(&column.title)),
                ("durability", Json::text(&column.durability)),
            ])
        });
        let rows = self.rows.iter().map(|row| {
            let servers = self.columns.iter().zip(&row.runs).map(|(column, runs)| {
                (column.name.clone(), Json::list(runs.iter().map(|figures| figures.json(row.test))))
            });
            let test = row.test;
            Json::object([
                ("test", Json::text(test.name)),
                ("connections", Json::Number(test.connections as f64)),
                ("in_flight_each", Json::Number(test.in_flight as f64)),
                ("cold", Json::text(if test.kind == Kind::Cold { "yes" } else { "no" })),
                ("runs", Json::object(servers)),
            ])
        });
        Json::object([
            ("machine", self.machine.json()),
            ("rounds", Json::Number(self.rounds as f64)),
            ("seconds", Json::Number(self.seconds)),
            ("servers", Json::list(columns)),
            ("probes", Json::list(self.probes.iter().map(Reading::json))),
            ("tests", Json::list(rows)),
        ])
    }
}

fn line(first: &str, cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<_> = cells.collect();
    format!("| {first} | {} |\n", cells.join(" | "))
}

fn rule(columns: usize) -> String {
    format!("|---{}|\n", "|---:".repeat(columns))
}

/// A figure with three digits that mean something, and commas.
pub(crate) fn grouped(value: f64) -> String {
    let mut text = format!("{value:.0}");
    let mut at = text.len();
    while at > 3 && value.is_finite() {
        at -= 3;
        text.insert(at, ',');
    }
    text
}

/// Microseconds with the digits that mean something.
pub(crate) fn micros(value: f64) -> String {
    match value {
        value if !value.is_finite() => "–".to_string(),
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => grouped(value),
    }
}

fn ratio(own: f64, other: f64) -> String {
    let ratio = own / other;
    match ratio {
        ratio if !ratio.is_finite() => "–".to_string(),
        ratio if ratio < 10.0 => format!("{ratio:.2}"),
        ratio => format!("{ratio:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_grouped_by_thousands() {
        assert_eq!(grouped(999.6), "1,000");
        assert_eq!(grouped(1_234_567.0), "1,234,567");
        assert_eq!(grouped(12.0), "12");
        assert_eq!(micros(0.4123), "0.41");
        assert_eq!(micros(f64::NAN), "–");
    }
}
