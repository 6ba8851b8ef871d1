//! Bounded writers of READDIR and READDIRPLUS results, RFC 1813 3.3.16 and 3.3.17.
//!
//! Callers: the two operations of the nfs3 door. A result grows entry by entry until the next one would break a
//! limit of the client's; no list of entries is built first.
//! Promises: the written `resok` never has more bytes than the client allows, and a directory with entries never
//! yields an empty list that is not its end, which clients would read again for ever.

use super::{Cookieverf3, Entry3, Entryplus3, Filename, NFS3_OK, Nfsstat3, PostOpAttr};
use crate::xdr::{Encode, Writer, padding};

/// Writes [`ReaddirRes`](super::ReaddirRes), the status included.
#[derive(Debug)]
pub struct DirListWriter<'w, 'v> {
    page: Page<'w, 'v>,
}

impl<'w, 'v> DirListWriter<'w, 'v> {
    /// Begins a result whose `resok` has at most `count` bytes.
    pub fn begin(w: &'w mut Writer<'v>, dir_attributes: PostOpAttr, cookieverf: Cookieverf3, count: u32) -> Self {
        let page = Page::begin(w, dir_attributes, cookieverf, count);
        Self { page }
    }

    /// Writes the entry, or says no because it does not fit: end the list with `eof` false then.
    #[must_use = "an entry that does not fit has not been written"]
    pub fn push(&mut self, entry: &Entry3<'_>) -> bool {
        self.page.push(entry)
    }

    /// Ends the list. When not even its first entry did fit, takes back everything and says NFS3ERR_TOOSMALL;
    /// the caller answers with that.
    pub fn finish(self, eof: bool) -> Result<(), Nfsstat3> {
        self.page.finish(eof)
    }
}

/// Writes [`ReaddirplusRes`](super::ReaddirplusRes), the status included.
#[derive(Debug)]
pub struct DirPlusWriter<'w, 'v> {
    page: Page<'w, 'v>,
    /// What is left of `dircount`, in bytes.
    dir_bytes_left: usize,
}

impl<'w, 'v> DirPlusWriter<'w, 'v> {
    /// Begins a result with at most `dircount` bytes of names, cookies and file ids, whose `resok` has at most
    /// `maxcount` bytes. The first entry is measured against `maxcount` alone: `dircount` is a hint for the size
    /// of the directory's reading, and clients that send a small one must still come forward.
    pub fn begin(
        w: &'w mut Writer<'v>,
        dir_attributes: PostOpAttr,
        cookieverf: Cookieverf3,
        dircount: u32,
        maxcount: u32,
    ) -> Self {
        Self { page: Page::begin(w, dir_attributes, cookieverf, maxcount), dir_bytes_left: dircount as usize }
    }

    /// Writes the entry, or says no because it does not fit: end the list with `eof` false then.
    #[must_use = "an entry that does not fit has not been written"]
    pub fn push(&mut self, entry: &Entryplus3<'_>) -> bool {
        let dir_bytes = dir_bytes(entry.name);
        if dir_bytes > self.dir_bytes_left && !self.page.is_empty() {
            return false;
        }
        let is_pushed = self.page.push(entry);
        if is_pushed {
            self.dir_bytes_left = self.dir_bytes_left.saturating_sub(dir_bytes);
        }
        is_pushed
    }

    /// As [`DirListWriter::finish`].
    pub fn finish(self, eof: bool) -> Result<(), Nfsstat3> {
        self.page.finish(eof)
    }
}

/// The bytes of an entry that count for `dircount`: file id, cookie, and the name with its length and padding.
fn dir_bytes(name: Filename<'_>) -> usize {
    8 + 8 + 4 + name.len() + padding(name.len())
}

/// What both results have in common: a head, entries, an end, and a limit.
#[derive(Debug)]
struct Page<'w, 'v> {
    w: &'w mut Writer<'v>,
    /// Where the status stands.
    start: usize,
    /// Where the first entry stands.
    entries: usize,
    /// Where the result has to end at the latest.
    end_max: usize,
    is_refused: bool,
}

/// The FALSE that ends the list, and `eof`.
const TAIL_BYTES: usize = 8;

impl<'w, 'v> Page<'w, 'v> {
    fn begin(w: &'w mut Writer<'v>, dir_attributes: PostOpAttr, cookieverf: Cookieverf3, count: u32) -> Self {
        let start = w.position();
        w.u32(NFS3_OK);
        let end_max = w.position().saturating_add(count as usize);
        w.encode(&dir_attributes);
        w.encode(&cookieverf);
        Self { start, entries: w.position(), end_max, is_refused: false, w }
    }

    fn is_empty(&self) -> bool {
        self.w.position() == self.entries
    }

    fn push(&mut self, entry: &impl Encode) -> bool {
        let before = self.w.position();
        self.w.bool(true);
        self.w.encode(entry);
        let is_pushed = !self.is_refused && self.w.position() + TAIL_BYTES <= self.end_max;
        if !is_pushed {
            self.w.truncate(before);
            self.is_refused = true;
        }
        is_pushed
    }

