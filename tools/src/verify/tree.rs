//! The namespace: every name leads to its inode, every inode has its names, the two tables of names
//! mirror each other, counts and parents are right.
//!
//! One row that is damaged is one problem: what would only follow from it is not reported again.

use super::progress::Progress;
use super::report::{Findings, Kind};
use super::source::{Lookup, Source};
use crate::text;
use shard::inode::{self, Ino, Inode};
use shard::ledger::check::{EntryRow, NameRow};
use shard::ledger::command::{Name, TARGET_MAX};
use shard::ledger::record::Table;
use shard::ledger::record::inode::parse_key;
use shard::ledger::store::LSN_FIRST;
use std::collections::{BTreeMap, HashSet};

/// Inodes, by number, and removed files.
pub(crate) struct Tree {
    nodes: Vec<Node>,
    /// Inodes whose records are damaged.
    broken: HashSet<Ino>,
    /// Removed files that hold extents, with their generations.
    pub(crate) orphans: BTreeMap<Ino, u32>,
    /// All inodes were read: what is not here does not exist.
    is_complete: bool,
}

/// What later checks need of an inode, and what was counted for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) ino: Ino,
    pub(crate) generation: u32,
    pub(crate) kind: inode::Kind,
    pub(crate) size: u64,
    pub(crate) used: u64,
    pub(crate) parent: Ino,
    nlink: u32,
    entries: u64,
    names: u32,
    /// Directories: what the names in it come to.
    found_entries: u64,
    found_subdirectories: u32,
    /// Directories: where its (last) name was found.
    found_in: Ino,
    has_target: bool,
}

/// What a number stands for.
pub(crate) enum Known<'a> {
    Node(&'a Node),
    /// A removed file that still holds extents.
    Orphan,
    Missing,
    /// Its record is damaged, or the table could not be read to its end.
    Unclear,
}

/// Checks the namespace of a filesystem.
pub(crate) fn check(source: &Source, findings: &mut Findings, progress: &mut Progress) -> Tree {
    let mut tree = inodes(source, findings, progress);
    orphans(source, &mut tree, findings, progress);
    let mut is_whole = tree.is_complete;
    is_whole &= names(source, &mut tree, findings, progress);
    is_whole &= entries(source, &mut tree, findings, progress);
    is_whole &= targets(source, &mut tree, findings, progress);
    // Counts of half a table say nothing.
    if is_whole {
        tree.nodes.iter().for_each(|node| judge(&tree, node, findings));
        cycles(&tree, findings);
    }
    replies(source, findings, progress);
    tree
}

impl Tree {
    /// What is known of an inode.
    pub(crate) fn known(&self, ino: Ino) -> Known<'_> {
        match self.position(ino) {
            Some(at) => Known::Node(&self.nodes[at]),
            None if self.broken.contains(&ino) => Known::Unclear,
            None if self.orphans.contains_key(&ino) => Known::Orphan,
            None if self.is_complete => Known::Missing,
            None => Known::Unclear,
        }
    }

    /// All inodes, by number.
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    fn position(&self, ino: Ino) -> Option<usize> {
        self.nodes.binary_search_by_key(&ino, |node| node.ino).ok()
    }

    fn node_mut(&mut self, ino: Ino) -> Option<&mut Node> {
        let at = self.position(ino)?;
        self.nodes.get_mut(at)
    }
}

fn inodes(source: &Source, findings: &mut Findings, progress: &mut Progress) -> Tree {
    let mut nodes: Vec<Node> = Vec::new();
    let mut broken = HashSet::new();
    let is_complete = source.each(Table::Inodes, source.rows.inodes(), findings, progress, |row, findings| match row {
        Ok(inode) => {
            count(&inode, findings);
            numbers(source, &inode, findings);
            nodes.push(Node::new(&inode));
        }
        Err(key) => broken.extend(parse_key(key)),
    });
    let tree = Tree { nodes, broken, orphans: BTreeMap::new(), is_complete };
    match tree.known(inode::ROOT) {
        Known::Node(root) if root.kind != inode::Kind::Directory => {
            findings.wrong(Kind::Directory, inode::ROOT, "the root is no directory".into());
        }
        Known::Missing => findings.wrong(Kind::Directory, inode::ROOT, "the root directory is missing".into()),
        _ => {}
    }
    tree
}

