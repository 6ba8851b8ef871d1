//! What each procedure does, by RFC 1813 and POSIX, and what it is to answer.

use super::{Attr, Body, Detail, Expect, Key, Listed, Name, Object, ObjectId, Part, Stamp, StampKey, State, What};
use crate::sim::op::{Op, Text, User};
use crate::sim::policy::Policy;
use std::rc::Rc;
use wire::nfs3::{
    ACCESS3_DELETE, ACCESS3_EXECUTE, ACCESS3_EXTEND, ACCESS3_LOOKUP, ACCESS3_MODIFY, ACCESS3_READ, Createhow3,
    FileHandleBuf, Ftype3, Mknoddata3, Nfsstat3, Nfstime3, Sattr3, SetTime, Specdata3,
};

/// One execution of a call.
#[derive(Clone, Copy)]
pub(crate) struct Execution<'a> {
    pub(crate) op: &'a Op,
    pub(crate) policy: &'a Policy,
    pub(crate) client: u8,
    /// As whom it acts.
    pub(crate) user: User,
    pub(crate) key: Key,
    /// When it was first sent.
    pub(crate) since: Nfstime3,
}

type Outcome = Result<Expect, Nfsstat3>;

impl State {
    /// Executes a call. What it is to answer.
    pub(crate) fn execute(&mut self, x: Execution<'_>) -> Expect {
        if let Err(error) = admitted(x) {
            return Expect { error: Some(error), is_bare: true, ..Expect::default() };
        }
        let (dir_before, to_dir_before) = self.before_names(x.op);
        let expect = match self.outcome(x) {
            Ok(expect) => expect,
            Err(error) => self.refusal(x, error),
        };
        match x.op.has_wcc() {
            true => Expect { dir_before, to_dir_before, ..expect },
            false => expect,
        }
    }

    fn outcome(&mut self, x: Execution<'_>) -> Outcome {
        match x.op {
            Op::Null => Ok(Expect::default()),
            Op::Getattr { object } | Op::Fsinfo { object } | Op::Pathconf { object } => {
                let id = self.living(object)?;
                Ok(Expect { object: Some(self.attr(id)), ..Expect::default() })
            }
            Op::Fsstat { object } => {
                let id = self.living(object)?;
                Ok(Expect { object: Some(self.attr(id)), body: Body::Space, ..Expect::default() })
            }
            Op::Setattr { object, sattr, guard } => self.setattr(x, object, sattr, *guard),
            Op::Lookup { dir, name } => self.lookup(x, dir, name),
            Op::Access { object, mask } => {
                let id = self.living(object)?;
                let changes = ACCESS3_MODIFY | ACCESS3_EXTEND | ACCESS3_DELETE;
                let possible = if may_change(x) { !0 } else { !changes };
                let body = Body::Access(granted(self.object(id), x.user) & mask & possible);
                Ok(Expect { object: Some(self.attr(id)), body, ..Expect::default() })
            }
            Op::Readlink { object } => {
                let id = self.living(object)?;
                let link = self.object(id);
                require(link.kind == Ftype3::Lnk, Nfsstat3::Inval)?;
                let body = Body::Data { bytes: link.content.to_vec(), eof: false };
                Ok(Expect { object: Some(self.attr(id)), body, ..Expect::default() })
            }
            Op::Read { file, offset, count } => self.read(x, file, *offset, *count),
            Op::Write { file, offset, data, stable } => {
                let id = self.writable_file(x, file)?;
                let before = Some(self.attr(id));
                let body = Body::Written { file: id, key: x.key, count: data.len() as u32, stable: *stable };
                if !data.is_empty() {
                    self.change_bytes(x, id, What::Write { offset: *offset, data: data.clone() });
                }
                let has_effect = !data.is_empty();
                let object = Some(self.attr(id));
                Ok(Expect { object, object_before: before, body, has_effect, ..Expect::default() })
            }
            Op::Commit { file } => {
                let id = self.writable_file(x, file)?;
                let attr = Some(self.attr(id));
                let keys = self.object(id).volatile.iter().map(|change| change.key).collect();
                let body = Body::Committed { file: id, keys };
                Ok(Expect { object: attr, object_before: attr, body, ..Expect::default() })
            }
            Op::Readdir { dir, cookie, .. } => self.list(x, dir, *cookie, Detail::Names),
            Op::Readdirplus { dir, cookie, .. } => self.list(x, dir, *cookie, Detail::Attributes),
            Op::Mount { name, .. } => self.mount(x, name.as_ref()),
            Op::Unmount { .. } => Ok(Expect::default()),
            Op::Exports => Ok(Expect { body: Body::Exports(x.policy.listed()), ..Expect::default() }),
            Op::Mounts => Ok(Expect { body: Body::Mounts(x.policy.admitted()), ..Expect::default() }),
            _ => self.change_names(x),
        }
    }

