//! How does a filesystem serve that has very many files? Look-ups at random all over a pool that `basalt-perf fill`
//! has filled: most are of things that nobody asked for lately.

use super::{Kind, Plain, Prepared, Shape, Test, Unit, getattr, measured, test};
use crate::client::{self, Client, location};
use crate::failure::{Failure, Outcome, accepted};
use crate::fill::{BULK_FOLDER, Bulk, file_name, folder_name};
use crate::load::{self, Lane, Progress, Role, Work};
use crate::pattern::Random;
use crate::pipe::Outbox;
use crate::site::{self, Site, numbered_name};
use std::ops::Range;
use std::sync::Arc;
use wire::nfs3::{
    Cookieverf3, CreateRes, FileHandleBuf, GetattrArgs, GetattrRes, LookupArgs, LookupRes, Procedure, ReaddirplusArgs,
    ReaddirplusRes, RemoveArgs, RemoveRes,
};
use wire::xdr::Reader;

/// In the order in which they disturb each other least.
#[rustfmt::skip]
pub(crate) const TESTS: &[Test] = &[
    test("bulk-lookup", "LOOKUP of any file", Unit::Operation, (2, 32), Kind::Steady, lookup),
    test("bulk-getattr", "GETATTR of any file", Unit::Operation, (2, 32), Kind::Steady, getattr),
    test("bulk-readdirplus", "READDIRPLUS of any folder", Unit::Entry, (2, 2), Kind::Steady, readdirplus),
    test("bulk-create", "CREATE in any folder", Unit::Operation, (2, 8), Kind::Steady, create),
    test("bulk-getattr-hot", "GETATTR of the same files, one in flight", Unit::Operation, (1, 1), Kind::Steady, getattr_hot),
    test("bulk-getattr-beside", "GETATTR of the same files, one in flight, beside LOOKUPs of any file", Unit::Operation, (1, 1), Kind::Steady, getattr_beside),
];

/// The folders that the files are in, looked up once.
#[derive(Clone)]
struct Folders {
    bulk: Bulk,
    handles: Arc<[FileHandleBuf]>,
}

impl Folders {
    fn of(site: &mut Site) -> Outcome<Self> {
        let bulk = site.bulk.ok_or_else(|| Failure::said("say what the pool was filled with: --bulk"))?;
        if let Some(handles) = &site.bulk_folders {
            return Ok(Self { bulk, handles: handles.clone() });
        }
        let root = client::mount(site.address.mount, &site.address.share)?;
        let top = found(&mut site.client, &root, BULK_FOLDER)?;
        let handles = (0..bulk.folders()).map(|number| found(&mut site.client, &top, &folder_name(number)));
        let handles: Arc<[_]> = handles.collect::<Outcome<_>>()?;
        site.bulk_folders = Some(handles.clone());
        Ok(Self { bulk, handles })
    }

    /// The folder of a file.
    fn of_file(&self, number: u64) -> &FileHandleBuf {
        &self.handles[(number / self.bulk.per_folder) as usize]
    }

    /// Any folder.
    fn any(&self, random: &mut Random) -> &FileHandleBuf {
        &self.handles[random.below(self.handles.len() as u64) as usize]
    }
}

fn found(client: &mut Client, dir: &FileHandleBuf, name: &str) -> Outcome<FileHandleBuf> {
    let found = client.lookup(dir.handle(), name)?;
    Ok(found.ok_or_else(|| Failure::Said(format!("{name} is not there: was the pool filled so?")))?.handle)
}

fn lookup(site: &mut Site, shape: Shape) -> Outcome<Box<dyn Prepared>> {
    let folders = Folders::of(site)?;
    Plain::boxed((0..shape.connections).map(|_| Lookup::new(&folders)))
}

struct Lookup {
    folders: Folders,
    random: Random,
    /// How many are left to ask for.
    left: u64,
    found: Option<Vec<FileHandleBuf>>,
}

