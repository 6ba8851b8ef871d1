//! A worker that changes its folder of a share at random and remembers every acknowledgement, and afterwards
//! compares the folder with what it remembers. One call at a time, so that the state after it is certain.
//! Callers: the kill -9 and power cut cases, the load agent.

use crate::failure::{Failure, ensure};
use crate::random::Random;
use crate::share::{How, Kind, Share};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) struct Worker<S> {
    pub(crate) share: S,
    random: Random,
    /// Entries by path.
    names: BTreeMap<String, Node>,
    /// Files by a number of our own; several names may be links to one.
    files: BTreeMap<u64, Contents>,
    next: u64,
    pub(crate) acknowledged: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Node {
    File(u64),
    Folder,
    Symlink(String),
    Fifo,
}

struct Contents {
    data: Vec<u8>,
    mode: u32,
    /// The path that unstable writes went through, until the next sync.
    unsynced: Option<String>,
}

impl<S: Share> Worker<S> {
    /// A worker of an empty folder.
    pub(crate) fn new(share: S, seed: u64) -> Worker<S> {
        let (names, files) = (BTreeMap::new(), BTreeMap::new());
        Worker { share, random: Random::new(seed), names, files, next: 0, acknowledged: 0 }
    }

    /// One change of the folder, acknowledged by the server when this returns.
    pub(crate) fn step(&mut self) -> Result<(), Failure> {
        let crowded = self.names.len() as u64 >= NAMES_MAX;
        match self.random.below(100) {
            0..25 if !crowded => self.create(),
            25..33 if !crowded => self.add(Node::Folder),
            33..37 if !crowded => self.add_symlink(),
            37..40 if !crowded => self.add(Node::Fifo),
            40..45 if !crowded => self.link(),
            45..57 => self.rename(),
            57..60 => self.chmod(),
            60..65 => self.truncate(),
            65..80 => self.write(true),
            80..90 => self.write(false),
            _ => self.remove(),
        }?;
        self.acknowledged += 1;
        Ok(())
    }

    /// Makes everything stable that is not yet, as a client does before it says so to its program.
    pub(crate) fn settle(&mut self) -> Result<(), Failure> {
        for contents in self.files.values_mut() {
            if let Some(path) = contents.unsynced.take() {
                self.share.sync(&path)?;
            }
        }
        Ok(())
    }

    /// Compares the whole folder with what was acknowledged: every name, kind, size, mode, link and byte.
    pub(crate) fn check(&mut self) -> Result<(), Failure> {
        self.share.forget()?;
        let mut folders: Vec<_> = self.names.iter().filter(|(_, node)| **node == Node::Folder).collect();
        let top = (String::new(), Node::Folder);
        folders.push((&top.0, &top.1));
        let mut fileids = BTreeMap::new();
        let paths: Vec<_> = folders.into_iter().map(|(path, _)| path.clone()).collect();
        for folder in paths {
            self.check_folder(&folder, &mut fileids)?;
        }
        Ok(())
    }

    fn check_folder(&mut self, folder: &str, fileids: &mut BTreeMap<u64, u64>) -> Result<(), Failure> {
        let entries = self.share.list(folder)?;
        let seen: BTreeSet<_> = entries.iter().map(|entry| join(folder, &entry.name)).collect();
        ensure!(seen.len() == entries.len(), "folder {folder:?} lists a name twice");
        let known: BTreeSet<_> = self.names.keys().filter(|path| parent(path) == folder).cloned().collect();
        let lost: Vec<_> = known.difference(&seen).collect();
        let strange: Vec<_> = seen.difference(&known).collect();
        ensure!(lost.is_empty() && strange.is_empty(), "folder {folder:?} lost {lost:?} and has {strange:?} too many");
        for entry in entries {
            let path = join(folder, &entry.name);
            match self.names[&path].clone() {
                Node::Folder => ensure!(entry.kind == Kind::Folder, "{path} is now {entry:?}"),
                Node::Fifo => ensure!(entry.kind == Kind::Fifo, "{path} is now {entry:?}"),
                Node::Symlink(text) => {
                    ensure!(entry.kind == Kind::Symlink, "{path} is now {entry:?}");
                    ensure!(self.share.readlink(&path)? == text, "{path}: another text");
                }
                Node::File(file) => {
                    let contents = &self.files[&file];
                    let links = self.names.values().filter(|node| **node == Node::File(file)).count() as u64;
                    ensure!(entry.kind == Kind::File, "{path} is now {entry:?}");
                    ensure!(entry.links == links, "{path} has {} links instead of {links}", entry.links);
                    ensure!(entry.mode == contents.mode, "{path} has mode {:o} not {:o}", entry.mode, contents.mode);
                    ensure!(*fileids.entry(file).or_insert(entry.fileid) == entry.fileid, "{path} is another file");
                    let data = self.share.read(&path)?;
                    compare(&path, &data, &contents.data)?;
                    ensure!(entry.bytes == data.len() as u64, "{path}: the size differs from the data's");
                }
            }
        }
        Ok(())
    }

    fn create(&mut self) -> Result<(), Failure> {
        let how = if self.random.below(4) == 0 { How::Exclusive } else { How::Guarded };
        let path = self.fresh();
        self.share.create(&path, how)?;
        let file = self.number();
        self.files.insert(file, Contents { data: Vec::new(), mode: 0o644, unsynced: None });
        self.names.insert(path, Node::File(file));
        Ok(())
    }

    fn add(&mut self, node: Node) -> Result<(), Failure> {
        let path = self.fresh();
        match &node {
            Node::Folder => self.share.mkdir(&path)?,
            Node::Symlink(text) => self.share.symlink(&path, text)?,
            Node::Fifo => self.share.fifo(&path)?,
            Node::File(_) => unreachable!("files are made by create"),
        }
        self.names.insert(path, node);
        Ok(())
    }

    fn add_symlink(&mut self) -> Result<(), Failure> {
        let text = format!("../{}", "x".repeat(self.random.below(200) as usize + 1));
        self.add(Node::Symlink(text))
    }

    fn link(&mut self) -> Result<(), Failure> {
        let Some((source, file)) = self.some_file() else { return Ok(()) };
        let target = self.fresh();
        self.share.link(&source, &target)?;
        self.names.insert(target, Node::File(file));
        Ok(())
    }

    /// To a new name, or over another file or fifo. Folders stay, so that paths do.
    fn rename(&mut self) -> Result<(), Failure> {
        let Some((source, node)) = self.some(|node| *node != Node::Folder) else { return Ok(()) };
        let over = self.random.below(3) == 0;
        let target = if over { self.some(|node| *node != Node::Folder) } else { None };
        let target = target.map_or_else(|| self.fresh(), |(path, _)| path);
        self.settle_node(&node)?;
        let victim = self.names.get(&target).cloned();
        if let Some(victim) = &victim {
            self.settle_node(victim)?;
        }
        self.share.rename(&source, &target)?;
        // Two links to one file: rename does nothing, RFC 1813 3.3.14.
        let same = victim.as_ref() == Some(&node) && matches!(node, Node::File(_));
        if source != target && !same {
            self.names.remove(&source);
            self.names.insert(target, node);
            self.forget_unlinked(victim);
        }
        Ok(())
    }

    fn chmod(&mut self) -> Result<(), Failure> {
        let Some((path, file)) = self.some_file() else { return Ok(()) };
        let mode = 0o400 + self.random.below(0o400) as u32;
        self.share.chmod(&path, mode)?;
        self.contents(file).mode = mode;
        Ok(())
    }

    fn truncate(&mut self) -> Result<(), Failure> {
        let Some((path, file)) = self.some_file() else { return Ok(()) };
        let bytes = self.random.below(FILE_BYTES_MAX);
        self.settle_node(&Node::File(file))?;
        self.share.truncate(&path, bytes)?;
        self.contents(file).data.resize(bytes as usize, 0);
        Ok(())
    }

    fn write(&mut self, synced: bool) -> Result<(), Failure> {
        let Some((path, file)) = self.some_file() else { return Ok(()) };
        let mut data = vec![0; self.random.below(WRITE_BYTES_MAX) as usize + 1];
        self.random.fill(&mut data);
        let offset = self.random.below(FILE_BYTES_MAX - data.len() as u64);
        // Unstable data is synced through the path that it was written through.
        if self.contents(file).unsynced.as_ref().is_some_and(|through| synced || *through != path) {
            self.settle_node(&Node::File(file))?;
        }
        match synced {
            true => self.share.write_synced(&path, offset, &data)?,
            false => self.share.write_later(&path, offset, &data)?,
        }
        let contents = self.contents(file);
        let (start, end) = (offset as usize, offset as usize + data.len());
        contents.data.resize(contents.data.len().max(end), 0);
        contents.data[start..end].copy_from_slice(&data);
        if !synced {
            contents.unsynced = Some(path);
        }
        Ok(())
    }

    fn remove(&mut self) -> Result<(), Failure> {
        let Some((path, node)) = self.some(|_| true) else { return Ok(()) };
        if node == Node::Folder {
            if self.names.keys().any(|other| parent(other) == path) {
                return Ok(());
            }
            self.share.rmdir(&path)?;
        } else {
            self.settle_node(&node)?;
            self.share.remove(&path)?;
        }
        self.names.remove(&path);
        self.forget_unlinked(Some(node));
        Ok(())
    }

    fn settle_node(&mut self, node: &Node) -> Result<(), Failure> {
        let Node::File(file) = node else { return Ok(()) };
        match self.contents(*file).unsynced.take() {
            Some(path) => self.share.sync(&path),
            None => Ok(()),
        }
    }

    fn forget_unlinked(&mut self, node: Option<Node>) {
        if let Some(Node::File(file)) = node
            && !self.names.values().any(|other| *other == Node::File(file))
        {
            self.files.remove(&file);
        }
    }

    fn contents(&mut self, file: u64) -> &mut Contents {
        self.files.get_mut(&file).expect("every name of a file leads to its contents")
    }

    fn some_file(&mut self) -> Option<(String, u64)> {
        match self.some(|node| matches!(node, Node::File(_)))? {
            (path, Node::File(file)) => Some((path, file)),
            _ => None,
        }
    }

    fn some(&mut self, wanted: impl Fn(&Node) -> bool) -> Option<(String, Node)> {
        let fitting: Vec<_> = self.names.iter().filter(|(_, node)| wanted(node)).collect();
        let index = self.random.below(fitting.len().max(1) as u64) as usize;
        fitting.get(index).map(|(path, node)| (path.to_string(), (*node).clone()))
    }

    /// A new name in the worker's folder or one of its folders.
    fn fresh(&mut self) -> String {
        let folder = if self.random.below(2) == 0 { None } else { self.some(|node| *node == Node::Folder) };
        let folder = folder.map_or_else(String::new, |(path, _)| path);
        let long = if self.random.below(10) == 0 { 200 } else { 0 };
        let name = format!("n{}{}", self.number(), "-".repeat(long));
        if folder.matches('/').count() >= DEPTH_MAX { name } else { join(&folder, &name) }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

fn compare(path: &str, data: &[u8], known: &[u8]) -> Result<(), Failure> {
    ensure!(data.len() == known.len(), "{path} has {} bytes instead of {}", data.len(), known.len());
    let wrong = data.iter().zip(known).position(|(one, other)| one != other);
    ensure!(wrong.is_none(), "{path} differs from byte {} on", wrong.unwrap_or_default());
    Ok(())
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_string() } else { format!("{folder}/{name}") }
}

/// Beyond this, a step removes or changes instead of adding.
const NAMES_MAX: u64 = 150;
const FILE_BYTES_MAX: u64 = 96 << 10;
const WRITE_BYTES_MAX: u64 = 24 << 10;
const DEPTH_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::share::Mounted;
    use std::path::PathBuf;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("e2e-workload-{}-{name}", std::process::id()));
            std::fs::create_dir(&path).unwrap();
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn busy(folder: &Folder) -> Worker<Mounted> {
        let mut worker = Worker::new(Mounted::local(&folder.0), 11);
        for _ in 0..600 {
            worker.step().unwrap();
        }
        worker.settle().unwrap();
        worker
    }

    #[test]
    fn a_file_system_that_keeps_everything_passes() {
        let folder = Folder::new("keeps");
        let mut worker = busy(&folder);
        worker.check().unwrap();
        assert!(worker.names.len() > 50);
    }

    #[test]
    fn a_lost_name_a_changed_byte_and_a_strange_name_are_each_found() {
        let folder = Folder::new("loses");
        let mut worker = busy(&folder);
        let is_top = |path: &str, node: &Node| *node == Node::Fifo && !path.contains('/');
        let (path, _) = worker.names.iter().find(|(path, node)| is_top(path, node)).unwrap();
        let path = path.clone();
        std::fs::rename(folder.0.join(&path), folder.0.join("aside")).unwrap();
        assert!(worker.check().unwrap_err().to_string().contains("lost"));
        std::fs::rename(folder.0.join("aside"), folder.0.join(&path)).unwrap();
        worker.check().unwrap();

        let is_long = |node: &Node| matches!(node, Node::File(file) if worker.files[file].data.len() > 10);
        let (path, _) = worker.names.iter().find(|(_, node)| is_long(node)).unwrap();
        let mut data = std::fs::read(folder.0.join(path)).unwrap();
        data[7] ^= 1;
        std::fs::write(folder.0.join(path), data).unwrap();
        assert!(worker.check().unwrap_err().to_string().contains("from byte 7"));
    }
}
