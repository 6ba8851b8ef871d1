//! A file system in memory that says what NFSv3 allows: written for clarity, sharing no code with the server.
//!
//! Caller: [`super::judge`], which applies operations ([`verbs`]) and compares what was foretold with what was
//! answered ([`compare`]). A [`State`] is cheap to clone. What the server may choose (numbers, handles, cookies, the
//! exact time) is unknown until it is first seen, and then holds for ever.

pub(crate) mod compare;
pub(crate) mod verbs;

use super::op::{Text, User};
use std::collections::BTreeMap;
use std::rc::Rc;
use wire::nfs3::{FileHandleBuf, Ftype3, Nfsstat3, Nfstime3, Specdata3, StableHow};

/// An object: the number of the call that made it; 0 is the root.
pub(crate) type ObjectId = u32;

/// An execution of a call: its number and which of its executions.
pub(crate) type Key = (u32, u8);

/// A time as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stamp {
    Known(Nfstime3),
    /// The server's clock during an execution; kept in [`State::bound`] once it is seen.
    Of(StampKey),
}

/// Names a time that the server chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StampKey {
    key: Key,
    object: ObjectId,
    part: Part,
    /// It is above this.
    above: Nfstime3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// ctime, and mtime where both are one.
    Change,
    /// What a client asked to be set to the server's time.
    Asked,
    /// After a crash took some of the file's changes.
    Lost,
}

/// One object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) kind: Ftype3,
    mode: u32,
    uid: u32,
    gid: u32,
    nlink: u32,
    rdev: Specdata3,
    atime: Stamp,
    mtime: Stamp,
    ctime: Stamp,
    fileid: Option<u64>,
    handle: Option<FileHandleBuf>,
    /// EXCLUSIVE create.
    verifier: Option<[u8; 8]>,
    /// A file's bytes, or a link's text.
    pub(crate) content: Rc<Vec<u8>>,
    /// What of a file's bytes no crash can take, and changes since.
    durable: Rc<Vec<u8>>,
    volatile: Vec<Change>,
    /// A crash took any of `volatile`; nobody has looked yet.
    is_uncertain: bool,
    /// A directory's entries.
    pub(crate) names: BTreeMap<Text, Name>,
    pub(crate) parent: ObjectId,
    is_gone: bool,
}

/// An entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) object: ObjectId,
    cookie: Option<u64>,
}

/// A change of a file's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    key: Key,
    what: What,
    is_durable: bool,
    /// The mode before it, where it cleared set-id bits.
    cleared: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Write { offset: u64, data: Rc<[u8]> },
    Resize { size: u64 },
}

/// The whole file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) objects: BTreeMap<ObjectId, Rc<Object>>,
    bound: Rc<BTreeMap<StampKey, Nfstime3>>,
    verifier: Option<[u8; 8]>,
    /// Those of earlier starts.
    old_verifiers: Rc<Vec<[u8; 8]>>,
}

/// Attributes as they are to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Attr {
    id: ObjectId,
    kind: Ftype3,
    mode: u32,
    nlink: u32,
    uid: u32,
    gid: u32,
    size: u64,
    has_data: bool,
    rdev: Specdata3,
    atime: Stamp,
    mtime: Stamp,
    ctime: Stamp,
}

/// What is to be answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Expect {
    pub(crate) error: Option<Nfsstat3>,
    object: Option<Attr>,
    object_before: Option<Attr>,
    /// The handle of this object comes with it.
    handle: Option<ObjectId>,
    dir: Option<Attr>,
    dir_before: Option<Attr>,
    to_dir: Option<Attr>,
    to_dir_before: Option<Attr>,
    body: Body,
    /// Nothing comes with the refusal.
    is_bare: bool,
    /// Whether anything was changed.
    pub(crate) has_effect: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
