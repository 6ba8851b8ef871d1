//! `cargo xtask`: what a change must pass. `check` before a commit; `ci` is `check` and the end-to-end tests.
//! Callers: people, and `tools/setup/test`. Every step is a plain command that is printed before it runs, and its
//! time after it; all times once more at the end.
#![forbid(unsafe_code)]

mod fuzz;
mod planted;
mod promises;
mod sim;
mod sizes;
mod steps;

use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use steps::Steps;

#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Format, lints, tests, documentation, promises, planted bugs that fit, sizes, a minute of fuzzing.
    Check,
    /// The check with more fuzzing, and the end-to-end tests over a real NFS client (Debian 12, root).
    Ci {
        /// Arguments for `basalt-e2e run`, such as --rounds 500.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        further: Vec<String>,
    },
    /// Hostile bytes for every decoder: `--seconds N` or `--executions N`, and targets; `list` names them.
    Fuzz {
        /// Arguments for `basalt-fuzz run`, or another command of `basalt-fuzz` with its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Plants bugs in a copy of the source, the named ones or all, and shows which test catches each.
    Planted { names: Vec<String> },
    /// Every test that docs/promises.md names is there.
    Promises,
    /// Simulated histories of the whole server with a crash at each of their moments, judged by a model.
    Sim {
        #[command(flatten)]
        run: sim::Run,
    },
    /// The ten longest functions and files; fails for a function that grew past its limit.
    Sizes,
}

fn main() -> ExitCode {
    let mut steps = Steps::of(root());
    let outcome = match Cli::parse().task {
        Task::Check => check(&mut steps, &fuzz::Seconds::CHECK),
        Task::Ci { further } => check(&mut steps, &fuzz::Seconds::CI).and_then(|()| end_to_end(&mut steps, &further)),
        Task::Fuzz { arguments } => fuzz::run(&mut steps, &arguments),
        Task::Planted { names } => planted::run(&root(), &steps.target_folder(), &names),
        Task::Promises => promises::check(&root()),
        Task::Sim { run } => sim::simulate(&mut steps, &run),
        Task::Sizes => sizes::watch(&root()),
    };
    print!("{}", steps.summary());
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn check(steps: &mut Steps, fuzzing: &fuzz::Seconds) -> Result<(), String> {
    steps.cargo("format", &["fmt", "--all", "--check"])?;
    steps.cargo("lints", &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])?;
    let nextest = has_nextest();
    match nextest {
        true => steps.cargo("build tests", &["nextest", "run", "--workspace", "--no-run", "--cargo-quiet"])?,
        false => steps.cargo("build tests", &["test", "--workspace", "--quiet", "--no-run"])?,
    }
    match nextest {
        true => steps.cargo("tests", &["nextest", "run", "--workspace", "--no-fail-fast", "--status-level", "slow"])?,
        false => steps.cargo("tests", &["test", "--workspace", "--quiet", "--no-fail-fast"])?,
    }
    // For those who work on the code: private items are documented too, and linked to.
    let mut doc = Command::new("cargo");
    doc.args(["doc", "--workspace", "--no-deps", "--document-private-items", "--quiet"]);
    doc.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links");
    steps.run("documentation", &mut doc)?;
    promises::check(&root())?;
    planted::check(&root())?;
    sizes::watch(&root())?;
    fuzz::check(steps, fuzzing)
}

fn end_to_end(steps: &mut Steps, further: &[String]) -> Result<(), String> {
    let build = ["build", "--profile", "e2e", "--quiet", "-p", "appliance", "-p", "tools", "-p", "e2e", "-p", "perf"];
    steps.cargo("build end to end", &build)?;
    let target = steps.target_folder();
    // The load generator keeps working: everything once, contents verified, no time judged.
    let (load, daemon) = (target.join("e2e/basalt-perf"), target.join("e2e/basaltd"));
    steps.run("load generator", Command::new(load).arg("smoke").arg("--basaltd").arg(daemon))?;
    let program = target.join("e2e/basalt-e2e");
    steps.run("install", Command::new(&program).arg("install"))?;
    steps.run("end to end", Command::new(&program).arg("run").args(further))
}

fn has_nextest() -> bool {
    let mut command = Command::new("cargo");
    command.args(["nextest", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).expect("tools/xtask lies two folders below the workspace").to_path_buf()
}