    /// The share, or a directory in it.
    fn mount(&self, x: Execution<'_>, name: Option<&Text>) -> Outcome {
        let mut found = ROOT;
        if let Some(name) = name {
            require(&**name != "." && &**name != "..", Nfsstat3::Inval)?;
            found = self.searched(x, ROOT, name)?.ok_or(Nfsstat3::Noent)?;
            require(self.object(found).is_dir(), Nfsstat3::Notdir)?;
        }
        Ok(Expect { handle: Some(found), ..Expect::default() })
    }

    fn change_names(&mut self, x: Execution<'_>) -> Outcome {
        match x.op {
            Op::Create { dir, name, how } => self.create(x, dir, name, how),
            Op::Mkdir { dir, name, sattr } => {
                let parent = self.vacant(x, dir, name)?;
                let inherited = self.object(parent).mode & SETGID;
                let mode = (sattr.mode.unwrap_or(0) & 0o1777) | inherited;
                let id = self.make(x, parent, name, Ftype3::Dir, mode, sattr);
                Ok(self.made(id, parent))
            }
            Op::Symlink { dir, name, target } => {
                let parent = self.vacant(x, dir, name)?;
                require(!target.is_empty(), Nfsstat3::Inval)?;
                let id = self.make(x, parent, name, Ftype3::Lnk, 0o777, &Sattr3::default());
                self.object_mut(id).content = Rc::new(target.as_bytes().to_vec());
                Ok(self.made(id, parent))
            }
            Op::Mknod { dir, name, what } => self.mknod(x, dir, name, what),
            Op::Remove { dir, name } => self.remove(x, dir, name, Ftype3::Reg),
            Op::Rmdir { dir, name } => self.remove(x, dir, name, Ftype3::Dir),
            Op::Rename { from, from_name, to, to_name } => self.rename(x, (from, from_name), (to, to_name)),
            Op::Link { file, dir, name } => self.link(x, file, dir, name),
            _ => unreachable!("the others change no names"),
        }
    }

    // From handles to objects.

    fn living(&self, handle: &FileHandleBuf) -> Result<ObjectId, Nfsstat3> {
        let id = self.find(handle).ok_or(Nfsstat3::Badhandle)?;
        require(!self.object(id).is_gone, Nfsstat3::Stale)?;
        Ok(id)
    }

    fn directory(&self, handle: &FileHandleBuf) -> Result<ObjectId, Nfsstat3> {
        let id = self.living(handle)?;
        require(self.object(id).is_dir(), Nfsstat3::Notdir)?;
        Ok(id)
    }

    fn writable_file(&self, x: Execution<'_>, handle: &FileHandleBuf) -> Result<ObjectId, Nfsstat3> {
        let id = self.living(handle)?;
        let file = self.object(id);
        must_be_file(file)?;
        require(owns(file, x.user) || permits(file, x.user, WRITE), Nfsstat3::Acces)?;
        Ok(id)
    }

    fn searched(&self, x: Execution<'_>, dir: ObjectId, name: &Text) -> Result<Option<ObjectId>, Nfsstat3> {
        require(permits(self.object(dir), x.user, EXECUTE), Nfsstat3::Acces)?;
        Ok(self.object(dir).names.get(name).map(|name| name.object))
    }

