//! A damaged row is an error where it is read, never data, and nothing else suffers.

use super::rig::*;
use crate::cred::Cred;
use crate::inode::ROOT;
use crate::ledger::check::{Damage, Inspector};
use crate::ledger::command::CreateHow;
use crate::ledger::env::Tables;
use crate::ledger::record::{Table, entry, inode, meta, tree};
use crate::ledger::store::OpenError;
use crate::ledger::touch::Touch;
use crate::status::Status;
use std::sync::atomic::Ordering;

/// Flips a bit of a value behind the ledger's back.
fn damage(rig: &mut Rig, table: Table, key: &[u8]) {
    let mut value = take(rig, table, key);
    value[5] ^= 1;
    put(rig, table, key, &value);
}

/// Takes a row out behind the ledger's back.
fn take(rig: &mut Rig, table: Table, key: &[u8]) -> Vec<u8> {
    let mut taken = Vec::new();
    change(rig, |tables, txn| {
        taken = tables.rows(table).get(txn, key).unwrap().unwrap().to_vec();
        assert!(tables.rows(table).delete(txn, key).unwrap());
    });
    taken
}

/// Puts a row in behind the ledger's back.
fn put(rig: &mut Rig, table: Table, key: &[u8], value: &[u8]) {
    change(rig, |tables, txn| tables.rows(table).put(txn, key, value).unwrap());
}

/// Of what a checkpoint has carried over. The ledger looks at the file anew afterwards.
fn change(rig: &mut Rig, change: impl FnOnce(&Tables, &mut heed::RwTxn<'_>)) {
    rig.ledger.settle().unwrap();
    let tables = rig.ledger.store().tables();
    let mut txn = tables.env().write_txn().unwrap();
    change(tables, &mut txn);
    txn.commit().unwrap();
    rig.ledger.settle().unwrap();
    rig.reader.rest();
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
    rig.ledger.settle().unwrap();
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
    take(&mut rig, Table::Entries, entry::entry_key(ROOT, cookie).as_bytes());
    rig.ok(remove(root, "f"));
    assert_eq!(corrupt(&rig), 1, "but it is counted");
    assert!(!rig.shared.is_poisoned());
}

#[test]
fn a_row_under_a_damaged_key_is_not_taken_for_missing() {
    let mut rig = Rig::new();
    let root = rig.root();
    let mut files = Vec::new();
    for number in 0..200 {
        files.push(rig.file(root, &format!("file-{number:03}"), 0o644));
    }
    assert_eq!(rig.reader.lookup(ROOT, b"file-100-and-more"), Ok(None));
    let key = entry::name_key(ROOT, b"file-100");
    let value = take(&mut rig, Table::Names, key.as_bytes());
    put(&mut rig, Table::Names, entry::name_key(ROOT, b"file-10p").as_bytes(), &value);
    assert_eq!(rig.reader.lookup(ROOT, b"file-10o"), Err(Status::Io));

    let ino = files[50].ino;
    let value = take(&mut rig, Table::Inodes, inode::key(ino).as_bytes());
    let mut key = inode::key(ino).as_bytes().to_vec();
    key[11] ^= 2;
    put(&mut rig, Table::Inodes, &key, &value);
    assert_eq!(rig.reader.inode(ino), Err(Status::Io));
}

#[test]
fn a_small_directory_that_lost_a_name_says_of_none_that_it_is_not_there() {
    let mut rig = Rig::new();
    let root = rig.root();
    for name in ["a", "b", "c"] {
        rig.file(root, name, 0o644);
    }
    assert_eq!(rig.reader.lookup(ROOT, b"x"), Ok(None));
    take(&mut rig, Table::Names, entry::name_key(ROOT, b"b").as_bytes());
    assert_eq!(rig.reader.lookup(ROOT, b"b"), Err(Status::Io));
    assert!(rig.reader.lookup(ROOT, b"a").unwrap().is_some());
}

#[test]
fn a_ledger_that_lost_rows_is_not_opened() {
    for table in [Table::Names, Table::Entries, Table::Inodes, Table::Targets] {
        let mut rig = Rig::new();
        let root = rig.root();
        let made = rig.ok(symlink(root, "l", b"target")).object.unwrap();
        let (cookie, _) = rig.list(root)[0];
        let key = match table {
            Table::Names => entry::name_key(ROOT, b"l").as_bytes().to_vec(),
            Table::Entries => entry::entry_key(ROOT, cookie).as_bytes().to_vec(),
            Table::Inodes => inode::key(made.ino).as_bytes().to_vec(),
            _ => tree::target_key(made.ino).as_bytes().to_vec(),
        };
        take(&mut rig, table, &key);
        assert!(matches!(rig.refusal(), OpenError::Unsound(_)), "{table:?}");
    }
}

#[test]
fn a_ledger_that_seems_empty_is_not_made_anew() {
    let mut rig = Rig::new();
    let root = rig.root();
    rig.file(root, "f", 0o644);
    change(&mut rig, |tables, txn| {
        tables.rows(Table::Inodes).clear(txn).unwrap();
        assert!(tables.rows(Table::Meta).delete(txn, meta::KEY).unwrap());
    });
    assert!(matches!(rig.refusal(), OpenError::Unsound(_) | OpenError::Headless));
}

#[test]
fn a_touch_reads_what_is_about_to_be_looked_up_and_nothing_else() {
    let mut rig = Rig::new();
    let root = rig.root();
    let dir = rig.mkdir(root, "dir", 0o755);
    let sub = rig.mkdir(dir.id(), "sub", 0o755);
    let files = ["f", "g"].map(|name| rig.file(dir.id(), name, 0o644));
    damage(&mut rig, Table::Inodes, inode::key(files[0].ino).as_bytes());
    let name = |dir, name: &[u8]| Touch::Name(dir, name.into());
    let io = Err(Status::Io);
    for (touch, met) in [
        (Touch::Inode(files[0].ino), io),
        (Touch::Inode(files[1].ino), Ok(())),
        (name(dir.ino, b"f"), io),
        (name(dir.ino, b"g"), Ok(())),
        (Touch::Entries(dir.ino, 0), Ok(())),
        (Touch::Objects(dir.ino, 0), io),
        (Touch::Objects(dir.ino, files[0].change), Ok(())),
    ] {
        assert_eq!(touch.make(&rig.reader), met, "{touch:?}");
    }
    damage(&mut rig, Table::Inodes, inode::key(dir.ino).as_bytes());
    assert_eq!(name(sub.ino, b"..").make(&rig.reader), io, "the directory above");
}
