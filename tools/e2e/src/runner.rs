//! Runs cases, a few at a time, each as a child in a lab of its own with a time limit, and reports on them.
//! The lab ends everything that the case started, whatever happens.

use crate::cases::{self, Case};
use crate::failure::{Failure, Outcome, While, ensure, fail};
use crate::{Options, ServerKind, lab, places};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Runs the cases named in `wanted`, or all that fit the server when that is empty, `jobs` at the same time; those that
/// run alone come last.
pub(crate) fn run(options: Options, jobs: usize, wanted: &[String]) -> Outcome {
    let chosen = choose(options.server, wanted)?;
    let kclient = places::kclient()?;
    raise_open_files();
    let root = places::work_root()?;
    fs::create_dir_all(&root).during(root.display())?;
    let (alone, together): (Vec<_>, Vec<_>) = chosen.iter().partition(|case| case.alone);
    let passes = |case: &Case| passes(&kclient, options, case, &root);
    let failed = failures(&together, jobs, passes)? + failures(&alone, 1, passes)?;
    println!("{} passed, {failed} failed", chosen.len() - failed);
    ensure!(failed == 0, "some end-to-end cases failed");
    Ok(String::new())
}

/// Runs these, `jobs` at the same time, and counts those that do not pass.
fn failures(
    cases: &[&Case],
    jobs: usize,
    passes: impl Fn(&Case) -> Result<bool, Failure> + Sync,
) -> Result<usize, Failure> {
    let next = AtomicUsize::new(0);
    let take = || cases.get(next.fetch_add(1, Ordering::Relaxed)).copied();
    thread::scope(|scope| {
        let runner = || -> Result<usize, Failure> {
            let mut failed = 0;
            while let Some(case) = take() {
                failed += usize::from(!passes(case)?);
            }
            Ok(failed)
        };
        let runners: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(runner)).collect();
        let counts = runners.into_iter().map(|runner| runner.join().map_err(|_| Failure::new("a runner panicked"))?);
        counts.sum()
    })
}

/// For the cases and the servers that they start: inside a lab the limit cannot be raised any more. Where it stays low,
/// the case that wants more says what it does instead.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let maximum = limit.maximum.map(|files| files.max(OPEN_FILES));
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .or_else(|_| setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }));
}

/// Files that a case or its server may need to have open.
const OPEN_FILES: u64 = 12_000;

/// Runs a case in a folder of its own, and reports on it in one piece: others run meanwhile.
fn passes(kclient: &Path, options: Options, case: &Case, root: &Path) -> Result<bool, Failure> {
    let work = root.join(format!("e2e-{}-{}", std::process::id(), case.name));
    fs::create_dir_all(&work).during(work.display())?;
    let began = Instant::now();
    let outcome = run_one(kclient, options, case, &work);
    let took_s = began.elapsed().as_secs_f64();
    match &outcome {
        Ok(note) => println!("pass {} ({took_s:.1} s): {note}", case.name),
        Err(failure) => {
            let log = log_tail(&work);
            println!("{log}FAIL {} ({took_s:.1} s, seed {}): {failure}", case.name, options.seed);
        }
    }
    if !options.keep {
        fs::remove_dir_all(&work).during(work.display())?;
    }
    Ok(outcome.is_ok())
}

fn choose(server: ServerKind, wanted: &[String]) -> Result<Vec<&'static Case>, Failure> {
    let by_itself = |case: &&Case| wanted.is_empty() && (server == ServerKind::Basaltd || case.control);
    let named = |case: &&Case| wanted.iter().any(|name| case.name == name);
    let chosen: Vec<_> = cases::ALL.iter().filter(|case| by_itself(case) || named(case)).collect();
    if chosen.is_empty() {
        fail!("no such case; see basalt-e2e list");
    }
    Ok(chosen)
}

/// One case in its lab. Its standard output's last line is the note.
fn run_one(kclient: &Path, options: Options, case: &Case, work: &Path) -> Outcome {
    let log_path = work.join(LOG_FILE);
    let log = File::create(&log_path).during(log_path.display())?;
    let mut child = Command::new(kclient)
        .args(["lab", "--timeout", &case.limit_s.to_string(), "--"])
        .arg(std::env::current_exe()?)
        .arg("inside")
        .args(arguments(options))
        .arg(case.name)
        .current_dir(work)
        .env("KCLIENT", kclient)
        .env("BASALT_CHECKOUT", std::env::current_dir()?)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .during("kclient lab")?;
    let mut shown = Progress::new(case.name, &log_path)?;
    let status = loop {
        shown.show()?;
        match child.try_wait()? {
            Some(status) => break status,
            None => thread::sleep(LOOK_PAUSE),
        }
    };
    let text = String::from_utf8_lossy(&fs::read(&log_path)?).into_owned();
    let last = text.trim_end().lines().last().unwrap_or("no output");
    if status.success() {
        return Ok(last.to_string());
    }
    let reason = fs::read_to_string(work.join(lab::FAILURE_FILE)).unwrap_or_else(|_| last.to_string());
    Err(Failure::new(reason.lines().next().unwrap_or_default()))
}

/// The lines of a case's log that tell how far it has come, as they appear.
struct Progress {
    name: &'static str,
    log: File,
    /// The beginning of a line that is not there as a whole.
    part: Vec<u8>,
}

impl Progress {
    fn new(name: &'static str, log: &Path) -> Result<Progress, Failure> {
        Ok(Progress { name, log: File::open(log)?, part: Vec::new() })
    }

    fn show(&mut self) -> Result<(), Failure> {
        self.log.read_to_end(&mut self.part)?;
        let end = self.part.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let whole: Vec<u8> = self.part.drain(..end).collect();
        for line in String::from_utf8_lossy(&whole).lines() {
            if let Some(text) = line.strip_prefix(lab::PROGRESS) {
                println!("     {}: {text}", self.name);
            }
        }
        Ok(())
    }
}

/// The end of a case's log, indented.
fn log_tail(work: &Path) -> String {
    let text = fs::read(work.join(LOG_FILE)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    let shown = &lines[lines.len().saturating_sub(LOG_LINES_MAX)..];
    shown.iter().map(|line| format!("     {line}\n")).collect()
}

fn arguments(options: Options) -> Vec<String> {
    let server = match options.server {
        ServerKind::Basaltd => "basaltd",
        ServerKind::Ganesha => "ganesha",
    };
    let mut list = vec![format!("--server={server}"), format!("--rounds={}", options.rounds)];
    list.extend([format!("--operations={}", options.operations), format!("--seed={}", options.seed)]);
    list
}

/// What a case prints, in its folder.
const LOG_FILE: &str = "log";
/// How often it is looked how far a case has come.
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// Lines of a failed case's log that are shown.
const LOG_LINES_MAX: usize = 25;
