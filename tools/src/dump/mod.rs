//! `basalt dump`: what is on disk or on the wire, as text.
//!
//! Reads only. A pool may be in use meanwhile: the ledger is read as of one commit, and the end of a
//! log that is being written is shown as it was found.

use crate::Failure;
use clap::Subcommand;
use std::io::{self, BufWriter};

mod frame;
mod handle;
mod ledger;
mod log;

/// Shows what is on disk or on the wire as text
#[derive(Subcommand)]
#[command(long_about = "\
Shows what is on disk or on the wire as text. Changes nothing; basaltd may run meanwhile.

What is shown of a pool (names, and the identity of the filesystem, which makes frames of its log genuine) is not for \
everyone: look before you pass it on.")]
pub(crate) enum Command {
    Log(log::Args),
    Ledger(ledger::Args),
    Frame(frame::Args),
    Handle(handle::Args),
}

pub(crate) fn run(command: &Command) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    match command {
        Command::Log(args) => log::run(args, &mut out)?,
        Command::Ledger(args) => ledger::run(args, &mut out)?,
        Command::Frame(args) => frame::run(args, &mut out)?,
        Command::Handle(args) => handle::run(args, &mut out)?,
    }
    io::Write::flush(&mut out)?;
    Ok(())
}
