//! The share through our own client. A call that was not answered is sent again with the same transaction number,
//! over a new connection if need be; data written unstably is kept and sent again when the verifier has changed.

use super::{Entry, How, Kind, Share};
use crate::client::{Call, Client, Reply, status_name};
use crate::failure::{Failure, While, ensure, fail};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};
use wire::nfs3::*;
use wire::{Encode, nfs3};

pub(crate) struct Raw<'a> {
    client: Client,
    /// Raised while the power is cut: a failing server has not answered at all.
    outage: &'a AtomicBool,
    /// Folders by path; the worker's own is the empty path.
    folders: BTreeMap<String, FileHandleBuf>,
    /// Unstable writes by path, with the verifier that they were answered with.
    unstable: BTreeMap<String, Vec<Unstable>>,
    /// The last calls that must not be executed twice, with their answers.
    recent: VecDeque<(Call, Reply)>,
    exclusive: u64,
}

struct Unstable {
    offset: u64,
    data: Vec<u8>,
    verf: Writeverf3,
}

impl<'a> Raw<'a> {
    pub(crate) fn new(client: Client, folder: FileHandleBuf, outage: &'a AtomicBool) -> Raw<'a> {
        let folders = BTreeMap::from([(String::new(), folder)]);
        Raw { client, outage, folders, unstable: BTreeMap::new(), recent: VecDeque::new(), exclusive: 0 }
    }

    /// Sends the last calls again, as a network may: each gets the answer it got before.
    pub(crate) fn replay_recent(&mut self) -> Result<usize, Failure> {
        for (call, answer) in self.recent.clone() {
            self.client.insist(&call)?.must_equal(&answer).during("a call sent again")?;
        }
        Ok(self.recent.len())
    }

    /// The handle of a folder in the share's root, made if missing.
    pub(crate) fn worker_folder(
        client: &mut Client,
        root: FileHandleBuf,
        name: &str,
    ) -> Result<FileHandleBuf, Failure> {
        let location = Diropargs3 { dir: root.handle(), name: Filename::new(name.as_bytes()).during(name)? };
        client.nfs(Procedure::Mkdir, &MkdirArgs { location, attributes: Sattr3::default() })?;
        client.lookup(root, name)
    }

    fn ask(&mut self, procedure: Procedure, args: &impl Encode) -> Result<Reply, Failure> {
        let call = self.client.prepare(procedure, args);
        let reply = self.settled(&call)?;
        if !is_idempotent(procedure) {
            self.recent.push_back((call, reply.clone()));
            if self.recent.len() > RECENT_MAX {
                self.recent.pop_front();
            }
        }
        Ok(reply)
    }

    /// The answer to a call, once there is one that counts.
    fn settled(&mut self, call: &Call) -> Result<Reply, Failure> {
        let began = Instant::now();
        loop {
            let reply = self.client.insist(call)?.accepted()?;
            let status = reply.status()?;
            let failing = [Nfsstat3::Io, Nfsstat3::Rofs, Nfsstat3::Serverfault].map(|status| status as u32);
            let busy = status == Nfsstat3::Jukebox as u32;
            let down = failing.contains(&status) && self.outage.load(Ordering::SeqCst);
            if !busy && !down {
                return Ok(reply);
            }
            ensure!(began.elapsed() < SETTLED_LIMIT, "status {status} for {SETTLED_LIMIT:?}");
            sleep(Duration::from_millis(20));
        }
    }

    /// A call whose status must be NFS3_OK.
    fn done(&mut self, procedure: Procedure, args: &impl Encode, what: &str) -> Result<Reply, Failure> {
        let reply = self.ask(procedure, args)?;
        let status = reply.status()?;
        ensure!(status == NFS3_OK, "{} {what}: {}", procedure.name(), status_name(status));
        Ok(reply)
    }

    fn folder(&mut self, path: &str) -> Result<FileHandleBuf, Failure> {
        if let Some(handle) = self.folders.get(path) {
            return Ok(*handle);
        }
        let handle = self.handle(path)?;
        self.folders.insert(path.to_string(), handle);
        Ok(handle)
    }

    /// The folder that `path` is in, and its name there.
    fn parent<'p>(&mut self, path: &'p str) -> Result<(FileHandleBuf, Filename<'p>), Failure> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.folder(folder)?, Filename::new(name.as_bytes()).during(name)?))
    }

