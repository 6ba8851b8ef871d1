//! The rules of each verb.

use super::rig::*;
use crate::cred::Cred;
use crate::inode::{FileId, Ino, Kind, LogAttr};
use crate::ledger::command::{CreateHow, SetAttr, SetTime, Verb, Wcc};
use crate::ledger::verbs::LINK_MAX;
use crate::live::Stamp;
use crate::status::Status;
use cache::extent::Place;
use cache::world::Time;
use std::borrow::Cow;

const ANN: u32 = 1000;
const BOB: u32 = 2000;

fn ann() -> Cred {
    Cred::new(ANN, 100, &[101])
}

fn bob() -> Cred {
    Cred::new(BOB, 200, &[])
}

fn changed(wcc: Option<Wcc>) -> (u64, u64) {
    let wcc = wcc.unwrap();
    let (before, after) = (wcc.before.unwrap(), wcc.after.unwrap());
    assert!(after.change > before.change);
    assert!(after.ctime > before.ctime);
    assert_eq!(after.mtime, after.ctime);
    (before.entries, after.entries)
}

#[test]
fn create_makes_a_file_of_the_caller() {
    let mut rig = Rig::new();
    let root = rig.root();
    let answer = rig.ok_as(ann(), create(root, "f", CreateHow::Guarded, 0o640));
    let file = answer.object.unwrap();
    assert_eq!((file.kind, file.mode, file.uid, file.gid, file.nlink), (Kind::File, 0o640, ANN, 100, 1));
    assert_eq!((file.size, file.used, answer.existed), (0, 0, false));
    assert_eq!(file.ctime, file.mtime);
    assert_eq!(changed(answer.dir), (0, 1));
    assert_eq!(rig.find(root, "f"), Some(file));
    assert_eq!(rig.attr(root), answer.dir.unwrap().after.unwrap());
}

#[test]
fn create_unchecked_answers_the_file_that_is_there() {
    let mut rig = Rig::new();
    let root = rig.root();
    let dir = rig.mkdir(root, "d", 0o755).id();
    let file = rig.file(dir, "f", 0o644);
    // The directory cannot be written by her, which is no matter.
    let answer = rig.ok_as(ann(), create(dir, "f", CreateHow::Unchecked, 0o600));
    assert!(answer.existed);
    assert_eq!(answer.object, Some(file), "its attributes are untouched");
    assert_eq!(rig.refused(ann(), create(dir, "g", CreateHow::Unchecked, 0o600)), Status::Access);
}

#[test]
fn create_over_something_that_is_no_file_is_refused() {
    let mut rig = Rig::new();
    let root = rig.root();
    rig.mkdir(root, "d", 0o755);
    rig.ok(symlink(root, "l", b"x"));
    for at in ["d", "l"] {
        for how in [CreateHow::Unchecked, CreateHow::Guarded, CreateHow::Exclusive([0; 8])] {
            assert_eq!(rig.refused(Cred::root(), create(root, at, how, 0o600)), Status::Exist);
        }
    }
}

#[test]
fn exclusive_create_knows_all_eight_bytes_also_after_a_crash() {
    let mut rig = Rig::new();
    let root = rig.root();
    let how = CreateHow::Exclusive(*b"12345678");
    let made = rig.ok(create(root, "f", how, 0)).object.unwrap();
    rig.chmod(made.id(), 0o644);
    let mut rig = rig.crash();
    let answer = rig.ok(create(root, "f", how, 0));
    assert!(answer.existed);
    assert_eq!(answer.object.unwrap().id(), made.id());
    for byte in 0..8 {
        let mut other = *b"12345678";
        other[byte] ^= 1;
        let verb = create(root, "f", CreateHow::Exclusive(other), 0);
        assert_eq!(rig.refused(Cred::root(), verb), Status::Exist, "byte {byte}");
    }
}

#[test]
fn guarded_create_refuses_a_name_that_is_taken() {
    let mut rig = Rig::new();
    let root = rig.root();
    rig.file(root, "f", 0o644);
    let before = rig.attr(root);
    let answer = rig.ask(Cred::root(), create(root, "f", CreateHow::Guarded, 0));
    assert_eq!(answer.status, Err(Status::Exist));
    assert_eq!(answer.dir, Some(Wcc { before: Some(before), after: Some(before) }));
    assert_eq!(rig.attr(root), before);
}

