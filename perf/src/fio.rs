//! What fio reports of its jobs, in its terse format 3. Callers: the probe of the disk, the measurements of a mount.

use crate::failure::{Failure, Outcome};
use crate::report::json::Json;

/// One job, or one group of jobs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) read: Direction,
    pub(crate) write: Direction,
}

/// All reads or all writes of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Direction {
    pub(crate) mib_per_s: f64,
    pub(crate) per_s: f64,
    /// From submission to completion, the mean.
    pub(crate) latency_us: f64,
}

impl Job {
    /// All jobs of a report. A job that failed is a failure.
    pub(crate) fn all_of(text: &str) -> Outcome<Vec<Self>> {
        let is_job = |line: &&str| line.starts_with("3;");
        text.lines().filter(is_job).map(Self::parse).collect()
    }

    fn parse(line: &str) -> Outcome<Self> {
        let fields: Vec<_> = line.split(';').collect();
        let short = || Failure::Said(format!("fio reports too little: {line}"));
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).ok_or_else(short);
        let name = fields.get(JOB_NAME_AT).ok_or_else(short)?.to_string();
        if number(ERROR_AT)? != 0.0 {
            return Err(Failure::Said(format!("the fio job {name} failed")));
        }
        let direction = |at: usize| -> Outcome<Direction> {
            let latency_us = number(at + LATENCY_MEAN_BEHIND)?;
            Ok(Direction { mib_per_s: number(at + 1)? / 1024.0, per_s: number(at + 2)?, latency_us })
        };
        Ok(Self { name, read: direction(READ_AT)?, write: direction(WRITE_AT)? })
    }

    pub(crate) fn json(&self) -> Json {
        let direction = |direction: &Direction| {
            Json::object([
                ("mib_per_s", Json::Number(direction.mib_per_s)),
                ("per_s", Json::Number(direction.per_s)),
                ("latency_us_mean", Json::Number(direction.latency_us)),
            ])
        };
        let (read, write) = (direction(&self.read), direction(&self.write));
        Json::object([("job", Json::text(&self.name)), ("read", read), ("write", write)])
    }
}

// Fields of a line, counted from 0 (fio's HOWTO, terse output).
const JOB_NAME_AT: usize = 2;
const ERROR_AT: usize = 4;
/// Total KiB, then KiB/s, then operations per second.
const READ_AT: usize = 5;
const WRITE_AT: usize = 46;
/// Mean of the total latency, behind the total KiB.
const LATENCY_MEAN_BEHIND: usize = 34;

#[cfg(test)]
mod tests {
    use super::*;

    fn line(error: u32) -> String {
        let mut fields = vec!["0".to_string(); 130];
        fields[..5].clone_from_slice(&["3", "fio-3.33", "frames", "0", &error.to_string()].map(str::to_string));
        fields[6] = "2048".to_string();
        fields[47] = "1024".to_string();
        fields[48] = "256".to_string();
        fields[80] = "12.5".to_string();
        fields.join(";")
    }

    #[test]
    fn a_job_is_found_among_other_lines() {
        let jobs = Job::all_of(&format!("fio: a warning\n{}\n", line(0))).unwrap();
        let read = Direction { mib_per_s: 2.0, ..Direction::default() };
        let write = Direction { mib_per_s: 1.0, per_s: 256.0, latency_us: 12.5 };
        assert_eq!(jobs, [Job { name: "frames".to_string(), read, write }]);
    }

    #[test]
    fn a_failed_job_and_a_short_line_are_failures() {
        assert!(Job::all_of(&line(5)).unwrap_err().to_string().contains("frames failed"));
        assert!(Job::all_of("3;fio-3.33;x;0;0;1").unwrap_err().to_string().contains("too little"));
    }
}
