//! A seeded random namespace against a model of it in memory: every answer is compared, and after
//! each batch everything that is there.

use super::rig::*;
use crate::cred::Cred;
use crate::inode::{FileId, Inode, Kind, SETGID, SETUID, STICKY};
use crate::ledger::command::{Answer, CreateHow, Job, SetAttr, Verb};
use crate::ledger::record::Table;
use crate::status::Status;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

type Node = usize;

struct Object {
    kind: Kind,
    mode: u32,
    uid: u32,
    gid: u32,
    links: u32,
    verifier: Option<[u8; 8]>,
    entries: BTreeMap<String, Node>,
    parent: Node,
    is_gone: bool,
    id: Option<FileId>,
}

#[derive(Clone, Debug)]
enum Op {
    Create { dir: Node, at: String, how: CreateHow, mode: u32 },
    Mkdir { dir: Node, at: String, mode: u32 },
    Symlink { dir: Node, at: String },
    Mknod { dir: Node, at: String, kind: Kind },
    Remove { dir: Node, at: String },
    Rmdir { dir: Node, at: String },
    Rename { from: Node, from_at: String, to: Node, to_at: String },
    Link { file: Node, dir: Node, at: String },
    Setattr { node: Node, attr: SetAttr },
}

struct Model {
    objects: Vec<Object>,
}

const ROOT: Node = 0;

impl Model {
    fn new(id: FileId) -> Model {
        let mut model = Model { objects: Vec::new() };
        model.push(Kind::Directory, 0o777, 0, 0, ROOT);
        model.objects[ROOT].links = 2;
        model.objects[ROOT].id = Some(id);
        model
    }

    fn push(&mut self, kind: Kind, mode: u32, uid: u32, gid: u32, parent: Node) -> Node {
        let links = if kind == Kind::Directory { 2 } else { 1 };
        let entries = BTreeMap::new();
        let (verifier, is_gone, id) = (None, false, None);
        self.objects.push(Object { kind, mode, uid, gid, links, verifier, entries, parent, is_gone, id });
        self.objects.len() - 1
    }

    fn may(&self, node: Node, cred: &Cred, want: u32) -> bool {
        let object = &self.objects[node];
        let shift = match cred {
            _ if cred.is_root() => return true,
            _ if cred.uid == object.uid => 6,
            _ if cred.is_member(object.gid) => 3,
            _ => 0,
        };
        (object.mode >> shift) & want == want
    }

    fn owns(&self, node: Node, cred: &Cred) -> bool {
        cred.is_root() || cred.uid == self.objects[node].uid
    }

    fn directory(&self, node: Node) -> Result<(), Status> {
        match &self.objects[node] {
            object if object.is_gone => Err(Status::Stale),
            object if object.kind != Kind::Directory => Err(Status::NotDir),
            _ => Ok(()),
        }
    }

    fn need(&self, node: Node, cred: &Cred, want: u32) -> Result<(), Status> {
        if self.may(node, cred, want) { Ok(()) } else { Err(Status::Access) }
    }

    /// Looks a name up in a directory that may be searched.
    fn walk(&self, dir: Node, at: &str, cred: &Cred) -> Result<Option<Node>, Status> {
        self.need(dir, cred, 1)?;
        Ok(self.objects[dir].entries.get(at).copied())
    }

    fn may_unlink(&self, dir: Node, victim: Node, cred: &Cred) -> Result<(), Status> {
        self.need(dir, cred, 3)?;
        let sticky = self.objects[dir].mode & STICKY != 0;
        if sticky && !self.owns(dir, cred) && !self.owns(victim, cred) {
            return Err(Status::Perm);
        }
        Ok(())
    }

