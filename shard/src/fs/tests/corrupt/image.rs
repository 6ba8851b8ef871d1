//! The filesystem that is damaged: its disk and its ledger as files, so that a copy is opened in a moment, and as they
//! were some time before, which is what a write that went elsewhere leaves in its place.

use super::super::rig::*;
use crate::fs::checkpoint;
use crate::fs::filesystem::{FilesystemError, LEDGER_DIRECTORY};
use crate::fs::write::Stability;
use crate::inode::{FileId, Kind, ROOT_ID};
use crate::ledger::command::{CreateHow, Name, SetAttr, Verb};
use crate::ledger::power::Power;
use cache::log::SEAL_PAUSE;
use cache::sim::{Rng, SimDisk, SimWorld};
use cache::world::World;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::rc::Rc;

/// A filesystem that does not run.
pub(super) struct Image {
    /// Its disk, to be copied.
    pub(super) disk: SimDisk,
    /// Its disk as it was some time before.
    pub(super) earlier: SimDisk,
    /// The ledger's files by their names, and as they were some time before.
    pub(super) ledger: Files,
    pub(super) earlier_ledger: Files,
    /// What each file holds.
    pub(super) files: BTreeMap<u64, Vec<u8>>,
}

/// Files of a folder, without the zeros at their ends, and their lengths.
pub(super) type Files = BTreeMap<String, (Vec<u8>, u64)>;

/// How the filesystem ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// In order: everything is folded.
    Stopped,
    /// It was killed when it had been idle for a moment: a start replays the log.
    Killed,
}

impl Image {
    pub(super) fn make(ended: Ended) -> Image {
        let rig = Rig::new(SEED, options(1, CAPACITY));
        let mut maker =
            Maker { rng: Rng::new(SEED), dirs: vec![ROOT_ID], files: BTreeMap::new(), contents: BTreeMap::new() };
        rig.world.run_until(maker.first(&rig));
        rig.settle();
        let earlier = rig.disk.kill(&SimWorld::new(1), 1);
        let earlier_ledger = ledger_files(&rig);
        rig.world.run_until(maker.second(&rig, ended));
        rig.world.run_until(rig.world.sleep(2 * SEAL_PAUSE));
        let disk = rig.disk.kill(&SimWorld::new(2), 2);
        Image { disk, earlier, ledger: ledger_files(&rig), earlier_ledger, files: maker.contents }
    }

    /// A copy in a folder of its own.
    pub(super) fn copy(&self) -> Copied {
        let folder = Rc::new(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap());
        fs::create_dir(folder.path().join(LEDGER_DIRECTORY)).unwrap();
        let world = SimWorld::new(SEED);
        let copied = Copied { disk: self.disk.kill(&world, 3), world, folder };
        for (name, (bytes, length)) in &self.ledger {
            let mut file = fs::File::create(copied.ledger_file(name)).unwrap();
            file.write_all(bytes).unwrap();
            file.set_len(*length).unwrap();
        }
        copied
    }
}

/// A copy of an image, to be damaged and opened.
pub(super) struct Copied {
    pub(super) world: SimWorld,
    pub(super) disk: SimDisk,
    folder: Rc<tempfile::TempDir>,
}

impl Copied {
    pub(super) fn open(&self) -> Result<Rig, FilesystemError> {
        let power = Power::of(&self.folder.path().join(LEDGER_DIRECTORY)).unwrap();
        Rig::open(self.world.clone(), self.disk.clone(), self.folder.clone(), power, options(1, CAPACITY), SEED)
    }

    pub(super) fn ledger_file(&self, name: &str) -> PathBuf {
        self.folder.path().join(LEDGER_DIRECTORY).join(name)
    }
}

fn ledger_files(rig: &Rig) -> Files {
    let mut files = Files::new();
    for entry in fs::read_dir(rig.shared.directory.join(LEDGER_DIRECTORY)).unwrap() {
        let entry = entry.unwrap();
        // LMDB's readers: they mean nothing after a stop.
        if entry.file_name() == "lock.mdb" {
            continue;
        }
        let mut bytes = fs::read(entry.path()).unwrap();
        let length = bytes.len() as u64;
        bytes.truncate(bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1));
        files.insert(entry.file_name().into_string().unwrap(), (bytes, length));
    }
    files
}

/// Makes the tree.
struct Maker {
    rng: Rng,
    dirs: Vec<FileId>,
    /// By number: where its name is.
    files: BTreeMap<u64, (FileId, String)>,
    contents: BTreeMap<u64, Vec<u8>>,
}

impl Maker {
    /// The tree as it is at first, folded.
    async fn first(&mut self, rig: &Rig) {
        let fs = &rig.fs[0];
        for index in 0..DIRECTORIES {
            let parent = self.dirs[self.rng.below(self.dirs.len() as u64) as usize];
            let attr = SetAttr { mode: Some(0o755), ..SetAttr::default() };
            let verb = Verb::Mkdir { dir: parent, name: name(&format!("directory-{index}")), attr };
            let made = ask(fs, verb).await.unwrap().unwrap();
            self.dirs.push(made.id());
        }
        for index in 0..FILES {
            self.make(rig, index).await;
        }
        checkpoint::fold_all(fs).await.unwrap();
    }

