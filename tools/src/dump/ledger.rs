//! `basalt dump ledger`: the tables of a filesystem's LMDB environment as text.

use crate::{Failure, text};
use cache::extent::{Extent, Place};
use shard::fs::filesystem::LEDGER_DIRECTORY;
use shard::inode::{Ino, Inode, Kind};
use shard::ledger::check::{Damage, Inspector};
use shard::ledger::command::{SegmentInfo, Wcc};
use shard::ledger::env::Limits;
use shard::ledger::keeper::DATA_FILE;
use shard::ledger::record::Table;
use shard::ledger::record::reply::Reply;
use shard::ledger::store::{OpenError, Store};
use std::io::{self, Write};
use std::path::PathBuf;

/// Shows the tables of a share's ledger
#[derive(clap::Args)]
#[command(long_about = "\
Shows the tables of a share's ledger, one row a line, as of the newest commit, also while basaltd runs. After a crash the ledger's \
journal is replayed first, exactly as the next start would do it. Rows that do not check are shown with \
their keys and what is wrong. Docs: docs/format.md, `The ledger`.")]
pub(crate) struct Args {
    /// The share's folder in the pool (POOL/SHARE), or its folder `ledger`
    directory: PathBuf,
    /// Only this table; may be repeated: meta, inodes, names, entries, targets, extents, segments, replies, orphans
    #[arg(long = "table", value_name = "TABLE", value_parser = table)]
    tables: Vec<Table>,
    /// Only rows about this inode: its record, names that lead to it or lie in it, extents
    #[arg(long, value_name = "INO")]
    ino: Option<u64>,
}