    fn add(&mut self, dir: Node, at: &str, kind: Kind, mode: u32, cred: &Cred) -> Node {
        let inherits = self.objects[dir].mode & SETGID != 0;
        let gid = if inherits { self.objects[dir].gid } else { cred.gid };
        let mode = match kind {
            Kind::Directory if inherits => (mode & 0o1777) | SETGID,
            Kind::Directory => mode & 0o1777,
            Kind::Symlink => 0o777,
            _ if cred.is_root() || cred.is_member(gid) => mode,
            _ => mode & !SETGID,
        };
        let node = self.push(kind, mode, cred.uid, gid, dir);
        self.objects[dir].entries.insert(at.to_owned(), node);
        if kind == Kind::Directory {
            self.objects[dir].links += 1;
        }
        node
    }

    fn unlink(&mut self, dir: Node, at: &str) {
        let node = self.objects[dir].entries.remove(at).unwrap();
        if self.objects[node].kind == Kind::Directory {
            self.objects[dir].links -= 1;
            self.objects[node].is_gone = true;
        } else {
            self.objects[node].links -= 1;
            self.objects[node].is_gone = self.objects[node].links == 0;
        }
    }

    /// What the operation answers: the object it makes or finds.
    fn apply(&mut self, op: &Op, cred: &Cred) -> Result<Option<Node>, Status> {
        match op {
            Op::Create { dir, at, how, mode } => self.create(*dir, at, *how, *mode, cred),
            Op::Mkdir { dir, at, mode } => self.make(*dir, at, Kind::Directory, *mode, cred),
            Op::Symlink { dir, at } => self.make(*dir, at, Kind::Symlink, 0, cred),
            Op::Mknod { dir, at, kind } => self.make(*dir, at, *kind, 0o644, cred),
            Op::Remove { dir, at } | Op::Rmdir { dir, at } => {
                self.directory(*dir)?;
                let victim = self.walk(*dir, at, cred)?.ok_or(Status::NoEnt)?;
                self.may_unlink(*dir, victim, cred)?;
                let victim = &self.objects[victim];
                match (op, victim.kind) {
                    (Op::Remove { .. }, Kind::Directory) => return Err(Status::IsDir),
                    (Op::Rmdir { .. }, Kind::Directory) if !victim.entries.is_empty() => {
                        return Err(Status::NotEmpty);
                    }
                    (Op::Rmdir { .. }, kind) if kind != Kind::Directory => return Err(Status::NotDir),
                    _ => {}
                }
                self.unlink(*dir, at);
                Ok(None)
            }
            Op::Rename { from, from_at, to, to_at } => self.rename(*from, from_at, *to, to_at, cred),
            Op::Link { file, dir, at } => self.link(*file, *dir, at, cred),
            Op::Setattr { node, attr } => self.setattr(*node, attr, cred),
        }
    }

    fn create(&mut self, dir: Node, at: &str, how: CreateHow, mode: u32, cred: &Cred) -> Result<Option<Node>, Status> {
        self.directory(dir)?;
        if let Some(there) = self.walk(dir, at, cred)? {
            let object = &self.objects[there];
            return match how {
                CreateHow::Unchecked if object.kind == Kind::File => Ok(Some(there)),
                CreateHow::Exclusive(verifier) if object.verifier == Some(verifier) => Ok(Some(there)),
                _ => Err(Status::Exist),
            };
        }
        self.need(dir, cred, 3)?;
        let node = self.add(dir, at, Kind::File, mode, cred);
        if let CreateHow::Exclusive(verifier) = how {
            self.objects[node].verifier = Some(verifier);
        }
        Ok(Some(node))
    }

    fn make(&mut self, dir: Node, at: &str, kind: Kind, mode: u32, cred: &Cred) -> Result<Option<Node>, Status> {
        self.directory(dir)?;
        if self.walk(dir, at, cred)?.is_some() {
            return Err(Status::Exist);
        }
        self.need(dir, cred, 3)?;
        if kind == Kind::CharDevice && !cred.is_root() {
            return Err(Status::Perm);
        }
        Ok(Some(self.add(dir, at, kind, mode, cred)))
    }

