//! What do cores cost each other? Several connections, which the server spreads over its cores, ask for the same file,
//! for names in the same folder, or each for its own.

use super::{Kind, Plain, Prepared, Shape, Test, Unit, test};
use crate::client::location;
use crate::failure::{Outcome, accepted};
use crate::load::{Progress, Work};
use crate::pattern::{self, BLOCK_BYTES, Random};
use crate::pipe::Outbox;
use crate::site::{MIB, Named, Site, whole_write};
use std::sync::Arc;
use wire::nfs3::{
    FileHandleBuf, GetattrArgs, GetattrRes, LookupArgs, LookupRes, Procedure, ReadArgs, ReadRes, StableHow,
};
use wire::xdr::Reader;

/// Four connections with many calls each: every core has as much as it can do.
const SHAPE: (usize, usize) = (4, 32);

#[rustfmt::skip]
pub(crate) const TESTS: &[Test] = &[
    test("same-getattr", "GETATTR, one file for all", Unit::Operation, SHAPE, Kind::Steady, |site, shape| prepare(site, shape, Asked::Getattr, Where::Same)),
    test("own-getattr", "GETATTR, a file for each", Unit::Operation, SHAPE, Kind::Steady, |site, shape| prepare(site, shape, Asked::Getattr, Where::Own)),
    test("same-lookup", "LOOKUP, one folder for all", Unit::Operation, SHAPE, Kind::Steady, |site, shape| prepare(site, shape, Asked::Lookup, Where::Same)),
    test("own-lookup", "LOOKUP, a folder for each", Unit::Operation, SHAPE, Kind::Steady, |site, shape| prepare(site, shape, Asked::Lookup, Where::Own)),
    test("same-read-4k", "READ 4 KiB, one file for all", Unit::Operation, SHAPE, Kind::Steady, |site, shape| prepare(site, shape, Asked::Read, Where::Same)),
    test("own-read-4k", "READ 4 KiB, a file for each", Unit::Operation, SHAPE, Kind::Steady, |site, shape| prepare(site, shape, Asked::Read, Where::Own)),
    test("same-write-4k", "WRITE 4 KiB UNSTABLE, one file for all", Unit::Operation, SHAPE, Kind::Steady, |site, shape| prepare(site, shape, Asked::Write, Where::Same)),
    test("own-write-4k", "WRITE 4 KiB UNSTABLE, a file for each", Unit::Operation, SHAPE, Kind::Steady, |site, shape| prepare(site, shape, Asked::Write, Where::Own)),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Getattr,
    Lookup,
    Read,
    Write,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    Same,
    Own,
}

/// Bytes of a file that is read or written, and files in a folder that is looked at.
const FILE_BYTES: u64 = MIB;
const FOLDER_FILES: u64 = 64;
/// Content of the first file; the others count on.
const FIRST_NUMBER: u64 = 300;

fn prepare(site: &mut Site, shape: Shape, asked: Asked, place: Where) -> Outcome<Box<dyn Prepared>> {
    let count = if place == Where::Same { 1 } else { shape.connections };
    let places: Vec<Ground> = (0..count).map(|index| Ground::make(site, index as u64)).collect::<Outcome<_>>()?;
    Plain::boxed((0..shape.connections).map(|connection| Hot {
        asked,
        ground: places[connection % count].clone(),
        random: Random(connection as u64 + 1),
        buffer: pattern::buffer(BLOCK_BYTES),
    }))
}

/// A file with data, and a folder with names.
#[derive(Clone)]
struct Ground {
    file: FileHandleBuf,
    folder: FileHandleBuf,
    names: Arc<[Named]>,
}

impl Ground {
    fn make(site: &mut Site, index: u64) -> Outcome<Self> {
        let file = site.data_file(&format!("hot.{index}"), FIRST_NUMBER + index, FILE_BYTES)?.handle;
        let folder = site.folder(&format!("hot.{index}"))?;
        let names = (0..FOLDER_FILES).map(|number| site.named(folder.handle(), format!("texture.{number:04}.exr")));
        Ok(Self { file, folder, names: names.collect::<Outcome<_>>()? })
    }
}

struct Hot {
    asked: Asked,
    ground: Ground,
    random: Random,
    buffer: Vec<u8>,
}

impl Work for Hot {
    fn call(&mut self, _: usize, out: &mut Outbox) -> Outcome<bool> {
        let Ground { file, folder, names } = &self.ground;
        let file = file.handle();
        let offset = self.random.below(FILE_BYTES / BLOCK_BYTES as u64) * BLOCK_BYTES as u64;
        match self.asked {
            Asked::Getattr => out.call(Procedure::Getattr, &GetattrArgs { object: file }),
            Asked::Read => out.call(Procedure::Read, &ReadArgs { file, offset, count: BLOCK_BYTES as u32 }),
            Asked::Write => out.write(file, offset, StableHow::Unstable, &self.buffer)?,
            Asked::Lookup => {
                let name = &names[self.random.below(FOLDER_FILES) as usize].name;
                out.call(Procedure::Lookup, &LookupArgs { what: location(folder.handle(), name)? });
            }
        }
        Ok(true)
    }

    fn reply(&mut self, _: usize, reply: &mut Reader<'_>) -> Outcome<Progress> {
        match self.asked {
            Asked::Getattr => drop(accepted(Procedure::Getattr, reply.decode::<GetattrRes>()?)?),
            Asked::Read => drop(accepted(Procedure::Read, reply.decode::<ReadRes<'_>>()?)?),
            Asked::Lookup => drop(accepted(Procedure::Lookup, reply.decode::<LookupRes<'_>>()?)?),
            Asked::Write => whole_write(reply.decode()?, BLOCK_BYTES as u32)?,
        }
        Ok(Progress::ONE)
    }
}