#[test]
fn only_root_makes_files_for_others() {
    let mut rig = Rig::new();
    let root = rig.root();
    let attr = SetAttr { mode: Some(0o600), uid: Some(BOB), gid: Some(5), ..SetAttr::default() };
    let verb = |at| Verb::Create { dir: root, name: name(at), how: CreateHow::Guarded, attr };
    let file = rig.ok(verb("a")).object.unwrap();
    assert_eq!((file.uid, file.gid), (BOB, 5));
    let file = rig.ok_as(ann(), verb("b")).object.unwrap();
    assert_eq!((file.uid, file.gid), (ANN, 100));
}

#[test]
fn times_are_set_as_the_client_asks() {
    let mut rig = Rig::new();
    let root = rig.root();
    let long_ago = Time { secs: 5, nanos: 6 };
    let attr = SetAttr { atime: Some(SetTime::Client(long_ago)), mtime: Some(SetTime::Server), ..SetAttr::default() };
    let verb = Verb::Create { dir: root, name: name("f"), how: CreateHow::Guarded, attr };
    let file = rig.ok(verb).object.unwrap();
    assert_eq!((file.atime, file.mtime), (long_ago, file.ctime));
}

#[test]
fn a_set_group_id_directory_hands_its_group_on() {
    let mut rig = Rig::new();
    let root = rig.root();
    let dir = rig.mkdir(root, "d", 0o777).id();
    rig.chown(dir, 0, 555);
    rig.chmod(dir, 0o2777);
    let file = rig.ok_as(ann(), create(dir, "f", CreateHow::Guarded, 0o2755)).object.unwrap();
    assert_eq!((file.gid, file.mode), (555, 0o755), "she is not in the group");
    let member = Cred::new(ANN, 100, &[555]);
    let file = rig.ok_as(member, create(dir, "g", CreateHow::Guarded, 0o2755)).object.unwrap();
    assert_eq!((file.gid, file.mode), (555, 0o2755));
    let sub = rig.ok_as(ann(), mkdir(dir, "s", 0o755)).object.unwrap();
    assert_eq!((sub.gid, sub.mode), (555, 0o2755));
    let plain = rig.ok_as(ann(), mkdir(root, "p", 0o2755)).object.unwrap();
    assert_eq!((plain.gid, plain.mode), (100, 0o755), "MKDIR makes no set-group-id bit");
}

#[test]
fn mkdir_links_the_parent() {
    let mut rig = Rig::new();
    let root = rig.root();
    let answer = rig.ok_as(ann(), mkdir(root, "d", 0o1750));
    let dir = answer.object.unwrap();
    assert_eq!((dir.kind, dir.mode, dir.nlink, dir.parent), (Kind::Directory, 0o1750, 2, root.ino));
    assert_eq!(changed(answer.dir), (0, 1));
    assert_eq!(rig.attr(root).nlink, 3);
    assert_eq!(rig.refused(ann(), mkdir(root, "d", 0o755)), Status::Exist);
}

#[test]
fn making_needs_write_and_search_permission() {
    let mut rig = Rig::new();
    let root = rig.root();
    for (at, mode) in [("a", 0o755), ("b", 0o776), ("c", 0o774)] {
        let dir = rig.mkdir(root, at, mode).id();
        rig.file(dir, "there", 0o644);
        for verb in [
            create(dir, "f", CreateHow::Unchecked, 0o644),
            mkdir(dir, "f", 0o755),
            symlink(dir, "f", b"x"),
            Verb::Mknod { dir, name: name("f"), attr: mode_of(0o644), kind: Kind::Fifo, rdev: (0, 0) },
            remove(dir, "there"),
            rename(dir, "there", dir, "f"),
        ] {
            assert_eq!(rig.refused(bob(), verb.clone()), Status::Access, "{at} {verb:?}");
        }
    }
}

fn mode_of(bits: u32) -> SetAttr {
    mode(bits)
}

#[test]
fn what_is_there_is_said_before_what_is_permitted() {
    let mut rig = Rig::new();
    let root = rig.root();
    let dir = rig.mkdir(root, "d", 0o755).id();
    rig.file(dir, "f", 0o644);
    assert_eq!(rig.refused(bob(), mkdir(dir, "f", 0o755)), Status::Exist);
    assert_eq!(rig.refused(bob(), remove(dir, "missing")), Status::NoEnt);
    assert_eq!(rig.refused(bob(), remove(dir, "f")), Status::Access);
}

