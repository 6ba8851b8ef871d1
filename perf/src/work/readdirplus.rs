//! How fast are folders listed? READDIRPLUS of a folder of small files, page by page, over and over.
//! Verified: each round lists every file once, with a handle and attributes.

use super::{Plain, Prepared, Shape};
use crate::failure::{Failure, Outcome, accepted};
use crate::load::{Progress, Work};
use crate::pipe::Outbox;
use crate::site::{Site, Verify};
use wire::nfs3::{Cookieverf3, FileHandleBuf, Procedure, ReaddirplusArgs, ReaddirplusRes};
use wire::xdr::Reader;

pub(super) fn prepare(site: &mut Site, shape: Shape) -> Outcome<Box<dyn Prepared>> {
    let (folder, files) = site.small_files()?;
    let expected = (site.verify == Verify::Yes).then_some(files.len());
    let listing = Listing::default();
    Plain::boxed((0..shape.connections).map(|_| {
        let slots = vec![listing; shape.in_flight];
        Readdirplus { folder, expected, slots }
    }))
}

struct Readdirplus {
    folder: FileHandleBuf,
    /// The files of a whole listing, if it is to be verified.
    expected: Option<usize>,
    slots: Vec<Listing>,
}

/// How far a slot is.
#[derive(Clone, Copy, Default)]
struct Listing {
    cookie: u64,
    cookieverf: Cookieverf3,
    /// Files listed, `.` and `..` left out.
    files: usize,
}

/// What the Linux client asks for, in bytes.
const DIRCOUNT: u32 = 64 << 10;
const MAXCOUNT: u32 = 64 << 10;

impl Work for Readdirplus {
    fn call(&mut self, slot: usize, out: &mut Outbox) -> Outcome<bool> {
        let Listing { cookie, cookieverf, .. } = self.slots[slot];
        let dir = self.folder.handle();
        let args = ReaddirplusArgs { dir, cookie, cookieverf, dircount: DIRCOUNT, maxcount: MAXCOUNT };
        out.call(Procedure::Readdirplus, &args);
        Ok(true)
    }

    fn reply(&mut self, slot: usize, reply: &mut Reader<'_>) -> Outcome<Progress> {
        let page = accepted(Procedure::Readdirplus, reply.decode::<ReaddirplusRes<'_>>()?)?;
        let listing = &mut self.slots[slot];
        let mut count = 0;
        for entry in page.reply.entries {
            count += 1;
            listing.cookie = entry.cookie;
            let is_file = !matches!(entry.name.bytes(), b"." | b"..");
            listing.files += usize::from(is_file);
            if self.expected.is_some() && is_file && (entry.name_handle.is_none() || entry.name_attributes.is_none()) {
                return Err(Failure::said("an entry without handle or attributes"));
            }
        }
        listing.cookieverf = page.cookieverf;
        if count == 0 && !page.reply.eof {
            return Err(Failure::said("an empty page that is not the end"));
        }
        if page.reply.eof {
            let files = listing.files;
            if self.expected.is_some_and(|expected| expected != files) {
                return Err(Failure::Said(format!("{files} files listed, there are {:?}", self.expected)));
            }
            *listing = Listing::default();
        }
        Ok(Progress::Done { units: count, bytes: 0 })
    }
}
