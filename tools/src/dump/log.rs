//! `basalt dump log`: the frames and records of slot files as text.
//!
//! Reads headers only, and payload with `--check`. Follows the chain of frames from the first block
//! on, says why it ends, and with `--all` goes on to look for headers of older tenants of the slot.

use crate::{Failure, text};
use cache::extent::{BLOCK_BYTES, SegmentId};
use cache::frame::{Frame, FrameError, Header, RecordKind};
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
    write!(out, "core {} ", header.core)?;
    if frame.is_seal() {
        write!(out, "seal ")?;
    } else {
        let Header { payload_blocks, lowest_lsn, durable_to, .. } = header;
        write!(out, "payload {payload_blocks} lowest lsn {lowest_lsn} durable to {durable_to} ")?;
    }
    let (previous, filesystem) = (header.previous, header.filesystem);
    writeln!(out, "previous {previous:08x} checksum {:08x} filesystem {filesystem:016x}", frame.checksum)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;

    fn args(path: PathBuf) -> Args {
        Args { paths: vec![path], ino: None, from: 0, frames: false, check: false, all: false }
    }

    fn shown(args: &Args) -> String {
        let mut out = Vec::new();
        run(args, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn frames_and_records_of_all_slots_are_shown() {
        let fixture = Fixture::new();
        let text = shown(&args(fixture.filesystem()));
        for line in [
            "seg.00000000: 1024 blocks (4.0 MiB)\n  block 0: segment 1 core 0 payload 2 lowest lsn 50 ",
            "    lsn 50 inode 2.1 data [0, 8192) at payload block 0 time 1700000000.000000005\n",
            "    lsn 53 inode 9.1 data [0, 4096) at payload block 2 ",
            "  block 7: the log ends here: no frame header\n",
            "    lsn 61 inode 4.1 truncate to 3000 ",
            "    lsn 62 inode 2.1 move [0, 8192) of version 50 at payload block 0",
        ] {
            assert!(text.contains(line), "{line}\nis not in\n{text}");
        }
    }

    #[test]
    fn damage_is_told_and_one_inode_can_be_picked() {
        let fixture = Fixture::new();
        fixture.flip(0, 5000);
        let text = shown(&Args { check: true, ..args(fixture.slot_file(0)) });
        assert!(text.contains("    payload: block 1 fails its checksum\n"), "{text}");
        fixture.flip(0, 3 * BLOCK_BYTES as u64 + 70);
        let text = shown(&args(fixture.slot_file(0)));
        assert!(text.contains("  block 3: the log ends here: a header that fails its checksum\n"), "{text}");
        let text = shown(&Args { ino: Some(8), ..args(fixture.log()) });
        assert!(text.contains("inode 8.1") && !text.contains("inode 4.1"), "{text}");
    }

    #[test]
    fn what_an_earlier_segment_left_is_the_end_and_can_be_looked_at() {
        let fixture = Fixture::new();
        let mut bytes = fs::read(fixture.slot_file(0)).unwrap();
        let mut second = crate::fixture::Segment::new(7);
        second.frame(&[crate::fixture::data(3, 90, 0, 8192)]);
        bytes[..second.bytes.len()].copy_from_slice(&second.bytes);
        fs::write(fixture.slot_file(0), &bytes).unwrap();
        let text = shown(&args(fixture.slot_file(0)));
        assert!(text.contains("block 3: the log ends here: the next header belongs to another chain"), "{text}");
        assert!(!text.contains("inode 4.1"), "{text}");
        assert!(shown(&Args { all: true, ..args(fixture.slot_file(0)) }).contains("inode 4.1"));
    }

    #[test]
    fn a_folder_without_slots_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(run(&args(folder.path().into()), &mut Vec::new()).is_err());
    }
}
