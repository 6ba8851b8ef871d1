//! What a real client gets: the fio jobs of `perf/fio/` and pjdfstest in a folder that is mounted already, with a
//! dated report of bandwidths, rates and pass counts. Runs wherever the mount is, in a guest too.

use crate::MountArgs;
use crate::failure::{Failure, Outcome, While};
use crate::fio::{Direction, Job};
use crate::report::json::Json;
use crate::report::{grouped, machine, micros};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const JOBS: &[(&str, &str)] = &[
    ("sequential", include_str!("../fio/sequential.fio")),
    ("random", include_str!("../fio/random.fio")),
    ("mixed", include_str!("../fio/mixed.fio")),
    ("metadata", include_str!("../fio/metadata.fio")),
    ("render-farm", include_str!("../fio/render-farm.fio")),
];
const PJDFSTEST_CONFIG: &str = include_str!("../pjdfstest.toml");

/// What one file of jobs came to.
struct Ran {
    name: &'static str,
    jobs: Vec<Job>,
}

/// pjdfstest's verdicts.
#[derive(Debug, Default, PartialEq)]
struct Tally {
    passed: usize,
    skipped: usize,
    failed: Vec<String>,
}

pub(crate) fn measure(args: &MountArgs) -> Outcome<()> {
    let folder = args.folder.join(format!("basalt-perf-mount.{}", std::process::id()));
    fs::create_dir(&folder).during(folder.display())?;
    let measured = measure_in(&folder, args);
    fs::remove_dir_all(&folder)?;
    let (ran, tally) = measured?;
    let results = args.results.clone().unwrap_or_else(|| Path::new("perf/results").join(machine::today()));
    fs::create_dir_all(&results)?;
    let report = markdown(args, &ran, tally.as_ref());
    fs::write(results.join("mount.md"), &report)?;
    fs::write(results.join("mount.json"), format!("{}\n", json(args, &ran, tally.as_ref())))?;
    println!("{report}\nwritten to {}", results.display());
    Ok(())
}

fn measure_in(folder: &Path, args: &MountArgs) -> Outcome<(Vec<Ran>, Option<Tally>)> {
    let mut ran = Vec::new();
    for (name, text) in JOBS {
        let place = folder.join(name);
        fs::create_dir(&place)?;
        ran.push(Ran { name, jobs: fio(&place, text, args.seconds).during(name)? });
        // The next one finds the space and the cache that this one had.
        fs::remove_dir_all(&place)?;
    }
    let tally = args.pjdfstest.as_ref().map(|program| pjdfstest(program, folder)).transpose()?;
    Ok((ran, tally))
}

fn fio(place: &Path, text: &str, seconds: Option<u32>) -> Outcome<Vec<Job>> {
    let lines = text.lines().map(|line| match (seconds, line.starts_with("runtime=")) {
        (Some(seconds), true) => format!("runtime={seconds}\n"),
        _ => format!("{line}\n"),
    });
    let file = place.join("jobs.fio");
    fs::write(&file, lines.collect::<String>())?;
    let mut command = Command::new("fio");
    command.arg(&file).args(["--output-format=terse", "--terse-version=3"]).current_dir(place).env("PWD", place);
    let output = said(&mut command)?;
    let text = String::from_utf8_lossy(&output.stdout);
    match output.status.success() {
        true => Job::all_of(&text),
        false => Err(Failure::Said(format!("{}: {text}{}", output.status, String::from_utf8_lossy(&output.stderr)))),
    }
}

fn pjdfstest(program: &PathBuf, folder: &Path) -> Outcome<Tally> {
    let config = folder.join("pjdfstest.toml");
    fs::write(&config, PJDFSTEST_CONFIG)?;
    let place = folder.join("pjdfstest");
    fs::create_dir(&place)?;
    // It wants the whole mode that it asks for, and it ends with a failure when a single test fails.
    let mut command = Command::new("sh");
    command.args(["-c", "umask 0; exec \"$0\" -c \"$1\" -p \"$2\""]).arg(program).arg(&config).arg(&place);
    let output = said(&mut command)?;
    let tally = Tally::of(&String::from_utf8_lossy(&output.stdout));
    match tally.passed {
        0 => Err(Failure::Said(format!("pjdfstest passed nothing: {}", String::from_utf8_lossy(&output.stderr)))),
        _ => Ok(tally),
    }
}

fn said(command: &mut Command) -> Outcome<Output> {
    let program = command.get_program().display().to_string();
    command.stdin(Stdio::null()).output().during(program)
}

impl Tally {
    /// Counts the lines `NAME ok|skipped|FAILED`; details below them are indented.
    fn of(report: &str) -> Self {
        let mut tally = Self::default();
        for line in report.lines().filter(|line| !line.starts_with(char::is_whitespace)) {
            let words: Vec<_> = line.split_whitespace().collect();
            match words[..] {
                [_, "ok"] => tally.passed += 1,
                [_, "skipped"] => tally.skipped += 1,
                [name, "FAILED"] => tally.failed.push(name.to_string()),
                _ => {}
            }
        }
        tally
    }

    fn json(&self) -> Json {
        Json::object([
            ("passed", Json::Number(self.passed as f64)),
            ("skipped", Json::Number(self.skipped as f64)),
            ("failed", Json::list(self.failed.iter().map(Json::text))),
        ])
    }
}

fn markdown(args: &MountArgs, ran: &[Ran], tally: Option<&Tally>) -> String {
    let machine = machine::Machine::this(&args.folder);
    let mut text = format!("# On a mount, {}\n\n{}\n\n", machine.date, machine.line());
    text += "MiB/s · operations/s · mean latency in µs.\n\n| fio job | reads | writes |\n|---|---:|---:|\n";
    for Ran { name, jobs } in ran {
        for Job { name: job, read, write } in jobs {
            text += &format!("| {name}: {job} | {} | {} |\n", cell(read), cell(write));
        }
    }
    if let Some(Tally { passed, skipped, failed }) = tally {
        let failed = if failed.is_empty() { "none".to_string() } else { failed.join(", ") };
        text += &format!("\npjdfstest: {passed} passed, {skipped} skipped, failed: {failed}.\n");
    }
    text
}

fn cell(direction: &Direction) -> String {
    match direction.per_s {
        0.0 => "–".to_string(),
        per_s => {
            format!("{} · {} · {}", grouped(direction.mib_per_s), grouped(per_s), micros(direction.latency_us))
        }
    }
}

fn json(args: &MountArgs, ran: &[Ran], tally: Option<&Tally>) -> Json {
    let ran = ran.iter().map(|Ran { name, jobs }| (*name, Json::list(jobs.iter().map(Job::json))));
    Json::object([
        ("machine", machine::Machine::this(&args.folder).json()),
        ("fio", Json::object(ran)),
        ("pjdfstest", tally.map_or(Json::Null, Tally::json)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_line_is_counted_once() {
        let report = "a::b   ok\nc::d  skipped\n\tneeds more\nx::y   FAILED\n\tpanicked: ok\n\nSummary: 1 failed\n";
        let tally = Tally { passed: 1, skipped: 1, failed: vec!["x::y".to_string()] };
        assert_eq!(Tally::of(report), tally);
    }
}