    /// Some of it changes; what is changed last is in the log alone, unless everything is folded at the end.
    async fn second(&mut self, rig: &Rig, ended: Ended) {
        let fs = &rig.fs[0];
        let numbers: Vec<u64> = self.files.keys().copied().collect();
        for (index, number) in numbers.into_iter().enumerate() {
            // As a core does when it has nothing more to look up: LMDB may use again what it frees.
            fs.reader.borrow_mut().rest();
            if index % CHECKPOINT_EVERY == 0 {
                rig.settle();
            }
            let id = self.id(rig, number).await;
            match self.rng.below(12) {
                0 | 1 => self.write(rig, id, self.contents[&id.ino.0].len() as u64 / 2, 2).await,
                2 => {
                    let size = self.contents[&id.ino.0].len() as u64;
                    cut(fs, id, size / 3).await.unwrap();
                    self.contents.get_mut(&id.ino.0).unwrap().truncate(size as usize / 3);
                }
                3 => {
                    let (dir, of) = self.files.remove(&number).unwrap();
                    ask(fs, Verb::Remove { dir, name: name(&of) }).await.unwrap();
                    self.contents.remove(&id.ino.0);
                }
                4 => {
                    let attr = SetAttr { mode: Some(0o400 + self.rng.below(0o377) as u32), ..SetAttr::default() };
                    ask(fs, Verb::Setattr { file: id, attr, guard: None }).await.unwrap();
                }
                5 => {
                    let dir = self.dirs[self.rng.below(self.dirs.len() as u64) as usize];
                    ask(fs, Verb::Link { file: id, dir, name: name(&format!("link-{number}")) }).await.unwrap();
                }
                _ => {}
            }
            if index == FILES as usize / 2 {
                checkpoint::fold_all(fs).await.unwrap();
            }
        }
        for index in FILES..FILES + FILES / 8 {
            self.make(rig, index).await;
        }
        if ended == Ended::Stopped {
            fs.stop().await.unwrap();
            rig.settle();
        }
    }

    /// A file, or now and then something else.
    async fn make(&mut self, rig: &Rig, number: u64) {
        let fs = &rig.fs[0];
        fs.reader.borrow_mut().rest();
        let dir = self.dirs[self.rng.below(self.dirs.len() as u64) as usize];
        let called = format!("entry-{number}{}", "-long".repeat(self.rng.below(8) as usize));
        let attr = SetAttr { mode: Some(0o644), ..SetAttr::default() };
        match number % 16 {
            7 => {
                let target = format!("../somewhere/{number}").into_bytes().into_boxed_slice();
                ask(fs, Verb::Symlink { dir, name: name(&called), attr, target }).await.unwrap();
                return;
            }
            8 => {
                let verb = Verb::Mknod { dir, name: name(&called), attr, kind: Kind::Fifo, rdev: (0, 0) };
                ask(fs, verb).await.unwrap();
                return;
            }
            _ => {}
        }
        let verb = Verb::Create { dir, name: name(&called), how: CreateHow::Guarded, attr };
        let id = ask(fs, verb).await.unwrap().unwrap().id();
        self.files.insert(number, (dir, called));
        self.contents.insert(id.ino.0, Vec::new());
        if number % 16 != 3 {
            self.write(rig, id, 0, 1).await;
        }
        if number % 16 == 5 {
            // A hole, and something behind it.
            let at = self.contents[&id.ino.0].len() as u64 + 20_000;
            self.write(rig, id, at, 1).await;
        }
    }

    async fn write(&mut self, rig: &Rig, id: FileId, offset: u64, version: u64) {
        let long = self.rng.below(16) == 0;
        let bytes = 1 + self.rng.below(if long { 120_000 } else { 6_000 }) as usize;
        let data: Vec<u8> = (offset..).take(bytes).map(|at| identity(id.ino.0, version, at)).collect();
        let mut done = 0;
        while done < bytes {
            let wrote = put(&rig.fs[0], id, offset + done as u64, &data[done..], Stability::FileSync).await.unwrap();
            done += wrote.bytes as usize;
        }
        let content = self.contents.get_mut(&id.ino.0).unwrap();
        let (start, end) = (offset as usize, offset as usize + bytes);
        content.resize(content.len().max(end), 0);
        content[start..end].copy_from_slice(&data);
    }

    async fn id(&self, rig: &Rig, number: u64) -> FileId {
        let (dir, of) = &self.files[&number];
        let verb = Verb::Create { dir: *dir, name: name(of), how: CreateHow::Unchecked, attr: SetAttr::default() };
        ask(&rig.fs[0], verb).await.unwrap().unwrap().id()
    }
}

/// A byte of a file: sixteen of them say which file, version and place they are of.
fn identity(file: u64, version: u64, at: u64) -> u8 {
    let word = (file << 40 | version << 32 | at >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (word >> (8 * (at % 8))) as u8 ^ at as u8
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

const SEED: u64 = 4711;
const CAPACITY: u64 = 64 * SEGMENT_BYTES;
const DIRECTORIES: u64 = 12;
/// Changes from one checkpoint of the ledger to the next: pages are made, freed and used again.
const CHECKPOINT_EVERY: usize = 16;
const FILES: u64 = 260;
