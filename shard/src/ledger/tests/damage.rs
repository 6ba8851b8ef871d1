//! A damaged row is an error where it is read, never data, and nothing else suffers.

use super::rig::*;
use crate::cred::Cred;
use crate::inode::{Inode, ROOT};
use crate::ledger::check::{Damage, Inspector};
use crate::ledger::command::CreateHow;
use crate::ledger::env::Tables;
use crate::ledger::reader::Reader;
use crate::ledger::record::{Table, entry, inode, meta, tree};
use crate::ledger::root::{self, PAGE_BYTES};
use crate::ledger::store::OpenError;
use crate::ledger::touch::Touch;
use crate::status::Status;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
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

/// A large ledger is not read when it is opened: of its pages nothing is known but what is in them.
#[test]
fn a_row_under_a_damaged_key_is_not_taken_for_missing() {
    let mut rig = Rig::new();
    let root = rig.root();
    let mut files = Vec::new();
    for number in 0..200 {
        files.push(rig.file(root, &format!("file-{number:03}"), 0o644));
    }
    let key = entry::name_key(ROOT, b"file-100");
    let value = take(&mut rig, Table::Names, key.as_bytes());
    put(&mut rig, Table::Names, entry::name_key(ROOT, b"file-10p").as_bytes(), &value);
    let ino = files[50].ino;
    let value = take(&mut rig, Table::Inodes, inode::key(ino).as_bytes());
    let mut key = inode::key(ino).as_bytes().to_vec();
    key[11] ^= 2;
    put(&mut rig, Table::Inodes, &key, &value);

    let rig = rig.crash_with(|options| options.checked_bytes_max = 0);
    assert_eq!(rig.reader.lookup(ROOT, b"file-10o"), Err(Status::Io));
    assert_eq!(rig.reader.lookup(ROOT, b"file-100"), Err(Status::Io));
    assert!(rig.reader.lookup(ROOT, b"file-101").unwrap().is_some(), "its neighbours are well");
    assert_eq!(rig.reader.inode(ino), Err(Status::Io));
    assert_eq!(rig.reader.object(files[51].id()), Ok(files[51]));
    assert!(rig.reader.entries(ROOT, 0).unwrap().all(|entry| entry.is_ok()), "another table");
    assert_eq!(rig.reader.lookup(ROOT, b"file-000-and-more"), Ok(None), "another page");
}

/// What is in the ledger: of each name in the root the inode behind it, or the first error.
fn shown(reader: &Reader) -> Result<Vec<Inode>, Status> {
    let mut all = Vec::new();
    for entry in reader.entries(ROOT, 0)? {
        let entry = entry?;
        let found = reader.lookup(ROOT, &entry.name)?.ok_or(Status::NoEnt)?;
        all.push(reader.inode(found.ino)?.ok_or(Status::NoEnt)?);
    }
    Ok(all)
}

/// LMDB's file as it was some commits before, and a ledger that has gone on since.
fn aged() -> (Vec<u8>, Rig) {
    let mut rig = Rig::plain(|options| options.journal_bytes = 1 << 17);
    let root = rig.root();
    for number in 0..300 {
        rig.ok(symlink(root, &format!("l{number}"), &[b't'; 60]));
    }
    rig.ok(symlink(root, "long", &[b't'; 3000]));
    rig.ledger.settle().unwrap();
    let before = std::fs::read(rig.data_file()).unwrap();
    for number in 0..300 {
        match number % 3 {
            0 => _ = rig.ok(remove(root, &format!("l{number}"))),
            1 => _ = rig.ok(rename(root, &format!("l{number}"), root, &format!("m{number}"))),
            _ => _ = rig.file(root, &format!("f{number}"), 0o600),
        }
        if number % 50 == 0 {
            rig.ledger.settle().unwrap();
        }
    }
    rig.ledger.settle().unwrap();
    rig.reader.rest();
    rig.reader.refresh().unwrap();
    (before, rig)
}

/// Puts pages in the places of others, one at a time: as they were some commits before, and those of other places.
fn misdirect(path: &Path, before: &[u8], mut met: impl FnMut()) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut now = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut now, 0).unwrap();
    let pages = now.len() / PAGE_BYTES;
    let page =
        |bytes: &[u8], number: usize| bytes.get(number * PAGE_BYTES..(number + 1) * PAGE_BYTES).map(<[u8]>::to_vec);
    for number in 2..pages {
        let own = page(&now, number).unwrap();
        for other in [page(before, number), page(&now, 2 + (number * 7) % (pages - 2))].into_iter().flatten() {
            if other != own {
                file.write_all_at(&other, (number * PAGE_BYTES) as u64).unwrap();
                met();
                file.write_all_at(&own, (number * PAGE_BYTES) as u64).unwrap();
            }
        }
    }
}