    fn finish(self, eof: bool) -> Result<(), Nfsstat3> {
        let is_stuck = self.is_refused && self.is_empty();
        if is_stuck || self.w.position() + TAIL_BYTES > self.end_max {
            self.w.truncate(self.start);
            return Err(Nfsstat3::Toosmall);
        }
        self.w.bool(false);
        self.w.bool(eof);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nfs3::{Dirlist3, FileHandle, ReaddirRes, ReaddirplusRes, Res};
    use crate::xdr::decode_all;

    const VERF: Cookieverf3 = Cookieverf3([1, 2, 3, 4, 5, 6, 7, 8]);

    fn entry(fileid: u64) -> Entry3<'static> {
        Entry3 { fileid, name: Filename::new(b"frame.0001.exr").unwrap(), cookie: fileid + 2 }
    }

    fn plus(fileid: u64) -> Entryplus3<'static> {
        let Entry3 { fileid, name, cookie } = entry(fileid);
        Entryplus3 {
            fileid,
            name,
            cookie,
            name_attributes: None,
            name_handle: Some(FileHandle::new(&[7; 48]).unwrap()),
        }
    }

    #[test]
    fn a_list_takes_what_fits_and_decodes_back() {
        let mut bytes = b"head".to_vec();
        let mut w = Writer::new(&mut bytes);
        let mut list = DirListWriter::begin(&mut w, None, VERF, 200);
        let pushed = (0..100).take_while(|&id| list.push(&entry(id))).count();
        assert_eq!(list.finish(false), Ok(()));
        // 4 + 8 for the head, 8 for the end, 40 an entry.
        assert_eq!(pushed, 4);
        assert_eq!(bytes.len(), 4 + 4 + 4 + 8 + 4 * 40 + 8);
        let Res::Ok(res) = decode_all::<ReaddirRes<'_>>(&bytes[4..]).unwrap() else {
            panic!("the list went well");
        };
        assert_eq!(res.cookieverf, VERF);
        assert!(!res.reply.eof);
        assert!(res.reply.entries.iter().map(|entry| entry.fileid).eq(0..4));
    }

    #[test]
    fn no_limit_is_ever_exceeded() {
        for count in 0..400 {
            let mut bytes = Vec::new();
            let mut w = Writer::new(&mut bytes);
            let mut list = DirPlusWriter::begin(&mut w, None, VERF, u32::MAX, count);
            while list.push(&plus(1)) {}
            let ended = list.finish(false);
            assert!(bytes.len() <= 4 + count as usize);
            assert_eq!(ended.is_err(), bytes.is_empty());
        }
    }

    /// The end of a list has its room too: an entry that would take it is left for the next page.
    #[test]
    fn a_limit_with_room_for_an_entry_is_never_too_small() {
        let (head, entry_bytes) = (4 + 8, 40);
        for count in head..400 {
            let mut bytes = Vec::new();
            let mut w = Writer::new(&mut bytes);
            let mut list = DirListWriter::begin(&mut w, None, VERF, count);
            let pushed = (0..100).take_while(|&id| list.push(&entry(id))).count() as u32;
            assert_eq!(pushed, count.saturating_sub(head + TAIL_BYTES as u32) / entry_bytes, "count {count}");
            assert_eq!(list.finish(false).is_ok(), pushed > 0, "count {count}");
        }
    }

    #[test]
    fn an_entry_is_not_written_after_one_was_refused() {
        let mut bytes = Vec::new();
        let mut w = Writer::new(&mut bytes);
        let mut list = DirListWriter::begin(&mut w, None, VERF, 100);
        assert!(list.push(&entry(1)));
        let name = Filename::new(&[b'x'; 200]).unwrap();
        assert!(!list.push(&Entry3 { name, ..entry(2) }));
        assert!(!list.push(&entry(3)));
    }

    #[test]
    fn a_first_entry_that_does_not_fit_is_too_small_and_nothing_is_left() {
        let mut bytes = b"head".to_vec();
        let mut w = Writer::new(&mut bytes);
        let mut list = DirListWriter::begin(&mut w, None, VERF, 50);
        assert!(!list.push(&entry(1)));
        assert_eq!(list.finish(false), Err(Nfsstat3::Toosmall));
        assert_eq!(bytes, b"head");
    }

    #[test]
    fn an_empty_list_at_the_end_of_a_directory_is_fine() {
        let mut bytes = Vec::new();
        let mut w = Writer::new(&mut bytes);
        let list = DirListWriter::begin(&mut w, None, VERF, 20);
        assert_eq!(list.finish(true), Ok(()));
        let Res::Ok(res) = decode_all::<ReaddirRes<'_>>(&bytes).unwrap() else {
            panic!("the list went well");
        };
        let nothing = Dirlist3 { entries: Default::default(), eof: true };
        assert_eq!(res.reply, nothing);
    }

    #[test]
    fn dircount_bounds_names_but_lets_the_first_entry_through() {
        for (dircount, expected) in [(0, 1), (35, 1), (36, 1), (71, 1), (72, 2), (10_000, 9)] {
            let mut bytes = Vec::new();
            let mut w = Writer::new(&mut bytes);
            let mut list = DirPlusWriter::begin(&mut w, None, VERF, dircount, 1000);
            while list.push(&plus(1)) {}
            assert_eq!(list.finish(false), Ok(()));
            let Res::Ok(res) = decode_all::<ReaddirplusRes<'_>>(&bytes).unwrap() else {
                panic!("the list went well");
            };
            assert_eq!(res.reply.entries.iter().count(), expected, "dircount {dircount}");
        }
    }
}
