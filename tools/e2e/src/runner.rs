//! Runs cases one after the other, each as a child in a lab of its own with a time limit, and reports on them.
//! The lab ends everything that the case started, whatever happens.

use crate::cases::{self, Case};
use crate::failure::{Failure, Outcome, While, ensure, fail};
use crate::{Options, ServerKind, lab, places};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Runs the cases named in `wanted`, or all that fit the server when that is empty.
pub(crate) fn run(options: Options, wanted: &[String]) -> Outcome {
    let chosen = choose(options.server, wanted)?;
    let kclient = places::kclient()?;
    let root = places::work_root()?;
    fs::create_dir_all(&root).during(root.display())?;
    let (mut passed, mut failed) = (0, 0);
    for case in chosen {
        let work = root.join(format!("e2e-{}-{}", std::process::id(), case.name));
        fs::create_dir_all(&work).during(work.display())?;
        let began = Instant::now();
        let outcome = run_one(&kclient, options, case, &work);
        let took_s = began.elapsed().as_secs_f64();
        match outcome {
            Ok(note) => {
                passed += 1;
                println!("pass {} ({took_s:.1} s): {note}", case.name);
            }
            Err(failure) => {
                failed += 1;
                println!("FAIL {} ({took_s:.1} s, seed {}): {failure}", case.name, options.seed);
            }
        }
        if !options.keep {
            fs::remove_dir_all(&work).during(work.display())?;
        }
    }
    println!("{passed} passed, {failed} failed");
    ensure!(failed == 0, "some end-to-end cases failed");
    Ok(String::new())
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

/// One case in its lab. Its standard output's last line is the note; on a failure the whole log is shown.
fn run_one(kclient: &Path, options: Options, case: &Case, work: &Path) -> Outcome {
    let log_path = work.join("log");
    let log = File::create(&log_path).during(log_path.display())?;
    let status = Command::new(kclient)
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
        .status()
        .during("kclient lab")?;
    let text = String::from_utf8_lossy(&fs::read(&log_path)?).into_owned();
    let last = text.trim_end().lines().last().unwrap_or("no output");
    if status.success() {
        return Ok(last.to_string());
    }
    let shown: Vec<_> = text.lines().rev().take(LOG_LINES_MAX).collect();
    for line in shown.iter().rev() {
        println!("     {line}");
    }
    let reason = fs::read_to_string(work.join(lab::FAILURE_FILE)).unwrap_or_else(|_| last.to_string());
    Err(Failure::new(reason.lines().next().unwrap_or_default()))
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

/// Lines of a failed case's log that are shown.
const LOG_LINES_MAX: usize = 25;