    fn handle(&mut self, path: &str) -> Result<FileHandleBuf, Failure> {
        let (dir, name) = self.parent(path)?;
        let what = Diropargs3 { dir: dir.handle(), name };
        let reply = self.done(Procedure::Lookup, &LookupArgs { what }, path)?;
        match reply.results::<LookupRes<'_>>()? {
            Res::Ok(ok) => Ok(ok.object.into()),
            Res::Fail(status, _) => fail!("LOOKUP {path}: {}", status.name()),
        }
    }

    /// Writes all of it, in several calls where the server takes less. The verifier is the first one's: if it changed
    /// meanwhile, the part before is what may be lost.
    fn write(&mut self, path: &str, offset: u64, data: &[u8], stable: StableHow) -> Result<Writeverf3, Failure> {
        let (verf, mut done) = self.write_some(path, offset, data, stable)?;
        while done < data.len() {
            done += self.write_some(path, offset + done as u64, &data[done..], stable)?.1;
        }
        Ok(verf)
    }

    fn write_some(
        &mut self,
        path: &str,
        offset: u64,
        data: &[u8],
        stable: StableHow,
    ) -> Result<(Writeverf3, usize), Failure> {
        let file = self.handle(path)?;
        let count = u32::try_from(data.len()).expect("the workload writes little at a time");
        let data = Data::new(data).during(path)?;
        let args = WriteArgs { file: file.handle(), offset, count, stable, data };
        let reply = self.done(Procedure::Write, &args, path)?;
        match reply.results::<WriteRes>()? {
            Res::Ok(ok) => {
                ensure!((1..=count).contains(&ok.count), "WRITE {path}: {} of {count} bytes", ok.count);
                ensure!(ok.committed >= stable, "WRITE {path}: {stable:?} asked, {:?} done", ok.committed);
                Ok((ok.verf, ok.count as usize))
            }
            Res::Fail(status, _) => fail!("WRITE {path}: {}", status.name()),
        }
    }

    fn setattr(&mut self, path: &str, new_attributes: Sattr3) -> Result<(), Failure> {
        let object = self.handle(path)?;
        let args = SetattrArgs { object: object.handle(), new_attributes, guard: None };
        self.done(Procedure::Setattr, &args, path)?;
        Ok(())
    }

    /// One answer's worth of a folder from `cookie` on: its entries, the next cookie, and whether that was all.
    fn page(&mut self, dir: FileHandleBuf, from: (u64, Cookieverf3)) -> Result<Page, Failure> {
        let (cookie, cookieverf) = from;
        let args = ReaddirplusArgs { dir: dir.handle(), cookie, cookieverf, dircount: 32 << 10, maxcount: 64 << 10 };
        let reply = self.done(Procedure::Readdirplus, &args, "")?;
        let ok = match reply.results::<ReaddirplusRes<'_>>()? {
            Res::Ok(ok) => ok,
            Res::Fail(status, _) => fail!("READDIRPLUS: {}", status.name()),
        };
        let mut page = Page { entries: Vec::new(), next: (cookie, ok.cookieverf), eof: ok.reply.eof };
        for entry in ok.reply.entries {
            page.next.0 = entry.cookie;
            let name = String::from_utf8_lossy(&entry.name).into_owned();
            if name == "." || name == ".." {
                continue;
            }
            let attr = entry.name_attributes.ok_or_else(|| Failure::new(format!("{name} without attributes")))?;
            ensure!(attr.fileid == entry.fileid, "{name}: two file ids");
            page.entries.push(Entry {
                name,
                kind: kind(attr.ftype),
                fileid: attr.fileid,
                bytes: attr.size,
                links: u64::from(attr.nlink),
                mode: attr.mode,
            });
        }
        Ok(page)
    }

    /// Whatever of `path` is not stable yet is made so.
    fn commit(&mut self, path: &str) -> Result<(), Failure> {
        let Some(writes) = self.unstable.remove(path) else { return Ok(()) };
        let file = self.handle(path)?;
        let reply = self.done(Procedure::Commit, &CommitArgs { file: file.handle(), offset: 0, count: 0 }, path)?;
        let verf = match reply.results::<CommitRes>()? {
            Res::Ok(ok) => ok.verf,
            Res::Fail(status, _) => fail!("COMMIT {path}: {}", status.name()),
        };
        if writes.iter().any(|write| write.verf != verf) {
            for write in writes {
                self.write(path, write.offset, &write.data, StableHow::FileSync)?;
            }
        }
        Ok(())
    }
}

