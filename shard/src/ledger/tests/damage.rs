//! A damaged row is an error where it is read, never data, and nothing else suffers.

use super::rig::*;
use crate::cred::Cred;
use crate::inode::ROOT;
use crate::ledger::check::{Damage, Inspector};
use crate::ledger::command::CreateHow;
use crate::ledger::record::{Table, entry, inode, tree};
use crate::status::Status;
use std::sync::atomic::Ordering;

/// Flips a bit of a value behind the ledger's back.
fn damage(rig: &mut Rig, table: Table, key: &[u8]) {
    let tables = rig.ledger.store().tables();
    let mut txn = tables.env().write_txn().unwrap();
    let mut value = tables.rows(table).get(&txn, key).unwrap().unwrap().to_vec();
    value[5] ^= 1;
    tables.rows(table).put(&mut txn, key, &value).unwrap();
    txn.commit().unwrap();
    rig.shared.committed.fetch_add(1, Ordering::Relaxed);
    rig.reader.refresh().unwrap();
}

fn corrupt(rig: &Rig) -> u64 {
    rig.reader.gauges().corrupt.load(Ordering::Relaxed)
}

#[test]
fn a_damaged_inode_is_an_error_and_its_neighbours_are_well() {
    let mut rig = Rig::new();
    let root = rig.root();
    let file = rig.file(root, "f", 0o644);
    let other = rig.file(root, "g", 0o644);
    damage(&mut rig, Table::Inodes, inode::key(file.ino).as_bytes());
    assert_eq!(rig.reader.object(file.id()), Err(Status::Io));
    assert_eq!(corrupt(&rig), 1);
    for verb in [
        setattr(file.id(), mode(0o600)),
        remove(root, "f"),
        create(root, "f", CreateHow::Unchecked, 0),
        rename(root, "g", root, "f"),
    ] {
        assert_eq!(rig.refused(Cred::root(), verb), Status::Io);
    }
    assert_eq!(rig.reader.object(other.id()), Ok(other));
    rig.ok(remove(root, "g"));
    let inspector = Inspector::of(rig.ledger.store()).unwrap();
    let damaged: Vec<_> = inspector.inodes().filter_map(Result::err).collect();
    assert!(matches!(&damaged[..], [Damage::Row { corrupt, .. }] if corrupt.reason == "checksum"));
    assert_eq!(inspector.inodes().filter(Result::is_ok).count(), 1);
}

#[test]
fn a_damaged_name_leads_nowhere() {
    let mut rig = Rig::new();
    let root = rig.root();
    rig.file(root, "f", 0o644);
    damage(&mut rig, Table::Names, entry::name_key(ROOT, b"f").as_bytes());
    assert_eq!(rig.reader.lookup(ROOT, b"f"), Err(Status::Io));
    assert_eq!(rig.refused(Cred::root(), remove(root, "f")), Status::Io);
    assert_eq!(rig.refused(Cred::root(), create(root, "f", CreateHow::Guarded, 0)), Status::Io);
}

#[test]
fn a_damaged_entry_ends_a_listing_with_an_error() {
    let mut rig = Rig::new();
    let root = rig.root();
    rig.file(root, "f", 0o644);
    rig.file(root, "g", 0o644);
    let (cookie, _) = rig.list(root)[1];
    damage(&mut rig, Table::Entries, entry::entry_key(ROOT, cookie).as_bytes());
    let listed: Vec<_> = rig.reader.entries(ROOT, 0).unwrap().map(|entry| entry.is_ok()).collect();
    assert_eq!(listed, [true, false]);
    rig.ok(remove(root, "g"));
    assert_eq!(rig.list(root).len(), 1, "removing it ends the trouble");
}

#[test]
fn a_damaged_target_is_not_shown() {
    let mut rig = Rig::new();
    let root = rig.root();
    let link = rig.ok(symlink(root, "l", b"target")).object.unwrap();
    damage(&mut rig, Table::Targets, tree::target_key(link.ino).as_bytes());
    assert_eq!(rig.reader.target(link.ino), Err(Status::Io));
}

#[test]
fn a_row_that_is_missing_does_not_stop_its_removal() {
    let mut rig = Rig::new();
    let root = rig.root();
    rig.file(root, "f", 0o644);
    let (cookie, _) = rig.list(root)[0];
    let tables = rig.ledger.store().tables();
    let mut txn = tables.env().write_txn().unwrap();
    assert!(tables.rows(Table::Entries).delete(&mut txn, entry::entry_key(ROOT, cookie).as_bytes()).unwrap());
    txn.commit().unwrap();
    rig.ok(remove(root, "f"));
    assert_eq!(corrupt(&rig), 1, "but it is counted");
    assert!(!rig.shared.is_poisoned());
}
