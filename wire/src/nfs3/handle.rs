//! File handles, RFC 1813 2.6 `nfs_fh3`: borrowed from a frame, or held in place.
//!
//! Callers: everybody who reads or writes NFSv3. Opaque here: what is inside is the server's matter.

use std::fmt;
use std::ops::Deref;

use super::NFS3_FHSIZE;
use crate::xdr::{Encode, Writer};

xdr_bytes! {
    /// `nfs_fh3`: a file handle of at most 64 bytes, borrowed.
    pub struct FileHandle<NFS3_FHSIZE>
}

/// A file handle held in place, for what outlives its frame.
#[derive(Clone, Copy)]
pub struct FileHandleBuf {
    bytes: [u8; NFS3_FHSIZE],
    len: u8,
}

impl FileHandleBuf {
    #[inline]
    pub fn handle(&self) -> FileHandle<'_> {
        FileHandle::new(self).expect("the buffer is as long as the type's maximum")
    }
}

impl From<FileHandle<'_>> for FileHandleBuf {
    #[inline]
    fn from(handle: FileHandle<'_>) -> Self {
        let mut bytes = [0; NFS3_FHSIZE];
        bytes[..handle.len()].copy_from_slice(&handle);
        Self { bytes, len: handle.len() as u8 }
    }
}

impl Deref for FileHandleBuf {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl PartialEq for FileHandleBuf {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for FileHandleBuf {}

impl std::hash::Hash for FileHandleBuf {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for FileHandleBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle().fmt(f)
    }
}

impl Encode for FileHandleBuf {
    #[inline]
    fn encode(&self, w: &mut Writer<'_>) {
        w.opaque(self);
    }
}

const _: () = assert!(NFS3_FHSIZE <= u8::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_held_in_place_is_the_handle_it_was_made_of() {
        for len in [0, 1, 63, 64] {
            let bytes = vec![7; len];
            let handle = FileHandle::new(&bytes).unwrap();
            let held = FileHandleBuf::from(handle);
            assert_eq!(held.handle(), handle);
            assert_eq!(held, FileHandleBuf::from(held.handle()));
        }
        assert!(FileHandle::new(&[0; 65]).is_err());
    }
}