    fn rename(
        &mut self,
        from: Node,
        from_at: &str,
        to: Node,
        to_at: &str,
        cred: &Cred,
    ) -> Result<Option<Node>, Status> {
        self.directory(from)?;
        self.directory(to)?;
        let moved = self.walk(from, from_at, cred)?.ok_or(Status::NoEnt)?;
        let target = self.walk(to, to_at, cred)?;
        let is_directory = self.objects[moved].kind == Kind::Directory;
        let mut ancestor = to;
        while is_directory && from != to && ancestor != ROOT {
            if ancestor == moved {
                return Err(Status::Inval);
            }
            ancestor = self.objects[ancestor].parent;
        }
        if target == Some(moved) {
            return Ok(None);
        }
        self.may_unlink(from, moved, cred)?;
        match target {
            None => self.need(to, cred, 3)?,
            Some(target) => {
                self.may_unlink(to, target, cred)?;
                let onto_directory = self.objects[target].kind == Kind::Directory;
                if is_directory != onto_directory {
                    return Err(if is_directory { Status::NotDir } else { Status::IsDir });
                }
            }
        }
        if is_directory && from != to {
            self.need(moved, cred, 2)?;
        }
        if target.is_some_and(|target| !self.objects[target].entries.is_empty()) {
            return Err(Status::NotEmpty);
        }
        if target.is_some() {
            self.unlink(to, to_at);
        }
        self.objects[from].entries.remove(from_at);
        self.objects[to].entries.insert(to_at.to_owned(), moved);
        if is_directory {
            self.objects[from].links -= 1;
            self.objects[to].links += 1;
            self.objects[moved].parent = to;
        }
        Ok(None)
    }

    fn link(&mut self, file: Node, dir: Node, at: &str, cred: &Cred) -> Result<Option<Node>, Status> {
        if self.objects[file].is_gone {
            return Err(Status::Stale);
        }
        self.directory(dir)?;
        if self.walk(dir, at, cred)?.is_some() {
            return Err(Status::Exist);
        }
        self.need(dir, cred, 3)?;
        if self.objects[file].kind == Kind::Directory {
            return Err(Status::Perm);
        }
        self.objects[dir].entries.insert(at.to_owned(), file);
        self.objects[file].links += 1;
        Ok(Some(file))
    }

    fn setattr(&mut self, node: Node, attr: &SetAttr, cred: &Cred) -> Result<Option<Node>, Status> {
        if self.objects[node].is_gone {
            return Err(Status::Stale);
        }
        let owns = self.owns(node, cred);
        let object = &mut self.objects[node];
        let allowed = (attr.mode.is_none() || object.kind == Kind::Symlink || owns)
            && attr.uid.is_none_or(|uid| cred.is_root() || owns && uid == object.uid)
            && attr.gid.is_none_or(|gid| cred.is_root() || owns && (gid == object.gid || cred.is_member(gid)));
        if !allowed {
            return Err(Status::Perm);
        }
        let in_group = cred.is_root() || cred.is_member(attr.gid.unwrap_or(object.gid));
        if let Some(mode) = attr.mode.filter(|_| object.kind != Kind::Symlink) {
            object.mode = if in_group { mode } else { mode & !SETGID };
        }
        if (attr.uid.is_some() || attr.gid.is_some()) && object.kind != Kind::Directory {
            object.mode &= !SETUID;
            if object.mode & 0o010 != 0 || !in_group {
                object.mode &= !SETGID;
            }
        }
        object.uid = attr.uid.unwrap_or(object.uid);
        object.gid = attr.gid.unwrap_or(object.gid);
        Ok(Some(node))
    }

