//! A ledger in a temporary folder, driven inline.

use crate::cred::Cred;
use crate::fs::filesystem::{Options, Shared};
use crate::inode::{FileId, Inode, ROOT};
use crate::ledger::apply::Ledger;
use crate::ledger::command::{Answer, Ask, CreateHow, Done, Fold, Job, Name, ReplayKey, SetAttr, Verb};
use crate::ledger::keeper::DATA_FILE;
use crate::ledger::media::Witness;
use crate::ledger::power::Power;
use crate::ledger::reader::Reader;
use crate::ledger::store::{LedgerOptions, OpenError, Store};
use crate::status::Status;
use cache::sim::Rng;
use cache::world::Time;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

pub(super) struct Rig {
    pub(super) ledger: Ledger,
    pub(super) reader: Reader,
    pub(super) shared: Arc<Shared>,
    pub(super) options: LedgerOptions,
    pub(super) secs: i64,
    pub(super) power: Power,
    dir: TempDir,
}

impl Rig {
    pub(super) fn new() -> Rig {
        Rig::with(|_| {})
    }

    pub(super) fn with(change: impl FnOnce(&mut LedgerOptions)) -> Rig {
        let mut options = options();
        change(&mut options);
        let power = Power::new();
        options.witness = Some(power.witness());
        Rig::open(tempfile::tempdir().unwrap(), power, options, 2000)
    }

    /// Without anything between the ledger and its disk: with the checkpoints' own thread.
    pub(super) fn plain(change: impl FnOnce(&mut LedgerOptions)) -> Rig {
        let mut options = options();
        change(&mut options);
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        Rig::open(dir, Power::new(), options, 2000)
    }

    /// A new ledger whose steps to the disk `witness` sees.
    pub(super) fn seen_by(witness: Witness) -> Rig {
        Rig::plain(|options| options.witness = Some(witness))
    }

    /// The ledger in a folder, as it is.
    pub(super) fn reopen(dir: TempDir) -> Rig {
        let (power, mut options) = (Power::of(&dir.path().join("ledger")).unwrap(), options());
        options.witness = Some(power.witness());
        Rig::open(dir, power, options, 3000)
    }

    fn open(dir: TempDir, power: Power, options: LedgerOptions, secs: i64) -> Rig {
        let (ledger, reader, shared) = open(dir.path(), &options).unwrap();
        Rig { ledger, reader, shared, options, secs, power, dir }
    }

    /// The power goes and comes back.
    pub(super) fn crash(self) -> Rig {
        self.crash_with(|_| {})
    }

    pub(super) fn crash_with(self, change: impl FnOnce(&mut LedgerOptions)) -> Rig {
        let Rig { ledger, reader, mut options, secs, power, dir, .. } = self;
        // LMDB opens each file but once.
        drop((ledger, reader));
        power.cut(&dir.path().join("ledger"), &mut Rng::new(secs as u64)).unwrap();
        change(&mut options);
        Rig::open(dir, power, options, secs)
    }

    /// A start after a clean stop, where it fails.
    pub(super) fn refusal(self) -> OpenError {
        let Rig { mut ledger, reader, options, dir, .. } = self;
        ledger.checkpoint().unwrap();
        ledger.settle().unwrap();
        drop((ledger, reader));
        Store::open(&dir.path().join("ledger"), &options).err().expect("the ledger is not opened")
    }

    /// LMDB's file.
    pub(super) fn data_file(&self) -> PathBuf {
        self.dir.path().join("ledger").join(DATA_FILE)
    }

    /// The ledger alone, and the folder that must outlive it.
    pub(super) fn into_ledger(self) -> (Ledger, TempDir) {
        (self.ledger, self.dir)
    }

    pub(super) fn jobs(&mut self, jobs: &[Job]) -> Vec<Done> {
        let commit = self.ledger.apply(jobs).unwrap();
        self.ledger.publish(&commit);
        self.reader.refresh().unwrap();
        commit.answers
    }

    pub(super) fn job(&mut self, job: Job) -> Done {
        self.jobs(&[job]).remove(0)
    }

    pub(super) fn fold(&mut self, fold: Fold) -> Done {
        self.job(Job::Fold { files: vec![fold], from: None })
    }

    pub(super) fn job_of(&mut self, cred: Cred, replay: Option<ReplayKey>, verb: Verb) -> Job {
        self.secs += 1;
        let now = Time { secs: self.secs, nanos: 5 };
        Job::Ask(Box::new(Ask { cred, now, replay, verb }))
    }

    pub(super) fn ask(&mut self, cred: Cred, verb: Verb) -> Answer {
        let job = self.job_of(cred, None, verb);
        answer(self.job(job))
    }

    pub(super) fn replayed(&mut self, key: ReplayKey, verb: Verb) -> Answer {
        let job = self.job_of(Cred::root(), Some(key), verb);
        answer(self.job(job))
    }

    /// As root; must succeed.
    pub(super) fn ok(&mut self, verb: Verb) -> Answer {
        self.ok_as(Cred::root(), verb)
    }