impl Node {
    fn new(inode: &Inode) -> Node {
        Node {
            ino: inode.ino,
            generation: inode.generation,
            kind: inode.kind,
            size: inode.size,
            used: inode.used,
            parent: inode.parent,
            nlink: inode.nlink,
            entries: inode.entries,
            names: 0,
            found_entries: 0,
            found_subdirectories: 0,
            found_in: Ino(0),
            has_target: false,
        }
    }

    fn is_directory(&self) -> bool {
        self.kind == inode::Kind::Directory
    }
}

fn count(inode: &Inode, findings: &mut Findings) {
    let totals = &mut findings.totals;
    match inode.kind {
        inode::Kind::File => {
            totals.files += 1;
            totals.file_bytes = totals.file_bytes.saturating_add(inode.size);
        }
        inode::Kind::Directory => totals.directories += 1,
        inode::Kind::Symlink => totals.symlinks += 1,
        _ => totals.others += 1,
    }
}

/// Nothing may carry a number that was never given out.
fn numbers(source: &Source, inode: &Inode, findings: &mut Findings) {
    let (ino, meta) = (inode.ino, &source.meta);
    if ino.0 == 0 || ino.0 >= meta.next_ino {
        findings.wrong(Kind::Number, ino, format!("inode numbers below {} have been given out", meta.next_ino));
    }
    for (what, lsn) in [("change", inode.change), ("folded lsn", inode.folded_lsn)] {
        if lsn >= meta.lsn_limit {
            let limit = meta.lsn_limit;
            findings.wrong(Kind::Number, ino, format!("its {what} is {lsn}, but numbers end below {limit}"));
        }
    }
}

fn orphans(source: &Source, tree: &mut Tree, findings: &mut Findings, progress: &mut Progress) {
    source.each(Table::Orphans, source.rows.orphans(), findings, progress, |row, findings| {
        let Ok((ino, generation)) = row else { return };
        findings.totals.orphans += 1;
        if tree.position(ino).is_some() {
            findings.wrong(Kind::Orphan, ino, "it is listed as removed, and its inode is there".into());
        }
        tree.orphans.insert(ino, generation);
    });
}

fn names(source: &Source, tree: &mut Tree, findings: &mut Findings, progress: &mut Progress) -> bool {
    source.each(Table::Names, source.rows.names(), findings, progress, |row, findings| {
        let Ok(row) = row else { return };
        findings.totals.names += 1;
        if Name::new(&row.name).is_err() {
            let what = format!("directory {} holds the name {}, which cannot be", row.dir.0, shown(&row.name));
            findings.wrong(Kind::Name, row.found.ino, what);
        }
        let cookie = row.found.cookie;
        if cookie < LSN_FIRST || cookie >= source.meta.lsn_limit {
            let what = format!("its name {} in directory {} has cookie {cookie}", shown(&row.name), row.dir.0);
            findings.wrong(Kind::Number, row.found.ino, what);
        }
        holder(tree, &row, findings);
        leads(tree, &row, findings);
        match source.entry(row.dir, cookie) {
            Lookup::There((ino, name)) if ino == row.found.ino && name == row.name => {}
            Lookup::There((ino, name)) => {
                let what = format!(
                    "directory {}: its name {} has cookie {cookie}, which the table entries has for {} (inode {})",
                    row.dir.0,
                    shown(&row.name),
                    shown(&name),
                    ino.0
                );
                findings.wrong(Kind::Mirror, row.found.ino, what);
            }
            Lookup::Missing => {
                let what = format!(
                    "directory {}: its name {} is not in the table entries (cookie {cookie}): it cannot be listed",
                    row.dir.0,
                    shown(&row.name)
                );
                findings.wrong(Kind::Mirror, row.found.ino, what);
            }
            Lookup::Damaged => {}
        }
        link(tree, row.dir, row.found.ino, row.found.kind);
    })
}

/// The directory that a name is in must be one.
fn holder(tree: &Tree, row: &NameRow, findings: &mut Findings) {
    let what = match tree.known(row.dir) {
        Known::Node(node) if node.is_directory() => return,
        Known::Unclear => return,
        Known::Node(_) => "which is no directory",
        Known::Orphan | Known::Missing => "which does not exist",
    };
    let what = format!("the name {} is in inode {}, {what}", shown(&row.name), row.dir.0);
    findings.wrong(Kind::Dangling, row.found.ino, what);
}

