//! Fills a pool with empty files in bulk, through the ledger's own verbs in large transactions: what it makes is
//! what clients would have made. For measuring how a filesystem serves that has very many of them.
//!
//! The pool was made by the daemon, which does not run now. The files are `bulk/d.NNNNNNN/f.NNNNNNNN`; see
//! [`folder_name`] and [`file_name`]. A pool that was filled already is
//! refused.

use crate::FillArgs;
use crate::failure::{Failure, Outcome, While};
use crate::report::grouped;
use cache::world::Time;
use shard::cred::Cred;
use shard::fs::filesystem::{LEDGER_DIRECTORY, Options, Shared};
use shard::inode::{FileId, ROOT};
use shard::ledger::apply::Ledger;
use shard::ledger::command::{Answer, Ask, CreateHow, Done, Job, Name, SetAttr, Verb};
use shard::ledger::store::{LedgerOptions, OpenError, RootDirectory, Store};
use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// The folder in the root that everything is made in.
pub(crate) const BULK_FOLDER: &str = "bulk";

pub(crate) fn folder_name(number: u64) -> String {
    format!("d.{number:07}")
}

pub(crate) fn file_name(number: u64) -> String {
    format!("f.{number:08}")
}

/// How the files are spread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bulk {
    pub(crate) files: u64,
    pub(crate) per_folder: u64,
}

impl Bulk {
    pub(crate) fn folders(self) -> u64 {
        self.files.div_ceil(self.per_folder)
    }
}

pub(crate) fn fill(args: &FillArgs) -> Outcome<()> {
    let bulk = Bulk { files: args.files, per_folder: args.per_folder.max(1) };
    let _lock = lock(&args.pool)?;
    let directory = args.pool.join(&args.filesystem);
    if !directory.join(LEDGER_DIRECTORY).is_dir() {
        return Err(Failure::Said(format!("{} is no filesystem; the daemon makes them", directory.display())));
    }
    let mut filling = Filling { ledger: open(&directory)?, now: now() };
    let began = Instant::now();
    let (root, root_generation) = (ROOT, filling.root_generation()?);
    let root = FileId { ino: root, generation: root_generation };
    let top = filling.folders(root, std::iter::once(BULK_FOLDER.to_string()))?[0];
    let mut made = 0;
    for first in (0..bulk.folders()).step_by(FOLDERS_AT_ONCE) {
        let numbers = first..bulk.folders().min(first + FOLDERS_AT_ONCE as u64);
        let folders = filling.folders(top, numbers.clone().map(folder_name))?;
        made += filling.files(bulk, numbers.zip(folders).collect())?;
        let rate = made as f64 / began.elapsed().as_secs_f64();
        println!("{} files, {} a second", grouped(made as f64), grouped(rate));
    }
    filling.ledger.settle().map_err(|poisoned| Failure::Said(format!("the last checkpoint: {poisoned:?}")))
}

/// Folders made in one transaction, before their files.
const FOLDERS_AT_ONCE: usize = 500;
/// Files made in one transaction.
const FILES_AT_ONCE: usize = 20_000;

struct Filling {
    ledger: Ledger,
    now: Time,
}

impl Filling {
    fn root_generation(&self) -> Outcome<u32> {
        let store = self.ledger.store().clone();
        let mut reader = shard::ledger::reader::Reader::new(&store, Arc::clone(self.ledger.shared()));
        let failed = |status| Failure::Said(format!("the root: {status:?}"));
        reader.refresh().map_err(failed)?;
        let root = reader.inode(ROOT).map_err(failed)?;
        root.map(|root| root.generation).ok_or_else(|| Failure::said("the filesystem has no root"))
    }

    fn folders(&mut self, dir: FileId, names: impl Iterator<Item = String>) -> Outcome<Vec<FileId>> {
        let attr = SetAttr { mode: Some(0o755), ..SetAttr::default() };
        let verbs = names.map(|name| Ok(Verb::Mkdir { dir, name: checked(&name)?, attr }));
        let verbs = verbs.collect::<Outcome<Vec<_>>>()?;
        let made = self.apply(verbs)?;
        let id = |answer: &Answer| answer.object.map(|made| FileId { ino: made.ino, generation: made.generation });
        made.iter()
            .map(|answer| id(answer).ok_or_else(|| Failure::said("a folder was made and is not there")))
            .collect()
    }

    /// All files of these folders; how many.
    fn files(&mut self, bulk: Bulk, folders: Vec<(u64, FileId)>) -> Outcome<u64> {
        let files = folders.into_iter().flat_map(|(folder, dir)| {
            let first = folder * bulk.per_folder;
            (first..bulk.files.min(first + bulk.per_folder)).map(move |number| (dir, number))
        });
        let attr = SetAttr { mode: Some(0o644), ..SetAttr::default() };
        let (mut verbs, mut made) = (Vec::with_capacity(FILES_AT_ONCE), 0);
        for (dir, number) in files {
            verbs.push(Verb::Create { dir, name: checked(&file_name(number))?, how: CreateHow::Guarded, attr });
            made += 1;
            if verbs.len() == FILES_AT_ONCE {
                self.apply(std::mem::take(&mut verbs))?;
            }
        }
        self.apply(verbs)?;
        Ok(made)
    }