    fn verb(&self, op: &Op) -> Verb {
        let id = |node: &Node| self.objects[*node].id.unwrap();
        match op {
            Op::Create { dir, at, how, mode } => create(id(dir), at, *how, *mode),
            Op::Mkdir { dir, at, mode } => mkdir(id(dir), at, *mode),
            Op::Symlink { dir, at } => symlink(id(dir), at, b"target"),
            Op::Mknod { dir, at, kind } => {
                Verb::Mknod { dir: id(dir), name: name(at), attr: mode(0o644), kind: *kind, rdev: (1, 2) }
            }
            Op::Remove { dir, at } => remove(id(dir), at),
            Op::Rmdir { dir, at } => rmdir(id(dir), at),
            Op::Rename { from, from_at, to, to_at } => rename(id(from), from_at, id(to), to_at),
            Op::Link { file, dir, at } => link(id(file), id(dir), at),
            Op::Setattr { node, attr } => setattr(id(node), *attr),
        }
    }

    fn assert_is(&self, node: Node, inode: &Inode, what: &str) {
        let object = &self.objects[node];
        assert_eq!(inode.id(), object.id.unwrap(), "{what}");
        let expected = (object.kind, object.mode, object.uid, object.gid, object.links, object.verifier);
        let is = (inode.kind, inode.mode, inode.uid, inode.gid, inode.nlink, inode.verifier);
        assert_eq!(is, expected, "{what}: {inode:?}");
        if object.kind == Kind::Directory {
            assert_eq!(inode.entries, object.entries.len() as u64, "{what}");
            assert_eq!(Some(inode.parent), self.objects[object.parent].id.map(|id| id.ino), "{what}");
        }
    }
}

struct Player {
    dice: Dice,
}

impl Player {
    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.dice.roll(choices.len() as u64) as usize]
    }

    fn cred(&mut self) -> Cred {
        let choices = [
            Cred::root(),
            Cred::root(),
            Cred::new(1000, 100, &[]),
            Cred::new(1000, 100, &[300]),
            Cred::new(2000, 200, &[100, 300]),
        ];
        self.pick(&choices)
    }

    fn at(&mut self) -> String {
        let letters: Vec<char> = ('a'..='f').collect();
        self.pick(&letters).to_string()
    }

    fn mode(&mut self) -> u32 {
        self.pick(&[0o777, 0o777, 0o755, 0o700, 0o1777, 0o2777, 0o6755, 0o2765, 0o444, 0o070])
    }

    /// A node that clients know; now and then one that is gone.
    fn node(&mut self, model: &Model, wanted: Option<Kind>) -> Node {
        let known = |node: &Node| model.objects[*node].id.is_some();
        let gone = self.dice.roll(20) == 0;
        let fits = |node: &Node| {
            let object = &model.objects[*node];
            object.is_gone == gone && wanted.is_none_or(|kind| object.kind == kind)
        };
        let all: Vec<Node> = (0..model.objects.len()).filter(known).filter(fits).collect();
        if all.is_empty() { ROOT } else { self.pick(&all) }
    }

    fn dir(&mut self, model: &Model) -> Node {
        let wanted = if self.dice.roll(30) == 0 { None } else { Some(Kind::Directory) };
        self.node(model, wanted)
    }

    fn op(&mut self, model: &Model) -> Op {
        let (dir, at) = (self.dir(model), self.at());
        match self.dice.roll(22) {
            0..=3 => {
                let verifier = CreateHow::Exclusive([self.dice.roll(3) as u8; 8]);
                let how = self.pick(&[CreateHow::Unchecked, CreateHow::Guarded, verifier]);
                Op::Create { dir, at, how, mode: self.mode() }
            }
            4..=6 => Op::Mkdir { dir, at, mode: self.mode() },
            7 => Op::Symlink { dir, at },
            8 => Op::Mknod { dir, at, kind: self.pick(&[Kind::Fifo, Kind::CharDevice, Kind::Socket]) },
            9..=10 => Op::Remove { dir, at },
            11..=12 => Op::Rmdir { dir, at },
            13..=16 => {
                let (to, to_at) = (self.dir(model), self.at());
                Op::Rename { from: dir, from_at: at, to, to_at }
            }
            17..=18 => Op::Link { file: self.node(model, None), dir, at },
            _ => {
                let mut attr = SetAttr::default();
                let what = self.dice.roll(7) + 1;
                if what & 1 != 0 {
                    attr.mode = Some(self.mode());
                }
                if what & 2 != 0 {
                    attr.uid = Some(self.pick(&[0, 1000, 2000]));
                }
                if what & 4 != 0 {
                    attr.gid = Some(self.pick(&[0, 100, 200, 300]));
                }
                Op::Setattr { node: self.node(model, None), attr }
            }
        }
    }
}

