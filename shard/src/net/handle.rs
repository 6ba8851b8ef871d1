//! File handles: what a client holds for an object, and the proof that we gave it out.
//!
//! Callers: the NFS and MOUNT operations. A handle names filesystem, inode and generation, and
//! carries a 128-bit keyed MAC (SipHash-2-4) over them, checked before anything is looked up. It
//! names no share and no path: what a client may do is decided anew at each operation.
//!
//! | bytes | what |
//! |---|---|
//! | 0 | version, 1 |
//! | 1..4 | zero |
//! | 4..12 | filesystem id, little endian |
//! | 12..20 | inode number, little endian |
//! | 20..24 | generation, little endian |
//! | 24..40 | MAC of bytes 0..24 |

use crate::inode::{FileId, Ino};
use crate::status::Status;
use siphasher::sip128::SipHasher24;
use std::net::IpAddr;

/// Bytes of a handle. NFSv3 allows 64 (RFC 1813 2.4).
pub const HANDLE_BYTES: usize = 40;

/// What a genuine handle names. The object may be gone since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The filesystem's id.
    pub filesystem: u64,
    /// The object in it.
    pub file: FileId,
}

/// Makes and checks handles with a pool's secret key.
#[derive(Clone)]
pub struct HandleKey {
    hasher: SipHasher24,
}

impl HandleKey {
    /// With the pool's secret.
    pub fn new(secret: &[u8; 16]) -> HandleKey {
        HandleKey { hasher: SipHasher24::new_with_key(secret) }
    }

    /// The handle of an object.
    pub fn seal(&self, target: Target) -> [u8; HANDLE_BYTES] {
        let mut bytes = [0; HANDLE_BYTES];
        bytes[0] = VERSION;
        bytes[4..12].copy_from_slice(&target.filesystem.to_le_bytes());
        bytes[12..20].copy_from_slice(&target.file.ino.0.to_le_bytes());
        bytes[20..24].copy_from_slice(&target.file.generation.to_le_bytes());
        let mac = self.mac(&bytes[..NAMED_BYTES]);
        bytes[NAMED_BYTES..].copy_from_slice(&mac.to_le_bytes());
        bytes
    }

    /// What a handle names; [`Status::BadHandle`] when it is not one of ours.
    pub fn open(&self, handle: &[u8]) -> Result<Target, Status> {
        let bytes: &[u8; HANDLE_BYTES] = handle.try_into().map_err(|_| Status::BadHandle)?;
        let (named, sealed) = bytes.split_at(NAMED_BYTES);
        let mac = u128::from_le_bytes(fixed(sealed));
        // One comparison of the whole: its time tells nothing about where the MACs differ.
        if self.mac(named) ^ mac != 0 || named[0] != VERSION {
            return Err(Status::BadHandle);
        }
        Ok(Target {
            filesystem: u64::from_le_bytes(fixed(&named[4..12])),
            file: FileId {
                ino: Ino(u64::from_le_bytes(fixed(&named[12..20]))),
                generation: u32::from_le_bytes(fixed(&named[20..24])),
            },
        })
    }

    /// Names a client by its address, the same after a restart. For the duplicate-request cache.
    pub fn client(&self, peer: IpAddr) -> u64 {
        let address = match peer {
            IpAddr::V4(four) => four.to_ipv6_mapped(),
            IpAddr::V6(six) => six,
        };
        self.digest(&address.octets())
    }

    /// A keyed checksum of `bytes`, the same after a restart.
    pub fn digest(&self, bytes: &[u8]) -> u64 {
        self.hasher.hash(bytes).as_u64().0
    }

    fn mac(&self, named: &[u8]) -> u128 {
        self.hasher.hash(named).as_u128()
    }
}

/// A part of a handle; the caller's range has the length of the array.
fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

/// The version in byte 0.
const VERSION: u8 = 1;
/// Bytes under the MAC.
const NAMED_BYTES: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target { filesystem: 0x0123_4567_89AB_CDEF, file: FileId { ino: Ino(77), generation: 5 } }
    }

    #[test]
    fn a_handle_names_what_it_was_made_for() {
        let key = HandleKey::new(&[7; 16]);
        assert_eq!(key.open(&key.seal(target())), Ok(target()));
    }

    #[test]
    fn any_changed_bit_is_a_bad_handle() {
        let key = HandleKey::new(&[7; 16]);
        let handle = key.seal(target());
        for bit in 0..HANDLE_BYTES * 8 {
            let mut forged = handle;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.open(&forged), Err(Status::BadHandle), "bit {bit}");
        }
    }

    #[test]
    fn a_handle_of_another_length_or_key_is_a_bad_handle() {
        let key = HandleKey::new(&[7; 16]);
        let handle = key.seal(target());
        assert_eq!(key.open(&[]), Err(Status::BadHandle));
        assert_eq!(key.open(&handle[..39]), Err(Status::BadHandle));
        assert_eq!(key.open(&[&handle[..], &[0]].concat()), Err(Status::BadHandle));
        assert_eq!(HandleKey::new(&[8; 16]).open(&handle), Err(Status::BadHandle));
    }
}