#[test]
fn a_symbolic_link_keeps_its_target() {
    let mut rig = Rig::new();
    let root = rig.root();
    let target = [b'/'; 4095];
    let link = rig.ok_as(ann(), symlink(root, "l", &target)).object.unwrap();
    assert_eq!((link.kind, link.mode, link.size), (Kind::Symlink, 0o777, 4095));
    assert_eq!(rig.reader.target(link.ino), Ok(Some(Cow::Borrowed(&target[..]))));
    rig.ok(remove(root, "l"));
    assert_eq!(rig.reader.target(link.ino), Ok(None));
    assert_eq!(rig.refused(ann(), symlink(root, "m", b"")), Status::Inval);
    assert_eq!(rig.refused(ann(), symlink(root, "m", b"a\0b")), Status::Inval);
    assert_eq!(rig.refused(ann(), symlink(root, "m", &[b'x'; 4096])), Status::NameTooLong);
    assert_eq!(rig.list(root), []);
}

#[test]
fn devices_are_made_by_root_alone() {
    let mut rig = Rig::new();
    let root = rig.root();
    let verb = |at, kind| Verb::Mknod { dir: root, name: name(at), attr: mode(0o600), kind, rdev: (8, 1) };
    assert_eq!(rig.refused(ann(), verb("b", Kind::BlockDevice)), Status::Perm);
    let device = rig.ok(verb("b", Kind::BlockDevice)).object.unwrap();
    assert_eq!((device.kind, device.rdev), (Kind::BlockDevice, (8, 1)));
    let fifo = rig.ok_as(ann(), verb("p", Kind::Fifo)).object.unwrap();
    assert_eq!((fifo.kind, fifo.rdev), (Kind::Fifo, (0, 0)));
    rig.ok_as(ann(), verb("s", Kind::Socket));
    for kind in [Kind::File, Kind::Directory, Kind::Symlink] {
        assert_eq!(rig.refused(Cred::root(), verb("x", kind)), Status::BadType);
    }
}

#[test]
fn remove_takes_a_name_and_with_the_last_one_the_file() {
    let mut rig = Rig::new();
    let root = rig.root();
    let file = rig.file(root, "a", 0o644);
    rig.ok(link(file.id(), root, "b"));
    assert_eq!(changed(rig.ok(remove(root, "a")).dir), (2, 1));
    let left = rig.attr(file.id());
    assert_eq!(left.nlink, 1);
    assert!(left.ctime > file.ctime);
    assert_eq!(left.mtime, file.mtime);
    rig.ok(remove(root, "b"));
    assert_eq!(rig.reader.object(file.id()), Err(Status::Stale));
    assert_eq!(rig.refused(Cred::root(), setattr(file.id(), mode(0o600))), Status::Stale);
    assert_eq!(rig.refused(Cred::root(), remove(root, "b")), Status::NoEnt);
}

#[test]
fn remove_and_rmdir_tell_files_from_directories() {
    let mut rig = Rig::new();
    let root = rig.root();
    let dir = rig.mkdir(root, "d", 0o755).id();
    rig.file(root, "f", 0o644);
    assert_eq!(rig.refused(Cred::root(), remove(root, "d")), Status::IsDir);
    assert_eq!(rig.refused(Cred::root(), rmdir(root, "f")), Status::NotDir);
    rig.file(dir, "x", 0o644);
    assert_eq!(rig.refused(Cred::root(), rmdir(root, "d")), Status::NotEmpty);
    rig.ok(remove(dir, "x"));
    assert_eq!(changed(rig.ok(rmdir(root, "d")).dir), (2, 1));
    assert_eq!(rig.attr(root).nlink, 2);
    assert_eq!(rig.refused(Cred::root(), create(dir, "y", CreateHow::Guarded, 0)), Status::Stale);
}

#[test]
fn a_file_is_no_directory() {
    let mut rig = Rig::new();
    let root = rig.root();
    let file = rig.file(root, "f", 0o777).id();
    for verb in [
        create(file, "x", CreateHow::Guarded, 0),
        mkdir(file, "x", 0),
        remove(file, "x"),
        rmdir(file, "x"),
        rename(file, "x", root, "y"),
        rename(root, "f", file, "y"),
        link(file, file, "x"),
    ] {
        assert_eq!(rig.refused(Cred::root(), verb.clone()), Status::NotDir, "{verb:?}");
    }
}

