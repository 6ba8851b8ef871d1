//! How fast are names? LOOKUP of many names in one folder. Verified: each name gives the handle it gave before.

use super::{Plain, Prepared, Shape};
use crate::client::location;
use crate::failure::{Failure, Outcome, accepted};
use crate::load::{Progress, Work};
use crate::pipe::Outbox;
use crate::site::{Named, Site, Verify};
use std::sync::Arc;
use wire::nfs3::{FileHandleBuf, LookupArgs, LookupRes, Procedure};
use wire::xdr::Reader;

pub(super) fn prepare(site: &mut Site, shape: Shape) -> Outcome<Box<dyn Prepared>> {
    let (folder, files) = site.small_files()?;
    let files: Arc<[Named]> = files.into();
    let step = files.len() / shape.connections;
    let verify = site.verify;
    Plain::boxed((0..shape.connections).map(|index| {
        let asked = vec![0; shape.in_flight];
        Lookup { folder, files: files.clone(), next: index * step, asked, verify }
    }))
}

struct Lookup {
    folder: FileHandleBuf,
    files: Arc<[Named]>,
    next: usize,
    /// By slot: the file that was asked for.
    asked: Vec<usize>,
    verify: Verify,
}

impl Work for Lookup {
    fn call(&mut self, slot: usize, out: &mut Outbox) -> Outcome<bool> {
        let file = &self.files[self.next];
        self.asked[slot] = self.next;
        self.next = (self.next + 1) % self.files.len();
        out.call(Procedure::Lookup, &LookupArgs { what: location(self.folder.handle(), &file.name)? });
        Ok(true)
    }

    fn reply(&mut self, slot: usize, reply: &mut Reader<'_>) -> Outcome<Progress> {
        let found = accepted(Procedure::Lookup, reply.decode::<LookupRes<'_>>()?)?;
        let file = &self.files[self.asked[slot]];
        if self.verify == Verify::Yes && *found.object != *file.handle {
            return Err(Failure::Said(format!("{} has become another file", file.name)));
        }
        Ok(Progress::ONE)
    }
}