fn table(name: &str) -> Result<Table, String> {
    let found = Table::ALL.into_iter().find(|table| table.name() == name);
    found.ok_or_else(|| format!("tables are: {}", Table::ALL.map(Table::name).join(" ")))
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Result<(), Failure> {
    let inner = args.directory.join(LEDGER_DIRECTORY);
    let directory = if inner.is_dir() { &inner } else { &args.directory };
    if !directory.join(DATA_FILE).is_file() {
        return Err(format!("{} holds no ledger (data.mdb)", directory.display()).into());
    }
    let limits = Limits { map_bytes: 1 << 40, readers_max: 1024 };
    match Store::bring_up(directory, limits) {
        // A daemon has it: LMDB's newest commit is the ledger.
        Err(OpenError::InUse) => {}
        brought => _ = brought.map_err(|error| error.to_string())?,
    }
    let ledger = Inspector::open(directory, limits).map_err(|error| error.to_string())?;
    let tables = if args.tables.is_empty() { &Table::ALL[..] } else { &args.tables };
    for &table in tables {
        if args.ino.is_some() && !is_about_inodes(table) {
            continue;
        }
        writeln!(out, "{}:", table.name())?;
        show(&ledger, table, args.ino.map(Ino), out)?;
    }
    Ok(())
}

fn is_about_inodes(table: Table) -> bool {
    !matches!(table, Table::Meta | Table::Segments | Table::Replies)
}

fn show(ledger: &Inspector, table: Table, ino: Option<Ino>, out: &mut impl Write) -> io::Result<()> {
    let wanted = |row: Ino| ino.is_none_or(|ino| ino == row);
    match table {
        Table::Meta => meta(ledger, out),
        Table::Inodes => rows(ledger.inodes(), out, |row| wanted(row.ino).then(|| inode(row))),
        Table::Names => rows(ledger.names(), out, |row| {
            (wanted(row.dir) || wanted(row.found.ino)).then(|| {
                let (name, found) = (text::name(&row.name), row.found);
                let kind = kind(found.kind);
                format!("{} \"{name}\" -> {} {kind} cookie {}", row.dir.0, found.ino.0, found.cookie)
            })
        }),
        Table::Entries => rows(ledger.entries(), out, |row| {
            (wanted(row.dir) || wanted(row.ino)).then(|| {
                let (name, kind) = (text::name(&row.name), kind(row.kind));
                format!("{} cookie {} -> {} {kind} \"{name}\"", row.dir.0, row.cookie, row.ino.0)
            })
        }),
        Table::Targets => rows(ledger.targets(), out, |(ino, target)| {
            wanted(*ino).then(|| format!("{} -> \"{}\"", ino.0, text::name(target)))
        }),
        Table::Extents => {
            rows(ledger.extents(), out, |row| wanted(row.ino).then(|| extent(row.ino, row.offset, &row.extent)))
        }
        Table::Segments => rows(ledger.segments(), out, |row| Some(segment(row))),
        Table::Replies => rows(ledger.replies(), out, |row| Some(reply(row))),
        Table::Orphans => rows(ledger.orphans(), out, |(ino, generation)| {
            wanted(*ino).then(|| format!("{} generation {generation}", ino.0))
        }),
    }
}

fn rows<T>(
    rows: impl Iterator<Item = Result<T, Damage>>,
    out: &mut impl Write,
    line: impl Fn(&T) -> Option<String>,
) -> io::Result<()> {
    for row in rows {
        match row {
            Ok(row) => match line(&row) {
                Some(line) => writeln!(out, "  {line}")?,
                None => continue,
            },
            Err(damage @ Damage::Row { .. }) => writeln!(out, "  DAMAGED: {damage}")?,
            Err(damage @ Damage::Lmdb(_)) => return writeln!(out, "  UNREADABLE from here on: {damage}"),
        }
    }
    Ok(())
}

fn meta(ledger: &Inspector, out: &mut impl Write) -> io::Result<()> {
    match ledger.meta() {
        Ok(meta) => writeln!(
            out,
            "  filesystem {:016x} next inode {} lsn limit {} next segment {} slots made {} reply slots {} replies {}",
            meta.filesystem,
            meta.next_ino,
            meta.lsn_limit,
            meta.next_segment,
            meta.slots_made,
            meta.reply_slots,
            meta.replies
        ),
        Err(damage) => writeln!(out, "  DAMAGED: {damage}"),
    }
}

fn inode(inode: &Inode) -> String {
    let mut line = format!(
        "{}.{} {} mode {:04o} uid {} gid {} nlink {} size {} used {} change {}",
        inode.ino.0,
        inode.generation,
        kind(inode.kind),
        inode.mode,
        inode.uid,
        inode.gid,
        inode.nlink,
        inode.size,
        inode.used,
        inode.change
    );
    match inode.kind {
        Kind::File => line += &format!(" folded {}", inode.folded_lsn),
        Kind::Directory => line += &format!(" parent {} entries {}", inode.parent.0, inode.entries),
        _ => {}
    }
    if inode.rdev != (0, 0) {
        line += &format!(" device {}:{}", inode.rdev.0, inode.rdev.1);
    }
    if let Some(verifier) = inode.verifier {
        line += &format!(" verifier {}", text::hex(&verifier));
    }
    let times = [("atime", inode.atime), ("mtime", inode.mtime), ("ctime", inode.ctime), ("btime", inode.btime)];
    times.into_iter().for_each(|(name, time)| line += &format!(" {name} {}", text::time(time)));
    line
}

fn extent(ino: Ino, offset: u64, extent: &Extent) -> String {
    let end = offset.saturating_add(extent.bytes);
    let place = match extent.place {
        Place::Hole => "hole".to_owned(),
        Place::Log { segment, frame, block, skew } => {
            format!("segment {} frame {frame} block {block} byte {skew}", segment.0)
        }
    };
    format!("{} [{offset}, {end}) version {} {place}", ino.0, extent.version)
}

fn segment(info: &SegmentInfo) -> String {
    let replay = match info.replay_from {
        Some(block) => format!("replay from block {block}"),
        None => "folded".to_owned(),
    };
    format!("{} slot {} core {} {replay} live {}", info.id.0, info.slot, info.core, info.live_bytes)
}

fn reply(reply: &Reply) -> String {
    let (key, answer) = (&reply.key, &reply.answer);
    let mut line = format!(
        "number {} client {:016x} xid {:#010x} arguments {:016x}",
        reply.number, key.client, key.xid, key.arguments
    );
    if let Some(object) = &answer.object {
        line += &format!(" object {}.{}", object.ino.0, object.generation);
    }
    let dir = |wcc: &Option<Wcc>| wcc.and_then(|wcc| wcc.after).map(|dir| dir.ino.0);
    if let Some(ino) = dir(&answer.dir) {
        line += &format!(" directory {ino}");
    }
    if let Some(ino) = dir(&answer.to_dir) {
        line += &format!(" to directory {ino}");
    }
    if answer.existed {
        line += " existed";
    }
    line
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Directory => "directory",
        Kind::BlockDevice => "block-device",
        Kind::CharDevice => "char-device",
        Kind::Symlink => "symlink",
        Kind::Socket => "socket",
        Kind::Fifo => "fifo",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;
    use shard::ledger::record::extent;

    fn shown(args: &Args) -> String {
        let mut out = Vec::new();
        run(args, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_table_is_shown_and_a_damaged_row_does_not_end_it() {
        let fixture = Fixture::new();
        fixture.edit(|rows| rows.damage(Table::Extents, extent::key(Ino(2), 8192).as_bytes()));
        let text = shown(&Args { directory: fixture.filesystem(), tables: vec![], ino: None });
        for line in [
            "meta:\n  filesystem 0123456789abcdef next inode 100 lsn limit 1000 next segment 3 slots made 3",
            "inodes:\n  1.1 directory mode 0644",
            "  1 \"a\" -> 2 file cookie 20\n",
            "  1 cookie 20 -> 2 file \"a\"\n",
            "targets:\n  5 -> \"a\"\n",
            "extents:\n  2 [0, 8192) version 50 segment 1 frame 0 block 1 byte 0\n  DAMAGED: table extents: checksum; key 0000",
            "  9 [0, 4096) version 53",
            "segments:\n  1 slot 0 core 0 folded live 20480\n  2 slot 1 core 0 replay from block 0 live 0\n",
            "orphans:\n  9 generation 1\n",
        ] {
            assert!(text.contains(line), "{line}\nis not in\n{text}");
        }
    }

    #[test]
    fn one_inode_is_shown_with_all_that_is_about_it() {
        let fixture = Fixture::new();
        let text = shown(&Args { directory: fixture.ledger(), tables: vec![], ino: Some(4) });
        assert!(text.contains("3 \"b\" -> 4 file") && text.contains("1 \"b2\" -> 4 file"), "{text}");
        assert!(text.contains("4.1 file") && text.contains("4 [0, 5000)"), "{text}");
        assert!(!text.contains("segments:") && !text.contains("\"pipe\""), "{text}");
    }

    #[test]
    fn a_folder_without_a_ledger_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let args = Args { directory: folder.path().into(), tables: vec![], ino: None };
        assert!(run(&args, &mut Vec::new()).is_err());
    }
}
