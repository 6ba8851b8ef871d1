//! How does a render farm's mix go? Of 20 calls: 8 GETATTR, 4 LOOKUP, 2 ACCESS, 4 READ of 64 KiB and 1 of 1 MiB of
//! the same hot textures, 1 WRITE of 64 KiB of a frame.

use super::{Plain, Prepared, Shape, read};
use crate::client::location;
use crate::failure::{Outcome, accepted};
use crate::load::{Progress, Work};
use crate::pattern::{self, Place, Random};
use crate::pipe::Outbox;
use crate::site::{DataFile, FIRST_VERSION, MIB, Named, Site, Verify, whole_write};
use std::sync::Arc;
use wire::nfs3::{
    ACCESS3_READ, AccessArgs, AccessRes, FileHandleBuf, GetattrArgs, GetattrRes, LookupArgs, LookupRes, Procedure,
    ReadArgs, StableHow,
};
use wire::xdr::Reader;

pub(super) fn prepare(site: &mut Site, shape: Shape) -> Outcome<Box<dyn Prepared>> {
    let (folder, files) = site.small_files()?;
    let files: Arc<[Named]> = files.into();
    let textures = read::warm_file(site)?;
    let works = (0..shape.connections as u64).map(|connection| {
        let frame = site.data_file(&format!("frame.{connection}"), 300 + connection, site.sizes.target_bytes)?;
        let slots = vec![Call::Getattr; shape.in_flight];
        let (random, buffer) = (Random(connection + 1), pattern::buffer(PIECE_BYTES as usize));
        let verify = site.verify;
        Ok(Farm { folder, files: files.clone(), textures, frame, slots, random, buffer, verify })
    });
    Plain::boxed(works.collect::<Outcome<Vec<_>>>()?)
}

/// Of the shorter READs and the WRITEs.
const PIECE_BYTES: u32 = 64 << 10;

struct Farm {
    folder: FileHandleBuf,
    files: Arc<[Named]>,
    textures: DataFile,
    frame: DataFile,
    /// By slot: what it waits for.
    slots: Vec<Call>,
    random: Random,
    buffer: Vec<u8>,
    verify: Verify,
}

#[derive(Clone, Copy)]
enum Call {
    Getattr,
    Lookup,
    Access,
    Read { offset: u64, bytes: u32 },
    Write,
}

impl Farm {
    fn pick(&mut self) -> Call {
        match self.random.below(20) {
            0..8 => Call::Getattr,
            8..12 => Call::Lookup,
            12..14 => Call::Access,
            14..18 => self.read(PIECE_BYTES),
            18 => self.read(MIB as u32),
            _ => Call::Write,
        }
    }

    fn read(&mut self, bytes: u32) -> Call {
        let ranges = self.textures.bytes / u64::from(bytes);
        Call::Read { offset: self.random.below(ranges) * u64::from(bytes), bytes }
    }
}

impl Work for Farm {
    fn call(&mut self, slot: usize, out: &mut Outbox) -> Outcome<bool> {
        let call = self.pick();
        self.slots[slot] = call;
        let file = &self.files[self.random.below(self.files.len() as u64) as usize];
        let object = file.handle.handle();
        match call {
            Call::Getattr => out.call(Procedure::Getattr, &GetattrArgs { object }),
            Call::Lookup => {
                out.call(Procedure::Lookup, &LookupArgs { what: location(self.folder.handle(), &file.name)? });
            }
            Call::Access => out.call(Procedure::Access, &AccessArgs { object, access: ACCESS3_READ }),
            Call::Read { offset, bytes } => {
                out.call(Procedure::Read, &ReadArgs { file: self.textures.handle.handle(), offset, count: bytes });
            }
            Call::Write => {
                let offset = self.random.below(self.frame.bytes / u64::from(PIECE_BYTES)) * u64::from(PIECE_BYTES);
                let place = Place { file: self.frame.number, offset, version: FIRST_VERSION };
                pattern::stamp(&mut self.buffer, place);
                out.write(self.frame.handle.handle(), offset, StableHow::Unstable, &self.buffer)?;
            }
        }
        Ok(true)
    }

    fn reply(&mut self, slot: usize, reply: &mut Reader<'_>) -> Outcome<Progress> {
        let bytes = match self.slots[slot] {
            Call::Getattr => accepted(Procedure::Getattr, reply.decode::<GetattrRes>()?).map(|_| 0)?,
            Call::Lookup => accepted(Procedure::Lookup, reply.decode::<LookupRes<'_>>()?).map(|_| 0)?,
            Call::Access => accepted(Procedure::Access, reply.decode::<AccessRes>()?).map(|_| 0)?,
            Call::Read { offset, bytes } => {
                let place = Place { file: self.textures.number, offset, version: FIRST_VERSION };
                read::whole_read(reply, place, bytes, self.verify)?;
                bytes
            }
            Call::Write => {
                whole_write(reply.decode()?, PIECE_BYTES)?;
                PIECE_BYTES
            }
        };
        Ok(Progress::Done { units: 1, bytes: u64::from(bytes) })
    }
}