    /// The directory in which a name may be made that is not there.
    fn vacant(&self, x: Execution<'_>, dir: &FileHandleBuf, name: &Text) -> Result<ObjectId, Nfsstat3> {
        let dir = self.directory(dir)?;
        require(&**name != "." && &**name != "..", Nfsstat3::Exist)?;
        proper(name)?;
        require(self.searched(x, dir, name)?.is_none(), Nfsstat3::Exist)?;
        self.may_change(x, dir)?;
        Ok(dir)
    }

    fn may_change(&self, x: Execution<'_>, dir: ObjectId) -> Result<(), Nfsstat3> {
        require(permits(self.object(dir), x.user, WRITE | EXECUTE), Nfsstat3::Acces)
    }

    fn may_remove(&self, x: Execution<'_>, dir: ObjectId, victim: ObjectId) -> Result<(), Nfsstat3> {
        self.may_change(x, dir)?;
        let (dir, victim) = (self.object(dir), self.object(victim));
        require(dir.mode & STICKY == 0 || owns(dir, x.user) || owns(victim, x.user), Nfsstat3::Perm)
    }

    // Changes.

    /// The time of a change: above that of the one before, and not before the call.
    fn stamp(&self, x: Execution<'_>, id: ObjectId, last: Stamp) -> Stamp {
        let above = self.floor(last).max(x.since);
        Stamp::Of(StampKey { key: x.key, object: id, part: Part::Change, above })
    }

    fn touch(&mut self, x: Execution<'_>, id: ObjectId) -> Stamp {
        let stamp = self.stamp(x, id, self.object(id).ctime);
        self.object_mut(id).ctime = stamp;
        stamp
    }

    fn touch_data(&mut self, x: Execution<'_>, id: ObjectId) {
        let stamp = self.touch(x, id);
        self.object_mut(id).mtime = stamp;
    }

    fn change_bytes(&mut self, x: Execution<'_>, id: ObjectId, what: What) {
        self.touch_data(x, id);
        let object = self.object_mut(id);
        let mode = object.mode;
        if x.user.uid != 0 {
            object.mode &= !SETUID;
            if mode & 0o010 != 0 {
                object.mode &= !SETGID;
            }
        }
        object.change(x.key, what, (object.mode != mode).then_some(mode));
    }

    fn set_time(&self, x: Execution<'_>, id: ObjectId, how: SetTime, otherwise: Stamp) -> Stamp {
        let above = before(x.since);
        match how {
            SetTime::DontChange => otherwise,
            SetTime::SetToClientTime(time) => Stamp::Known(time),
            SetTime::SetToServerTime => Stamp::Of(StampKey { key: x.key, object: id, part: Part::Asked, above }),
        }
    }

    /// Makes an object and its name.
    fn make(
        &mut self,
        x: Execution<'_>,
        parent: ObjectId,
        name: &Text,
        kind: Ftype3,
        mode: u32,
        sattr: &Sattr3,
    ) -> ObjectId {
        let id = x.key.0;
        let dir = self.object(parent);
        let group = if dir.mode & SETGID != 0 { dir.gid } else { x.user.gid };
        let owner = match x.user.uid {
            0 => User { uid: sattr.uid.unwrap_or(0), gid: sattr.gid.unwrap_or(group) },
            uid => User { uid, gid: group },
        };
        let now = StampKey { key: x.key, object: id, part: Part::Change, above: before(x.since) };
        let mut object = Object::new(kind, mode, owner, Stamp::Of(now));
        if kind != Ftype3::Dir && x.user.uid != 0 && x.user.gid != owner.gid {
            object.mode &= !SETGID;
        }
        for (set, time) in [(sattr.atime, &mut object.atime), (sattr.mtime, &mut object.mtime)] {
            if let SetTime::SetToClientTime(client) = set {
                *time = Stamp::Known(client);
            }
        }
        object.parent = parent;
        object.nlink = if kind == Ftype3::Dir { 2 } else { 1 };
        self.objects.insert(id, Rc::new(object));
        self.touch_data(x, parent);
        let dir = self.object_mut(parent);
        dir.names.insert(name.clone(), Name { object: id, cookie: None });
        dir.nlink += u32::from(kind == Ftype3::Dir);
        id
    }