impl Lookup {
    fn new(folders: &Folders) -> Self {
        Self { folders: folders.clone(), random: seed(), left: u64::MAX, found: None }
    }
}

/// Each connection and each run asks for other files.
fn seed() -> Random {
    Random(getrandom::u64().unwrap_or(1))
}

impl Work for Lookup {
    fn call(&mut self, _: usize, out: &mut Outbox) -> Outcome<bool> {
        if self.left == 0 {
            return Ok(false);
        }
        self.left -= 1;
        let number = self.random.below(self.folders.bulk.files);
        let dir = self.folders.of_file(number).handle();
        out.call(Procedure::Lookup, &LookupArgs { what: location(dir, &file_name(number))? });
        Ok(true)
    }

    fn reply(&mut self, _: usize, reply: &mut Reader<'_>) -> Outcome<Progress> {
        let object = accepted(Procedure::Lookup, reply.decode::<LookupRes<'_>>()?)?.object;
        if let Some(found) = &mut self.found {
            found.push(object.into());
        }
        Ok(Progress::ONE)
    }
}

/// Handles are the server's secret: files are looked up first, so many that no table of inodes holds them.
fn getattr(site: &mut Site, shape: Shape) -> Outcome<Box<dyn Prepared>> {
    let folders = Folders::of(site)?;
    let mut looking =
        Lookup { left: folders.bulk.files.min(SAMPLE_MAX), found: Some(Vec::new()), ..Lookup::new(&folders) };
    load::run_to_end(site.address.nfs, SAMPLING_IN_FLIGHT, &mut looking)?;
    let files: Arc<[FileHandleBuf]> = looking.found.unwrap_or_default().into();
    Plain::boxed((0..shape.connections).map(|_| Getattr { files: files.clone(), random: seed() }))
}

const SAMPLE_MAX: u64 = 1_000_000;
const SAMPLING_IN_FLIGHT: usize = 64;

struct Getattr {
    files: Arc<[FileHandleBuf]>,
    random: Random,
}

impl Work for Getattr {
    fn call(&mut self, _: usize, out: &mut Outbox) -> Outcome<bool> {
        let any = self.random.below(self.files.len() as u64) as usize;
        out.call(Procedure::Getattr, &GetattrArgs { object: self.files[any].handle() });
        Ok(true)
    }

    fn reply(&mut self, _: usize, reply: &mut Reader<'_>) -> Outcome<Progress> {
        accepted(Procedure::Getattr, reply.decode::<GetattrRes>()?)?;
        Ok(Progress::ONE)
    }
}

fn readdirplus(site: &mut Site, shape: Shape) -> Outcome<Box<dyn Prepared>> {
    let folders = Folders::of(site)?;
    Plain::boxed((0..shape.connections).map(|_| Readdirplus { folders: folders.clone(), random: seed() }))
}

/// The first page of any folder.
struct Readdirplus {
    folders: Folders,
    random: Random,
}

/// What the Linux client asks for, in bytes.
const PAGE_BYTES: u32 = 64 << 10;

impl Work for Readdirplus {
    fn call(&mut self, _: usize, out: &mut Outbox) -> Outcome<bool> {
        let dir = self.folders.any(&mut self.random).handle();
        let cookieverf = Cookieverf3::default();
        let args = ReaddirplusArgs { dir, cookie: 0, cookieverf, dircount: PAGE_BYTES, maxcount: PAGE_BYTES };
        out.call(Procedure::Readdirplus, &args);
        Ok(true)
    }

