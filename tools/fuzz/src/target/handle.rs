//! File handles. Nobody without the key makes one that opens, and a changed one does not.
//!
//! Input: 20 bytes that name an object, a byte that says which key, then a change of the handle, bit by bit. The same
//! bytes are offered as a handle too.

use super::Target;
use shard::inode::{FileId, Ino};
use shard::net::handle::{HANDLE_BYTES, HandleKey, Target as Object};
use shard::status::Status;

pub(super) const HANDLE: Target = Target {
    name: "handle",
    about: "file handles: a changed bit, another key, another length, or no handle at all is refused",
    input_max: 128,
    working_bytes: 0,
    words: &[],
    seeds,
    run,
};

fn run(input: &[u8]) {
    let key = HandleKey::new(b"a secret of ours");
    offered(&key, input);
    let Some((named, rest)) = input.split_first_chunk::<20>() else { return };
    let object = Object {
        filesystem: u64::from_le_bytes(part(&named[..8])),
        file: FileId {
            ino: Ino(u64::from_le_bytes(part(&named[8..16]))),
            generation: u32::from_le_bytes(part(&named[16..])),
        },
    };
    let handle = key.seal(object);
    assert_eq!(key.open(&handle), Ok(object));
    let Some((other, change)) = rest.split_first() else { return };
    let mut secret = *b"a secret of ours";
    secret[usize::from(other % 16)] ^= 1 << (other / 16 % 8);
    assert_eq!(HandleKey::new(&secret).open(&handle), Err(Status::BadHandle));
    let mut changed = handle;
    changed.iter_mut().zip(change).for_each(|(byte, change)| *byte ^= change);
    let is_changed = changed != handle;
    assert_eq!(key.open(&changed).is_err(), is_changed, "{changed:02x?}");
    let cut = usize::from(*other) % HANDLE_BYTES;
    assert_eq!(key.open(&handle[..cut]), Err(Status::BadHandle));
    // Longer by whatever follows.
    assert_eq!(key.open(&[&handle, &change[..change.len().min(1)]].concat()).is_ok(), change.is_empty());
}

/// Bytes from outside open only when they are what the key would have made.
fn offered(key: &HandleKey, bytes: &[u8]) {
    match key.open(bytes) {
        Ok(object) => assert_eq!(key.seal(object), bytes),
        Err(status) => assert_eq!(status, Status::BadHandle),
    }
}

fn part<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the range has the length of the number")
}

fn seeds() -> Vec<Vec<u8>> {
    let key = HandleKey::new(b"a secret of ours");
    let object = Object { filesystem: 5, file: FileId { ino: Ino(77), generation: 1 } };
    let bit = [&[1; 20][..], &[3], &[0; 39], &[1]].concat();
    vec![key.seal(object).to_vec(), vec![0; 61], bit]
}
