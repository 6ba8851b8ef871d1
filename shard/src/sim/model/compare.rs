//! Compares what was foretold with what was answered, and learns what the server chose.

use super::{Attr, Body, Detail, Expect, Listed, ObjectId, Part, Stamp, State};
use crate::sim::op::{Entry, Op, Reply};
use crate::sim::payload;
use crate::sim::server::SHARE;
use std::rc::Rc;
use wire::nfs3::{Fattr3, FileHandleBuf, Ftype3, Nfstime3, StableHow, WccAttr, WccData};

/// How an answer is looked at.
#[derive(Clone, Copy)]
pub(crate) struct Look {
    /// When it came.
    pub(crate) now: Nfstime3,
    /// Another call may have changed the objects of a refused one before they were looked at.
    pub(crate) is_alone: bool,
    /// The disk may have failed, and with it the verifier.
    pub(crate) is_sound: bool,
}

type Verdict = Result<(), String>;

impl State {
    /// Whether the answer is what was foretold. What is acknowledged is settled.
    pub(crate) fn accept(&mut self, op: &Op, expect: &Expect, reply: &Reply, look: Look) -> Verdict {
        if expect.error != reply.error {
            return Err(format!("answered {}, not {}", shown(reply.error), shown(expect.error)));
        }
        let nothing = Reply { error: reply.error, ..Reply::default() };
        if expect.is_bare && *reply != nothing {
            return Err("attributes for somebody who may not see them".to_string());
        }
        if expect.error.is_none() || look.is_alone {
            self.same_attributes(expect, reply, look)?;
        }
        if expect.error.is_some() {
            return Ok(());
        }
        if let Some(id) = expect.handle {
            self.learn_handle(id, reply.handle, "the handle")?;
        }
        self.same_body(op, expect, reply, look)
    }

    fn same_attributes(&mut self, expect: &Expect, reply: &Reply, look: Look) -> Verdict {
        let object = WccData { before: reply.object_before, after: reply.object };
        let parts = [
            ("object", expect.object_before, expect.object, object),
            ("directory", expect.dir_before, expect.dir, reply.dir),
            ("target directory", expect.to_dir_before, expect.to_dir, reply.to_dir),
        ];
        for (what, before, after, got) in parts {
            match (before, got.before) {
                (Some(attr), Some(got)) => {
                    self.same_before(&attr, &got, look).map_err(|why| format!("{what} before: {why}"))?
                }
                (None, Some(_)) if expect.error.is_none() => return Err(format!("{what} before: none was expected")),
                _ => {}
            }
            match (after, got.after) {
                (Some(attr), Some(got)) => self.same_attr(&attr, &got, look).map_err(|why| format!("{what}: {why}"))?,
                (Some(_), None) if expect.error.is_none() => return Err(format!("{what}: no attributes")),
                _ => {}
            }
        }
        Ok(())
    }

    fn same_before(&mut self, attr: &Attr, got: &WccAttr, look: Look) -> Verdict {
        same("size", attr.size, got.size)?;
        self.same_time("mtime", attr.mtime, got.mtime, look)?;
        self.same_time("ctime", attr.ctime, got.ctime, look)
    }

    fn same_attr(&mut self, attr: &Attr, got: &Fattr3, look: Look) -> Verdict {
        same("type", attr.kind, got.ftype)?;
        same("mode", attr.mode, got.mode)?;
        same("nlink", attr.nlink, got.nlink)?;
        same("uid", attr.uid, got.uid)?;
        same("gid", attr.gid, got.gid)?;
        same("size", attr.size, got.size)?;
        same("device", attr.rdev, got.rdev)?;
        let used_max = attr.size.next_multiple_of(USED_UNIT);
        let is_plausible = match attr.kind {
            Ftype3::Reg => got.used <= used_max && (got.used > 0 || !attr.has_data),
            _ => got.used <= used_max,
        };
        if !is_plausible {
            return Err(format!("{} bytes used of {}", got.used, attr.size));
        }
        self.learn_fileid(attr.id, got.fileid)?;
        self.same_time("atime", attr.atime, got.atime, look)?;
        self.same_time("mtime", attr.mtime, got.mtime, look)?;
        self.same_time("ctime", attr.ctime, got.ctime, look)
    }

    fn same_time(&mut self, what: &str, stamp: Stamp, got: Nfstime3, look: Look) -> Verdict {
        let key = match stamp {
            Stamp::Known(time) => return same(what, time, got),
            Stamp::Of(key) => key,
        };
        if let Some(&time) = self.bound.get(&key) {
            return same(what, time, got);
        }
        let slack = Nfstime3 { seconds: look.now.seconds + 1, ..look.now };
        if key.part != Part::Lost && (got <= key.above || got > slack) {
            return Err(format!("{what} is {got:?}, not after {:?} and before {:?}", key.above, look.now));
        }
        Rc::make_mut(&mut self.bound).insert(key, got);
        Ok(())
    }

    fn learn_fileid(&mut self, id: ObjectId, fileid: u64) -> Verdict {
        match self.object(id).fileid {
            Some(known) => same("fileid", known, fileid),
            None => {
                if let Some((other, _)) = self.objects.iter().find(|(_, object)| object.fileid == Some(fileid)) {
                    return Err(format!("fileid {fileid} is that of the object of call {other}"));
                }
                self.object_mut(id).fileid = Some(fileid);
                Ok(())
            }
        }
    }

