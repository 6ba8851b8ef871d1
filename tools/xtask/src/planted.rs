//! `cargo xtask planted`: bugs that the tests must catch. Each of `tools/xtask/planted/*.txt` lists some, as changes of
//! the source; the task makes them one after the other in a copy of the tree, and runs the tests that are to fail.
//!
//! A bug that no test catches (a survivor) fails the task: it is a test that is missing. So does a test that caught one
//! and fails without it, too: in the end those that caught something are run in the tree as it is. A change that does not fit the
//! source any more fails `cargo xtask check`: the list follows the code. The copy and its build are kept in
//! `target/planted`, so that a bug costs the build of what it touches.

mod list;
mod tree;

use list::{Bug, Program, Tests, read};
use std::collections::{BTreeMap, BTreeSet};
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
    let unsound = failing_without(&tree, &rows)?;
    let mut failures: Vec<String> = unsound.into_iter().map(|test| format!("{test} fails without any bug")).collect();
    rows.retain(|row| !matches!(row.verdict, Verdict::Caught(..)));
    println!("{} planted, {} caught, {secs} s", bugs.len(), bugs.len() - rows.len());
    failures.extend(rows.iter().map(|row| format!("{} is not caught: {}", row.bug.name, row.bug.about)));
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

struct Row<'a> {
    bug: &'a Bug,
    verdict: Verdict<'a>,
    took: Duration,
}

enum Verdict<'a> {
    Caught(&'a Tests, Failure),
    Survived,
    /// It does not compile, or the tests could not be run.
    Broken(String),
}

/// A test that did not pass.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Failure {
    /// As nextest names the program that it is in.
    program: String,
    test: String,
    /// Where it did not just fail: by a signal, or too late.
    how: Option<String>,
}

impl Row<'_> {
    fn text(&self) -> String {
        let by = match &self.verdict {
            Verdict::Caught(_, failure) => format!("caught by {failure}"),
            Verdict::Survived => "SURVIVED".to_owned(),
            Verdict::Broken(why) => format!("BROKEN: {why}"),
        };
        format!("{:<34} {:>4} s  {by}", self.bug.name, self.took.as_secs())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}::{}", self.program, self.test)?;
        self.how.iter().try_for_each(|how| write!(out, " ({how})"))
    }
}

/// Runs the tests, package by package, until one fails.
fn judge<'a>(tree: &Tree, bug: &'a Bug) -> Result<Verdict<'a>, String> {
    let nextest = |tests: &Tests, further: &[&str]| nextest(tree, tests, further).map_err(|error| said(bug, &error));
    for tests in &bug.tests {
        let built = nextest(tests, &["--no-run"])?;
        if !built.status.success() {
            return Err(said(bug, &format!("does not compile\n{}", text(&built))));
        }
        let run: Vec<&str> = UNTIL_ONE_FAILS.into_iter().chain(tests.part.as_deref()).collect();
        let tested = nextest(tests, &run)?;
        if !tested.status.success() {
            let output = text(&tested);
            let failure = first_failure(&output).ok_or_else(|| said(bug, &output))?;
            return Ok(Verdict::Caught(tests, failure));
        }
    }
    Ok(Verdict::Survived)
}

/// Of the tests that caught a bug, one of each program that fails in the tree as it is: it says nothing.
fn failing_without(tree: &Tree, rows: &[Row<'_>]) -> Result<Vec<String>, String> {
    let mut programs: BTreeMap<&str, (&Tests, BTreeSet<&str>)> = BTreeMap::new();
    for row in rows {
        if let Verdict::Caught(tests, failure) = &row.verdict {
            programs.entry(&failure.program).or_insert((tests, BTreeSet::new())).1.insert(&failure.test);
        }
    }
    let mut failing = Vec::new();
    for (program, (tests, names)) in programs {
        let names: Vec<String> = names.iter().map(|name| format!("test(={name})")).collect();
        let only = format!("binary_id({program}) & ({})", names.join(" | "));
        let run: Vec<&str> = UNTIL_ONE_FAILS.into_iter().chain(["-E", &only]).collect();
        let tested = nextest(tree, tests, &run).map_err(|error| format!("{program} without any bug: {error}"))?;
        let output = text(&tested);
        if !tested.status.success() {
            failing.push(first_failure(&output).map_or(output, |failure| failure.to_string()));
        }
    }
    Ok(failing)
}

/// Builds and runs tests in the copy.
fn nextest(tree: &Tree, tests: &Tests, further: &[&str]) -> std::io::Result<Output> {
    let mut command = Command::new("cargo");
    command.args(["nextest", "run", "--cargo-quiet"]).args(PROFILE).args(["--package", &tests.package]);
    command.args(tests.program.iter().flat_map(Program::arguments)).args(further);
    command.current_dir(tree.folder()).env("CARGO_TARGET_DIR", tree.target()).stdin(Stdio::null());
    command.output()
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

/// The test that failed first, from what nextest says.
fn first_failure(output: &str) -> Option<Failure> {
    let failed = |line: &&str| FAILURES.iter().any(|word| line.trim_start().starts_with(word));
    let line = output.lines().find(failed)?;
    // What follows the time and the number in brackets: `FAIL [   0.1s] ( 3/10) shard fs::tests::name`.
    let (how, rest) = line.split_once(']')?;
    let mut words = rest.split_once(')').map_or(rest, |(_, rest)| rest).split_whitespace();
    let (program, test) = (words.next()?.to_owned(), words.next()?.to_owned());
    let how = how.split_whitespace().next().filter(|how| *how != "FAIL").map(str::to_owned);
    Some(Failure { program, test, how })
}

/// How nextest ends at the first failure and tells of nothing else.
const UNTIL_ONE_FAILS: [&str; 6] =
    ["--max-fail", "1:immediate", "--status-level", "fail", "--final-status-level", "fail"];
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
        let first = |output| first_failure(output).map(|failure| failure.to_string());
        let output = "   Compiling\n        FAIL [   0.163s] ( 3/10) shard ledger::tests::a_name\n";
        assert_eq!(first(output), Some("shard::ledger::tests::a_name".to_owned()));
        let output = "     SIGABRT [   1.0s] (12/30) cache table::tests::b\n     FAIL [ 2s] cache c\n";
        assert_eq!(first(output), Some("cache::table::tests::b (SIGABRT)".to_owned()));
        let output = "  TIMEOUT [   9.0s] (45/61) appliance::bin/basaltd pool::tests::c\n";
        assert_eq!(first(output), Some("appliance::bin/basaltd::pool::tests::c (TIMEOUT)".to_owned()));
        assert_eq!(first("all is well"), None);
    }
}