    fn made(&self, id: ObjectId, parent: ObjectId) -> Expect {
        Expect { object: Some(self.attr(id)), handle: Some(id), has_effect: true, ..self.with_dir(parent) }
    }

    fn with_dir(&self, dir: ObjectId) -> Expect {
        Expect { dir: Some(self.attr(dir)), ..Expect::default() }
    }

    /// Takes a name away, and the object with its last one.
    fn unlink(&mut self, x: Execution<'_>, dir: ObjectId, name: &Text) {
        let Some(Name { object: id, .. }) = self.object_mut(dir).names.remove(name) else { return };
        let is_dir = self.object(id).is_dir();
        if is_dir {
            self.object_mut(dir).nlink -= 1;
        }
        self.drop_link(x, id);
    }

    fn drop_link(&mut self, x: Execution<'_>, id: ObjectId) {
        let object = self.object_mut(id);
        object.nlink -= 1;
        if object.is_dir() || object.nlink == 0 {
            object.is_gone = true;
            object.volatile.clear();
            object.is_uncertain = false;
        } else {
            self.touch(x, id);
        }
    }

    // The procedures.

    fn setattr(
        &mut self,
        x: Execution<'_>,
        handle: &FileHandleBuf,
        sattr: &Sattr3,
        guard: Option<Nfstime3>,
    ) -> Outcome {
        let id = self.living(handle)?;
        let attr = self.attr(id);
        let object = self.object(id).clone();
        if let Some(size) = sattr.size {
            must_be_file(&object)?;
            require(owns(&object, x.user) || permits(&object, x.user, WRITE), Nfsstat3::Acces)?;
            self.guarded(object.ctime, guard)?;
            let key = x.key;
            self.change_bytes(x, id, What::Resize { size });
            let (object_before, object) = (Some(attr), Some(self.attr(id)));
            let body = Body::Resized { file: id, key };
            return Ok(Expect { object, object_before, body, has_effect: true, ..Expect::default() });
        }
        self.guarded(object.ctime, guard)?;
        may_set(&object, x.user, sattr)?;
        let is_empty = *sattr == Sattr3::default();
        if !is_empty {
            let atime = self.set_time(x, id, sattr.atime, object.atime);
            let mtime = self.set_time(x, id, sattr.mtime, object.mtime);
            self.touch(x, id);
            let next = self.object_mut(id);
            next.mode = mode_after(&object, x.user, sattr);
            next.uid = sattr.uid.unwrap_or(object.uid);
            next.gid = sattr.gid.unwrap_or(object.gid);
            (next.atime, next.mtime) = (atime, mtime);
        }
        let object = Some(self.attr(id));
        Ok(Expect { object, object_before: Some(attr), has_effect: !is_empty, ..Expect::default() })
    }

    /// A crash may have brought back any time that the object ever had. Where nobody has seen which, the guard of a
    /// SETATTR may name it: the state in which it does.
    pub(crate) fn as_guarded(&self, op: &Op) -> Option<State> {
        let Op::Setattr { object, guard: Some(guard), .. } = op else { return None };
        let Stamp::Of(key) = self.object(self.find(object)?).ctime else { return None };
        if key.part != Part::Lost || self.bound.contains_key(&key) {
            return None;
        }
        let mut state = self.clone();
        Rc::make_mut(&mut state.bound).insert(key, *guard);
        Some(state)
    }

    fn guarded(&self, ctime: Stamp, guard: Option<Nfstime3>) -> Result<(), Nfsstat3> {
        let Some(guard) = guard else { return Ok(()) };
        let now = match ctime {
            Stamp::Known(time) => Some(time),
            Stamp::Of(key) => self.bound.get(&key).copied(),
        };
        // A time that nobody has seen is no guess of a client's.
        require(now == Some(guard), Nfsstat3::NotSync)
    }

