//! `basalt-e2e`: the end-to-end tests. Each case runs in a private network and process namespace (a lab of
//! kclient), starts the server under test there, and mounts it with a real Linux kernel client or talks to it over
//! raw sockets. A case is right when it returns a note, wrong when it returns a [`failure::Failure`].
//! Callers: people, and `cargo xtask ci`. Needs root on Debian 12; `basalt-e2e install` fetches the rest.
#![forbid(unsafe_code)]

mod agent;
mod cases;
mod client;
mod disk;
mod failure;
mod guest;
mod install;
mod lab;
mod places;
mod random;
mod runner;
mod server;
mod share;
mod workload;

use clap::{Args, Parser, Subcommand, ValueEnum};
use failure::Outcome;
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "End-to-end tests of Basalt over a real NFSv3 client")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Name every case and what it shows.
    List,
    /// Run the named cases, or all of them.
    Run {
        #[command(flatten)]
        options: Options,
        /// Cases at the same time; they wait much. Each has its own network, processes and pool.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// Names; all cases when none is given.
        cases: Vec<String>,
    },
    /// Install the programs that the cases use; does nothing, quickly, when all are there.
    Install {
        /// Also install nfs-ganesha, for `run --server ganesha`.
        #[arg(long)]
        ganesha: bool,
    },
    /// One case, inside its lab.
    #[command(hide = true)]
    Inside {
        #[command(flatten)]
        options: Options,
        case: String,
    },
    /// A program of ours that runs inside a guest.
    #[command(subcommand, hide = true)]
    Agent(agent::Agent),
}

/// What a run may vary. Handed on to each case's process as the same arguments.
#[derive(Args, Clone, Copy)]
struct Options {
    /// The server under test; ganesha proves that the cases themselves are right.
    #[arg(long, value_enum, default_value_t = ServerKind::Basaltd)]
    server: ServerKind,
    /// Rounds of the kill -9 case with our own client; the other cases with rounds scale with it.
    #[arg(long, default_value_t = 50)]
    rounds: u32,
    /// Operations of each fsx run.
    #[arg(long, default_value_t = 100_000)]
    operations: u32,
    /// Seed of everything random; printed with each failure.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep the working folder of each case.
    #[arg(long)]
    keep: bool,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
enum ServerKind {
    Basaltd,
    Ganesha,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::List => cases::list(),
        Command::Run { options, jobs, cases } => runner::run(options, jobs, &cases),
        Command::Install { ganesha: false } => install::install(install::Set::Cases),
        Command::Install { ganesha: true } => install::install(install::Set::CasesAndGanesha),
        Command::Inside { options, case } => lab::inside(options, &case),
        Command::Agent(agent) => agent.run(),
    };
    report(outcome)
}

/// The note of a success on standard output, the reason of a failure on standard error.
fn report(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(note) => {
            if !note.is_empty() {
                println!("{note}");
            }
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
