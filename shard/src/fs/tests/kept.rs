//! The lock table keeps the ledger's extents of a file that is read: reads need no look-up then, and see
//! whatever happens to the file all the same.

use super::rig::{Rig, all, create, cut, get, options, put, remove};
use crate::fs::clean::append_move;
use crate::fs::write::Stability;
use crate::fs::{Fs, checkpoint};
use crate::inode::FileId;
use crate::status::Status;
use cache::extent::{Extent, Place};
use std::rc::Rc;

const BYTES: usize = 20_000;

/// A file of two extents, folded.
async fn folded(fs: &Rc<Fs>) -> FileId {
    let id = create(fs, "file").await.unwrap();
    put(fs, id, 0, &[1; BYTES / 2], Stability::Unstable).await.unwrap();
    checkpoint::fold_all(fs).await.unwrap();
    put(fs, id, BYTES as u64 / 2, &[2; BYTES / 2], Stability::Unstable).await.unwrap();
    checkpoint::fold_all(fs).await.unwrap();
    id
}

/// The ledger's extents.
fn extents(fs: &Fs, id: FileId) -> (u64, Vec<(u64, Extent)>) {
    let mut reader = fs.reader.borrow_mut();
    reader.refresh().unwrap();
    let found = reader.extents(id.ino, 0, u64::MAX).unwrap().map(Result::unwrap).collect();
    (reader.inode(id.ino).unwrap().unwrap().folded_lsn, found)
}

/// The extents that the lock table keeps.
fn kept(fs: &Fs, id: FileId) -> Vec<(u64, Extent)> {
    fs.with_entry(id, |entry| entry.kept().iter().collect()).unwrap()
}

#[test]
fn a_file_that_was_read_once_is_read_without_the_ledger() {
    let rig = Rig::new(5, options(2, 1 << 40));
    let (fs, other) = (rig.fs[0].clone(), rig.fs[1].clone());
    rig.world.run_until(async {
        let id = folded(&fs).await;
        let expected = all(&fs, id).await.unwrap();
        assert_eq!(kept(&fs, id), extents(&fs, id).1);
        for fs in [&fs, &other] {
            fs.reader.borrow_mut().rest();
            for (offset, count) in [(0, BYTES), (1, 7), (BYTES / 2 - 1, 2), (BYTES - 1, 100)] {
                let end = BYTES.min(offset + count);
                assert!(get(fs, id, offset as u64, count).await.unwrap() == expected[offset..end]);
            }
            assert!(fs.reader.borrow().rests());
        }
    });
}

#[test]
fn what_happens_to_a_file_shows_though_its_extents_are_kept() {
    let rig = Rig::new(6, options(2, 1 << 40));
    let (a, b) = (rig.fs[0].clone(), rig.fs[1].clone());
    rig.world.run_until(async {
        let id = folded(&a).await;
        let mut expected = all(&b, id).await.unwrap();
        // What is written hides some of them, before it is folded and after.
        put(&b, id, 3000, &[3; 9000], Stability::Unstable).await.unwrap();
        expected[3000..12_000].fill(3);
        assert!(all(&a, id).await.unwrap() == expected);
        checkpoint::fold_all(&b).await.unwrap();
        assert_eq!(kept(&a, id), [], "they were those of another state");
        assert!(all(&a, id).await.unwrap() == expected);
        // What is cut off does not come back.
        cut(&b, id, 5000).await.unwrap();
        cut(&b, id, BYTES as u64).await.unwrap();
        expected[5000..].fill(0);
        assert!(all(&a, id).await.unwrap() == expected);
        checkpoint::fold_all(&b).await.unwrap();
        assert!(all(&a, id).await.unwrap() == expected);
        // What is moved is read from its new place.
        let (folded_lsn, before) = extents(&a, id);
        let (offset, extent) = before[0];
        append_move(&a, id, folded_lsn, offset, extent, &expected[..extent.bytes as usize]).unwrap();
        checkpoint::fold_all(&a).await.unwrap();
        assert!(all(&b, id).await.unwrap() == expected);
        let now = kept(&b, id)[0].1.place;
        assert!(now != extent.place && now != Place::Hole, "{now:?}");
        remove(&a, "file").await.unwrap();
        assert_eq!(all(&b, id).await, Err(Status::Stale));
    });
}