    fn lookup(&self, x: Execution<'_>, handle: &FileHandleBuf, name: &Text) -> Outcome {
        let dir = self.directory(handle)?;
        require(permits(self.object(dir), x.user, EXECUTE), Nfsstat3::Acces)?;
        let found = match &**name {
            "." => dir,
            ".." => self.object(dir).parent,
            _ => {
                proper(name)?;
                self.searched(x, dir, name)?.ok_or(Nfsstat3::Noent)?
            }
        };
        Ok(Expect { object: Some(self.attr(found)), handle: Some(found), ..self.with_dir(dir) })
    }

    fn read(&self, x: Execution<'_>, handle: &FileHandleBuf, offset: u64, count: u32) -> Outcome {
        let id = self.living(handle)?;
        let file = self.object(id);
        must_be_file(file)?;
        let may = owns(file, x.user) || permits(file, x.user, READ) || permits(file, x.user, EXECUTE);
        require(may, Nfsstat3::Acces)?;
        let size = file.content.len() as u64;
        let (start, end) = (offset.min(size), offset.saturating_add(u64::from(count)).min(size));
        let bytes = file.content[start as usize..(end as usize).max(start as usize)].to_vec();
        let body = Body::Data { bytes, eof: offset.saturating_add(u64::from(count)) >= size };
        Ok(Expect { object: Some(self.attr(id)), body, ..Expect::default() })
    }

    fn create(&mut self, x: Execution<'_>, handle: &FileHandleBuf, name: &Text, how: &Createhow3) -> Outcome {
        let dir = self.directory(handle)?;
        require(&**name != "." && &**name != "..", Nfsstat3::Exist)?;
        proper(name)?;
        if let Some(id) = self.searched(x, dir, name)? {
            let file = self.object(id).clone();
            let is_answer = file.kind == Ftype3::Reg
                && match how {
                    Createhow3::Unchecked(_) => true,
                    Createhow3::Guarded(_) => false,
                    Createhow3::Exclusive(verifier) => file.verifier == Some(verifier.0),
                };
            require(is_answer, Nfsstat3::Exist)?;
            let mut expect = Expect { handle: Some(id), ..self.with_dir(dir) };
            if let Createhow3::Unchecked(Sattr3 { size: Some(size), .. }) = how {
                require(owns(&file, x.user) || permits(&file, x.user, WRITE), Nfsstat3::Acces)?;
                self.change_bytes(x, id, What::Resize { size: *size });
                expect.body = Body::Resized { file: id, key: x.key };
                expect.has_effect = true;
            }
            expect.object = Some(self.attr(id));
            return Ok(expect);
        }
        self.may_change(x, dir)?;
        let (sattr, verifier) = match how {
            Createhow3::Unchecked(sattr) | Createhow3::Guarded(sattr) => (*sattr, None),
            Createhow3::Exclusive(verifier) => (Sattr3::default(), Some(verifier.0)),
        };
        let id = self.make(x, dir, name, Ftype3::Reg, sattr.mode.unwrap_or(0) & 0o7777, &sattr);
        self.object_mut(id).verifier = verifier;
        Ok(self.made(id, dir))
    }

    fn mknod(&mut self, x: Execution<'_>, handle: &FileHandleBuf, name: &Text, what: &Mknoddata3) -> Outcome {
        let (kind, sattr, rdev) = match what {
            Mknoddata3::Chr(data) => (Ftype3::Chr, &data.dev_attributes, data.spec),
            Mknoddata3::Blk(data) => (Ftype3::Blk, &data.dev_attributes, data.spec),
            Mknoddata3::Sock(sattr) => (Ftype3::Sock, sattr, Specdata3::default()),
            Mknoddata3::Fifo(sattr) => (Ftype3::Fifo, sattr, Specdata3::default()),
            Mknoddata3::Reg | Mknoddata3::Dir | Mknoddata3::Lnk => return Err(Nfsstat3::Badtype),
        };
        let dir = self.vacant(x, handle, name)?;
        let is_device = matches!(kind, Ftype3::Chr | Ftype3::Blk);
        require(!is_device || x.user.uid == 0, Nfsstat3::Perm)?;
        let id = self.make(x, dir, name, kind, sattr.mode.unwrap_or(0) & 0o7777, sattr);
        self.object_mut(id).rdev = rdev;
        Ok(self.made(id, dir))
    }