struct Page {
    entries: Vec<Entry>,
    next: (u64, Cookieverf3),
    eof: bool,
}

impl Share for Raw<'_> {
    fn create(&mut self, path: &str, how: How) -> Result<(), Failure> {
        let (dir, name) = self.parent(path)?;
        self.exclusive += 1;
        let how = match how {
            How::Guarded => Createhow3::Guarded(Sattr3 { mode: Some(0o644), ..Sattr3::default() }),
            How::Exclusive => Createhow3::Exclusive(Createverf3(self.exclusive.to_be_bytes())),
        };
        let args = CreateArgs { location: Diropargs3 { dir: dir.handle(), name }, how };
        self.done(Procedure::Create, &args, path)?;
        if matches!(how, Createhow3::Exclusive(_)) {
            // The RFC leaves the attributes of such a file to the client's next call.
            self.chmod(path, 0o644)?;
        }
        Ok(())
    }

    fn mkdir(&mut self, path: &str) -> Result<(), Failure> {
        let (dir, name) = self.parent(path)?;
        let attributes = Sattr3 { mode: Some(0o755), ..Sattr3::default() };
        let args = MkdirArgs { location: Diropargs3 { dir: dir.handle(), name }, attributes };
        self.done(Procedure::Mkdir, &args, path)?;
        Ok(())
    }

    fn symlink(&mut self, path: &str, text: &str) -> Result<(), Failure> {
        let (dir, name) = self.parent(path)?;
        let symlink_data = Nfspath::new(text.as_bytes()).during(text)?;
        let symlink = Symlinkdata3 { symlink_attributes: Sattr3::default(), symlink_data };
        let args = SymlinkArgs { location: Diropargs3 { dir: dir.handle(), name }, symlink };
        self.done(Procedure::Symlink, &args, path)?;
        Ok(())
    }

    fn fifo(&mut self, path: &str) -> Result<(), Failure> {
        let (dir, name) = self.parent(path)?;
        let what = Mknoddata3::Fifo(Sattr3 { mode: Some(0o644), ..Sattr3::default() });
        self.done(Procedure::Mknod, &MknodArgs { location: Diropargs3 { dir: dir.handle(), name }, what }, path)?;
        Ok(())
    }

    fn remove(&mut self, path: &str) -> Result<(), Failure> {
        self.commit(path)?;
        let (dir, name) = self.parent(path)?;
        self.done(Procedure::Remove, &RemoveArgs { object: Diropargs3 { dir: dir.handle(), name } }, path)?;
        Ok(())
    }

    fn rmdir(&mut self, path: &str) -> Result<(), Failure> {
        let (dir, name) = self.parent(path)?;
        self.done(Procedure::Rmdir, &RmdirArgs { object: Diropargs3 { dir: dir.handle(), name } }, path)?;
        self.folders.remove(path);
        Ok(())
    }

    fn rename(&mut self, source: &str, target: &str) -> Result<(), Failure> {
        self.commit(source)?;
        self.commit(target)?;
        let (source_dir, source_name) = self.parent(source)?;
        let (target_dir, target_name) = self.parent(target)?;
        let from = Diropargs3 { dir: source_dir.handle(), name: source_name };
        let to = Diropargs3 { dir: target_dir.handle(), name: target_name };
        let reply = self.done(Procedure::Rename, &RenameArgs { from, to }, source)?;
        if let Res::Ok(ok) = reply.results::<RenameRes>()?
            && is_unchanged(&ok.fromdir_wcc)
            && is_unchanged(&ok.todir_wcc)
        {
            // A name onto itself or onto another link: without an effect, it may be executed again.
            self.recent.pop_back();
        }
        Ok(())
    }

    fn link(&mut self, source: &str, target: &str) -> Result<(), Failure> {
        let file = self.handle(source)?;
        let (dir, name) = self.parent(target)?;
        let link = Diropargs3 { dir: dir.handle(), name };
        self.done(Procedure::Link, &LinkArgs { file: file.handle(), link }, target)?;
        Ok(())
    }

    fn truncate(&mut self, path: &str, bytes: u64) -> Result<(), Failure> {
        self.commit(path)?;
        self.setattr(path, Sattr3 { size: Some(bytes), ..Sattr3::default() })
    }

    fn chmod(&mut self, path: &str, mode: u32) -> Result<(), Failure> {
        self.setattr(path, Sattr3 { mode: Some(mode), ..Sattr3::default() })
    }

    fn write_synced(&mut self, path: &str, offset: u64, data: &[u8]) -> Result<(), Failure> {
        self.commit(path)?;
        self.write(path, offset, data, StableHow::FileSync)?;
        Ok(())
    }

    fn write_later(&mut self, path: &str, offset: u64, data: &[u8]) -> Result<(), Failure> {
        let verf = self.write(path, offset, data, StableHow::Unstable)?;
        let write = Unstable { offset, data: data.to_vec(), verf };
        self.unstable.entry(path.to_string()).or_default().push(write);
        Ok(())
    }

    fn sync(&mut self, path: &str) -> Result<(), Failure> {
        self.commit(path)
    }

    fn list(&mut self, path: &str) -> Result<Vec<Entry>, Failure> {
        let dir = self.folder(path)?;
        let mut entries = Vec::new();
        let mut from = (0, Cookieverf3([0; nfs3::NFS3_COOKIEVERFSIZE]));
        loop {
            let page = self.page(dir, from)?;
            ensure!(page.eof || page.next.0 != from.0, "READDIRPLUS {path} does not come forward");
            entries.extend(page.entries);
            from = page.next;
            if page.eof {
                return Ok(entries);
            }
        }
    }

    fn read(&mut self, path: &str) -> Result<Vec<u8>, Failure> {
        let file = self.handle(path)?;
        let mut data = Vec::new();
        loop {
            let args = ReadArgs { file: file.handle(), offset: data.len() as u64, count: READ_BYTES };
            let reply = self.done(Procedure::Read, &args, path)?;
            match reply.results::<ReadRes<'_>>()? {
                Res::Ok(ok) => {
                    ensure!(ok.count as usize == ok.data.len(), "READ {path}: count and data differ");
                    ensure!(ok.eof || ok.count > 0, "READ {path} does not come forward");
                    data.extend_from_slice(&ok.data);
                    if ok.eof {
                        return Ok(data);
                    }
                }
                Res::Fail(status, _) => fail!("READ {path}: {}", status.name()),
            }
        }
    }

    fn readlink(&mut self, path: &str) -> Result<String, Failure> {
        let symlink = self.handle(path)?;
        let reply = self.done(Procedure::Readlink, &ReadlinkArgs { symlink: symlink.handle() }, path)?;
        match reply.results::<ReadlinkRes<'_>>()? {
            Res::Ok(ok) => Ok(String::from_utf8_lossy(&ok.data).into_owned()),
            Res::Fail(status, _) => fail!("READLINK {path}: {}", status.name()),
        }
    }

    fn forget(&mut self) -> Result<(), Failure> {
        self.folders.retain(|path, _| path.is_empty());
        Ok(())
    }
}

fn kind(of: Ftype3) -> Kind {
    match of {
        Ftype3::Reg => Kind::File,
        Ftype3::Dir => Kind::Folder,
        Ftype3::Lnk => Kind::Symlink,
        Ftype3::Fifo => Kind::Fifo,
        Ftype3::Blk | Ftype3::Chr | Ftype3::Sock => Kind::Other,
    }
}

fn is_unchanged(dir: &WccData) -> bool {
    matches!((&dir.before, &dir.after), (Some(before), Some(after)) if before.ctime == after.ctime)
}

/// Whether a call may be executed twice; SETATTR counts, as none here has a guard.
fn is_idempotent(procedure: Procedure) -> bool {
    use Procedure::*;
    !matches!(procedure, Create | Mkdir | Symlink | Mknod | Remove | Rmdir | Rename | Link)
}

const RECENT_MAX: usize = 8;
const READ_BYTES: u32 = 256 << 10;
/// How long a server may say that it is busy or failing.
const SETTLED_LIMIT: Duration = Duration::from_secs(60);
