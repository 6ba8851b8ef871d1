//! What verify found: problems with their place, notes, totals; as lines for people or as JSON.

use crate::text;
use shard::inode::Ino;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// What is wrong, as a word that scripts can rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The pool's own files.
    Pool,
    /// LMDB cannot read its pages, or the record of the filesystem is missing.
    Ledger,
    /// A row fails its checksum or holds what cannot be.
    Row,
    /// A number that was never given out: inode, log sequence number, segment, slot.
    Number,
    /// A name leads to no inode, or to one of another type.
    Dangling,
    /// A name that no client could have made.
    Name,
    /// The tables `names` and `entries` do not say the same.
    Mirror,
    /// A link count differs from the names that are there.
    Links,
    /// A directory's parent or count of entries is wrong.
    Directory,
    /// No path leads to an inode.
    Unreachable,
    /// A symbolic link without target, or a target without link.
    Symlink,
    /// A removed file is still there.
    Orphan,
    /// The extents of a file do not tile it.
    Tiling,
    /// An extent lies where no data can be.
    Extent,
    /// Two extents claim the same bytes of the log.
    Overlap,
    /// The storage that an inode says it uses is not what its extents use.
    Used,
    /// The live bytes of a segment are not what extents use of it.
    LiveBytes,
    /// A slot is used twice or its file is not as it must be.
    Slot,
    /// A part of the log that must be whole is not.
    Log,
    /// The log says something else of bytes than the ledger does.
    Frame,
    /// Data fails its checksum.
    Payload,
}

impl Kind {
    /// The word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Pool => "pool",
            Kind::Ledger => "ledger",
            Kind::Row => "row",
            Kind::Number => "number",
            Kind::Dangling => "dangling",
            Kind::Name => "name",
            Kind::Mirror => "mirror",
            Kind::Links => "links",
            Kind::Directory => "directory",
            Kind::Unreachable => "unreachable",
            Kind::Symlink => "symlink",
            Kind::Orphan => "orphan",
            Kind::Tiling => "tiling",
            Kind::Extent => "extent",
            Kind::Overlap => "overlap",
            Kind::Used => "used",
            Kind::LiveBytes => "live-bytes",
            Kind::Slot => "slot",
            Kind::Log => "log",
            Kind::Frame => "frame",
            Kind::Payload => "payload",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) kind: Kind,
    /// The inode that it concerns.
    pub(crate) ino: Option<Ino>,
    /// Where that inode is found, when it was looked up.
    pub(crate) path: Option<String>,
    /// The sentence.
    pub(crate) what: String,
}

/// What a filesystem holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) files: u64,
    pub(crate) directories: u64,
    pub(crate) symlinks: u64,
    pub(crate) others: u64,
    pub(crate) orphans: u64,
    pub(crate) names: u64,
    /// Lengths of all files.
    pub(crate) file_bytes: u64,
    pub(crate) extents: u64,
    /// Bytes of the ledger's extents in the log.
    pub(crate) live_bytes: u64,
    pub(crate) segments: u64,
    /// Bytes of the slot files in use.
    pub(crate) segment_bytes: u64,
    pub(crate) free_slots: u64,
    /// Records of the log that the ledger does not have yet.
    pub(crate) pending_records: u64,
    /// Payload whose checksums were checked.
    pub(crate) checked_bytes: u64,
}

impl Totals {
    fn rows(&self) -> [(&'static str, u64); 14] {
        [
            ("files", self.files),
            ("directories", self.directories),
            ("symlinks", self.symlinks),
            ("others", self.others),
            ("orphans", self.orphans),
            ("names", self.names),
            ("file_bytes", self.file_bytes),
            ("extents", self.extents),
            ("live_bytes", self.live_bytes),
            ("segments", self.segments),
            ("segment_bytes", self.segment_bytes),
            ("free_slots", self.free_slots),
            ("pending_records", self.pending_records),
            ("checked_bytes", self.checked_bytes),
        ]
    }
}

/// What was found in one filesystem, or in the pool itself.
#[derive(Clone, Debug)]
pub(crate) struct Findings {
    /// The share.
    pub(crate) share: String,
    /// The first [`PROBLEMS_KEPT_MAX`].
    pub(crate) problems: Vec<Problem>,
    /// How many of each kind, those not kept included.
    pub(crate) counts: BTreeMap<Kind, u64>,
    /// Worth knowing, and no problem.
    pub(crate) notes: Vec<String>,
    pub(crate) totals: Totals,
}

/// Problems kept of one filesystem, and so the memory that a ruined one takes.
pub(crate) const PROBLEMS_KEPT_MAX: usize = 10_000;
/// Notes kept of one filesystem.
const NOTES_KEPT_MAX: usize = 100;

impl Findings {
    pub(crate) fn new(share: &str) -> Findings {
        Findings {
            share: share.to_owned(),
            problems: Vec::new(),
            counts: BTreeMap::new(),
            notes: Vec::new(),
            totals: Totals::default(),
        }
    }

    /// Something is wrong.
    pub(crate) fn problem(&mut self, kind: Kind, what: String) {
        self.push(kind, None, what);
    }