    fn remove(&mut self, x: Execution<'_>, handle: &FileHandleBuf, name: &Text, kind: Ftype3) -> Outcome {
        let dir = self.directory(handle)?;
        match (&**name, kind) {
            (".", Ftype3::Dir) => return Err(Nfsstat3::Inval),
            ("..", Ftype3::Dir) => return Err(Nfsstat3::Exist),
            ("." | "..", _) => return Err(Nfsstat3::Isdir),
            _ => proper(name)?,
        }
        let victim = self.searched(x, dir, name)?.ok_or(Nfsstat3::Noent)?;
        self.may_remove(x, dir, victim)?;
        match (self.object(victim).is_dir(), kind) {
            (true, Ftype3::Dir) => require(self.object(victim).names.is_empty(), Nfsstat3::Notempty)?,
            (false, Ftype3::Dir) => return Err(Nfsstat3::Notdir),
            (true, _) => return Err(Nfsstat3::Isdir),
            (false, _) => {}
        }
        self.unlink(x, dir, name);
        self.touch_data(x, dir);
        Ok(Expect { has_effect: true, ..self.with_dir(dir) })
    }

    fn rename(
        &mut self,
        x: Execution<'_>,
        (from, from_name): (&FileHandleBuf, &Text),
        (to, to_name): (&FileHandleBuf, &Text),
    ) -> Outcome {
        let from = self.directory(from)?;
        for name in [from_name, to_name] {
            require(name.len() <= 255, Nfsstat3::Nametoolong)?;
            require(!name.is_empty() && !name.contains(['/', '\0']), Nfsstat3::Acces)?;
            require(&**name != "." && &**name != "..", Nfsstat3::Inval)?;
        }
        let to = self.directory(to)?;
        let moved = self.searched(x, from, from_name)?.ok_or(Nfsstat3::Noent)?;
        let replaced = self.searched(x, to, to_name)?;
        let is_dir = self.object(moved).is_dir();
        require(!(is_dir && self.is_below(to, moved)), Nfsstat3::Inval)?;
        if replaced == Some(moved) {
            return Ok(Expect { to_dir: Some(self.attr(to)), ..self.with_dir(from) });
        }
        self.may_remove(x, from, moved)?;
        match replaced {
            None => self.may_change(x, to)?,
            Some(victim) => {
                self.may_remove(x, to, victim)?;
                match (is_dir, self.object(victim).is_dir()) {
                    (true, false) => return Err(Nfsstat3::Notdir),
                    (false, true) => return Err(Nfsstat3::Isdir),
                    _ => {}
                }
            }
        }
        require(!is_dir || from == to || permits(self.object(moved), x.user, WRITE), Nfsstat3::Acces)?;
        if let Some(victim) = replaced {
            require(self.object(victim).names.is_empty(), Nfsstat3::Notempty)?;
            self.unlink(x, to, to_name);
        }
        self.object_mut(from).names.remove(from_name);
        self.object_mut(to).names.insert(to_name.clone(), Name { object: moved, cookie: None });
        if is_dir {
            self.object_mut(from).nlink -= 1;
            self.object_mut(to).nlink += 1;
            self.object_mut(moved).parent = to;
        }
        self.touch(x, moved);
        self.touch_data(x, from);
        if to != from {
            self.touch_data(x, to);
        }
        Ok(Expect { to_dir: Some(self.attr(to)), has_effect: true, ..self.with_dir(from) })
    }

