//! `cargo xtask planted`: bugs that the tests must catch. Each of `tools/xtask/planted/*.txt` lists some, as changes of
//! the source; the task makes them one after the other in a copy of the tree, and runs the tests that are to fail.
//!
//! A bug that no test catches (a survivor) fails the task: it is a test that is missing. A change that does not fit the
//! source any more fails `cargo xtask check`: the list follows the code. The copy and its build are kept in
//! `target/planted`, so that a bug costs the build of what it touches.

mod list;
mod tree;

use list::{Bug, read};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tree::Tree;

/// Every bug of the list can be planted: its files are there, and each text before is there exactly once.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    let bugs = read(root)?;
    for bug in &bugs {
        for change in &bug.changes {
            let text = std::fs::read_to_string(root.join(&change.file)).map_err(|error| said(bug, &error))?;
            change.apply(&text).map_err(|why| said(bug, &why))?;
        }
    }
    println!("{} planted bugs, all of them fit the source", bugs.len());
    Ok(())
}

/// Plants the named bugs, or all, and shows what caught them.
pub(crate) fn run(root: &Path, target: &Path, names: &[String]) -> Result<(), String> {
    check(root)?;
    let mut bugs = read(root)?;
    if let Some(unknown) = names.iter().find(|name| !bugs.iter().any(|bug| bug.name == **name)) {
        return Err(format!("there is no planted bug {unknown}"));
    }
    bugs.retain(|bug| names.is_empty() || names.contains(&bug.name));
    let tree = Tree::copy(root, &target.join("planted"))?;
    let mut rows = Vec::new();
    for bug in &bugs {
        let began = Instant::now();
        let before = tree.plant(bug)?;
        let verdict = judge(&tree, bug);
        tree.restore(before)?;
        let row = Row { bug, verdict: verdict.unwrap_or_else(Verdict::Broken), took: began.elapsed() };
        println!("{}", row.text());
        rows.push(row);
    }
    let secs: u64 = rows.iter().map(|row| row.took.as_secs()).sum();
    rows.retain(|row| !matches!(row.verdict, Verdict::Caught(_)));
    println!("{} planted, {} caught, {secs} s", bugs.len(), bugs.len() - rows.len());
    let told = |row: &Row<'_>| format!("{} is not caught: {}", row.bug.name, row.bug.about);
    match rows.is_empty() {
        true => Ok(()),
        false => Err(rows.iter().map(told).collect::<Vec<_>>().join("\n")),
    }
}

struct Row<'a> {
    bug: &'a Bug,
    verdict: Verdict,
    took: Duration,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// By this test.
    Caught(String),
    Survived,
    /// It does not compile, or the tests could not be run.
    Broken(String),
}

impl Row<'_> {
    fn text(&self) -> String {
        let by = match &self.verdict {
            Verdict::Caught(test) => format!("caught by {test}"),
            Verdict::Survived => "SURVIVED".to_owned(),
            Verdict::Broken(why) => format!("BROKEN: {why}"),
        };
        format!("{:<34} {:>4} s  {by}", self.bug.name, self.took.as_secs())
    }
}

/// Runs the tests, package by package, until one fails.
fn judge(tree: &Tree, bug: &Bug) -> Result<Verdict, String> {
    for tests in &bug.tests {
        let nextest = |further: &[&str]| {
            let mut command = Command::new("cargo");
            command.args(["nextest", "run", "--cargo-quiet"]).args(PROFILE).args(["--package", &tests.package]);
            command.args(tests.is_unit.then_some("--lib"));
            command.args(further);
            command.current_dir(tree.folder()).env("CARGO_TARGET_DIR", tree.target()).stdin(Stdio::null());
            command.output().map_err(|error| said(bug, &error))
        };
        let built = nextest(&["--no-run"])?;
        if !built.status.success() {
            return Err(said(bug, &format!("does not compile\n{}", text(&built))));
        }
        let mut run = vec!["--max-fail", "1:immediate", "--status-level", "fail", "--final-status-level", "fail"];
        run.extend(tests.part.as_deref());
        let tested = nextest(&run)?;
        if !tested.status.success() {
            let output = text(&tested);
            return first_failure(&output).map(Verdict::Caught).ok_or_else(|| said(bug, &output));
        }
    }
    Ok(Verdict::Survived)
}

/// What is built for every bug anew is built fast; what the tests spend their time in stays as it was.
const PROFILE: [&str; 8] = [
    "--config",
    "profile.dev.opt-level=0",
    "--config",
    "profile.dev.debug=false",
    "--config",
    "profile.dev.package.'*'.opt-level=1",
    "--config",
    "profile.dev.package.cache.opt-level=1",
];

/// The test that failed first, from what nextest says; how it ended, where it did not just fail.
fn first_failure(output: &str) -> Option<String> {
    let failed = |line: &&str| FAILURES.iter().any(|word| line.trim_start().starts_with(word));
    let line = output.lines().find(failed)?;
    // What follows the time in brackets: `FAIL [   0.1s] ( 3/10) shard fs::tests::name`.
    let (how, rest) = line.split_once(']')?;
    let words: Vec<&str> = rest.split_whitespace().filter(|word| !word.contains(['(', ')', '/'])).collect();
    let how = how.split_whitespace().next().filter(|how| *how != "FAIL");
    Some(words.join("::") + &how.map(|how| format!(" ({how})")).unwrap_or_default())
}

/// How nextest begins the line of a test that did not pass.
const FAILURES: [&str; 4] = ["FAIL", "TIMEOUT", "SIG", "ABORT"];

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn said(bug: &Bug, why: &impl std::fmt::Display) -> String {
    format!("the planted bug {}: {why}", bug.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_that_failed_is_found_in_what_nextest_says() {
        let output = "   Compiling\n        FAIL [   0.163s] ( 3/10) shard ledger::tests::a_name\n";
        assert_eq!(first_failure(output), Some("shard::ledger::tests::a_name".to_owned()));
        let output = "     SIGABRT [   1.0s] (12/30) cache table::tests::b\n     FAIL [ 2s] cache c\n";
        assert_eq!(first_failure(output), Some("cache::table::tests::b (SIGABRT)".to_owned()));
        assert_eq!(first_failure("all is well"), None);
    }
}