enum Body {
    #[default]
    Nothing,
    Data {
        bytes: Vec<u8>,
        eof: bool,
    },
    Written {
        file: ObjectId,
        key: Key,
        count: u32,
        stable: StableHow,
    },
    /// What was done by these is durable.
    Committed {
        file: ObjectId,
        keys: Vec<Key>,
    },
    Resized {
        file: ObjectId,
        key: Key,
    },
    Access(u32),
    Listing {
        dir: ObjectId,
        cookie: u64,
        entries: Vec<Listed>,
        detail: Detail,
    },
    Space,
    /// The clients of the share, as they are listed.
    Exports(Vec<String>),
    /// Where clients are that may have mounted it.
    Mounts(Vec<String>),
}

/// What READDIRPLUS adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detail {
    Names,
    Attributes,
}

/// An entry that a listing may show.
#[derive(Clone, Debug, PartialEq)]
struct Listed {
    name: Text,
    object: ObjectId,
    cookie: Option<u64>,
    attr: Attr,
}

impl Expect {
    /// Whether it is the answer to a CREATE that found its file and truncated it.
    pub(crate) fn truncates(&self) -> bool {
        self.handle.is_some() && matches!(self.body, Body::Resized { .. })
    }

    /// The same without the attributes of the object.
    pub(crate) fn without_object(&self) -> Expect {
        Expect { object: None, ..self.clone() }
    }
}

impl State {
    /// A new file system.
    pub(crate) fn new(root: FileHandleBuf) -> State {
        let made = Stamp::Known(Nfstime3 { seconds: 1_700_000_000, nseconds: 0 });
        let mut object = Object::new(Ftype3::Dir, 0o777, User { uid: 0, gid: 0 }, made);
        object.nlink = 2;
        object.handle = Some(root);
        State {
            objects: BTreeMap::from([(0, Rc::new(object))]),
            bound: Rc::default(),
            verifier: None,
            old_verifiers: Rc::default(),
        }
    }

    /// What a handle names.
    pub(crate) fn find(&self, handle: &FileHandleBuf) -> Option<ObjectId> {
        self.objects.iter().find(|(_, object)| object.handle.as_ref() == Some(handle)).map(|(&id, _)| id)
    }

    pub(crate) fn object(&self, id: ObjectId) -> &Object {
        &self.objects[&id]
    }

    fn object_mut(&mut self, id: ObjectId) -> &mut Object {
        Rc::make_mut(self.objects.get_mut(&id).expect("an object that was found"))
    }

    /// The server is gone. Every file is now what any of its changes left.
    pub(crate) fn crash(&mut self) {
        for object in self.objects.values_mut() {
            if object.volatile.iter().any(|change| !change.is_durable) {
                Rc::make_mut(object).is_uncertain = true;
            }
        }
        if let Some(verifier) = self.verifier.take() {
            Rc::make_mut(&mut self.old_verifiers).push(verifier);
        }
    }

    /// All that a file may be after a crash: itself alone where that is certain.
    pub(crate) fn resolve(&self, id: ObjectId, crash: Key) -> Vec<State> {
        let object = self.object(id);
        if !object.is_uncertain {
            return vec![self.clone()];
        }
        let loose: Vec<usize> = (0..object.volatile.len()).filter(|&at| !object.volatile[at].is_durable).collect();
        let mut found: Vec<State> = Vec::new();
        // All of them first: what was done is there more often than not.
        for lost in 0..1_u32 << loose.len().min(CHANGES_MAX) {
            let mut object = object.clone();
            let is_lost =
                |at: usize| loose.iter().position(|&loose| loose == at).is_some_and(|bit| lost >> bit & 1 == 1);
            let mut content = (*object.durable).clone();
            for (at, change) in object.volatile.iter().enumerate() {
                if !is_lost(at) {
                    change.what.apply(&mut content);
                }
            }
            object.content = Rc::new(content);
            if lost != 0 {
                // It may be that of any change, seen or not.
                let key = StampKey { key: crash, object: id, part: Part::Lost, above: ZERO };
                object.ctime = Stamp::Of(key);
                object.mtime = Stamp::Of(StampKey { key: (crash.0, 1), ..key });
            }
            let cleared =
                object.volatile.iter().enumerate().filter(|(at, _)| is_lost(*at)).find_map(|(_, lost)| lost.cleared);
            object.durable = object.content.clone();
            object.volatile.clear();
            object.is_uncertain = false;
            // With a write goes what it did to the mode, unless the mode was set since.
            for mode in [Some(object.mode), cleared].into_iter().flatten() {
                let mut state = self.clone();
                state.objects.insert(id, Rc::new(Object { mode, ..object.clone() }));
                if !found.contains(&state) {
                    found.push(state);
                }
            }
        }
        found
    }