    fn link(&mut self, x: Execution<'_>, file: &FileHandleBuf, handle: &FileHandleBuf, name: &Text) -> Outcome {
        let id = self.find(file).ok_or(Nfsstat3::Badhandle)?;
        if &**name == "." || &**name == ".." || proper(name).is_err() {
            self.vacant(x, handle, name)?;
        }
        require(!self.object(id).is_gone, Nfsstat3::Stale)?;
        let dir = self.vacant(x, handle, name)?;
        require(!self.object(id).is_dir(), Nfsstat3::Perm)?;
        self.object_mut(id).nlink += 1;
        self.touch(x, id);
        self.object_mut(dir).names.insert(name.clone(), Name { object: id, cookie: None });
        self.touch_data(x, dir);
        Ok(Expect { object: Some(self.attr(id)), has_effect: true, ..self.with_dir(dir) })
    }

    fn list(&self, x: Execution<'_>, handle: &FileHandleBuf, cookie: u64, detail: Detail) -> Outcome {
        let dir = self.directory(handle)?;
        let object = self.object(dir);
        require(permits(object, x.user, READ), Nfsstat3::Acces)?;
        let detail = if permits(object, x.user, EXECUTE) { detail } else { Detail::Names };
        let listed = |name: &str, object, cookie| Listed { name: name.into(), object, cookie, attr: self.attr(object) };
        let mut entries = vec![listed(".", dir, Some(1)), listed("..", object.parent, Some(2))];
        entries.extend(object.names.iter().map(|(name, entry)| listed(name, entry.object, entry.cookie)));
        Ok(Expect { body: Body::Listing { dir, cookie, entries, detail }, ..self.with_dir(dir) })
    }

    fn is_below(&self, dir: ObjectId, ancestor: ObjectId) -> bool {
        let mut at = dir;
        while at != ancestor && at != 0 {
            at = self.object(at).parent;
        }
        at == ancestor
    }

    /// What is answered to a call that is refused: nothing has changed.
    fn refusal(&self, x: Execution<'_>, error: Nfsstat3) -> Expect {
        let as_is =
            |handle: &FileHandleBuf| self.find(handle).filter(|&id| !self.object(id).is_gone).map(|id| self.attr(id));
        let mut expect = Expect { error: Some(error), ..Expect::default() };
        match x.op {
            Op::Rename { from, to, .. } => (expect.dir, expect.to_dir) = (as_is(from), as_is(to)),
            Op::Link { file, dir, .. } => (expect.object, expect.dir) = (as_is(file), as_is(dir)),
            _ => match x.op.dir() {
                Some(dir) => expect.dir = as_is(dir),
                None => expect.object = x.op.object().and_then(as_is),
            },
        }
        expect
    }

    /// The attributes of the directories of a call, before it.
    pub(crate) fn before_names(&self, op: &Op) -> (Option<Attr>, Option<Attr>) {
        let attr = |handle: Option<&FileHandleBuf>| {
            let id = self.find(handle?)?;
            (!self.object(id).is_gone).then(|| self.attr(id))
        };
        (attr(op.dir()), attr(op.to_dir()))
    }
}

/// Whether the client may ask for that at all, before anything is looked at.
fn admitted(x: Execution<'_>) -> Result<(), Nfsstat3> {
    if matches!(x.op, Op::Null | Op::Unmount { .. } | Op::Exports | Op::Mounts) {
        return Ok(());
    }
    require(x.policy.standing(x.client).is_some(), Nfsstat3::Acces)?;
    require(x.op.is_read() || may_change(x), Nfsstat3::Rofs)
}

fn may_change(x: Execution<'_>) -> bool {
    x.policy.standing(x.client).is_some_and(|standing| standing.may_change)
}

fn require(holds: bool, error: Nfsstat3) -> Result<(), Nfsstat3> {
    if holds { Ok(()) } else { Err(error) }
}

