//! How fast are permissions? ACCESS of many files, one after the other.

use super::{Plain, Prepared, Shape};
use crate::failure::{Outcome, accepted};
use crate::load::{Progress, Work};
use crate::pipe::Outbox;
use crate::site::{Named, Site};
use std::sync::Arc;
use wire::nfs3::{ACCESS3_EXECUTE, ACCESS3_EXTEND, ACCESS3_MODIFY, ACCESS3_READ, AccessArgs, AccessRes, Procedure};
use wire::xdr::Reader;

pub(super) fn prepare(site: &mut Site, shape: Shape) -> Outcome<Box<dyn Prepared>> {
    let files: Arc<[Named]> = site.small_files()?.1.into();
    let step = files.len() / shape.connections;
    Plain::boxed((0..shape.connections).map(|index| Access { files: files.clone(), next: index * step }))
}

struct Access {
    files: Arc<[Named]>,
    next: usize,
}

impl Work for Access {
    fn call(&mut self, _: usize, out: &mut Outbox) -> Outcome<bool> {
        let object = self.files[self.next].handle.handle();
        self.next = (self.next + 1) % self.files.len();
        let access = ACCESS3_READ | ACCESS3_MODIFY | ACCESS3_EXTEND | ACCESS3_EXECUTE;
        out.call(Procedure::Access, &AccessArgs { object, access });
        Ok(true)
    }

    fn reply(&mut self, _: usize, reply: &mut Reader<'_>) -> Outcome<Progress> {
        accepted(Procedure::Access, reply.decode::<AccessRes>()?)?;
        Ok(Progress::ONE)
    }
}
