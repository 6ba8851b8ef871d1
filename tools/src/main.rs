//! `basalt`, the operator's command: looks at a pool from outside. `verify` judges a pool that no
//! daemon uses, `dump` shows what is on disk or on the wire as text.
//!
//! Neither ever changes what a pool holds; after a crash they begin as a start does, with the journals
//! of its ledgers. Exit codes: 0 all is well, 1 `verify` found problems, 2 the command
//! could not do what was asked.
#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};
use std::io;
use std::process::ExitCode;

mod dump;
mod pool;
mod text;
mod verify;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod format_tests;

/// Looks at Basalt's pools and protocols from outside. Never changes what a pool holds.
#[derive(Parser)]
#[command(name = "basalt", version, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Verify(verify::Args),
    #[command(subcommand)]
    Dump(dump::Command),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Verify(args) => verify::run(&args),
        Command::Dump(command) => dump::run(&command).map(|()| CLEAN),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(CLEAN),
        Err(failure) => {
            eprintln!("basalt: {failure}");
            ExitCode::from(FAILED)
        }
    }
}

/// Why a command could not do what was asked.
#[derive(Debug)]
enum Failure {
    /// What the operator should know.
    Told(String),
    /// The output could not be written.
    Output(io::Error),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Told(what) => write!(f, "{what}"),
            Failure::Output(error) => write!(f, "output: {error}"),
        }
    }
}

impl From<String> for Failure {
    fn from(what: String) -> Failure {
        Failure::Told(what)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

/// All is well.
const CLEAN: u8 = 0;
/// `verify` found problems.
const PROBLEMS: u8 = 1;
/// The command could not do what was asked.
const FAILED: u8 = 2;

const AFTER_HELP: &str = "\
Exit codes: 0 all is well, 1 verify found problems, 2 the command could not do what was asked.

A pool is the folder that basaltd was given. docs/format.md describes every byte of it.

Try:
  basalt verify /srv/pool                       after basaltd was stopped: is everything whole?
  basalt dump ledger /srv/pool/projects         inodes, names and extents of a share, as text
  basalt dump log /srv/pool/projects/log/seg.00000000
  basalt dump frame packet.hex                  an RPC message, decoded";