    pub(super) fn ok_as(&mut self, cred: Cred, verb: Verb) -> Answer {
        let answer = self.ask(cred, verb.clone());
        assert_eq!(answer.status, Ok(()), "{verb:?}");
        answer
    }

    pub(super) fn refused(&mut self, cred: Cred, verb: Verb) -> Status {
        let what = format!("{verb:?}");
        self.ask(cred, verb).status.expect_err(&what)
    }

    /// Makes a file as root.
    pub(super) fn file(&mut self, dir: FileId, at: &str, mode: u32) -> Inode {
        self.ok(create(dir, at, CreateHow::Guarded, mode)).object.unwrap()
    }

    /// Makes a directory as root.
    pub(super) fn mkdir(&mut self, dir: FileId, at: &str, mode: u32) -> Inode {
        self.ok(mkdir(dir, at, mode)).object.unwrap()
    }

    pub(super) fn chown(&mut self, id: FileId, uid: u32, gid: u32) -> Inode {
        let attr = SetAttr { uid: Some(uid), gid: Some(gid), ..SetAttr::default() };
        self.ok(setattr(id, attr)).object.unwrap()
    }

    pub(super) fn chmod(&mut self, id: FileId, mode: u32) -> Inode {
        self.ok(setattr(id, SetAttr { mode: Some(mode), ..SetAttr::default() })).object.unwrap()
    }

    pub(super) fn attr(&mut self, id: FileId) -> Inode {
        self.reader.refresh().unwrap();
        self.reader.object(id).unwrap()
    }

    pub(super) fn root(&mut self) -> FileId {
        self.reader.refresh().unwrap();
        self.reader.inode(ROOT).unwrap().unwrap().id()
    }

    pub(super) fn find(&mut self, dir: FileId, at: &str) -> Option<Inode> {
        self.reader.refresh().unwrap();
        let found = self.reader.lookup(dir.ino, at.as_bytes()).unwrap()?;
        self.reader.inode(found.ino).unwrap()
    }

    pub(super) fn list(&mut self, dir: FileId) -> Vec<(u64, String)> {
        self.reader.refresh().unwrap();
        let entries = self.reader.entries(dir.ino, 0).unwrap();
        entries
            .map(|entry| {
                let entry = entry.unwrap();
                (entry.cookie, String::from_utf8(entry.name.to_vec()).unwrap())
            })
            .collect()
    }
}

pub(super) fn options() -> LedgerOptions {
    let mut options = LedgerOptions::new(7, Time { secs: 1000, nanos: 0 });
    options.root.mode = 0o777;
    options.limits.map_bytes = 1 << 32;
    options.reserve_bytes = 0;
    options.reply_slots = 64;
    options
}

pub(super) type Parts = (Ledger, Reader, Arc<Shared>);

/// The ledger in this folder.
pub(super) fn open(dir: &Path, options: &LedgerOptions) -> Result<Parts, OpenError> {
    let (store, keeper) = Store::open(&dir.join("ledger"), options)?;
    let (lsn, commit) = (store.next_lsn()?, store.committed()?);
    let shared = Arc::new(Shared::new(0, 7, dir, Options::new(1, options.root), lsn, commit, 9));
    let mut reader = Reader::new(&store, shared.clone());
    let ledger = Ledger::new((store, keeper), options.clone(), shared.clone())?;
    reader.refresh().unwrap();
    Ok((ledger, reader, shared))
}

pub(super) fn answer(done: Done) -> Answer {
    match done {
        Done::Answer(answer) => *answer,
        done => panic!("no answer: {done:?}"),
    }
}

pub(super) fn name(raw: &str) -> Name {
    Name::new(raw.as_bytes()).unwrap()
}

pub(super) fn mode(mode: u32) -> SetAttr {
    SetAttr { mode: Some(mode), ..SetAttr::default() }
}

pub(super) fn create(dir: FileId, at: &str, how: CreateHow, bits: u32) -> Verb {
    Verb::Create { dir, name: name(at), how, attr: mode(bits) }
}

pub(super) fn mkdir(dir: FileId, at: &str, bits: u32) -> Verb {
    Verb::Mkdir { dir, name: name(at), attr: mode(bits) }
}

pub(super) fn symlink(dir: FileId, at: &str, target: &[u8]) -> Verb {
    Verb::Symlink { dir, name: name(at), attr: SetAttr::default(), target: target.into() }
}

pub(super) fn remove(dir: FileId, at: &str) -> Verb {
    Verb::Remove { dir, name: name(at) }
}

pub(super) fn rmdir(dir: FileId, at: &str) -> Verb {
    Verb::Rmdir { dir, name: name(at) }
}

pub(super) fn rename(from_dir: FileId, from: &str, to_dir: FileId, to: &str) -> Verb {
    Verb::Rename { from_dir, from_name: name(from), to_dir, to_name: name(to) }
}

pub(super) fn link(file: FileId, dir: FileId, at: &str) -> Verb {
    Verb::Link { file, dir, name: name(at) }
}

pub(super) fn setattr(file: FileId, attr: SetAttr) -> Verb {
    Verb::Setattr { file, attr, guard: None }
}

/// xorshift64*: the same numbers for the same seed.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below
    }
}