    /// Writes the times that were seen where they belong. Called while no call is under way.
    pub(crate) fn tidy(&mut self) {
        let bound = std::mem::take(&mut self.bound);
        let know = |stamp: Stamp| match stamp {
            Stamp::Of(key) => bound.get(&key).map_or(stamp, |time| Stamp::Known(*time)),
            known => known,
        };
        for object in self.objects.values_mut() {
            let times = [object.atime, object.mtime, object.ctime].map(know);
            if times != [object.atime, object.mtime, object.ctime] {
                let object = Rc::make_mut(object);
                [object.atime, object.mtime, object.ctime] = times;
            }
        }
    }

    /// Changes of a file that are acknowledged as durable.
    fn settle(&mut self, id: ObjectId, keys: &[Key]) {
        let object = self.object_mut(id);
        for change in object.volatile.iter_mut().filter(|change| keys.contains(&change.key)) {
            change.is_durable = true;
        }
        let settled = object.volatile.iter().take_while(|change| change.is_durable).count();
        if settled > 0 {
            let mut durable = (*object.durable).clone();
            object.volatile.drain(..settled).for_each(|change| change.what.apply(&mut durable));
            object.durable = Rc::new(durable);
        }
    }

    fn attr(&self, id: ObjectId) -> Attr {
        let object = self.object(id);
        let size = match object.kind {
            Ftype3::Dir => DIRECTORY_BLOCK_BYTES * (1 + object.names.len() as u64 / ENTRIES_PER_BLOCK),
            _ => object.content.len() as u64,
        };
        Attr {
            id,
            kind: object.kind,
            mode: object.mode,
            nlink: object.nlink,
            uid: object.uid,
            gid: object.gid,
            size,
            has_data: object.content.iter().any(|byte| *byte != 0),
            rdev: object.rdev,
            atime: object.atime,
            mtime: object.mtime,
            ctime: object.ctime,
        }
    }

    /// The earliest that a time can be.
    fn floor(&self, stamp: Stamp) -> Nfstime3 {
        match stamp {
            Stamp::Known(time) => time,
            Stamp::Of(key) => self.bound.get(&key).copied().unwrap_or(key.above),
        }
    }
}

impl Object {
    fn new(kind: Ftype3, mode: u32, owner: User, made: Stamp) -> Object {
        Object {
            kind,
            mode,
            uid: owner.uid,
            gid: owner.gid,
            nlink: 1,
            rdev: Specdata3::default(),
            atime: made,
            mtime: made,
            ctime: made,
            fileid: None,
            handle: None,
            verifier: None,
            content: Rc::default(),
            durable: Rc::default(),
            volatile: Vec::new(),
            is_uncertain: false,
            names: BTreeMap::new(),
            parent: 0,
            is_gone: false,
        }
    }

    fn is_dir(&self) -> bool {
        self.kind == Ftype3::Dir
    }

    fn change(&mut self, key: Key, what: What, cleared: Option<u32>) {
        what.apply(Rc::make_mut(&mut self.content));
        self.volatile.push(Change { key, what, is_durable: false, cleared });
    }
}

impl What {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            What::Resize { size } => content.resize(*size as usize, 0),
            What::Write { offset, data } => {
                let (start, end) = (*offset as usize, *offset as usize + data.len());
                content.resize(content.len().max(end), 0);
                content[start..end].copy_from_slice(data);
            }
        }
    }
}

const ZERO: Nfstime3 = Nfstime3 { seconds: 0, nseconds: 0 };
const DIRECTORY_BLOCK_BYTES: u64 = 4096;
const ENTRIES_PER_BLOCK: u64 = 64;
/// Changes of one file that are neither acknowledged as durable nor settled by a COMMIT; histories keep below.
const CHANGES_MAX: usize = 10;