/// The inode that a name leads to must be there, and of the type that the name says.
fn leads(tree: &Tree, row: &NameRow, findings: &mut Findings) {
    let (dir, name) = (row.dir, shown(&row.name));
    match tree.known(row.found.ino) {
        Known::Node(node) if node.kind != row.found.kind => {
            let what = format!("{name} leads to inode {}: {:?}, not {:?}", node.ino.0, node.kind, row.found.kind);
            findings.wrong(Kind::Dangling, dir, what);
        }
        Known::Node(node) if node.ino == inode::ROOT => {
            findings.wrong(Kind::Directory, dir, format!("{name} leads to the root"));
        }
        Known::Node(_) | Known::Unclear => {}
        Known::Orphan => {
            let what = format!("{name} leads to inode {}, which was removed", row.found.ino.0);
            findings.wrong(Kind::Dangling, dir, what);
        }
        Known::Missing => {
            let what = format!("{name} leads to inode {}, which does not exist", row.found.ino.0);
            findings.wrong(Kind::Dangling, dir, what);
        }
    }
}

/// Counts a name.
fn link(tree: &mut Tree, dir: Ino, ino: Ino, kind: inode::Kind) {
    if let Some(node) = tree.node_mut(ino) {
        node.names = node.names.saturating_add(1);
        node.found_in = dir;
    }
    if let Some(node) = tree.node_mut(dir) {
        node.found_entries += 1;
        if kind == inode::Kind::Directory {
            node.found_subdirectories = node.found_subdirectories.saturating_add(1);
        }
    }
}

fn entries(source: &Source, tree: &mut Tree, findings: &mut Findings, progress: &mut Progress) -> bool {
    source.each(Table::Entries, source.rows.entries(), findings, progress, |row, findings| {
        let Ok(row) = row else { return };
        match source.name(row.dir, &row.name) {
            Lookup::There(found) if found.cookie == row.cookie && found.kind != row.kind => {
                let what = format!("directory {}: {} has two types", row.dir.0, shown(&row.name));
                findings.wrong(Kind::Mirror, row.ino, what);
            }
            // Inodes that differ were reported from the other side.
            Lookup::There(found) if found.cookie == row.cookie => {}
            Lookup::There(found) => {
                let what = format!(
                    "directory {}: cookie {} lists {}, which is the name of cookie {}",
                    row.dir.0,
                    row.cookie,
                    shown(&row.name),
                    found.cookie
                );
                findings.wrong(Kind::Mirror, row.ino, what);
            }
            Lookup::Missing => {
                unnamed(tree, &row, findings);
            }
            // The name cannot be read: the entry stands for it.
            Lookup::Damaged => link(tree, row.dir, row.ino, row.kind),
        }
    })
}

fn unnamed(tree: &Tree, row: &EntryRow, findings: &mut Findings) {
    let what = format!(
        "directory {} lists {} (cookie {}), which is not in the table names: it cannot be looked up",
        row.dir.0,
        shown(&row.name),
        row.cookie
    );
    match tree.known(row.dir) {
        Known::Node(_) => findings.wrong(Kind::Mirror, row.dir, what),
        _ => findings.problem(Kind::Mirror, what),
    }
}

fn targets(source: &Source, tree: &mut Tree, findings: &mut Findings, progress: &mut Progress) -> bool {
    source.each(Table::Targets, source.rows.targets(), findings, progress, |row, findings| {
        let (ino, target) = match row {
            Ok(row) => row,
            Err(key) => {
                // A damaged target is one problem, and not also a missing one.
                let owner = shard::ledger::record::tree::parse_target_key(key).ok();
                if let Some(node) = owner.and_then(|ino| tree.node_mut(ino)) {
                    node.has_target = true;
                }
                return;
            }
        };
        if target.len() > TARGET_MAX || target.contains(&0) {
            findings.wrong(Kind::Symlink, ino, "its target cannot be one".into());
        }
        match tree.node_mut(ino) {
            Some(node) if node.kind == inode::Kind::Symlink => {
                node.has_target = true;
                if node.size != target.len() as u64 {
                    let what = format!("its size is {}, its target has {} bytes", node.size, target.len());
                    findings.wrong(Kind::Symlink, ino, what);
                }
            }
            Some(node) => {
                let what = format!("it has the target of a symbolic link and is a {:?}", node.kind);
                findings.wrong(Kind::Symlink, ino, what);
            }
            None => {
                if !matches!(tree.known(ino), Known::Unclear) {
                    findings.wrong(Kind::Symlink, ino, "a target without its symbolic link".into());
                }
            }
        }
    })
}

