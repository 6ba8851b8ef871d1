//! Every procedure of NFSv3 over a real connection, a real log and a real ledger.

mod lab;

use lab::{Lab, Setup};
use shard::policy::{Access, Squash};
use wire::nfs3::*;

fn lab() -> Lab {
    Lab::new(Setup::default())
}

#[test]
fn null_answers_nothing() {
    let lab = lab();
    assert!(lab.client().results(PROGRAM, VERSION, Procedure::Null as u32, &()).is_empty());
}

#[test]
fn the_root_is_a_directory_with_the_filesystems_id() {
    let lab = lab();
    let mut client = lab.client();
    let root = client.mount("/share");
    let attr = client.getattr(&root).unwrap();
    assert_eq!(attr.ftype, Ftype3::Dir);
    assert_eq!(attr.fsid, lab.server().filesystems()[0].shared().id);
    assert_eq!((attr.mode, attr.nlink, attr.uid), (0o755, 2, 0));
    assert_eq!(client.lookup(&root, "..").unwrap(), root);
    assert_eq!(client.lookup(&root, ".").unwrap(), root);
}

#[test]
fn what_is_written_is_read() {
    let lab = lab();
    let mut client = lab.client();
    let root = client.mount("/share");
    let file = client.file(&root, "a");
    assert_eq!(client.lookup(&root, "a").unwrap(), file);
    let data: Vec<u8> = (0..1_000_003_u32).map(|at| (at % 251) as u8).collect();
    for stable in StableHow::ALL {
        let wrote = client.write(&file, 5, &data, stable).unwrap();
        assert_eq!(wrote.count as usize, data.len());
        assert!(wrote.committed >= stable);
        assert_eq!(wrote.file_wcc.after.unwrap().size, 5 + data.len() as u64);
    }
    let (read, eof) = client.read(&file, 0, 1 << 20).unwrap();
    assert!(eof);
    assert_eq!(read[..5], [0; 5]);
    assert!(read[5..] == data);
    for (offset, count) in [(0, 1), (4, 2), (4099, 70_001), (65_536, 65_536), (999_000, 5000)] {
        let (read, eof) = client.read(&file, offset, count).unwrap();
        let whole = [&[0; 5][..], &data].concat();
        let end = whole.len().min(offset as usize + count as usize);
        assert!(read == whole[offset as usize..end], "{offset} {count}");
        assert_eq!(eof, end == whole.len());
    }
    assert_eq!(client.read(&file, 2_000_000, 10).unwrap(), (Vec::new(), true));
}

#[test]
fn a_write_moves_its_times() {
    let lab = lab();
    let mut client = lab.client();
    let root = client.mount("/share");
    let file = client.file(&root, "a");
    let before = client.getattr(&file).unwrap();
    for _ in 0..2 {
        let after = client.write(&file, 0, b"same length", StableHow::FileSync).unwrap().file_wcc.after.unwrap();
        assert!(after.mtime > before.mtime && after.ctime > before.ctime && after.atime == before.atime);
        assert_eq!(after.mtime, after.ctime);
    }
}

#[test]
fn who_may_not_read_is_refused() {
    let lab = lab();
    let mut client = lab.client();
    let root = client.mount("/share");
    let file = client.file(&root, "a");
    client.write(&file, 0, b"private", StableHow::Unstable).unwrap();
    client.setattr(&file, Sattr3 { mode: Some(0o640), gid: Some(100), ..Sattr3::default() }).unwrap();
    client.becomes(1000, 1000);
    assert_eq!(client.read(&file, 0, 10).err(), Some(Nfsstat3::Acces));
    client.becomes(1000, 100);
    assert_eq!(client.read(&file, 0, 10).unwrap().0, b"private");
}

#[test]
fn a_write_by_another_user_clears_set_user_id() {
    let lab = lab();
    let mut client = lab.client();
    let root = client.mount("/share");
    let file = client.file(&root, "a");
    client.setattr(&file, Sattr3 { mode: Some(0o6777), ..Sattr3::default() }).unwrap();
    client.write(&file, 0, b"by root", StableHow::Unstable).unwrap();
    assert_eq!(client.getattr(&file).unwrap().mode, 0o6777);
    client.becomes(1000, 1000);
    client.write(&file, 0, b"by another", StableHow::Unstable).unwrap();
    assert_eq!(client.getattr(&file).unwrap().mode, 0o777);
}

