//! `basalt verify`: judges every promise that a pool at rest must keep. It writes nothing but what a
//! start would: after a crash the ledger's journal is replayed first.
//!
//! The order of the checks of one filesystem, each in its own file:
//!
//! 1. [`source`]: the ledger opens; every row of every table checks.
//! 2. [`tree`]: names, inodes, links, directories, symbolic links, removed files.
//! 3. [`slots`]: segments, slot files.
//! 4. [`pending`]: what the log says and the ledger does not know yet, as a start would replay it.
//! 5. [`extents`]: files are tiled, extents lie where data can be, live bytes are what is there.
//! 6. [`data`]: no bytes claimed twice; frames say what the ledger says; payload checksums.
//! 7. [`paths`]: where the inodes are found that have problems.
//!
//! What is on disk is hostile here: nothing panics on it and nothing is allocated by its word.

use crate::pool::{Place, Pool};
use crate::{CLEAN, FAILED, Failure, PROBLEMS};
use progress::Progress;
use report::{Findings, Kind};
use shard::fs::filesystem::{LEDGER_DIRECTORY, LOG_DIRECTORY};
use source::{Opened, Source};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

mod data;
mod extents;
mod paths;
mod pending;
mod progress;
mod report;
mod slots;
mod source;
mod tree;

#[cfg(test)]
mod living;
#[cfg(test)]
mod tests;

/// Checks that a pool is whole
#[derive(clap::Args)]
#[command(long_about = "\
Checks that a pool is whole. Needs the pool for itself: stop basaltd first. Changes nothing that it holds; after a \
crash it first replays the journals of the ledgers, exactly as the next start would. Run it as root or as basaltd's user.

For each share: every name leads to its inode and every inode has its names; link counts, directories and symbolic \
links agree with them; extents tile each file, lie inside their segments and claim no byte twice; free space adds up; \
every row and every frame of the log that a start would replay has a good checksum, and so has the data of every file. \
Writes that the log has and the ledger does not know yet are taken into account as a start would take them.

Problems are printed one a line: share, kind, path and inode, what is wrong. Exit code 0: clean. 1: problems found. \
2: could not run, for instance because basaltd has the pool.")]
pub(crate) struct Args {
    /// The pool: the folder that basaltd is given
    #[arg(value_name = "POOL")]
    pool: PathBuf,
    /// Check this share only, for instance /projects; may be repeated
    #[arg(long = "share", value_name = "SHARE")]
    shares: Vec<String>,
    /// Do not read the files' data (quick: the time depends on the number of files, not on their size)
    #[arg(long)]
    metadata_only: bool,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
    /// No progress on standard error
    #[arg(long, short)]
    quiet: bool,
}

/// What is checked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Metadata,
    Data,
}

/// Runs the command; the answer is the exit code.
pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    let pool = Pool::open(&args.pool)?;
    let depth = if args.metadata_only { Depth::Metadata } else { Depth::Data };
    let places = chosen(&pool, &args.shares)?;
    let mut all = Vec::new();
    let mut failures = Vec::new();
    if let Some(problem) = pool.secret_problem() {
        let mut findings = Findings::new("pool");
        findings.problem(Kind::Pool, problem);
        all.push(findings);
    }
    for place in &places {
        match check(place, depth, args.quiet) {
            Ok(findings) => all.push(findings),
            Err(why) => {
                eprintln!("basalt: {}: {why}", place.share);
                failures.push((place.share.clone(), why));
            }
        }
    }
    print(args, &all, &failures)?;
    let found = all.iter().any(|findings| findings.count() > 0);
    Ok(match (failures.is_empty(), found) {
        (false, _) => FAILED,
        (true, true) => PROBLEMS,
        (true, false) => CLEAN,
    })
}

fn chosen(pool: &Pool, shares: &[String]) -> Result<Vec<Place>, Failure> {
    let mut places = pool.filesystems()?;
    for share in shares {
        if !places.iter().any(|place| place.share == *share) {
            let known: Vec<&str> = places.iter().map(|place| place.share.as_str()).collect();
            return Err(format!("the pool has no share {share}; it has: {}", known.join(" ")).into());
        }
    }
    places.retain(|place| shares.is_empty() || shares.contains(&place.share));
    Ok(places)
}

fn print(args: &Args, all: &[Findings], failures: &[(String, String)]) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    if args.json {
        report::print_json(&args.pool.to_string_lossy(), all, failures, &mut out)?;
    } else if all.is_empty() && failures.is_empty() {
        writeln!(out, "{}: no share was served from this pool yet", args.pool.display())?;
    } else {
        all.iter().try_for_each(|findings| findings.print(&mut out))?;
    }
    out.flush()
}

/// Checks one filesystem. An error is a reason why it could not be checked.
fn check(place: &Place, depth: Depth, is_quiet: bool) -> Result<Findings, String> {
    let mut findings = Findings::new(&place.share);
    let mut progress = Progress::new(&place.share, is_quiet);
    let log = place.directory.join(LOG_DIRECTORY);
    match Source::open(&place.directory.join(LEDGER_DIRECTORY), &mut findings)? {
        Opened::Ready(source) => {
            let tree = tree::check(&source, &mut findings, &mut progress);
            let mut slots = slots::check(&source, &log, &mut findings)?;
            let pending = pending::replay(&source, &tree, &slots, &mut findings, &mut progress);
            extents::check(&source, &tree, &mut slots, &pending, &mut findings, &mut progress);
            data::check(&source, &tree, &slots, depth, &mut findings, &mut progress);
            paths::find(&source, &tree, &mut findings);
        }
        Opened::New => slots::check_new(&log, &mut findings),
        Opened::Ruined => {}
    }
    Ok(findings)
}
