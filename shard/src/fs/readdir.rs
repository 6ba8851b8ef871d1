//! READDIR and READDIRPLUS: the entries of a directory. Never waits. RFC 1813 3.3.16 and 3.3.17.
//!
//! Cookies are given out with the entries and stay theirs: under insertion, removal and restart a
//! listing that goes on from a cookie neither repeats nor skips an entry that was there all the time.
//! So the cookie verifier can be the same for ever. 0 is the start, 1 is `.`, 2 is `..`.

use super::access;
use super::column::Fs;
use super::lookup::object;
use crate::cred::Cred;
use crate::inode::{FileId, Ino, Inode};
use crate::ledger::reader::Reader;
use crate::ledger::record::entry::{COOKIE_PARENT, COOKIE_SELF};
use crate::status::Status;

/// One entry of a listing.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// Where a listing goes on after this entry.
    pub cookie: u64,
    /// The inode.
    pub ino: Ino,
    /// The name.
    pub name: &'a [u8],
    /// Its attributes, where they were asked for and the caller may search the directory.
    pub object: Option<Inode>,
}

/// What is wanted of each entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Name and number: READDIR.
    Names,
    /// Attributes too: READDIRPLUS.
    Attributes,
}

/// Whether a listing goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The entry was taken.
    Yes,
    /// It did not fit; the listing ends before it.
    No,
}

/// What READDIR answers.
#[derive(Clone, Copy, Debug)]
pub struct Listing {
    /// The directory, where it could be read.
    pub dir: Option<Inode>,
    /// Whether the last entry was taken.
    pub end: Result<bool, Status>,
}

/// Shows `take` the entries of `dir` after `cookie` in their order, until it does not take one.
pub fn readdir(
    fs: &Fs,
    cred: &Cred,
    dir: FileId,
    cookie: u64,
    detail: Detail,
    take: impl FnMut(&Listed<'_>) -> Taken,
) -> Listing {
    match fs.attr(dir) {
        Err(status) => Listing { dir: None, end: Err(status) },
        Ok(inode) => {
            let mut list = List { fs, dir: &inode, detail: seen(&inode, cred, detail), take };
            Listing { dir: Some(inode), end: check(&inode, cred).and_then(|()| list.run(cookie)) }
        }
    }
}

fn check(dir: &Inode, cred: &Cred) -> Result<(), Status> {
    if !dir.is_directory() {
        return Err(Status::NotDir);
    }
    access::list(dir, cred)
}

/// Attributes are for those who could look the names up one by one.
fn seen(dir: &Inode, cred: &Cred, detail: Detail) -> Detail {
    if access::search(dir, cred).is_ok() { detail } else { Detail::Names }
}

struct List<'a, F> {
    fs: &'a Fs,
    dir: &'a Inode,
    detail: Detail,
    take: F,
}

impl<F: FnMut(&Listed<'_>) -> Taken> List<'_, F> {
    fn run(&mut self, cookie: u64) -> Result<bool, Status> {
        let mut reader = self.fs.reader.borrow_mut();
        reader.refresh()?;
        let dots: [(u64, Ino, &[u8]); 2] = [(COOKIE_SELF, self.dir.ino, b"."), (COOKIE_PARENT, self.dir.parent, b"..")];
        for (at, ino, name) in dots.into_iter().filter(|(at, ..)| *at > cookie) {
            if self.show(&reader, at, ino, name)? == Taken::No {
                return Ok(false);
            }
        }
        let mut count = 0;
        for entry in reader.entries(self.dir.ino, cookie.max(COOKIE_PARENT))? {
            let entry = entry?;
            if self.show(&reader, entry.cookie, entry.ino, &entry.name)? == Taken::No {
                return Ok(false);
            }
            count += 1;
        }
        if self.is_whole(&reader, cookie, count)? { Ok(true) } else { Err(self.fs.count_corrupt()) }
    }

    /// Whether a listing that has come to its end, with `count` entries after `cookie`, has shown all.
    /// One of a very large directory that took several calls is not counted again.
    fn is_whole(&self, reader: &Reader, cookie: u64, count: u64) -> Result<bool, Status> {
        // Of the same snapshot. A directory that is gone from it has no entries that could be missed.
        let Some(dir) = reader.inode(self.dir.ino)? else { return Ok(true) };
        if cookie <= COOKIE_PARENT {
            return Ok(count == dir.entries);
        }
        if dir.entries > COUNTED_MAX {
            return Ok(true);
        }
        let all = reader.entries(self.dir.ino, COOKIE_PARENT)?.try_fold(0, |sum, entry| entry.map(|_| sum + 1))?;
        Ok(all == dir.entries)
    }

    /// Attributes of an entry that is being removed are left out.
    fn show(&mut self, reader: &Reader, cookie: u64, ino: Ino, name: &[u8]) -> Result<Taken, Status> {
        let object = match self.detail {
            Detail::Names => None,
            Detail::Attributes => object(self.fs, reader, ino)?,
        };
        Ok((self.take)(&Listed { cookie, ino, name, object }))
    }
}

/// Entries that are counted again at the end of a listing over several calls: some hundred microseconds.
const COUNTED_MAX: u64 = 8192;
