//! Where the inodes are found that have problems, so that an operator reads a path and not a number.

use super::report::Findings;
use super::source::Source;
use super::tree::{Known, Tree};
use crate::text;
use shard::inode::{self, Ino};
use std::collections::HashMap;

/// Deepest path that is shown.
const DEPTH_MAX: usize = 4096;

/// Gives each problem of an inode its path, where one leads there.
pub(crate) fn find(source: &Source, tree: &Tree, findings: &mut Findings) {
    let mut wanted: HashMap<Ino, Option<(Ino, Vec<u8>)>> =
        findings.problems.iter().filter_map(|problem| problem.ino).map(|ino| (ino, None)).collect();
    let files = |ino: &Ino| !matches!(tree.known(*ino), Known::Node(node) if node.kind == inode::Kind::Directory);
    if wanted.keys().any(files) {
        // A damaged row was reported by the check of its table.
        for row in source.rows.names().map_while(|row| match row {
            Err(shard::ledger::check::Damage::Lmdb(_)) => None,
            row => Some(row),
        }) {
            if let Ok(row) = row
                && let Some(place @ None) = wanted.get_mut(&row.found.ino)
            {
                *place = Some((row.dir, row.name));
            }
        }
    }
    let mut climber = Climber { source, tree, directories: HashMap::new() };
    for problem in &mut findings.problems {
        let Some(ino) = problem.ino else { continue };
        problem.path = match wanted.get(&ino) {
            Some(Some((dir, name))) => climber.path(*dir).map(|path| join(&path, name)),
            _ => climber.path(ino),
        };
    }
}

struct Climber<'a> {
    source: &'a Source,
    tree: &'a Tree,
    /// Name of a directory in its parent.
    directories: HashMap<Ino, Option<(Ino, Vec<u8>)>>,
}

impl Climber<'_> {
    /// The path of a directory; `None` when none leads there.
    fn path(&mut self, directory: Ino) -> Option<String> {
        let mut names = Vec::new();
        let mut at = directory;
        while at != inode::ROOT {
            let (parent, name) = self.place(at)?;
            names.push(name);
            at = parent;
            if names.len() > DEPTH_MAX {
                return None;
            }
        }
        Some(names.iter().rev().fold("/".to_owned(), |path, name| join(&path, name)))
    }

    fn place(&mut self, directory: Ino) -> Option<(Ino, Vec<u8>)> {
        let (source, tree) = (self.source, self.tree);
        let found = self.directories.entry(directory).or_insert_with(|| {
            let Known::Node(node) = tree.known(directory) else { return None };
            if node.kind != inode::Kind::Directory {
                return None;
            }
            Some((node.parent, source.name_of(node.parent, directory)?))
        });
        found.clone()
    }
}

fn join(path: &str, name: &[u8]) -> String {
    let slash = if path.ends_with('/') { "" } else { "/" };
    format!("{path}{slash}{}", text::name(name))
}