#[test]
fn a_page_that_is_what_it_was_before_is_never_read_as_data() {
    let (before, mut rig) = aged();
    let whole = shown(&rig.reader).unwrap();
    let (mut errors, mut harmless) = (0, 0);
    misdirect(&rig.data_file(), &before, || {
        rig.reader.rest();
        rig.reader.refresh().unwrap();
        for (number, inode) in whole.iter().enumerate() {
            assert!([Ok(Some(*inode)), Err(Status::Io)].contains(&rig.reader.inode(inode.ino)), "{number}");
        }
        for name in ["l0", "l1", "l2", "m1", "f2", "missing"] {
            let found = rig.reader.lookup(ROOT, name.as_bytes());
            assert!(found == Err(Status::Io) || found.unwrap().is_some() != ["l0", "l1", "missing"].contains(&name));
        }
        match shown(&rig.reader) {
            Err(Status::Io) => errors += 1,
            all => {
                assert_eq!(all.as_ref(), Ok(&whole));
                harmless += 1;
            }
        }
    });
    assert!(errors > 20 && harmless > 20, "{errors} errors, {harmless} pages that nothing is in");
    assert!(corrupt(&rig) >= errors);
}

#[test]
fn a_start_does_not_take_a_page_for_what_it_was_before() {
    let (before, rig) = aged();
    let whole = shown(&rig.reader).unwrap();
    let (options, path) = (rig.options.clone(), rig.data_file());
    let (ledger, _dir) = rig.into_ledger();
    drop(ledger);
    let (mut refused, mut harmless) = (0, 0);
    misdirect(&path, &before, || {
        // A start changes the files.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        std::fs::create_dir(dir.path().join("ledger")).unwrap();
        for file in std::fs::read_dir(path.parent().unwrap()).unwrap().map(Result::unwrap) {
            std::fs::copy(file.path(), dir.path().join("ledger").join(file.file_name())).unwrap();
        }
        match open(dir.path(), &options) {
            Err(error) => {
                use OpenError::{Lmdb, OtherPages, Unsound};
                assert!(matches!(error, Unsound(_) | OtherPages | Lmdb(_)), "{error}");
                refused += 1;
            }
            Ok((_, reader, _)) => {
                assert_eq!(shown(&reader).as_ref(), Ok(&whole));
                harmless += 1;
            }
        }
    });
    assert!(refused > 20 && harmless > 20, "{refused} starts were refused, {harmless} were not");
}

/// A checkpoint copies what it does not change: it would make the wrong rows those of a page that is right.
#[test]
fn a_checkpoint_is_not_made_from_a_page_that_is_not_what_was_written() {
    let mut rig = Rig::plain(|_| {});
    let root = rig.root();
    rig.file(root, "f", 0o644);
    rig.ledger.settle().unwrap();
    let before = std::fs::read(rig.data_file()).unwrap();
    rig.file(root, "g", 0o644);
    rig.ledger.settle().unwrap();
    let now = std::fs::read(rig.data_file()).unwrap();
    let file = File::options().write(true).open(rig.data_file()).unwrap();
    let pages = |bytes: &[u8]| bytes.chunks(PAGE_BYTES).map(<[u8]>::to_vec).collect::<Vec<_>>();
    // Both trees have a leaf of names; the newer one gets what is in the older one.
    let names = |bytes: &[u8], name: &[u8]| {
        let key = entry::name_key(ROOT, name);
        let has = |page: &[u8]| page.windows(key.as_bytes().len()).any(|bytes| bytes == key.as_bytes());
        pages(bytes).iter().rposition(|page| has(page))
    };
    let (old, new) = (names(&before, b"f").unwrap(), names(&now, b"g").unwrap());
    assert_ne!(old, new);
    rig.file(root, "h", 0o644);
    let mut page = pages(&before)[old].clone();
    page[..8].copy_from_slice(&(new as u64).to_le_bytes());
    file.write_all_at(&page, (new * PAGE_BYTES) as u64).unwrap();
    let roots = rig.data_file().with_file_name(root::FILE);
    let root_before = std::fs::read(&roots).unwrap();
    assert!(rig.ledger.settle().is_err());
    assert_eq!(std::fs::read(&roots).unwrap(), root_before, "no root leads to it");
    rig.reader.rest();
    rig.reader.refresh().unwrap();
    assert_eq!(rig.reader.lookup(ROOT, b"g"), Err(Status::Io));
    assert!(rig.reader.lookup(ROOT, b"h").unwrap().is_some(), "it is in the journal and in memory");
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
