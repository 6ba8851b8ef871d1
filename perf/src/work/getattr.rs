//! How fast are attributes? GETATTR of many files, one after the other.

use super::{Plain, Prepared, Shape};
use crate::failure::{Outcome, accepted};
use crate::load::{Progress, Work};
use crate::pipe::Outbox;
use crate::site::{Named, Site};
use std::sync::Arc;
use wire::nfs3::{GetattrArgs, GetattrRes, Procedure};
use wire::xdr::Reader;

pub(super) fn prepare(site: &mut Site, shape: Shape) -> Outcome<Box<dyn Prepared>> {
    Plain::boxed(works(site, shape.connections)?)
}

pub(super) fn works(site: &mut Site, connections: usize) -> Outcome<Vec<Getattr>> {
    let files: Arc<[Named]> = site.small_files()?.1.into();
    // Connections begin at different files.
    let step = files.len() / connections;
    Ok((0..connections).map(|index| Getattr { files: files.clone(), next: index * step }).collect())
}

pub(super) struct Getattr {
    files: Arc<[Named]>,
    next: usize,
}

impl Work for Getattr {
    fn call(&mut self, _: usize, out: &mut Outbox) -> Outcome<bool> {
        let object = self.files[self.next].handle.handle();
        self.next = (self.next + 1) % self.files.len();
        out.call(Procedure::Getattr, &GetattrArgs { object });
        Ok(true)
    }

    fn reply(&mut self, _: usize, reply: &mut Reader<'_>) -> Outcome<Progress> {
        accepted(Procedure::Getattr, reply.decode::<GetattrRes>()?)?;
        Ok(Progress::ONE)
    }
}
