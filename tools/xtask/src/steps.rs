//! Runs the steps of a task one after the other in the workspace's folder, and keeps how long each took: by the clock,
//! and in processor time, which says the same on a machine that others use too.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

pub(crate) struct Steps {
    folder: PathBuf,
    done: Vec<Step>,
}

struct Step {
    name: &'static str,
    took: Duration,
    processor: Duration,
}

impl Steps {
    /// No steps yet; commands will run in `folder`.
    pub(crate) fn of(folder: PathBuf) -> Steps {
        Steps { folder, done: Vec::new() }
    }

    /// Where cargo builds.
    pub(crate) fn target_folder(&self) -> PathBuf {
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.folder.join("target"), PathBuf::from)
    }

    pub(crate) fn cargo(&mut self, name: &'static str, arguments: &[&str]) -> Result<(), String> {
        self.run(name, Command::new("cargo").args(arguments))
    }

    pub(crate) fn run(&mut self, name: &'static str, command: &mut Command) -> Result<(), String> {
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        let words = format!("{} {}", command.get_program().to_string_lossy(), words.join(" "));
        println!("== {name}: {words}");
        let (began, before) = (Instant::now(), children_processor());
        let status = command.current_dir(&self.folder).status().map_err(|error| format!("{words}: {error}"))?;
        let step = Step { name, took: began.elapsed(), processor: children_processor().saturating_sub(before) };
        println!("== {}", step.times());
        self.done.push(step);
        match status.success() {
            true => Ok(()),
            false => Err(format!("{words}: {status}")),
        }
    }

    /// A line for each step, and one for all.
    pub(crate) fn summary(&self) -> String {
        let mut text = String::new();
        let all = Step {
            name: "all",
            took: self.done.iter().map(|step| step.took).sum(),
            processor: self.done.iter().map(|step| step.processor).sum(),
        };
        let all = (self.done.len() > 1).then_some(&all);
        for step in self.done.iter().chain(all) {
            let _ = writeln!(text, "{:<18}{}", step.name, step.times());
        }
        text
    }
}

impl Step {
    fn times(&self) -> String {
        format!("{:6.0} s, {:6.0} s of processor time", self.took.as_secs_f64(), self.processor.as_secs_f64())
    }
}

/// Processor time of all child processes that have ended: `cutime` and `cstime` of proc_pid_stat(5). Zero where
/// there is no such file.
fn children_processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    Duration::from_millis(children_ticks(&stat).unwrap_or(0) * 1000 / TICKS_PER_SECOND)
}

fn children_ticks(stat: &str) -> Option<u64> {
    // The second field is a name that may hold anything, spaces too; the third follows its last parenthesis.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(CUTIME_FIELD - 3);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

const CUTIME_FIELD: usize = 16;
/// USER_HZ, the same on every architecture that this runs on.
const TICKS_PER_SECOND: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_children_is_found_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 9 8 7 6 11 12 250 50 20 0 1 0 99";
        assert_eq!(children_ticks(stat), Some(300));
        assert_eq!(children_ticks("7 (cut) S 1"), None);
    }

    #[test]
    fn a_failed_step_is_an_error_and_in_the_summary() {
        let mut steps = Steps::of(PathBuf::from("/"));
        steps.run("good", &mut Command::new("true")).unwrap();
        assert!(steps.run("bad", &mut Command::new("false")).unwrap_err().contains("false"));
        let summary = steps.summary();
        let names: Vec<_> = summary.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
        assert_eq!(names, ["good", "bad", "all"]);
    }
}
