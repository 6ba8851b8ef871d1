//! How fast do names change? RENAME of a slot's own file, there and back, between two folders that all share.
//! Verified: afterwards each file has its last name and not the other.

use super::{Prepared, Shape, measured};
use crate::client::location;
use crate::failure::{Failure, Outcome, accepted};
use crate::load::{Lane, Progress, Work};
use crate::pipe::Outbox;
use crate::site::Site;
use wire::nfs3::{FileHandleBuf, Procedure, RenameArgs, RenameRes};
use wire::xdr::Reader;

pub(super) fn prepare(site: &mut Site, shape: Shape) -> Outcome<Box<dyn Prepared>> {
    let folders = [site.folder("rename.a")?, site.folder("rename.b")?];
    let works = (0..shape.connections).map(|connection| {
        let names = (0..shape.in_flight).map(|slot| format!("frame.{connection}.{slot}"));
        let slots = names.map(|name| Traveller::new(site, folders, name));
        Ok(Rename { folders, slots: slots.collect::<Outcome<_>>()? })
    });
    Ok(Box::new(Renamers(works.collect::<Outcome<_>>()?)))
}

struct Renamers(Vec<Rename>);

impl Prepared for Renamers {
    fn lanes(&mut self, in_flight: usize) -> Vec<Lane<'_>> {
        measured(&mut self.0, in_flight)
    }

    fn check(&mut self, site: &mut Site) -> Outcome<u64> {
        let mut checked = 0;
        for work in &self.0 {
            for slot in &work.slots {
                let found = work.folders.map(|folder| site.client.lookup(folder.handle(), &slot.name));
                for (index, found) in found.into_iter().enumerate() {
                    if found?.is_some() != (index == slot.at) {
                        return Err(Failure::Said(format!("{} is not where it was renamed to", slot.name)));
                    }
                }
                checked += 1;
            }
        }
        Ok(checked)
    }

    fn clean(&mut self, site: &mut Site) -> Outcome<()> {
        for work in &self.0 {
            for slot in &work.slots {
                site.client.remove(work.folders[slot.at].handle(), &slot.name)?;
            }
        }
        Ok(())
    }
}

struct Rename {
    folders: [FileHandleBuf; 2],
    slots: Vec<Traveller>,
}

/// A file that is renamed.
struct Traveller {
    name: String,
    /// The folder it is in.
    at: usize,
}

impl Traveller {
    fn new(site: &mut Site, folders: [FileHandleBuf; 2], name: String) -> Outcome<Self> {
        site.client.remove(folders[1].handle(), &name)?;
        site.client.file(folders[0].handle(), &name)?;
        Ok(Self { name, at: 0 })
    }
}

impl Work for Rename {
    fn call(&mut self, slot: usize, out: &mut Outbox) -> Outcome<bool> {
        let Traveller { name, at } = &self.slots[slot];
        let from = location(self.folders[*at].handle(), name)?;
        let to = location(self.folders[1 - at].handle(), name)?;
        out.call(Procedure::Rename, &RenameArgs { from, to });
        Ok(true)
    }

    fn reply(&mut self, slot: usize, reply: &mut Reader<'_>) -> Outcome<Progress> {
        accepted(Procedure::Rename, reply.decode::<RenameRes>()?)?;
        let at = &mut self.slots[slot].at;
        *at = 1 - *at;
        Ok(Progress::ONE)
    }
}