#[test]
fn a_commit_has_the_verifier_of_the_writes_before_it() {
    let lab = lab();
    let mut client = lab.client();
    let root = client.mount("/share");
    let file = client.file(&root, "a");
    let wrote = client.write(&file, 0, b"unstable", StableHow::Unstable).unwrap();
    assert_eq!(client.commit(&file).unwrap().verf, wrote.verf);
}

#[test]
fn attributes_are_set_and_shown() {
    let lab = lab();
    let mut client = lab.client();
    let root = client.mount("/share");
    let file = client.file(&root, "a");
    let mtime = Nfstime3 { seconds: 1_000_000_000, nseconds: 7 };
    let sattr = Sattr3 {
        mode: Some(0o600),
        uid: Some(1000),
        gid: Some(100),
        size: Some(10_000),
        mtime: SetTime::SetToClientTime(mtime),
        ..Sattr3::default()
    };
    let wcc = client.setattr(&file, sattr).unwrap().obj_wcc;
    assert_eq!(wcc.before.unwrap().size, 0);
    let attr = client.getattr(&file).unwrap();
    assert_eq!(wcc.after, Some(attr));
    assert_eq!((attr.mode, attr.uid, attr.gid, attr.size, attr.mtime), (0o600, 1000, 100, 10_000, mtime));
    assert_eq!(client.read(&file, 9_990, 100).unwrap(), (vec![0; 10], true));

    client.setattr(&file, Sattr3 { size: Some(3), ..Sattr3::default() }).unwrap();
    assert_eq!(client.getattr(&file).unwrap().size, 3);
}

#[test]
fn a_guard_that_does_not_match_changes_nothing() {
    let lab = lab();
    let mut client = lab.client();
    let root = client.mount("/share");
    let file = client.file(&root, "a");
    let ctime = client.getattr(&file).unwrap().ctime;
    let set = |client: &mut lab::Client, guard: Nfstime3| {
        let new_attributes = Sattr3 { mode: Some(0o600), ..Sattr3::default() };
        let args = SetattrArgs { object: file.handle(), new_attributes, guard: Some(guard) };
        let bytes = client.results(PROGRAM, VERSION, Procedure::Setattr as u32, &args);
        lab::decoded::<SetattrRes>(&bytes).error()
    };
    let other = Nfstime3 { seconds: ctime.seconds - 1, ..ctime };
    assert_eq!(set(&mut client, other), Some(Nfsstat3::NotSync));
    assert_eq!(client.getattr(&file).unwrap().mode, 0o644);
    assert_eq!(set(&mut client, ctime), None);
    assert_eq!(client.getattr(&file).unwrap().mode, 0o600);
}

#[test]
fn a_size_whose_guard_does_not_match_cuts_nothing() {
    let lab = lab();
    let mut client = lab.client();
    let root = client.mount("/share");
    let file = client.file(&root, "a");
    client.write(&file, 0, b"bytes", StableHow::Unstable).unwrap();
    let ctime = client.getattr(&file).unwrap().ctime;
    let cut = |client: &mut lab::Client, guard: Nfstime3| {
        let new_attributes = Sattr3 { size: Some(2), ..Sattr3::default() };
        let args = SetattrArgs { object: file.handle(), new_attributes, guard: Some(guard) };
        let bytes = client.results(PROGRAM, VERSION, Procedure::Setattr as u32, &args);
        lab::decoded::<SetattrRes>(&bytes).error()
    };
    assert_eq!(cut(&mut client, Nfstime3 { seconds: ctime.seconds - 1, ..ctime }), Some(Nfsstat3::NotSync));
    assert_eq!(client.read(&file, 0, 10).unwrap(), (b"bytes".to_vec(), true));
    assert_eq!(cut(&mut client, ctime), None);
    assert_eq!(client.read(&file, 0, 10).unwrap(), (b"by".to_vec(), true));
}

#[test]
fn access_tells_what_the_caller_may_do() {
    let lab = lab();
    let mut client = lab.client();
    let root = client.mount("/share");
    let file = client.file(&root, "a");
    let all = 0x3F;
    let root_may = client.access(&file, all).unwrap();
    assert_eq!(root_may & (ACCESS3_READ | ACCESS3_MODIFY), ACCESS3_READ | ACCESS3_MODIFY);
    client.becomes(1000, 1000);
    assert_eq!(client.access(&file, all).unwrap(), ACCESS3_READ);
    assert_eq!(client.write(&file, 0, b"no", StableHow::Unstable).err(), Some(Nfsstat3::Acces));
}

