//! `basalt dump log`: the frames and records of slot files as text.
//!
//! Reads headers only, and payload with `--check`. Follows the chain of frames from the first block
//! on, says why it ends, and with `--all` goes on to look for headers of older tenants of the slot.

use crate::{Failure, text};
use cache::extent::{BLOCK_BYTES, SegmentId};
use cache::frame::{Frame, FrameError, RecordKind};
use shard::fs::filesystem::LOG_DIRECTORY;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Shows the frames and records of log segments
#[derive(clap::Args)]
#[command(long_about = "\
Shows the frames and records of log segments: where each frame lies, what it says about files, and why the log ends \
where it ends. Docs: docs/format.md, `The log`.")]
pub(crate) struct Args {
    /// Slot files (seg.00000000), or folders that hold them: POOL/SHARE or POOL/SHARE/log
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Only records of this inode
    #[arg(long, value_name = "INO")]
    ino: Option<u64>,
    /// First block to look at
    #[arg(long, value_name = "BLOCK", default_value_t = 0)]
    from: u32,
    /// Headers only, without their records
    #[arg(long)]
    frames: bool,
    /// Check the payload's checksums too
    #[arg(long)]
    check: bool,
    /// Go on behind the end: headers that an earlier use of the slot left there
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Result<(), Failure> {
    for path in &args.paths {
        for file in slots(path)? {
            slot(args, &file, out)?;
        }
    }
    Ok(())
}

/// The slot files that a path means, by name.
fn slots(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let inner = path.join(LOG_DIRECTORY);
    let folder = if inner.is_dir() { &inner } else { path };
    let failed = |error: io::Error| Failure::Told(format!("{}: {error}", folder.display()));
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().as_encoded_bytes().starts_with(b"seg.") {
            files.push(entry.path());
        }
    }
    files.sort();
    match files.is_empty() {
        true => Err(format!("{} holds no slot files (seg.*)", folder.display()).into()),
        false => Ok(files),
    }
}

fn slot(args: &Args, path: &Path, out: &mut impl Write) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::Told(format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    let blocks = u32::try_from(bytes / BLOCK_BYTES as u64).unwrap_or(u32::MAX);
    writeln!(out, "{}: {blocks} blocks ({})", path.display(), text::bytes(bytes))?;
    let mut at = args.from;
    let mut chain: Option<(SegmentId, u32)> = None;
    let mut is_ended = false;
    while at < blocks {
        let mut block = [0; BLOCK_BYTES];
        file.read_exact_at(&mut block, u64::from(at) * BLOCK_BYTES as u64).map_err(failed)?;
        let frame = match Frame::decode(&block) {
            Ok(frame) => frame,
            Err(error) => {
                if !is_ended {
                    writeln!(out, "  block {at}: the log ends here: {}", reason(error))?;
                    is_ended = true;
                }
                if !args.all {
                    break;
                }
                at += 1;
                continue;
            }
        };
        let follows = chain.is_none_or(|(segment, checksum)| {
            segment == frame.header.segment && (checksum == frame.header.previous) && frame.header.block == at
        });
        if !follows && !is_ended {
            writeln!(out, "  block {at}: the log ends here: the next header belongs to another chain")?;
            is_ended = true;
        }
        if is_ended && !args.all {
            break;
        }
        show(args, at, &frame, out)?;
        if args.check {
            check(&file, at, blocks, &frame, out).map_err(failed)?;
        }
        chain = Some((frame.header.segment, frame.checksum));
        at = at.saturating_add(1).saturating_add(if is_ended { 0 } else { frame.header.payload_blocks });
    }
    Ok(())
}

fn reason(error: FrameError) -> String {
    match error {
        FrameError::Magic => "no frame header".into(),
        FrameError::Version(version) => format!("a header of format version {version}"),
        FrameError::Checksum => "a header that fails its checksum".into(),
        FrameError::Field => "a header whose fields contradict each other".into(),
    }
}

fn show(args: &Args, at: u32, frame: &Frame<'_>, out: &mut impl Write) -> io::Result<()> {
    let header = &frame.header;
    let records: Vec<_> = frame.records().filter(|record| args.ino.is_none_or(|wanted| wanted == record.ino)).collect();
    if args.ino.is_some() && records.is_empty() {
        return Ok(());
    }
    write!(out, "  block {at}: segment {} ", header.segment.0)?;
    if header.block != at {
        write!(out, "(header of block {}) ", header.block)?;
    }
    writeln!(
        out,
        "core {} payload {} lowest lsn {} durable to {} previous {:08x} checksum {:08x} filesystem {:016x}",
        header.core,
        header.payload_blocks,
        header.lowest_lsn,
        header.durable_to,
        header.previous,
        frame.checksum,
        header.filesystem
    )?;
    for record in records.iter().filter(|_| !args.frames) {
        write!(out, "    lsn {} inode {}.{} ", record.lsn, record.ino, record.generation)?;
        match record.kind {
            RecordKind::Truncate => write!(out, "truncate to {}", record.offset)?,
            RecordKind::Data => write!(out, "data [{}, {})", record.offset, record.offset + record.bytes)?,
            RecordKind::Move => {
                write!(out, "move [{}, {}) of version {}", record.offset, record.offset + record.bytes, record.aux)?
            }
        }
        if record.kind != RecordKind::Truncate {
            write!(out, " at payload block {}", record.first_block)?;
        }
        if record.skew > 0 {
            write!(out, " byte {}", record.skew)?;
        }
        writeln!(out, " time {}{}", text::time(record.time), if record.clears_setid { " clears set-id" } else { "" })?;
    }
    Ok(())
}

fn check(file: &File, at: u32, blocks: u32, frame: &Frame<'_>, out: &mut impl Write) -> io::Result<()> {
    let mut block = [0; BLOCK_BYTES];
    for index in 0..frame.header.payload_blocks {
        let place = u64::from(at) + 1 + u64::from(index);
        if place >= u64::from(blocks) {
            return writeln!(out, "    payload: the file ends before block {place}");
        }
        file.read_exact_at(&mut block, place * BLOCK_BYTES as u64)?;
        if frame.payload_checksum(index) != Some(crc32c::crc32c(&block)) {
            writeln!(out, "    payload: block {place} fails its checksum")?;
        }
    }
    Ok(())
}
