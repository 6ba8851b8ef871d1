//! A mounted share with a folder for tests, and what tests stand on there: many small files, long files of known
//! content, folders to fill. Made once and found again by the next run.

use crate::client::{self, Client, location, unchecked};
use crate::failure::{Failure, Outcome, accepted};
use crate::fill::Bulk;
use crate::load::{self, Progress, Work};
use crate::pattern::{self, Place};
use crate::pipe::Outbox;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use wire::nfs3::{
    CommitArgs, CommitRes, CreateArgs, CreateRes, FileHandle, FileHandleBuf, Procedure, RemoveArgs, RemoveRes,
    StableHow, WriteRes,
};
use wire::xdr::Reader;

/// Where a server is to be found.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) nfs: SocketAddr,
    pub(crate) mount: SocketAddr,
    pub(crate) share: String,
}

/// How large things are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Files in the folder of small files.
    pub(crate) small_files: u64,
    /// Bytes of the file that is read from the server's cache; a multiple of [`MIB`].
    pub(crate) warm_bytes: u64,
    /// Bytes of each of the files that are read from the disk; a power of two.
    pub(crate) cold_bytes: u64,
    /// Bytes of each file that is written over and over; a multiple of [`MIB`].
    pub(crate) target_bytes: u64,
    /// Files that REMOVE takes away.
    pub(crate) removed_files: u64,
}

impl Sizes {
    pub(crate) const FULL: Self = Self {
        small_files: 1000,
        warm_bytes: 64 * MIB,
        cold_bytes: 2048 * MIB,
        target_bytes: 32 * MIB,
        removed_files: 20_000,
    };
    /// For a run that only shows that all of it works.
    pub(crate) const SMALL: Self =
        Self { small_files: 100, warm_bytes: 2 * MIB, cold_bytes: 4 * MIB, target_bytes: 2 * MIB, removed_files: 200 };
}

pub(crate) const MIB: u64 = 1 << 20;

/// Whether replies are compared with what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verify {
    Yes,
    No,
}

/// A mounted share.
pub(crate) struct Site {
    pub(crate) address: Address,
    pub(crate) client: Client,
    pub(crate) sizes: Sizes,
    pub(crate) verify: Verify,
    /// The folder that everything happens in.
    folder: FileHandleBuf,
    small: Vec<Named>,
    /// What the pool was filled with before, if it was.
    pub(crate) bulk: Option<Bulk>,
    /// Its folders, once they were looked up.
    pub(crate) bulk_folders: Option<Arc<[FileHandleBuf]>>,
}

/// A file with its name.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) handle: FileHandleBuf,
}

/// A file of known content.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DataFile {
    /// What its blocks say.
    pub(crate) number: u64,
    pub(crate) handle: FileHandleBuf,
    pub(crate) bytes: u64,
}

/// The version that content has when it is first written.
pub(crate) const FIRST_VERSION: u64 = 1;

const FOLDER: &str = "basalt-perf";
/// Calls in flight while things are made.
const MAKING_IN_FLIGHT: usize = 64;
const WRITES_IN_FLIGHT: usize = 8;

impl Site {
    pub(crate) fn open(address: Address, sizes: Sizes, verify: Verify) -> Outcome<Self> {
        let root = client::mount(address.mount, &address.share)?;
        let mut client = Client::nfs3(address.nfs)?;
        let folder = client.folder(root.handle(), FOLDER)?;
        Ok(Self { address, client, sizes, verify, folder, small: Vec::new(), bulk: None, bulk_folders: None })
    }

    /// A folder within the site's.
    pub(crate) fn folder(&mut self, name: &str) -> Outcome<FileHandleBuf> {
        self.client.folder(self.folder.handle(), name)
    }

    /// Empty files, the same for every test that asks, and their folder.
    pub(crate) fn small_files(&mut self) -> Outcome<(FileHandleBuf, Vec<Named>)> {
        let folder = self.folder("small")?;
        if self.small.is_empty() {
            let names = (0..self.sizes.small_files).map(|index| format!("texture.{index:04}.exr"));
            self.small = names.map(|name| self.named(folder.handle(), name)).collect::<Outcome<_>>()?;
        }
        Ok((folder, self.small.clone()))
    }

    /// The file of this name, made if it is missing.
    pub(crate) fn named(&mut self, folder: FileHandle<'_>, name: String) -> Outcome<Named> {
        let handle = match self.client.lookup(folder, &name)? {
            Some(found) => found.handle,
            None => self.client.file(folder, &name)?,
        };
        Ok(Named { name, handle })
    }

    /// A durable file of at least this many bytes, written with [`FIRST_VERSION`] unless it is there already.
    pub(crate) fn data_file(&mut self, name: &str, number: u64, bytes: u64) -> Outcome<DataFile> {
        assert!(bytes.is_multiple_of(MIB));
        let folder = self.folder("data")?;
        if let Some(found) = self.client.lookup(folder.handle(), name)?
            && found.bytes >= bytes
        {
            return Ok(DataFile { number, handle: found.handle, bytes });
        }
        let handle = self.client.file(folder.handle(), name)?;
        let file = DataFile { number, handle, bytes };
        let mut filling =
            Filling { file, next: 0, buffer: pattern::buffer(MIB as usize), uncommitted: 0, committing: None };
        load::run_to_end(self.address.nfs, WRITES_IN_FLIGHT, &mut filling)?;
        self.client.commit(handle.handle())?;
        Ok(file)
    }