#[test]
fn another_generation_is_stale() {
    let mut rig = Rig::new();
    let root = rig.root();
    let file = rig.file(root, "f", 0o644).id();
    let stale = FileId { generation: file.generation + 1, ..file };
    assert_eq!(rig.refused(Cred::root(), setattr(stale, mode(0))), Status::Stale);
    assert_eq!(rig.refused(Cred::root(), link(stale, root, "g")), Status::Stale);
    let nowhere = FileId { ino: Ino(99), generation: 1 };
    assert_eq!(rig.refused(Cred::root(), mkdir(nowhere, "d", 0)), Status::Stale);
}

#[test]
fn a_sticky_directory_protects_names_from_others() {
    let mut rig = Rig::new();
    let root = rig.root();
    let dir = rig.mkdir(root, "tmp", 0o777).id();
    rig.chmod(dir, 0o1777);
    rig.ok_as(ann(), create(dir, "f", CreateHow::Guarded, 0o666));
    rig.ok_as(bob(), create(dir, "g", CreateHow::Guarded, 0o666));
    assert_eq!(rig.refused(bob(), remove(dir, "f")), Status::Perm);
    assert_eq!(rig.refused(bob(), rename(dir, "f", root, "f")), Status::Perm);
    assert_eq!(rig.refused(bob(), rename(dir, "g", dir, "f")), Status::Perm, "over hers");
    rig.ok_as(ann(), rename(dir, "f", dir, "h"));
    rig.ok_as(ann(), remove(dir, "h"));
    rig.ok(remove(dir, "g"));
}

#[test]
fn rename_moves_a_name() {
    let mut rig = Rig::new();
    let root = rig.root();
    let (a, b) = (rig.mkdir(root, "a", 0o777).id(), rig.mkdir(root, "b", 0o777).id());
    let file = rig.file(a, "f", 0o644);
    let answer = rig.ok_as(ann(), rename(a, "f", b, "g"));
    assert_eq!((changed(answer.dir), changed(answer.to_dir)), ((1, 0), (0, 1)));
    let moved = rig.find(b, "g").unwrap();
    assert_eq!(moved.id(), file.id());
    assert!(moved.ctime > file.ctime && moved.mtime == file.mtime);
    assert_eq!(rig.find(a, "f"), None);
    let answer = rig.ok(rename(b, "g", b, "h"));
    assert_eq!(answer.dir, answer.to_dir);
    assert_eq!(changed(answer.dir), (1, 1));
}

#[test]
fn rename_replaces_what_posix_lets_it() {
    let mut rig = Rig::new();
    let root = rig.root();
    let file = rig.file(root, "f", 0o644);
    let target = rig.file(root, "t", 0o644);
    rig.ok(link(target.id(), root, "t2"));
    let dir = rig.mkdir(root, "d", 0o755);
    let full = rig.mkdir(root, "full", 0o755);
    rig.file(full.id(), "x", 0o644);
    rig.mkdir(root, "empty", 0o755);
    let root_cred = Cred::root();
    assert_eq!(rig.refused(root_cred, rename(root, "f", root, "d")), Status::IsDir);
    assert_eq!(rig.refused(root_cred, rename(root, "d", root, "f")), Status::NotDir);
    assert_eq!(rig.refused(root_cred, rename(root, "d", root, "full")), Status::NotEmpty);
    assert_eq!(rig.refused(root_cred, rename(root, "none", root, "f")), Status::NoEnt);

    let answer = rig.ok(rename(root, "f", root, "t"));
    assert_eq!(changed(answer.dir), (6, 5));
    assert_eq!(rig.find(root, "t").unwrap().id(), file.id());
    assert_eq!(rig.attr(target.id()).nlink, 1, "one of its names is left");

    let links = rig.attr(root).nlink;
    rig.ok(rename(root, "d", root, "empty"));
    assert_eq!(rig.find(root, "empty").unwrap().id(), dir.id());
    assert_eq!(rig.attr(root).nlink, links - 1);
}

