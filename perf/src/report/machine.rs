//! Where and when a report was made: without that its figures say nothing.

use super::json::Json;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

pub(crate) struct Machine {
    /// Of today, as 2026-11-21, in UTC.
    pub(crate) date: String,
    kernel: String,
    processor: String,
    cores: usize,
    /// Type of the file system that the servers keep their files on.
    file_system: String,
    congestion_control: String,
    /// Of this project.
    commit: String,
}

impl Machine {
    pub(crate) fn this(store: &Path) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
        Self {
            date: today(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_string(),
            processor: model.trim_start_matches([' ', '\t', ':']).to_string(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            file_system: output("findmnt", &["-no", "FSTYPE", "-T", &store.display().to_string()]),
            congestion_control: read("/proc/sys/net/ipv4/tcp_congestion_control").trim().to_string(),
            commit: output("git", &["rev-parse", "--short", "HEAD"]),
        }
    }

    pub(crate) fn line(&self) -> String {
        let Self { kernel, processor, cores, file_system, congestion_control, commit, .. } = self;
        format!(
            "{processor}, {cores} cores, Linux {kernel}, TCP {congestion_control} over loopback, files on {file_system}, \
             Basalt at {commit}."
        )
    }

    pub(crate) fn json(&self) -> Json {
        Json::object([
            ("date", Json::text(&self.date)),
            ("kernel", Json::text(&self.kernel)),
            ("processor", Json::text(&self.processor)),
            ("cores", Json::Number(self.cores as f64)),
            ("file_system", Json::text(&self.file_system)),
            ("congestion_control", Json::text(&self.congestion_control)),
            ("commit", Json::text(&self.commit)),
        ])
    }
}

/// What a command says, or that it is unknown.
fn output(program: &str, arguments: &[&str]) -> String {
    let said = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success());
    said.map_or("unknown".to_string(), |output| String::from_utf8_lossy(&output.stdout).trim().to_string())
}

/// Today's date in UTC, as 2026-11-21.
pub(crate) fn today() -> String {
    let age = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    date_of(age.as_secs() / 86_400)
}

/// The date that lies this many days after 1970-01-01, in the Gregorian calendar: eras of 400 years, each beginning
/// in March so that the leap day is a year's last.
fn date_of(days: u64) -> String {
    let days = days + 719_468;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = days / 146_097 * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (days, date) in [(0, "1970-01-01"), (59, "1970-03-01"), (11_016, "2000-02-29"), (20_778, "2026-11-21")] {
            assert_eq!(date_of(days), date);
        }
    }
}