    /// Makes empty files `0`, `1`... in a folder, as [`numbered_name`] names them.
    pub(crate) fn make_numbered(&mut self, folder: FileHandleBuf, prefix: &str, count: u64) -> Outcome<()> {
        let mut making = Making { folder, prefix: prefix.to_string(), numbers: 0..count };
        load::run_to_end(self.address.nfs, MAKING_IN_FLIGHT, &mut making).map(drop)
    }

    /// Takes numbered files away again.
    pub(crate) fn remove_numbered(&mut self, folder: FileHandleBuf, prefix: &str, count: u64) -> Outcome<()> {
        let mut removing = Removing { folder, prefix: prefix.to_string(), numbers: 0..count };
        load::run_to_end(self.address.nfs, MAKING_IN_FLIGHT, &mut removing).map(drop)
    }
}

/// The name of a numbered file.
pub(crate) fn numbered_name(prefix: &str, number: u64) -> String {
    format!("{prefix}.{number:07}")
}

/// Writes a file from its start to its end, with a COMMIT now and then so that a server is not buried.
struct Filling {
    file: DataFile,
    next: u64,
    buffer: Vec<u8>,
    uncommitted: u64,
    /// The slot whose call is a COMMIT.
    committing: Option<usize>,
}

const FILLING_COMMIT_BYTES: u64 = 256 * MIB;

impl Work for Filling {
    fn call(&mut self, slot: usize, out: &mut Outbox) -> Outcome<bool> {
        let file = self.file.handle.handle();
        if self.uncommitted >= FILLING_COMMIT_BYTES && self.committing.is_none() {
            self.uncommitted = 0;
            self.committing = Some(slot);
            out.call(Procedure::Commit, &CommitArgs { file, offset: 0, count: 0 });
            return Ok(true);
        }
        if self.next >= self.file.bytes {
            return Ok(false);
        }
        let place = Place { file: self.file.number, offset: self.next, version: FIRST_VERSION };
        pattern::stamp(&mut self.buffer, place);
        out.write(file, self.next, StableHow::Unstable, &self.buffer)?;
        self.next += MIB;
        self.uncommitted += MIB;
        Ok(true)
    }

    fn reply(&mut self, slot: usize, reply: &mut Reader<'_>) -> Outcome<Progress> {
        if self.committing.take_if(|committing| *committing == slot).is_some() {
            accepted(Procedure::Commit, reply.decode::<CommitRes>()?)?;
        } else {
            whole_write(reply.decode()?, MIB as u32)?;
        }
        Ok(Progress::ONE)
    }
}

/// Fails unless a WRITE took all its data.
pub(crate) fn whole_write(res: WriteRes, bytes: u32) -> Outcome<()> {
    let written = accepted(Procedure::Write, res)?;
    match written.count == bytes {
        true => Ok(()),
        false => Err(Failure::Said(format!("WRITE took {} bytes of {bytes}", written.count))),
    }
}

struct Making {
    folder: FileHandleBuf,
    prefix: String,
    numbers: Range<u64>,
}

impl Work for Making {
    fn call(&mut self, _: usize, out: &mut Outbox) -> Outcome<bool> {
        let Some(number) = self.numbers.next() else { return Ok(false) };
        create(out, self.folder.handle(), &numbered_name(&self.prefix, number))?;
        Ok(true)
    }

    fn reply(&mut self, _: usize, reply: &mut Reader<'_>) -> Outcome<Progress> {
        accepted(Procedure::Create, reply.decode::<CreateRes<'_>>()?)?;
        Ok(Progress::ONE)
    }
}

/// REMOVE of numbered files; also the test of that name.
pub(crate) struct Removing {
    pub(crate) folder: FileHandleBuf,
    pub(crate) prefix: String,
    pub(crate) numbers: Range<u64>,
}

impl Work for Removing {
    fn call(&mut self, _: usize, out: &mut Outbox) -> Outcome<bool> {
        let Some(number) = self.numbers.next() else { return Ok(false) };
        let name = numbered_name(&self.prefix, number);
        out.call(Procedure::Remove, &RemoveArgs { object: location(self.folder.handle(), &name)? });
        Ok(true)
    }

    fn reply(&mut self, _: usize, reply: &mut Reader<'_>) -> Outcome<Progress> {
        accepted(Procedure::Remove, reply.decode::<RemoveRes>()?)?;
        Ok(Progress::ONE)
    }
}

/// Makes the CREATE of an empty file ready.
pub(crate) fn create(out: &mut Outbox, dir: FileHandle<'_>, name: &str) -> Outcome<()> {
    out.call(Procedure::Create, &CreateArgs { location: location(dir, name)?, how: unchecked() });
    Ok(())
}