#[test]
fn rename_of_a_directory_moves_its_parent_link() {
    let mut rig = Rig::new();
    let root = rig.root();
    let (a, b) = (rig.mkdir(root, "a", 0o755).id(), rig.mkdir(root, "b", 0o755).id());
    let dir = rig.mkdir(a, "d", 0o755).id();
    rig.mkdir(b, "d", 0o755);
    rig.ok(rename(a, "d", b, "d"));
    assert_eq!(rig.attr(dir).parent, b.ino);
    assert_eq!((rig.attr(a).nlink, rig.attr(b).nlink), (2, 3), "over an empty directory");
    rig.ok(rename(b, "d", root, "d"));
    assert_eq!((rig.attr(b).nlink, rig.attr(root).nlink), (2, 5));
}

#[test]
fn a_directory_cannot_move_into_itself() {
    let mut rig = Rig::new();
    let root = rig.root();
    let a = rig.mkdir(root, "a", 0o755).id();
    let b = rig.mkdir(a, "b", 0o755).id();
    let c = rig.mkdir(b, "c", 0o755).id();
    for into in [a, b, c] {
        assert_eq!(rig.refused(Cred::root(), rename(root, "a", into, "x")), Status::Inval);
    }
    assert_eq!(rig.refused(Cred::root(), rename(b, "c", root, "a")), Status::NotEmpty, "over an ancestor");
}

#[test]
fn renaming_one_name_of_a_file_to_another_changes_nothing() {
    let mut rig = Rig::new();
    let root = rig.root();
    let file = rig.file(root, "a", 0o644).id();
    rig.ok(link(file, root, "b"));
    let before = (rig.attr(root), rig.attr(file), rig.list(root));
    rig.ok(rename(root, "a", root, "b"));
    rig.ok(rename(root, "a", root, "a"));
    assert_eq!(before, (rig.attr(root), rig.attr(file), rig.list(root)));
}

#[test]
fn moving_a_directory_to_another_parent_needs_permission_to_write_it() {
    let mut rig = Rig::new();
    let root = rig.root();
    let (a, b) = (rig.mkdir(root, "a", 0o777).id(), rig.mkdir(root, "b", 0o777).id());
    let dir = rig.mkdir(a, "d", 0o755).id();
    assert_eq!(rig.refused(ann(), rename(a, "d", b, "d")), Status::Access, "its `..` would change");
    rig.ok_as(ann(), rename(a, "d", a, "e"));
    rig.chmod(dir, 0o777);
    rig.ok_as(ann(), rename(a, "e", b, "d"));
}

#[test]
fn link_counts_names() {
    let mut rig = Rig::new();
    let root = rig.root();
    let file = rig.file(root, "a", 0o644);
    let answer = rig.ok_as(ann(), link(file.id(), root, "b"));
    let linked = answer.object.unwrap();
    assert_eq!(linked.nlink, 2);
    assert!(linked.ctime > file.ctime && linked.mtime == file.mtime);
    assert_eq!(changed(answer.dir), (1, 2));
    assert_eq!(rig.find(root, "b"), Some(linked));
    assert_eq!(rig.refused(ann(), link(file.id(), root, "b")), Status::Exist);
    let dir = rig.mkdir(root, "d", 0o755).id();
    assert_eq!(rig.refused(Cred::root(), link(dir, root, "e")), Status::Perm);
}

#[test]
fn a_file_has_at_most_so_many_names() {
    let mut rig = Rig::new();
    let root = rig.root();
    let file = rig.file(root, "f", 0o644).id();
    let mut at = 1;
    while at < LINK_MAX {
        let jobs: Vec<_> = (at..LINK_MAX.min(at + 8192))
            .map(|index| rig.job_of(Cred::root(), None, link(file, root, &format!("n{index}"))))
            .collect();
        at += jobs.len() as u32;
        rig.jobs(&jobs);
    }
    assert_eq!(rig.attr(file).nlink, LINK_MAX);
    assert_eq!(rig.refused(Cred::root(), link(file, root, "one too many")), Status::TooManyLinks);
    rig.ok(remove(root, "n1"));
    rig.ok(link(file, root, "again"));
}

