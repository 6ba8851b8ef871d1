//! `cargo xtask`: what a change must pass. `check` before a commit; `ci` is `check` and the end-to-end tests.
//! Callers: people, and `tools/setup/test`. Every step is a plain command that is printed before it runs.
#![forbid(unsafe_code)]

mod sizes;

use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Format, lints, tests, documentation, sizes.
    Check,
    /// The check, and the end-to-end tests over a real NFS client (Debian 12, root).
    Ci {
        /// Arguments for basalt-e2e, such as --rounds 500.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        further: Vec<String>,
    },
    /// The ten longest functions and files; fails for a function that grew past its limit.
    Sizes,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Check => check(),
        Task::Ci { further } => check().and_then(|()| end_to_end(&further)),
        Task::Sizes => sizes::watch(&root()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn check() -> Result<(), String> {
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])?;
    match has_nextest() {
        true => cargo(&["nextest", "run", "--workspace", "--no-fail-fast", "--status-level", "fail"])?,
        false => cargo(&["test", "--workspace", "--quiet", "--no-fail-fast"])?,
    }
    run(Command::new("cargo").args(["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    sizes::watch(&root())
}

fn end_to_end(further: &[String]) -> Result<(), String> {
    cargo(&["build", "--profile", "e2e", "--quiet", "-p", "appliance", "-p", "tools", "-p", "e2e"])?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    run(Command::new(target.join("e2e/basalt-e2e")).arg("ci").args(further))
}

fn has_nextest() -> bool {
    let mut command = Command::new("cargo");
    command.args(["nextest", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn cargo(arguments: &[&str]) -> Result<(), String> {
    run(Command::new("cargo").args(arguments))
}

/// Runs a command in the workspace's folder, and says how long it took.
fn run(command: &mut Command) -> Result<(), String> {
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let words = format!("{} {}", command.get_program().to_string_lossy(), words.join(" "));
    println!("== {words}");
    let began = Instant::now();
    let status = command.current_dir(root()).status().map_err(|error| format!("{words}: {error}"))?;
    println!("== {:.0} s", began.elapsed().as_secs_f64());
    if !status.success() {
        return Err(format!("{words}: {status}"));
    }
    Ok(())
}

fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).expect("tools/xtask lies two folders below the workspace").to_path_buf()
}