    /// Something is wrong with an inode.
    pub(crate) fn wrong(&mut self, kind: Kind, ino: Ino, what: String) {
        self.push(kind, Some(ino), what);
    }

    /// Something to know.
    pub(crate) fn note(&mut self, note: String) {
        if self.notes.len() < NOTES_KEPT_MAX {
            self.notes.push(note);
        }
    }

    /// Takes over what was found in a part.
    pub(crate) fn join(&mut self, part: Findings) {
        part.counts.into_iter().for_each(|(kind, count)| *self.counts.entry(kind).or_default() += count);
        let room = PROBLEMS_KEPT_MAX.saturating_sub(self.problems.len());
        self.problems.extend(part.problems.into_iter().take(room));
        part.notes.into_iter().for_each(|note| self.note(note));
        self.totals.checked_bytes += part.totals.checked_bytes;
    }

    /// How many problems.
    pub(crate) fn count(&self) -> u64 {
        self.counts.values().sum()
    }

    fn push(&mut self, kind: Kind, ino: Option<Ino>, what: String) {
        *self.counts.entry(kind).or_default() += 1;
        if self.problems.len() < PROBLEMS_KEPT_MAX {
            self.problems.push(Problem { kind, ino, path: None, what });
        }
    }

    /// For people.
    pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let share = &self.share;
        for problem in &self.problems {
            write!(out, "{share}: {}: ", problem.kind.name())?;
            match (&problem.path, problem.ino) {
                (Some(path), Some(ino)) => write!(out, "{path} (inode {}): ", ino.0)?,
                (None, Some(ino)) => write!(out, "inode {}: ", ino.0)?,
                (_, None) => {}
            }
            writeln!(out, "{}", problem.what)?;
        }
        let left_out = self.count() - self.problems.len() as u64;
        if left_out > 0 {
            writeln!(out, "{share}: and {left_out} problems more")?;
        }
        for note in &self.notes {
            writeln!(out, "{share}: note: {note}")?;
        }
        if self.totals != Totals::default() {
            self.print_totals(out)?;
        }
        match self.count() {
            0 => writeln!(out, "{share}: clean"),
            count => {
                let kinds = self.counts.iter().map(|(kind, count)| format!("{} {count}", kind.name()));
                writeln!(out, "{share}: {count} problems: {}", kinds.collect::<Vec<_>>().join(", "))
            }
        }
    }

    fn print_totals(&self, out: &mut impl Write) -> io::Result<()> {
        let share = &self.share;
        let totals = &self.totals;
        writeln!(
            out,
            "{share}: {} files ({}), {} directories, {} symbolic links, {} others, {} names, {} removed files to sweep",
            totals.files,
            text::bytes(totals.file_bytes),
            totals.directories,
            totals.symlinks,
            totals.others,
            totals.names,
            totals.orphans,
        )?;
        writeln!(
            out,
            "{share}: {} extents, {} live in {} segments ({}), {} free slots, {} records not folded yet, {} of data checked",
            totals.extents,
            text::bytes(totals.live_bytes),
            totals.segments,
            text::bytes(totals.segment_bytes),
            totals.free_slots,
            totals.pending_records,
            text::bytes(totals.checked_bytes),
        )
    }

    fn print_json(&self, out: &mut impl Write) -> io::Result<()> {
        write!(out, "{{\"share\":{},\"problem_count\":{},\"problems\":[", text::json(&self.share), self.count())?;
        for (index, problem) in self.problems.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(out, "{comma}{{\"kind\":{}", text::json(problem.kind.name()))?;
            if let Some(ino) = problem.ino {
                write!(out, ",\"ino\":{}", ino.0)?;
            }
            if let Some(path) = &problem.path {
                write!(out, ",\"path\":{}", text::json(path))?;
            }
            write!(out, ",\"what\":{}}}", text::json(&problem.what))?;
        }
        let notes: Vec<String> = self.notes.iter().map(|note| text::json(note)).collect();
        write!(out, "],\"notes\":[{}],\"totals\":{{", notes.join(","))?;
        let totals: Vec<String> =
            self.totals.rows().iter().map(|(name, count)| format!("{}:{count}", text::json(name))).collect();
        write!(out, "{}}}}}", totals.join(","))
    }
}

/// All findings as one JSON object, with the shares that could not be checked and why.
pub(crate) fn print_json(
    pool: &str,
    all: &[Findings],
    failures: &[(String, String)],
    out: &mut impl Write,
) -> io::Result<()> {
    let clean = failures.is_empty() && all.iter().all(|findings| findings.count() == 0);
    write!(out, "{{\"pool\":{},\"clean\":{clean},\"filesystems\":[", text::json(pool))?;
    for (index, findings) in all.iter().enumerate() {
        if index > 0 {
            write!(out, ",")?;
        }
        findings.print_json(out)?;
    }
    let failures: Vec<String> = failures
        .iter()
        .map(|(share, why)| format!("{{\"share\":{},\"why\":{}}}", text::json(share), text::json(why)))
        .collect();
    writeln!(out, "],\"failures\":[{}]}}", failures.join(","))
}