/// An inode against the names that were found.
fn judge(tree: &Tree, node: &Node, findings: &mut Findings) {
    let ino = node.ino;
    if node.kind == inode::Kind::Symlink && !node.has_target {
        findings.wrong(Kind::Symlink, ino, "it has no target".into());
    }
    let is_root = ino == inode::ROOT;
    if node.names == 0 && !is_root {
        findings.wrong(Kind::Unreachable, ino, format!("no name leads to this {:?}", node.kind));
    } else if !node.is_directory() && node.names != node.nlink {
        let what = format!("its link count is {}, {} names lead to it", node.nlink, node.names);
        findings.wrong(Kind::Links, ino, what);
    }
    if node.is_directory() {
        directory(tree, node, findings);
    }
}

fn directory(tree: &Tree, node: &Node, findings: &mut Findings) {
    let ino = node.ino;
    if node.names > 1 {
        findings.wrong(Kind::Directory, ino, format!("{} names lead to this directory", node.names));
    }
    let parent = if ino == inode::ROOT { inode::ROOT } else { node.found_in };
    let has_place = ino == inode::ROOT || node.names > 0;
    if has_place && node.parent != parent {
        let what = format!("its parent is inode {}, its name is in inode {}", node.parent.0, parent.0);
        findings.wrong(Kind::Directory, ino, what);
    }
    if node.entries != node.found_entries {
        let what = format!("it counts {} entries and has {}", node.entries, node.found_entries);
        findings.wrong(Kind::Directory, ino, what);
    }
    // Subdirectories whose records are damaged still count: their names say what they are.
    let nlink = node.found_subdirectories.saturating_add(2);
    if node.nlink != nlink && tree.is_complete {
        let what = format!("its link count is {}, with its subdirectories it must be {nlink}", node.nlink);
        findings.wrong(Kind::Links, ino, what);
    }
}

/// Directories that are their own ancestors: each has a name, and still no path leads there.
fn cycles(tree: &Tree, findings: &mut Findings) {
    let mut fate = vec![Fate::Unknown; tree.nodes.len()];
    let mut trail = Vec::new();
    for start in 0..tree.nodes.len() {
        let mut at = start;
        trail.clear();
        let end = loop {
            match fate[at] {
                Fate::Unknown => {}
                Fate::OnTrail => break Fate::Lost,
                known => break known,
            }
            let node = &tree.nodes[at];
            if !node.is_directory() || node.ino == inode::ROOT || node.names == 0 {
                // Files are judged by their names; a directory without a name was reported.
                break Fate::Told;
            }
            fate[at] = Fate::OnTrail;
            trail.push(at);
            match tree.position(node.found_in) {
                Some(parent) => at = parent,
                None => break Fate::Told,
            }
        };
        for &at in &trail {
            fate[at] = end;
            if end == Fate::Lost {
                let what = "it lies in itself: no path leads to this directory".into();
                findings.wrong(Kind::Unreachable, tree.nodes[at].ino, what);
            }
        }
    }
}

/// Where climbing from a directory ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Unknown,
    OnTrail,
    /// At the root, or where something was reported already.
    Told,
    /// In a circle.
    Lost,
}

/// Stored replies: readable, and in the slots of their numbers.
fn replies(source: &Source, findings: &mut Findings, progress: &mut Progress) {
    let meta = source.meta;
    source.each(Table::Replies, source.rows.replies(), findings, progress, |row, findings| {
        let Ok(reply) = row else { return };
        if reply.number >= meta.replies {
            let what = format!("a stored reply has number {}, of {} given out", reply.number, meta.replies);
            findings.problem(Kind::Number, what);
        }
    });
}

fn shown(name: &[u8]) -> String {
    format!("\"{}\"", text::name(name))
}
