//! One call at a time: mounts a share and makes what a test stands on. Never measured.

use crate::failure::{Failure, Outcome, While, accepted};
use crate::pattern;
use crate::pipe::{self, Inbox, Outbox};
use std::net::SocketAddr;
use wire::mount::{self, MountResult, Mountres3};
use wire::nfs3::{
    self, CommitArgs, CommitRes, CreateArgs, CreateRes, Createhow3, Diropargs3, FileHandle, FileHandleBuf, Filename,
    LookupArgs, LookupRes, MkdirArgs, MkdirRes, Nfsstat3, Procedure, ReadArgs, ReadRes, RemoveArgs, RemoveRes, Res,
    Sattr3,
};
use wire::rpc::ReplyHeader;
use wire::xdr::{Decode, Encode, Reader};

/// A connection that asks and waits.
pub(crate) struct Client {
    out: Outbox,
    inbox: Inbox,
}

impl Client {
    /// Speaks NFSv3.
    pub(crate) fn nfs3(address: SocketAddr) -> Outcome<Self> {
        Self::connect(address, nfs3::PROGRAM, nfs3::VERSION)
    }

    fn connect(address: SocketAddr, program: u32, version: u32) -> Outcome<Self> {
        let stream = pipe::connect(address).during(address)?;
        let inbox = Inbox::new(stream.try_clone()?);
        Ok(Self { out: Outbox::new(stream, program, version)?, inbox })
    }

    /// One NFSv3 call and its results.
    pub(crate) fn ask<'s, R: Decode<'s>>(&'s mut self, procedure: Procedure, args: &impl Encode) -> Outcome<R> {
        self.out.call(procedure, args);
        self.answer()
    }

    fn answer<'s, R: Decode<'s>>(&'s mut self) -> Outcome<R> {
        self.out.flush()?;
        let place = loop {
            if let Some(place) = self.inbox.next_record()? {
                break place;
            }
            if !self.inbox.receive()? {
                return Err(Failure::said("the server ended the connection"));
            }
        };
        let mut r = Reader::new(self.inbox.record(place));
        let header: ReplyHeader<'_> = r.decode()?;
        if !header.is_success() {
            return Err(Failure::Said(format!("the call was not accepted: {:?}", header.body)));
        }
        Ok(r.decode()?)
    }

    /// The object of this name, if there is one.
    pub(crate) fn lookup(&mut self, dir: FileHandle<'_>, name: &str) -> Outcome<Option<Found>> {
        let what = location(dir, name)?;
        match self.ask::<LookupRes<'_>>(Procedure::Lookup, &LookupArgs { what })? {
            Res::Fail(Nfsstat3::Noent, _) => Ok(None),
            res => {
                let found = accepted(Procedure::Lookup, res)?;
                Ok(Some(Found { handle: found.object.into(), bytes: found.obj_attributes.map_or(0, |attr| attr.size) }))
            }
        }
    }

    /// The folder of this name, made if it is missing.
    pub(crate) fn folder(&mut self, dir: FileHandle<'_>, name: &str) -> Outcome<FileHandleBuf> {
        if let Some(found) = self.lookup(dir, name)? {
            return Ok(found.handle);
        }
        let attributes = Sattr3 { mode: Some(0o755), ..Sattr3::default() };
        let args = MkdirArgs { location: location(dir, name)?, attributes };
        let made = accepted(Procedure::Mkdir, self.ask::<MkdirRes<'_>>(Procedure::Mkdir, &args)?)?;
        let handle = made.obj.map(FileHandleBuf::from);
        match handle {
            Some(handle) => Ok(handle),
            None => self.must_find(dir, name),
        }
    }

    /// The file of this name, made if it is missing.
    pub(crate) fn file(&mut self, dir: FileHandle<'_>, name: &str) -> Outcome<FileHandleBuf> {
        let args = CreateArgs { location: location(dir, name)?, how: unchecked() };
        let made = accepted(Procedure::Create, self.ask::<CreateRes<'_>>(Procedure::Create, &args)?)?;
        let handle = made.obj.map(FileHandleBuf::from);
        match handle {
            Some(handle) => Ok(handle),
            None => self.must_find(dir, name),
        }
    }

    /// Takes a name away; one that is not there is fine.
    pub(crate) fn remove(&mut self, dir: FileHandle<'_>, name: &str) -> Outcome<()> {
        let args = RemoveArgs { object: location(dir, name)? };
        match self.ask::<RemoveRes>(Procedure::Remove, &args)? {
            Res::Fail(Nfsstat3::Noent, _) => Ok(()),
            res => accepted(Procedure::Remove, res).map(drop),
        }
    }

    /// Everything written to the file so far is durable afterwards.
    pub(crate) fn commit(&mut self, file: FileHandle<'_>) -> Outcome<()> {
        let args = CommitArgs { file, offset: 0, count: 0 };
        accepted(Procedure::Commit, self.ask::<CommitRes>(Procedure::Commit, &args)?).map(drop)
    }

    /// Reads a range and compares it with what was written there last.
    pub(crate) fn check(&mut self, file: FileHandle<'_>, written: pattern::Place, count: u32) -> Outcome<()> {
        let args = ReadArgs { file, offset: written.offset, count };
        let read = accepted(Procedure::Read, self.ask::<ReadRes<'_>>(Procedure::Read, &args)?)?;
        if read.data.len() != count as usize {
            return Err(Failure::Said(format!("READ at {}: {} bytes of {count}", written.offset, read.data.len())));
        }
        pattern::check(&read.data, written)
    }

    fn must_find(&mut self, dir: FileHandle<'_>, name: &str) -> Outcome<FileHandleBuf> {
        let found = self.lookup(dir, name)?;
        found.map(|found| found.handle).ok_or_else(|| Failure::Said(format!("{name} was made and is not there")))
    }
}

/// What LOOKUP gave.
pub(crate) struct Found {
    pub(crate) handle: FileHandleBuf,
    /// 0 when the server gave no attributes.
    pub(crate) bytes: u64,
}

/// A name in a folder.
pub(crate) fn location<'a>(dir: FileHandle<'a>, name: &'a str) -> Outcome<Diropargs3<'a>> {
    Ok(Diropargs3 { dir, name: Filename::new(name.as_bytes())? })
}

/// How the files of all tests are made.
pub(crate) fn unchecked() -> Createhow3 {
    Createhow3::Unchecked(Sattr3 { mode: Some(0o644), ..Sattr3::default() })
}

/// The root of a share, from MOUNT.
pub(crate) fn mount(address: SocketAddr, share: &str) -> Outcome<FileHandleBuf> {
    let mut client = Client::connect(address, mount::PROGRAM, mount::VERSION_3)?;
    client.out.call_number(mount::Procedure::Mnt as u32, &mount::Dirpath::new(share.as_bytes())?);
    match client.answer::<Mountres3<'_>>()? {
        MountResult::Ok(body) => Ok(FileHandle::new(&body.fhandle)?.into()),
        MountResult::Fail(status) => Err(Failure::Said(format!("mounting {share}: {}", status.name()))),
    }
}
