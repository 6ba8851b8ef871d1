//! A move by the cleaner takes place only where the ledger's bytes are what readers see.

use super::rig::{Rig, all, create, cut, options, put, remove};
use crate::fs::clean::append_move;
use crate::fs::write::Stability;
use crate::fs::{Fs, checkpoint};
use crate::inode::FileId;
use cache::extent::Extent;
use std::rc::Rc;

const OLD: [u8; 5000] = [1; 5000];
const NEW: [u8; 5000] = [2; 5000];

/// What the cleaner has seen of a file: how far it was folded, and its only extent.
fn seen(fs: &Fs, id: FileId) -> (u64, Extent) {
    let mut reader = fs.reader.borrow_mut();
    reader.refresh().unwrap();
    let (_, extent) = reader.extents(id.ino, 0, 1).unwrap().next().unwrap().unwrap();
    (reader.inode(id.ino).unwrap().unwrap().folded_lsn, extent)
}

/// Lets `meddle` happen between the cleaner's look and its move; answers the file and the bytes moved.
fn meddled(meddle: impl AsyncFnOnce(Rc<Fs>, FileId)) -> (Rig, FileId, u64) {
    let rig = Rig::new(11, options(1, 1 << 40));
    let fs = rig.fs[0].clone();
    let id = rig.world.run_until(async {
        let id = create(&fs, "file").await.unwrap();
        put(&fs, id, 0, &OLD, Stability::FileSync).await.unwrap();
        checkpoint::fold_all(&fs).await.unwrap();
        let (folded_lsn, extent) = seen(&fs, id);
        meddle(fs.clone(), id).await;
        append_move(&fs, id, folded_lsn, 0, extent, &OLD).unwrap();
        id
    });
    let moved = fs.stats.moved_bytes.get();
    (rig, id, moved)
}

#[test]
fn an_undisturbed_move_changes_nothing_that_a_client_sees() {
    let (rig, id, moved) = meddled(async |_, _| ());
    let fs = rig.fs[0].clone();
    assert_eq!(moved, 5000);
    rig.world.run_until(async {
        let before = fs.attr(id).unwrap();
        let (_, old) = seen(&fs, id);
        checkpoint::fold_all(&fs).await.unwrap();
        let (_, new) = seen(&fs, id);
        assert_ne!(new.place, old.place);
        assert_eq!(new.version, old.version, "a move keeps the version of the bytes");
        let after = fs.attr(id).unwrap();
        assert_eq!((after.change, after.mtime, after.used), (before.change, before.mtime, 5000));
        assert!(all(&fs, id).await.unwrap() == OLD);
    });
    drop(fs);
    let rig = rig.crash();
    assert!(rig.world.run_until(all(&rig.fs[0], id)).unwrap() == OLD);
}

#[test]
fn a_move_does_not_hide_a_write_that_came_meanwhile() {
    let (rig, id, moved) = meddled(async |fs, id| {
        put(&fs, id, 0, &NEW, Stability::Unstable).await.unwrap();
    });
    assert_eq!(moved, 0);
    assert!(rig.world.run_until(all(&rig.fs[0], id)).unwrap() == NEW);
}

#[test]
fn a_move_does_not_hide_a_write_that_was_folded_meanwhile() {
    let (rig, id, moved) = meddled(async |fs, id| {
        put(&fs, id, 0, &NEW, Stability::Unstable).await.unwrap();
        checkpoint::fold_all(&fs).await.unwrap();
    });
    assert_eq!(moved, 0);
    assert!(rig.world.run_until(all(&rig.fs[0], id)).unwrap() == NEW);
}

#[test]
fn a_move_does_not_bring_back_what_was_cut() {
    let (rig, id, moved) = meddled(async |fs, id| {
        cut(&fs, id, 10).await.unwrap();
        cut(&fs, id, 5000).await.unwrap();
    });
    assert_eq!(moved, 0);
    let found = rig.world.run_until(all(&rig.fs[0], id)).unwrap();
    assert!(found[..10] == OLD[..10] && found[10..] == [0; 4990]);
}

#[test]
fn a_move_of_a_file_that_is_gone_is_nothing() {
    let (rig, id, moved) = meddled(async |fs, _| remove(&fs, "file").await.unwrap());
    assert_eq!(moved, 0);
    assert!(rig.fs[0].attr(id).is_err());
}