    fn learn_handle(&mut self, id: ObjectId, handle: Option<FileHandleBuf>, what: &str) -> Verdict {
        let Some(handle) = handle else { return Err(format!("{what} is missing")) };
        match self.object(id).handle {
            Some(known) if known == handle => Ok(()),
            Some(_) => Err(format!("{what} is another one than before")),
            None if self.find(&handle).is_some() => Err(format!("{what} is that of another object")),
            None => {
                self.object_mut(id).handle = Some(handle);
                Ok(())
            }
        }
    }

    fn same_body(&mut self, op: &Op, expect: &Expect, reply: &Reply, look: Look) -> Verdict {
        match &expect.body {
            Body::Nothing => Ok(()),
            Body::Access(mask) => same("access", *mask, reply.access),
            Body::Data { bytes, eof } => {
                same("eof", *eof, reply.eof)?;
                let offset = if let Op::Read { offset, .. } = op { *offset } else { 0 };
                payload::same(offset, bytes, &reply.data)
            }
            Body::Written { file, key, count, stable } => {
                same("count", *count, reply.count)?;
                let committed = reply.committed.unwrap_or(StableHow::Unstable);
                if committed < *stable {
                    return Err(format!("asked for {stable:?}, got {committed:?}"));
                }
                self.same_verifier(reply, look)?;
                if committed > StableHow::Unstable {
                    self.settle(*file, &[*key]);
                }
                Ok(())
            }
            Body::Committed { file, keys } => {
                self.same_verifier(reply, look)?;
                self.settle(*file, keys);
                Ok(())
            }
            Body::Resized { file, key } => {
                self.settle(*file, &[*key]);
                Ok(())
            }
            Body::Listing { dir, cookie, entries, detail } => {
                self.same_listing(*dir, *cookie, entries, *detail, reply, look)
            }
            Body::Space => {
                let [total, free, available] = reply.space;
                if total >= free && free >= available { Ok(()) } else { Err(format!("space {:?}", reply.space)) }
            }
            Body::Exports(clients) => same("shares", &vec![(SHARE.to_owned(), clients.clone())], &reply.exports),
            Body::Mounts(hosts) => {
                let below =
                    |path: &str| path.strip_prefix(SHARE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
                let is_possible = |(host, path): &&(String, String)| hosts.contains(host) && below(path);
                match reply.mounts.iter().find(|mount| !is_possible(mount)) {
                    Some(mount) => Err(format!("{mount:?} cannot have been mounted")),
                    None => Ok(()),
                }
            }
        }
    }

    fn same_verifier(&mut self, reply: &Reply, look: Look) -> Verdict {
        let Some(verifier) = reply.verifier else { return Err("no verifier".to_string()) };
        if self.old_verifiers.contains(&verifier) {
            return Err("the verifier is that of an earlier start".to_string());
        }
        match self.verifier.replace(verifier) {
            Some(known) if known != verifier && look.is_sound => Err("another verifier without a restart".to_string()),
            _ => Ok(()),
        }
    }

    fn same_listing(
        &mut self,
        dir: ObjectId,
        cookie: u64,
        entries: &[Listed],
        detail: Detail,
        reply: &Reply,
        look: Look,
    ) -> Verdict {
        let mut last = cookie;
        let mut seen = vec![false; entries.len()];
        for entry in &reply.entries {
            if entry.cookie <= last {
                return Err(format!("cookie {} of {:?} comes after {last}", entry.cookie, entry.name));
            }
            last = entry.cookie;
            let Some(at) = entries.iter().position(|listed| *listed.name == *entry.name) else {
                return Err(format!("{:?} is listed and not there", entry.name));
            };
            if std::mem::replace(&mut seen[at], true) {
                return Err(format!("{:?} is listed twice", entry.name));
            }
            self.same_entry(dir, &entries[at], entry, detail, look)
                .map_err(|why| format!("entry {:?}: {why}", entry.name))?;
        }
        for (listed, _) in entries.iter().zip(&seen).filter(|(_, is_seen)| !**is_seen) {
            let is_due = match listed.cookie {
                Some(known) => known > cookie && (reply.eof || known < last),
                None => cookie == 0 && reply.eof,
            };
            if is_due {
                return Err(format!("{:?} is missing from the listing", listed.name));
            }
        }
        Ok(())
    }

    fn same_entry(&mut self, dir: ObjectId, listed: &Listed, entry: &Entry, detail: Detail, look: Look) -> Verdict {
        self.learn_fileid(listed.object, entry.fileid)?;
        match listed.cookie {
            Some(cookie) => same("cookie", cookie, entry.cookie)?,
            None => {
                if let Some(name) = self.object_mut(dir).names.get_mut(&listed.name) {
                    name.cookie.get_or_insert(entry.cookie);
                }
            }
        }
        match detail {
            Detail::Names => Ok(()),
            Detail::Attributes => {
                let Some(got) = &entry.object else { return Err("no attributes".to_string()) };
                self.same_attr(&listed.attr, got, look)?;
                self.learn_handle(listed.object, entry.handle, "the handle")
            }
        }
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, expected: T, got: T) -> Verdict {
    if expected == got { Ok(()) } else { Err(format!("{what} is {got:?}, not {expected:?}")) }
}

fn shown(error: Option<wire::nfs3::Nfsstat3>) -> String {
    error.map_or_else(|| "NFS3_OK".to_string(), |error| format!("{error:?}"))
}

const USED_UNIT: u64 = 4096;