#[test]
fn the_three_ways_to_create_differ_on_a_name_that_is_there() {
    let lab = lab();
    let mut client = lab.client();
    let root = client.mount("/share");
    let file = client.file(&root, "a");
    client.write(&file, 0, b"12345", StableHow::FileSync).unwrap();
    let guarded = Createhow3::Guarded(Sattr3::default());
    assert_eq!(client.create(&root, "a", guarded).err(), Some(Nfsstat3::Exist));
    let truncating = Sattr3 { size: Some(0), ..Sattr3::default() };
    assert_eq!(client.create(&root, "a", Createhow3::Unchecked(truncating)).unwrap(), file);
    assert_eq!(client.getattr(&file).unwrap().size, 0);
    let verf = Createverf3(*b"\xFF\0\x01verif");
    let made = client.create(&root, "x", Createhow3::Exclusive(verf)).unwrap();
    assert_eq!(client.create(&root, "x", Createhow3::Exclusive(verf)).unwrap(), made);
    let other = Createhow3::Exclusive(Createverf3(*b"\xFF\0\x01veriF"));
    assert_eq!(client.create(&root, "x", other).err(), Some(Nfsstat3::Exist));
}

#[test]
fn directories_are_made_listed_and_removed() {
    let lab = lab();
    let mut client = lab.client();
    let root = client.mount("/share");
    let dir = client.mkdir(&root, "d").unwrap();
    assert_eq!(client.getattr(&root).unwrap().nlink, 3);
    assert_eq!(client.lookup(&dir, "..").unwrap(), root);
    let file = client.file(&dir, "f");
    assert_eq!(client.rmdir(&root, "d").err(), Some(Nfsstat3::Notempty));
    let listed = client.readdirplus(&dir, 4096);
    let names: Vec<&str> = listed.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, [".", "..", "f"]);
    assert_eq!(listed[2].1, client.getattr(&file).unwrap());
    assert_eq!(listed[2].2, file);
    assert_eq!(client.remove(&root, "d").err(), Some(Nfsstat3::Isdir));
    let wcc = client.remove(&dir, "f").unwrap();
    assert!(wcc.before.is_some());
    assert_eq!(wcc.after, client.getattr(&dir).ok());
    client.rmdir(&root, "d").unwrap();
    assert_eq!(client.getattr(&dir).err(), Some(Nfsstat3::Stale));
    assert_eq!(client.getattr(&file).err(), Some(Nfsstat3::Stale));
    assert_eq!(client.lookup(&root, "d").err(), Some(Nfsstat3::Noent));
}

#[test]
fn a_listing_in_small_pages_shows_every_name_once() {
    let lab = lab();
    let mut client = lab.client();
    let root = client.mount("/share");
    let mut made: Vec<String> = (0..300).map(|number| format!("name-{number:04}")).collect();
    for name in &made {
        client.file(&root, name);
    }
    let (mut listed, mut cookie) = (Vec::new(), 0);
    loop {
        let (page, eof) = client.readdir(&root, cookie, 512).unwrap();
        assert!(eof || !page.is_empty());
        cookie = page.last().map_or(cookie, |entry| entry.1);
        listed.extend(page.into_iter().map(|entry| entry.0));
        if eof {
            break;
        }
    }
    made.extend([".".to_owned(), "..".to_owned()]);
    made.sort();
    listed.sort();
    assert_eq!(listed, made);
    assert_eq!(client.readdirplus(&root, 2048).len(), made.len());
    assert_eq!(client.readdir(&root, 0, 50).err(), Some(Nfsstat3::Toosmall));
}