/// A name that may be looked for, `.` and `..` aside.
fn proper(name: &Text) -> Result<(), Nfsstat3> {
    require(name.len() <= 255, Nfsstat3::Nametoolong)?;
    require(!name.is_empty() && !name.contains(['/', '\0']), Nfsstat3::Acces)
}

fn must_be_file(object: &Object) -> Result<(), Nfsstat3> {
    match object.kind {
        Ftype3::Reg => Ok(()),
        Ftype3::Dir => Err(Nfsstat3::Isdir),
        _ => Err(Nfsstat3::Inval),
    }
}

fn owns(object: &Object, user: User) -> bool {
    user.uid == 0 || user.uid == object.uid
}

fn permits(object: &Object, user: User, want: u32) -> bool {
    if user.uid == 0 {
        return want & EXECUTE == 0 || object.is_dir() || object.mode & 0o111 != 0;
    }
    let class = if user.uid == object.uid {
        6
    } else if user.gid == object.gid {
        3
    } else {
        0
    };
    object.mode >> class & want == want
}

fn granted(object: &Object, user: User) -> u32 {
    let rights: &[(u32, u32)] = match object.is_dir() {
        true => &[
            (ACCESS3_READ, READ),
            (ACCESS3_LOOKUP, EXECUTE),
            (ACCESS3_MODIFY, WRITE | EXECUTE),
            (ACCESS3_EXTEND, WRITE | EXECUTE),
            (ACCESS3_DELETE, WRITE | EXECUTE),
        ],
        false => &[(ACCESS3_READ, READ), (ACCESS3_MODIFY, WRITE), (ACCESS3_EXTEND, WRITE), (ACCESS3_EXECUTE, EXECUTE)],
    };
    rights.iter().filter(|(_, want)| permits(object, user, *want)).fold(0, |all, (bit, _)| all | bit)
}

fn may_set(object: &Object, user: User, sattr: &Sattr3) -> Result<(), Nfsstat3> {
    let is_owner = owns(object, user);
    let is_explicit = |set| matches!(set, SetTime::SetToClientTime(_));
    let sets_mode = sattr.mode.is_some() && object.kind != Ftype3::Lnk;
    require(is_owner || !(sets_mode || is_explicit(sattr.atime) || is_explicit(sattr.mtime)), Nfsstat3::Perm)?;
    let may_give = |uid| user.uid == 0 || (is_owner && uid == object.uid);
    require(sattr.uid.is_none_or(may_give), Nfsstat3::Perm)?;
    let may_regroup = |gid| is_owner && (gid == object.gid || user.uid == 0 || gid == user.gid);
    require(sattr.gid.is_none_or(may_regroup), Nfsstat3::Perm)?;
    let touches = sattr.atime != SetTime::DontChange || sattr.mtime != SetTime::DontChange;
    require(!touches || is_owner || permits(object, user, WRITE), Nfsstat3::Acces)
}

fn mode_after(object: &Object, user: User, sattr: &Sattr3) -> u32 {
    let gid = sattr.gid.unwrap_or(object.gid);
    let in_group = user.uid == 0 || user.gid == gid;
    let mut mode = object.mode;
    if let Some(wanted) = sattr.mode.filter(|_| object.kind != Ftype3::Lnk) {
        mode = wanted & 0o7777;
        if !in_group {
            mode &= !SETGID;
        }
    }
    if (sattr.uid.is_some() || sattr.gid.is_some()) && !object.is_dir() {
        mode &= !SETUID;
        if mode & 0o010 != 0 || !in_group {
            mode &= !SETGID;
        }
    }
    mode
}

/// The instant before.
fn before(time: Nfstime3) -> Nfstime3 {
    match time.nseconds {
        0 => Nfstime3 { seconds: time.seconds.saturating_sub(1), nseconds: 999_999_999 },
        nseconds => Nfstime3 { seconds: time.seconds, nseconds: nseconds - 1 },
    }
}

const ROOT: ObjectId = 0;
const READ: u32 = 4;
const WRITE: u32 = 2;
const EXECUTE: u32 = 1;
const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;
const STICKY: u32 = 0o1000;
