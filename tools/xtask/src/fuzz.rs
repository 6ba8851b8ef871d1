//! `cargo xtask fuzz`: builds `basalt-fuzz` with coverage counters in all code of ours and of our dependencies, and
//! runs it. The flags are LLVM's SanitizerCoverage, which the stable compiler passes on; nothing has to be installed.

use crate::steps::Steps;
use std::path::PathBuf;
use std::process::Command;

/// Runs the program: `run` with the arguments, unless they begin with another of its commands.
pub(crate) fn run(steps: &mut Steps, arguments: &[String]) -> Result<(), String> {
    let program = build(steps)?;
    let names_command = arguments.first().is_some_and(|first| COMMANDS.contains(&first.as_str()));
    let command = (!names_command).then_some("run");
    steps.run("fuzz", Command::new(program).args(command).args(arguments))
}

/// How long is fuzzed, in seconds.
pub(crate) struct Seconds {
    /// Over all decoders together.
    decoders: &'static str,
    /// The whole server in the simulator; not at all where its own histories, which run with every test, are enough.
    server: Option<&'static str>,
}

impl Seconds {
    /// While working.
    pub(crate) const CHECK: Seconds = Seconds { decoders: "60", server: None };
    /// Before a change lands.
    pub(crate) const CI: Seconds = Seconds { decoders: "120", server: Some("60") };
}

/// What a change has to pass: coverage guides, and nothing breaks, from a fixed seed. Longer runs and fresh seeds are a
/// command of their own.
pub(crate) fn check(steps: &mut Steps, seconds: &Seconds) -> Result<(), String> {
    let program = build(steps)?;
    steps.run("fuzz self-test", Command::new(&program).arg("selftest"))?;
    let run = |seconds| {
        let mut run = Command::new(&program);
        run.args(["run", "--seconds", seconds, "--seed", "1"]);
        run
    };
    steps.run("fuzz decoders", run(seconds.decoders).args(["--without", SERVER]))?;
    match seconds.server {
        Some(seconds) => steps.run("fuzz server", run(seconds).arg(SERVER)),
        None => Ok(()),
    }
}

/// The program's path. Code made for the build itself (build scripts, macros) is left alone: that is what naming the
/// machine's own target does.
fn build(steps: &mut Steps) -> Result<PathBuf, String> {
    let host = host()?;
    let folder = steps.target_folder().join("fuzz/build");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--package", "fuzz", "--profile", "fuzz", "--target", &host, "--target-dir"]);
    cargo.arg(&folder).env("RUSTFLAGS", COVERAGE);
    steps.run("build fuzz", &mut cargo)?;
    Ok(folder.join(host).join("fuzz/basalt-fuzz"))
}

fn host() -> Result<String, String> {
    let output = Command::new("rustc").arg("-vV").output().map_err(|error| format!("rustc -vV: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc -vV names no host".to_owned())
}

/// The one target that is no decoder.
const SERVER: &str = "server";
/// The commands of `basalt-fuzz`.
const COMMANDS: [&str; 7] = ["run", "list", "replay", "shrink", "merge", "selftest", "--help"];
/// An 8-bit counter for each edge of the control flow.
const COVERAGE: &str = "-C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=3 \
    -C llvm-args=-sanitizer-coverage-inline-8bit-counters";