fn play(seed: u64, batches: usize) {
    let mut rig = Rig::new();
    let mut model = Model::new(rig.root());
    let mut player = Player { dice: Dice(seed) };
    let mut refusals = 0;
    for batch in 0..batches {
        let count = 1 + player.dice.roll(24);
        let plays: Vec<(Op, Cred)> = (0..count).map(|_| (player.op(&model), player.cred())).collect();
        let jobs: Vec<Job> = plays.iter().map(|(op, cred)| rig.job_of(*cred, None, model.verb(op))).collect();
        for ((op, cred), done) in plays.iter().zip(rig.jobs(&jobs)) {
            let what = format!("seed {seed}, batch {batch}, {op:?} by {}", cred.uid);
            let answer = answer(done);
            let expected = model.apply(op, cred);
            assert_eq!(answer.status, expected.map(|_| ()), "{what}");
            refusals += usize::from(answer.status.is_err());
            if let Ok(Some(node)) = expected {
                check_object(&mut model, node, &answer, &what);
            }
        }
        compare(&mut rig, &model, seed, batch);
        if player.dice.roll(50) == 0 {
            rig = rig.crash();
        }
    }
    assert!(refusals > batches, "the game was too easy");
}

fn check_object(model: &mut Model, node: Node, answer: &Answer, what: &str) {
    let object = answer.object.unwrap();
    model.objects[node].id.get_or_insert(object.id());
    model.assert_is(node, &object, what);
}

fn compare(rig: &mut Rig, model: &Model, seed: u64, batch: usize) {
    let what = format!("seed {seed}, batch {batch}");
    let alive = model.objects.iter().filter(|object| !object.is_gone).count();
    let look = rig.ledger.newest();
    let count =
        |table| look.range(table, &[0], &[u8::MAX; 300]).unwrap().map(Result::unwrap).fold(0, |count, _| count + 1);
    assert_eq!(count(Table::Inodes), alive, "{what}");
    assert_eq!(count(Table::Names), count(Table::Entries), "{what}");
    assert_eq!(count(Table::Orphans), 0, "{what}");
    assert_eq!(rig.reader.gauges().inodes.load(Ordering::Relaxed), alive as u64, "{what}");
    for node in 0..model.objects.len() {
        let object = &model.objects[node];
        let id = object.id.unwrap();
        if object.is_gone {
            assert_eq!(rig.reader.object(id), Err(Status::Stale), "{what}");
            continue;
        }
        let inode = rig.reader.object(id).unwrap();
        model.assert_is(node, &inode, &what);
        // The table knows what a verb changed, and it knows the same.
        if let Some(known) = rig.shared.table.attr(id.ino) {
            assert_eq!(known, inode, "{what}");
        }
        let mut names: Vec<String> = rig.list(id).into_iter().map(|(_, name)| name).collect();
        names.sort();
        assert!(names.iter().eq(object.entries.keys()), "{what}");
        for (at, entry) in &object.entries {
            let found = rig.reader.lookup(id.ino, at.as_bytes()).unwrap().unwrap();
            assert_eq!(Some(found.ino), model.objects[*entry].id.map(|id| id.ino), "{what}");
        }
    }
}

#[test]
fn a_random_namespace_is_what_the_model_says() {
    for seed in 1..=6 {
        play(seed * 0x9e37_79b9, 150);
    }
}