#[test]
fn mode_and_times_are_the_owners_to_set() {
    let mut rig = Rig::new();
    let root = rig.root();
    let file = rig.ok_as(ann(), create(root, "f", CreateHow::Guarded, 0o600)).object.unwrap();
    let client = SetAttr { mtime: Some(SetTime::Client(Time { secs: 1, nanos: 2 })), ..SetAttr::default() };
    let server = SetAttr { atime: Some(SetTime::Server), ..SetAttr::default() };
    assert_eq!(rig.refused(bob(), setattr(file.id(), mode(0o666))), Status::Perm);
    assert_eq!(rig.refused(bob(), setattr(file.id(), client)), Status::Perm);
    assert_eq!(rig.refused(bob(), setattr(file.id(), server)), Status::Access);
    let answer = rig.ok_as(ann(), setattr(file.id(), client));
    assert_eq!(answer.before, Some(file));
    let after = answer.object.unwrap();
    assert_eq!(after.mtime, Time { secs: 1, nanos: 2 });
    assert!(after.ctime > file.ctime && after.change > file.change);
    rig.chmod(file.id(), 0o662);
    rig.ok_as(bob(), setattr(file.id(), server));
    assert_eq!(rig.refused(bob(), setattr(file.id(), client)), Status::Perm, "writing is not enough");
}

#[test]
fn only_root_gives_files_away() {
    let mut rig = Rig::new();
    let root = rig.root();
    let file = rig.ok_as(ann(), create(root, "f", CreateHow::Guarded, 0o600)).object.unwrap().id();
    let uid = |uid| setattr(file, SetAttr { uid: Some(uid), ..SetAttr::default() });
    let gid = |gid| setattr(file, SetAttr { gid: Some(gid), ..SetAttr::default() });
    assert_eq!(rig.refused(ann(), uid(BOB)), Status::Perm);
    rig.ok_as(ann(), uid(ANN));
    assert_eq!(rig.refused(bob(), uid(ANN)), Status::Perm, "also where nothing would change");
    assert_eq!(rig.refused(ann(), gid(200)), Status::Perm);
    assert_eq!(rig.ok_as(ann(), gid(101)).object.unwrap().gid, 101);
    assert_eq!(rig.refused(bob(), gid(200)), Status::Perm, "not his");
    assert_eq!(rig.ok(uid(BOB)).object.unwrap().uid, BOB);
}

#[test]
fn a_change_of_hands_takes_set_id_bits_away() {
    let mut rig = Rig::new();
    let root = rig.root();
    let file = rig.ok_as(ann(), create(root, "f", CreateHow::Guarded, 0o700)).object.unwrap().id();
    let gid = |mode| SetAttr { gid: Some(101), mode, ..SetAttr::default() };
    rig.chmod(file, 0o6775);
    assert_eq!(rig.ok_as(ann(), setattr(file, gid(None))).object.unwrap().mode, 0o775);
    rig.chmod(file, 0o6765);
    let mode = rig.ok_as(ann(), setattr(file, gid(None))).object.unwrap().mode;
    assert_eq!(mode, 0o2765, "without execution for the group it means locking");
    let mode = rig.ok_as(ann(), setattr(file, gid(Some(0o6755)))).object.unwrap().mode;
    assert_eq!(mode, 0o755, "also from a mode that is set with it");
    let dir = rig.mkdir(root, "d", 0o755).id();
    rig.chmod(dir, 0o2755);
    assert_eq!(rig.chown(dir, ANN, 100).mode, 0o2755, "a directory keeps them");
}

#[test]
fn set_group_id_is_for_members_of_the_group() {
    let mut rig = Rig::new();
    let root = rig.root();
    let file = rig.file(root, "f", 0o755).id();
    rig.chown(file, ANN, 999);
    let after = rig.ok_as(ann(), setattr(file, mode(0o2755))).object.unwrap();
    assert_eq!(after.mode, 0o755);
    rig.chown(file, ANN, 101);
    assert_eq!(rig.ok_as(ann(), setattr(file, mode(0o2755))).object.unwrap().mode, 0o2755);
}

#[test]
fn the_guard_must_match() {
    let mut rig = Rig::new();
    let root = rig.root();
    let file = rig.file(root, "f", 0o644);
    let guarded = |guard| Verb::Setattr { file: file.id(), attr: mode(0o600), guard: Some(guard) };
    let wrong = Time { nanos: file.ctime.nanos + 1, ..file.ctime };
    let answer = rig.ask(Cred::root(), guarded(wrong));
    assert_eq!(answer.status, Err(Status::NotSync));
    assert_eq!((answer.before, answer.object), (Some(file), Some(file)));
    rig.ok(guarded(file.ctime));
    assert_eq!(rig.refused(Cred::root(), guarded(file.ctime)), Status::NotSync);
}