    fn reply(&mut self, _: usize, reply: &mut Reader<'_>) -> Outcome<Progress> {
        let page = accepted(Procedure::Readdirplus, reply.decode::<ReaddirplusRes<'_>>()?)?;
        Ok(Progress::Done { units: page.reply.entries.into_iter().count() as u64, bytes: 0 })
    }
}

fn create(site: &mut Site, shape: Shape) -> Outcome<Box<dyn Prepared>> {
    let folders = Folders::of(site)?;
    let creating = |connection| Create { folders: folders.clone(), prefix: format!("new.{connection}"), called: 0 };
    Ok(Box::new(Creators((0..shape.connections).map(creating).collect())))
}

struct Creators(Vec<Create>);

/// New names, each in the next folder but many.
struct Create {
    folders: Folders,
    prefix: String,
    called: u64,
}

/// Odd and large: the folders come in an order that is nobody's.
const STRIDE: u64 = 0x9E37_79B1;

impl Create {
    fn folder(&self, number: u64) -> &FileHandleBuf {
        &self.folders.handles[(number.wrapping_mul(STRIDE) % self.folders.handles.len() as u64) as usize]
    }
}

impl Work for Create {
    fn call(&mut self, _: usize, out: &mut Outbox) -> Outcome<bool> {
        site::create(out, self.folder(self.called).handle(), &numbered_name(&self.prefix, self.called))?;
        self.called += 1;
        Ok(true)
    }

    fn reply(&mut self, _: usize, reply: &mut Reader<'_>) -> Outcome<Progress> {
        accepted(Procedure::Create, reply.decode::<CreateRes<'_>>()?)?;
        Ok(Progress::ONE)
    }
}

impl Prepared for Creators {
    fn lanes(&mut self, in_flight: usize) -> Vec<Lane<'_>> {
        measured(&mut self.0, in_flight)
    }

    fn check(&mut self, _: &mut Site) -> Outcome<u64> {
        Ok(0)
    }

    fn clean(&mut self, site: &mut Site) -> Outcome<()> {
        for work in std::mem::take(&mut self.0) {
            let mut removing = Remove { left: 0..work.called, work };
            load::run_to_end(site.address.nfs, SAMPLING_IN_FLIGHT, &mut removing)?;
        }
        Ok(())
    }
}

/// Takes the new names away again.
struct Remove {
    work: Create,
    left: Range<u64>,
}

impl Work for Remove {
    fn call(&mut self, _: usize, out: &mut Outbox) -> Outcome<bool> {
        let Some(number) = self.left.next() else { return Ok(false) };
        let name = numbered_name(&self.work.prefix, number);
        let object = location(self.work.folder(number).handle(), &name)?;
        out.call(Procedure::Remove, &RemoveArgs { object });
        Ok(true)
    }

    fn reply(&mut self, _: usize, reply: &mut Reader<'_>) -> Outcome<Progress> {
        accepted(Procedure::Remove, reply.decode::<RemoveRes>()?)?;
        Ok(Progress::ONE)
    }
}

fn getattr_hot(site: &mut Site, shape: Shape) -> Outcome<Box<dyn Prepared>> {
    Plain::boxed(getattr::works(site, shape.connections)?)
}

/// What do those see who ask for what is at hand, while others on the same core ask for what is not?
fn getattr_beside(site: &mut Site, shape: Shape) -> Outcome<Box<dyn Prepared>> {
    let asking = getattr::works(site, shape.connections)?;
    Ok(Box::new(Beside { asking, looking: Lookup::new(&Folders::of(site)?) }))
}

const BESIDE_IN_FLIGHT: usize = 16;

struct Beside {
    asking: Vec<getattr::Getattr>,
    looking: Lookup,
}

impl Prepared for Beside {
    fn lanes(&mut self, in_flight: usize) -> Vec<Lane<'_>> {
        let mut lanes = measured(&mut self.asking, in_flight);
        lanes.push(Lane { work: &mut self.looking, in_flight: BESIDE_IN_FLIGHT, role: Role::Background });
        lanes
    }

    fn check(&mut self, _: &mut Site) -> Outcome<u64> {
        Ok(0)
    }

    fn clean(&mut self, _: &mut Site) -> Outcome<()> {
        Ok(())
    }
}