    /// One transaction. Everything in it must be taken.
    fn apply(&mut self, verbs: Vec<Verb>) -> Outcome<Vec<Answer>> {
        let (cred, now) = (Cred::new(0, 0, &[]), self.now);
        let ask = |verb| Job::Ask(Box::new(Ask { cred, now, replay: None, verb }));
        let jobs: Vec<_> = verbs.into_iter().map(ask).collect();
        let commit = self.ledger.apply(&jobs).map_err(|_| Failure::said("the ledger failed"))?;
        self.ledger.publish(&commit);
        commit.answers.into_iter().map(taken).collect()
    }
}

fn taken(done: Done) -> Outcome<Answer> {
    match done {
        Done::Answer(answer) if answer.status.is_ok() => Ok(*answer),
        Done::Answer(answer) => Err(Failure::Said(format!("refused: {:?}", answer.status))),
        other => Err(Failure::Said(format!("refused: {other:?}"))),
    }
}

fn checked(name: &str) -> Outcome<Name> {
    Name::new(name.as_bytes()).map_err(|status| Failure::Said(format!("{name}: {status:?}")))
}

/// Keeps daemons and tools out of the pool.
fn lock(pool: &Path) -> Outcome<File> {
    let path = pool.join("lock");
    let file = File::options().write(true).open(&path).during(path.display())?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::Said(format!("{} is in use", pool.display()))),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// The writer of the ledger, as the daemon makes it. The log is not touched: only names are made here.
fn open(directory: &Path) -> Outcome<Ledger> {
    let failed = |error: OpenError| Failure::said(error.to_string());
    let root = RootDirectory { mode: 0o755, uid: 0, gid: 0, now: now() };
    let path = directory.join(LEDGER_DIRECTORY);
    // A ledger tells its identity to whoever comes with another one.
    let identity = match Store::open(&path, &LedgerOptions::new(0, root.now)) {
        Err(OpenError::Identity { found }) => found,
        Err(error) => return Err(failed(error)),
        Ok(_) => 0,
    };
    let options = LedgerOptions::new(identity, root.now);
    let (store, keeper) = Store::open(&path, &options).map_err(failed)?;
    let (next_lsn, committed) = (store.next_lsn().map_err(failed)?, store.committed().map_err(failed)?);
    // No core serves it here, and nothing is looked up in its table.
    let cores = Options { inodes_max: 1, ..Options::new(1, root) };
    let shared = Shared::new(0, identity, directory, cores, next_lsn, committed, 0);
    Ledger::new((store, keeper), options, Arc::new(shared)).map_err(failed)
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time { secs: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), nanos: since.subsec_nanos() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shard::inode::Ino;
    use shard::ledger::reader::Reader;
    use std::path::PathBuf;

    fn args(pool: PathBuf) -> FillArgs {
        FillArgs { pool, filesystem: "share".to_string(), files: 25, per_folder: 10 }
    }

    fn entries(reader: &Reader, dir: Ino) -> Vec<(String, Ino)> {
        let entries = reader.entries(dir, 0).unwrap().map(Result::unwrap);
        entries.map(|entry| (String::from_utf8(entry.name.to_vec()).unwrap(), entry.ino)).collect()
    }

    #[test]
    fn a_pool_is_filled_once_and_whole() {
        let pool = tempfile::tempdir().unwrap();
        let directory = pool.path().join("share");
        std::fs::create_dir(&directory).unwrap();
        File::create(pool.path().join("lock")).unwrap();
        assert!(fill(&args(pool.path().to_path_buf())).unwrap_err().to_string().contains("is no filesystem"));
        drop(Store::open(&directory.join(LEDGER_DIRECTORY), &LedgerOptions::new(7, now())).unwrap());

        fill(&args(pool.path().to_path_buf())).unwrap();
        assert!(fill(&args(pool.path().to_path_buf())).unwrap_err().to_string().contains("Exist"));

        let ledger = open(&directory).unwrap();
        let mut reader = Reader::new(ledger.store(), Arc::clone(ledger.shared()));
        reader.refresh().unwrap();
        let top = entries(&reader, ROOT);
        assert_eq!(top.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), [BULK_FOLDER]);
        let folders = entries(&reader, top[0].1);
        assert_eq!(folders.iter().map(|(_, ino)| entries(&reader, *ino).len()).collect::<Vec<_>>(), [10, 10, 5]);
        assert_eq!(folders[2].0, folder_name(2));
        let (name, last) = entries(&reader, folders[2].1).pop().unwrap();
        assert_eq!(name, file_name(24));
        assert_eq!(reader.inode(last).unwrap().unwrap().nlink, 1);
    }
}