#[test]
fn setting_nothing_changes_nothing() {
    let mut rig = Rig::new();
    let root = rig.root();
    let file = rig.file(root, "f", 0o644);
    let commit = rig.reader.commit();
    let attr = SetAttr { size: Some(7), ..SetAttr::default() };
    let answer = rig.ok_as(bob(), setattr(file.id(), attr));
    assert_eq!((answer.before, answer.object), (Some(file), Some(file)));
    assert_eq!(rig.reader.commit(), commit, "there was nothing to commit");
}

#[test]
fn a_symbolic_link_keeps_its_mode() {
    let mut rig = Rig::new();
    let root = rig.root();
    let link = rig.ok(symlink(root, "l", b"x")).object.unwrap();
    assert_eq!(rig.chmod(link.id(), 0o600).mode, 0o777);
    assert_eq!(rig.chown(link.id(), ANN, 100).uid, ANN);
}

/// What the log says of a file shows in every answer, and what the ledger changes stays.
#[test]
fn the_logs_view_of_a_file_is_taken_over_without_its_size() {
    let mut rig = Rig::new();
    let root = rig.root();
    let file = rig.file(root, "f", 0o4777);
    let wrote = Time { secs: 9_000, nanos: 1 };
    rig.shared.table.with(file.ino, |stripe| {
        let lsn = rig.shared.lsn();
        let stamp = Stamp { lsn, now: wrote, core: 0, position: 1, clears_setid: true };
        let (live, inode) = stripe.entry(file.ino).unwrap().live_mut();
        live.write(inode, 0, 10, Place::Hole, stamp);
    });
    let linked = rig.ok(link(file.id(), root, "g")).object.unwrap();
    assert_eq!((linked.size, linked.mtime, linked.mode), (10, wrote, 0o777));
    let stored = rig.attr(file.id());
    assert_eq!((stored.size, stored.mtime, stored.mode), (0, wrote, 0o777), "the extents are not here yet");
    let chmod = rig.chmod(file.id(), 0o4755);
    assert_eq!((chmod.size, chmod.mode), (10, 0o4755), "the later change wins");
    let seen = rig.shared.table.attr(file.ino).unwrap();
    assert_eq!((seen.size, seen.mode, seen.mtime), (10, 0o4755, wrote));
}

#[test]
fn an_overlay_with_an_older_change_leaves_the_rest_alone() {
    let mut rig = Rig::new();
    let root = rig.root();
    let mut file = rig.file(root, "f", 0o644);
    let (mtime, change) = (file.mtime, file.change);
    let log = LogAttr { size: 5, mtime: Time::default(), ctime: Time::default(), change: 1, clears_setid: true };
    file.overlay(&log);
    assert_eq!((file.size, file.mtime, file.change), (5, mtime, change));
}

#[test]
fn names_are_checked_before_they_get_here() {
    use crate::ledger::command::Name;
    assert_eq!(Name::new(&[b'x'; 256]).unwrap_err(), Status::NameTooLong);
    assert_eq!(Name::new(b"").unwrap_err(), Status::Access);
    assert_eq!(Name::new(b"a/b").unwrap_err(), Status::Access);
    assert_eq!(Name::new(b"a\0").unwrap_err(), Status::Access);
    assert_eq!(Name::new(b"..").unwrap_err(), Status::Inval);
    let mut rig = Rig::new();
    let root = rig.root();
    let long = "x".repeat(255);
    let file = rig.file(root, &long, 0o644);
    assert_eq!(rig.find(root, &long), Some(file));
}

#[test]
fn a_refused_request_leaves_no_trace_among_others() {
    let mut rig = Rig::new();
    let root = rig.root();
    rig.file(root, "f", 0o644);
    let jobs: Vec<_> = [
        create(root, "a", CreateHow::Guarded, 0o644),
        create(root, "f", CreateHow::Guarded, 0o644),
        rmdir(root, "f"),
        create(root, "b", CreateHow::Guarded, 0o644),
        rename(root, "missing", root, "a"),
    ]
    .map(|verb| rig.job_of(Cred::root(), None, verb))
    .into();
    let answers: Vec<_> = rig.jobs(&jobs).into_iter().map(|done| answer(done).status).collect();
    let expected = [Ok(()), Err(Status::Exist), Err(Status::NotDir), Ok(()), Err(Status::NoEnt)];
    assert_eq!(answers, expected);
    let names: Vec<_> = rig.list(root).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["f", "a", "b"]);
    assert_eq!(rig.attr(root).entries, 3);
}