#[test]
fn a_cookie_verifier_that_is_not_ours_is_a_bad_cookie() {
    let lab = lab();
    let mut client = lab.client();
    let root = client.mount("/share");
    let args = ReaddirArgs { dir: root.handle(), cookie: 1, cookieverf: Cookieverf3([1; 8]), count: 4096 };
    let bytes = client.results(PROGRAM, VERSION, Procedure::Readdir as u32, &args);
    assert_eq!(lab::decoded::<ReaddirRes<'_>>(&bytes).error(), Some(Nfsstat3::BadCookie));
}

#[test]
fn links_names_and_special_files_are_what_they_are() {
    let lab = lab();
    let mut client = lab.client();
    let root = client.mount("/share");
    let file = client.file(&root, "a");
    let linked = client.link(&file, &root, "b").unwrap();
    assert_eq!(linked.file_attributes.unwrap().nlink, 2);
    assert_eq!(client.lookup(&root, "b").unwrap(), file);

    let symlink = client.symlink(&root, "s", b"../some/where").unwrap();
    assert_eq!(client.readlink(&symlink).unwrap(), b"../some/where");
    assert_eq!(client.getattr(&symlink).unwrap().ftype, Ftype3::Lnk);
    assert_eq!(client.readlink(&file).err(), Some(Nfsstat3::Inval));

    let data = Devicedata3 { dev_attributes: Sattr3::default(), spec: Specdata3 { specdata1: 1, specdata2: 3 } };
    let device = client.mknod(&root, "null", Mknoddata3::Chr(data)).unwrap();
    let attr = client.getattr(&device).unwrap();
    assert_eq!((attr.ftype, attr.rdev), (Ftype3::Chr, data.spec));
    let fifo = client.mknod(&root, "fifo", Mknoddata3::Fifo(Sattr3::default())).unwrap();
    assert_eq!(client.getattr(&fifo).unwrap().ftype, Ftype3::Fifo);
    assert_eq!(client.mknod(&root, "no", Mknoddata3::Dir).err(), Some(Nfsstat3::Badtype));
}

#[test]
fn a_rename_moves_and_replaces() {
    let lab = lab();
    let mut client = lab.client();
    let root = client.mount("/share");
    let dir = client.mkdir(&root, "d").unwrap();
    let (one, two) = (client.file(&root, "one"), client.file(&dir, "two"));
    let moved = client.rename((&root, "one"), (&dir, "two")).unwrap();
    assert_eq!(moved.fromdir_wcc.after, client.getattr(&root).ok());
    assert_eq!(moved.todir_wcc.after, client.getattr(&dir).ok());
    assert_eq!(client.lookup(&dir, "two").unwrap(), one);
    assert_eq!(client.lookup(&root, "one").err(), Some(Nfsstat3::Noent));
    assert_eq!(client.getattr(&two).err(), Some(Nfsstat3::Stale));
    assert_eq!(client.rename((&root, "d"), (&dir, "d")).err(), Some(Nfsstat3::Inval));
}

#[test]
fn the_limits_of_the_server_are_told() {
    let lab = lab();
    let mut client = lab.client();
    let root = client.mount("/share");
    let info = client.fsinfo(&root).unwrap();
    assert_eq!((info.rtmax, info.wtmax), (1 << 20, 1 << 20));
    assert_eq!(info.maxfilesize, i64::MAX as u64);
    let conf = client.pathconf(&root).unwrap();
    assert_eq!((conf.linkmax, conf.name_max), (65_000, 255));
    assert!(conf.no_trunc && conf.chown_restricted && conf.case_preserving && !conf.case_insensitive);
    let stat = client.fsstat(&root).unwrap();
    assert!(stat.abytes > 0 && stat.abytes <= stat.fbytes && stat.fbytes <= stat.tbytes);
}

#[test]
fn a_read_only_share_refuses_every_change() {
    let mut setup = Setup::default();
    setup.shares[0].1 = Access::ReadOnly;
    let lab = Lab::new(setup);
    let mut client = lab.client();
    let root = client.mount("/share");
    assert_eq!(client.mkdir(&root, "d").err(), Some(Nfsstat3::Rofs));
    assert_eq!(client.setattr(&root, Sattr3::default()).err(), Some(Nfsstat3::Rofs));
    assert_eq!(client.rename((&root, "a"), (&root, "b")).err(), Some(Nfsstat3::Rofs));
    assert_eq!(client.access(&root, 0x3F).unwrap(), ACCESS3_READ | ACCESS3_LOOKUP);
}

#[test]
fn root_is_squashed_by_a_share_that_says_so() {
    let mut setup = Setup::default();
    setup.shares[0].2 = Squash::Root;
    let lab = Lab::new(setup);
    let mut client = lab.client();
    let root = client.mount("/share");
    assert_eq!(client.mkdir(&root, "d").err(), Some(Nfsstat3::Acces));
}

#[test]
fn nothing_is_moved_or_linked_between_two_shares() {
    let mut setup = Setup::default();
    setup.shares.push(("/other", Access::ReadWrite, Squash::None));
    let lab = Lab::new(setup);
    let mut client = lab.client();
    let (root, other) = (client.mount("/share"), client.mount("/other"));
    let file = client.file(&root, "a");
    assert_eq!(client.rename((&root, "a"), (&other, "a")).err(), Some(Nfsstat3::Xdev));
    assert_eq!(client.link(&file, &other, "a").err(), Some(Nfsstat3::Xdev));
    assert_ne!(client.getattr(&root).unwrap().fsid, client.getattr(&other).unwrap().fsid);
}
