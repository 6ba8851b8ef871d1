//! The namespace verbs through a core: names, dots, lengths that go with CREATE, listings, space.

use super::rig::{Rig, all, options, put};
use crate::cred::Cred;
use crate::fs::ask::Asker;
use crate::fs::readdir::{Detail, Listing, Taken, readdir};
use crate::fs::statfs::statfs;
use crate::fs::write::Stability;
use crate::fs::{Fs, Step, create, link, lookup, mkdir, mknod, readlink, remove, rename, rmdir, setattr, symlink};
use crate::inode::{FileId, Inode, Kind, ROOT};
use crate::ledger::command::{Answer, Ask, CreateHow, Done, Job, Name, ReplayKey, SetAttr, Verb};
use crate::status::Status;
use futures_util::future::{Either, select};
use futures_util::poll;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const TOP: FileId = FileId { ino: ROOT, generation: 1 };

fn root() -> Asker {
    Asker { cred: Cred::root(), replay: None }
}

fn rig() -> Rig {
    Rig::new(11, options(1, 64 << 20))
}

fn attr(mode: u32) -> SetAttr {
    SetAttr { mode: Some(mode), ..SetAttr::default() }
}

fn done(rig: &Rig, step: Step<Answer>) -> Answer {
    rig.world.run_until(step.wait())
}

fn file(rig: &Rig, dir: FileId, name: &[u8], bytes: &[u8]) -> Inode {
    let made = create::create(&rig.fs[0], &root(), dir, name, CreateHow::Guarded, attr(0o644));
    let file = done(rig, made).object.unwrap();
    let fs = rig.fs[0].clone();
    let bytes = bytes.to_vec();
    rig.world.run_until(async move { put(&fs, file.id(), 0, &bytes, Stability::FileSync).await.unwrap() });
    file
}

fn contents(rig: &Rig, id: FileId) -> Vec<u8> {
    let fs = rig.fs[0].clone();
    rig.world.run_until(async move { all(&fs, id).await.unwrap() })
}

fn truncating(rig: &Rig, asker: &Asker, name: &[u8]) -> Answer {
    let attr = SetAttr { size: Some(0), ..SetAttr::default() };
    done(rig, create::create(&rig.fs[0], asker, TOP, name, CreateHow::Unchecked, attr))
}

fn list(fs: &Fs, cred: &Cred, dir: FileId, cookie: u64, detail: Detail, count: usize) -> (Vec<(u64, String)>, Listing) {
    let mut names = Vec::new();
    let listing = readdir(fs, cred, dir, cookie, detail, |entry| {
        if names.len() == count {
            return Taken::No;
        }
        assert!(entry.object.is_none_or(|object| object.ino == entry.ino));
        let mark = if entry.object.is_some() { "+" } else { "" };
        names.push((entry.cookie, format!("{}{mark}", String::from_utf8_lossy(entry.name))));
        Taken::Yes
    });
    (names, listing)
}

#[test]
fn dots_are_refused_as_the_rfc_says() {
    let rig = rig();
    let fs = &rig.fs[0];
    let some = file(&rig, TOP, b"f", b"");
    let fifo = |name| mknod::mknod(fs, &root(), TOP, name, attr(0), Kind::Fifo, (0, 0));
    let refusals = |name: &'static [u8]| {
        [
            create::create(fs, &root(), TOP, name, CreateHow::Unchecked, attr(0)),
            mkdir::mkdir(fs, &root(), TOP, name, attr(0)),
            symlink::symlink(fs, &root(), TOP, name, attr(0), b"x"),
            fifo(name),
            link::link(fs, &root(), some.id(), TOP, name),
            remove::remove(fs, &root(), TOP, name),
            rmdir::rmdir(fs, &root(), TOP, name),
            rename::rename(fs, &root(), (TOP, name), (TOP, b"x")),
            rename::rename(fs, &root(), (TOP, b"f"), (TOP, name)),
        ]
        .map(|step| done(&rig, step))
    };
    let exist = Err(Status::Exist);
    let inval = Err(Status::Inval);
    for (name, of_rmdir) in [(&b"."[..], inval), (b"..", exist)] {
        let answers = refusals(name);
        let expected = [exist, exist, exist, exist, exist, Err(Status::IsDir), of_rmdir, inval, inval];
        assert_eq!(answers.map(|answer| answer.status), expected);
        let top = fs.attr(TOP).unwrap();
        for answer in answers {
            assert_eq!(answer.dir.and_then(|wcc| wcc.after), Some(top), "the directory as it is");
        }
    }
    for (name, status) in [
        (&b""[..], Status::Access),
        (b"a/b", Status::Access),
        (b"a\0", Status::Access),
        (&[b'x'; 256], Status::NameTooLong),
    ] {
        let answers = [
            mkdir::mkdir(fs, &root(), TOP, name, attr(0)),
            rmdir::rmdir(fs, &root(), TOP, name),
            rename::rename(fs, &root(), (TOP, b"f"), (TOP, name)),
        ];
        for step in answers {
            assert_eq!(done(&rig, step).status, Err(status), "{name:?}");
        }
        assert_eq!(lookup::lookup(fs, &Cred::root(), TOP, name), Err(status), "{name:?}");
    }
}

#[test]
fn a_name_that_is_refused_says_first_what_is_wrong_with_the_directory() {
    let rig = rig();
    let fs = &rig.fs[0];
    let some = file(&rig, TOP, b"f", b"").id();
    let gone = FileId { generation: 77, ..some };
    let make = |dir| done(&rig, mkdir::mkdir(fs, &root(), dir, b".", attr(0))).status;
    assert_eq!(make(some), Err(Status::NotDir));
    assert_eq!(make(gone), Err(Status::Stale));
}

#[test]
fn lookup_finds_what_is_there_as_it_is_now() {
    let rig = rig();
    let fs = &rig.fs[0];
    let dir = done(&rig, mkdir::mkdir(fs, &root(), TOP, b"d", attr(0o700))).object.unwrap().id();
    let some = file(&rig, dir, b"f", b"seven..");
    let found = lookup::lookup(fs, &Cred::root(), dir, b"f").unwrap();
    assert_eq!((found.id(), found.size), (some.id(), 7), "the log's view is in it");
    assert_eq!(lookup::lookup(fs, &Cred::root(), dir, b".").unwrap().id(), dir);
    assert_eq!(lookup::lookup(fs, &Cred::root(), dir, b"..").unwrap().id(), TOP);
    assert_eq!(lookup::lookup(fs, &Cred::root(), TOP, b"..").unwrap().id(), TOP);
    assert_eq!(lookup::lookup(fs, &Cred::root(), dir, b"g"), Err(Status::NoEnt));
    assert_eq!(lookup::lookup(fs, &Cred::root(), some.id(), b"g"), Err(Status::NotDir));
    assert_eq!(lookup::lookup(fs, &Cred::new(5, 5, &[]), dir, b"f"), Err(Status::Access));
    assert_eq!(lookup::lookup(fs, &Cred::new(5, 5, &[]), dir, b".."), Err(Status::Access));
    done(&rig, remove::remove(fs, &root(), dir, b"f")).status.unwrap();
    assert_eq!(lookup::lookup(fs, &Cred::root(), dir, b"f"), Err(Status::NoEnt));
    done(&rig, rmdir::rmdir(fs, &root(), TOP, b"d")).status.unwrap();
    assert_eq!(lookup::lookup(fs, &Cred::root(), dir, b"f"), Err(Status::Stale));
}

#[test]
fn create_sets_the_length_that_goes_with_it() {
    let rig = rig();
    let some = file(&rig, TOP, b"f", b"contents");
    let answer = truncating(&rig, &root(), b"f");
    assert!(answer.existed && answer.object.unwrap().size == 0);
    assert_eq!(contents(&rig, some.id()), b"");
    let sized = SetAttr { size: Some(5), ..attr(0o600) };
    let made = create::create(&rig.fs[0], &root(), TOP, b"g", CreateHow::Guarded, sized);
    let made = done(&rig, made).object.unwrap();
    assert_eq!(made.size, 5);
    assert_eq!(contents(&rig, made.id()), [0; 5]);
}

#[test]
fn create_truncates_only_what_the_caller_may_write() {
    let rig = rig();
    let some = file(&rig, TOP, b"f", b"contents");
    let stranger = Asker { cred: Cred::new(5, 5, &[]), replay: None };
    assert_eq!(truncating(&rig, &stranger, b"f").status, Err(Status::Access));
    assert_eq!(contents(&rig, some.id()), b"contents");
}

#[test]
fn a_replayed_create_does_not_cut_what_was_written_since() {
    let rig = rig();
    let some = file(&rig, TOP, b"f", b"before");
    let key = ReplayKey { client: 1, xid: 2, arguments: 3 };
    let asker = Asker { replay: Some(key), ..root() };
    truncating(&rig, &asker, b"f").status.unwrap();
    let fs = rig.fs[0].clone();
    rig.world.run_until(async move { put(&fs, some.id(), 0, b"since", Stability::FileSync).await.unwrap() });
    let answer = truncating(&rig, &asker, b"f");
    assert!(answer.replayed && answer.object.unwrap().size == 5);
    assert_eq!(contents(&rig, some.id()), b"since");
    // The same after the power was gone.
    let rig = rig.crash();
    truncating(&rig, &asker, b"f").status.unwrap();
    assert_eq!(contents(&rig, some.id()), b"since");
}

#[test]
fn a_replayed_create_cuts_when_the_first_had_no_time_to() {
    let rig = rig();
    let some = file(&rig, TOP, b"f", b"before");
    let key = ReplayKey { client: 1, xid: 2, arguments: 3 };
    // The ledger's part alone, as if the power had gone after its commit.
    let attr = SetAttr { size: Some(0), ..SetAttr::default() };
    let verb = Verb::Create { dir: TOP, name: Name::new(b"f").unwrap(), how: CreateHow::Unchecked, attr };
    let ask = Ask { cred: Cred::root(), now: rig.fs[0].world.now(), replay: Some(key), verb };
    let job = rig.fs[0].port.call(Job::Ask(Box::new(ask)));
    assert!(matches!(rig.world.run_until(job), Done::Answer(_)));
    let rig = rig.crash();
    assert_eq!(contents(&rig, some.id()), b"before");
    let answer = truncating(&rig, &Asker { replay: Some(key), ..root() }, b"f");
    assert_eq!((answer.status, answer.object.unwrap().size), (Ok(()), 0));
    assert_eq!(contents(&rig, some.id()), b"");
}

#[test]
fn readlink_reads_links_alone() {
    let rig = rig();
    let fs = &rig.fs[0];
    let made = done(&rig, symlink::symlink(fs, &root(), TOP, b"l", attr(0), b"../there"));
    let link = made.object.unwrap();
    let linked = readlink::readlink(fs, link.id());
    assert_eq!((linked.object, linked.target), (Some(link), Ok(b"../there".to_vec())));
    let linked = readlink::readlink(fs, TOP);
    assert_eq!((linked.object.map(|inode| inode.id()), linked.target), (Some(TOP), Err(Status::Inval)));
    done(&rig, remove::remove(fs, &root(), TOP, b"l")).status.unwrap();
    assert_eq!(readlink::readlink(fs, link.id()).target, Err(Status::Stale));
    let long = [b'x'; 4096];
    let refused = done(&rig, symlink::symlink(fs, &root(), TOP, b"l", attr(0), &long));
    assert_eq!(refused.status, Err(Status::NameTooLong));
}

#[test]
fn a_directory_is_listed_in_pieces() {
    let rig = rig();
    let fs: &Rc<Fs> = &rig.fs[0];
    for name in [&b"c"[..], b"a", b"b"] {
        file(&rig, TOP, name, b"x");
    }
    let cred = Cred::root();
    let (whole, listing) = list(fs, &cred, TOP, 0, Detail::Names, 99);
    let names: Vec<_> = whole.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, [".", "..", "c", "a", "b"], "in the order of their making");
    assert_eq!((listing.end, listing.dir), (Ok(true), fs.attr(TOP).ok()));
    for count in 1..6 {
        let (mut pieces, mut cookie) = (Vec::new(), 0);
        loop {
            let (piece, listing) = list(fs, &cred, TOP, cookie, Detail::Names, count);
            cookie = piece.last().map_or(cookie, |(cookie, _)| *cookie);
            pieces.extend(piece);
            if listing.end == Ok(true) {
                break;
            }
        }
        assert_eq!(pieces, whole, "{count} at a time");
    }
    let (none, listing) = list(fs, &cred, TOP, u64::MAX, Detail::Names, 99);
    assert_eq!((none.len(), listing.end), (0, Ok(true)));
}

#[test]
fn attributes_are_listed_for_those_who_may_search() {
    let rig = rig();
    let fs = &rig.fs[0];
    let dir = done(&rig, mkdir::mkdir(fs, &root(), TOP, b"d", attr(0o744))).object.unwrap().id();
    let some = file(&rig, dir, b"f", b"x");
    let names = |cred: &Cred| list(fs, cred, dir, 2, Detail::Attributes, 9).0;
    assert_eq!(names(&Cred::root())[0].1, "f+");
    assert_eq!(names(&Cred::new(5, 5, &[]))[0].1, "f");
    let (_, listing) = list(fs, &Cred::root(), some.id(), 0, Detail::Names, 9);
    assert_eq!(listing.end, Err(Status::NotDir));
    let closed = done(&rig, mkdir::mkdir(fs, &root(), TOP, b"e", attr(0o711))).object.unwrap().id();
    let (_, listing) = list(fs, &Cred::new(5, 5, &[]), closed, 0, Detail::Names, 9);
    assert_eq!((listing.end, listing.dir.map(|dir| dir.id())), (Err(Status::Access), Some(closed)));
}

#[test]
fn space_is_told_and_comes_back() {
    let rig = rig();
    let empty = statfs(&rig.fs[0]).unwrap();
    assert_eq!(empty.total_bytes, 64 << 20);
    assert!(empty.free_bytes <= empty.total_bytes && empty.available_bytes < empty.free_bytes);
    file(&rig, TOP, b"f", &[7; 1 << 20]);
    let rig = rig.restart();
    let full = statfs(&rig.fs[0]).unwrap();
    assert_eq!(full.free_bytes, empty.free_bytes - (1 << 20));
    done(&rig, remove::remove(&rig.fs[0], &root(), TOP, b"f")).status.unwrap();
    rig.world.run_until(rig.fs[0].port.call(Job::Sweep));
    let after = statfs(&rig.fs[0]).unwrap();
    assert_eq!(after.free_bytes, empty.free_bytes);
}

#[test]
fn nothing_is_changed_after_a_failure() {
    let rig = rig();
    rig.fault.store(true, Ordering::Relaxed);
    let made = |name: &'static [u8]| done(&rig, mkdir::mkdir(&rig.fs[0], &root(), TOP, name, attr(0))).status;
    assert_eq!(made(b"a"), Err(Status::Io));
    rig.fault.store(false, Ordering::Relaxed);
    assert_eq!(made(b"b"), Err(Status::ReadOnly));
    assert_eq!(lookup::lookup(&rig.fs[0], &Cred::root(), TOP, b"a"), Err(Status::NoEnt), "reading goes on");
}

#[test]
fn a_create_that_a_crash_cut_short_truncates_when_it_is_repeated() {
    for seed in 0..32 {
        let rig = Rig::new(seed, options(1, 64 << 20));
        let id = file(&rig, TOP, b"f", b"durable").id();
        let fs = rig.fs[0].clone();
        rig.world.run_until(async { put(&fs, id, 0, b"unstable", Stability::Unstable).await.unwrap() });
        // The ledger has answered; the truncation has not begun.
        let replay = Some(ReplayKey { client: 1, xid: 2, arguments: 3 });
        let attr = SetAttr { size: Some(0), ..SetAttr::default() };
        let verb = Verb::Create { dir: TOP, name: Name::new(b"f").unwrap(), how: CreateHow::Unchecked, attr };
        let ask = Ask { cred: Cred::root(), now: fs.world.now(), replay, verb };
        let answer = rig.world.run_until(fs.port.call(Job::Ask(Box::new(ask))));
        assert!(matches!(answer, Done::Answer(answer) if answer.status.is_ok()));
        drop(fs);
        let rig = rig.crash();
        let answer = truncating(&rig, &Asker { cred: Cred::root(), replay }, b"f");
        assert_eq!(answer.status, Ok(()));
        assert_eq!(contents(&rig, id), b"", "seed {seed}");
    }
}

#[test]
fn a_create_that_may_not_truncate_is_refused_before_it_is_remembered() {
    let rig = rig();
    let id = file(&rig, TOP, b"f", b"12345").id();
    let key = ReplayKey { client: 1, xid: 2, arguments: 3 };
    let stranger = Asker { cred: Cred::new(77, 77, &[]), replay: Some(key) };
    let attr = SetAttr { size: Some(0), ..SetAttr::default() };
    let verb = Verb::Create { dir: TOP, name: Name::new(b"f").unwrap(), how: CreateHow::Unchecked, attr };
    let ask = Ask { cred: stranger.cred, now: rig.fs[0].world.now(), replay: stranger.replay, verb };
    let answer = rig.world.run_until(rig.fs[0].port.call(Job::Ask(Box::new(ask))));
    assert!(matches!(answer, Done::Answer(answer) if answer.status == Err(Status::Access)));
    // The daemon dies here, and somebody else changes the file before the request comes again.
    let rig = rig.crash();
    let fs = rig.fs[0].clone();
    rig.world.run_until(async move { put(&fs, id, 0, b"x", Stability::FileSync).await.unwrap() });
    assert_eq!(truncating(&rig, &stranger, b"f").status, Err(Status::Access));
}

#[test]
fn the_first_answer_to_a_request_that_came_twice_waits_for_its_truncation() {
    for seed in 0..64 {
        let rig = Rig::new(seed, options(1, 64 << 20));
        let id = file(&rig, TOP, b"f", b"12345").id();
        let replay = Some(ReplayKey { client: 1, xid: 2, arguments: 3 });
        let size = Some(0);
        let (fs, asker) = (rig.fs[0].clone(), Asker { cred: Cred::root(), replay });
        rig.world.run_until(async {
            let create = || {
                let attr = SetAttr { size, ..SetAttr::default() };
                Box::pin(create::create(&fs, &asker, TOP, b"f", CreateHow::Unchecked, attr).wait())
            };
            select(create(), create()).await.factor_first().0.status.unwrap();
        });
        drop(fs);
        let rig = rig.crash();
        assert_eq!(contents(&rig, id), b"", "CREATE, seed {seed}");

        let id = file(&rig, TOP, b"g", b"12345").id();
        let replay = Some(ReplayKey { client: 1, xid: 3, arguments: 3 });
        let fs = rig.fs[0].clone();
        rig.world.run_until(async {
            let set = || {
                let attr = SetAttr { size, mode: Some(0o600), ..SetAttr::default() };
                Box::pin(setattr::setattr(&fs, &Cred::root(), id, attr, None, replay).wait())
            };
            select(set(), set()).await.factor_first().0.unwrap();
        });
        drop(fs);
        let rig = rig.crash();
        assert_eq!(contents(&rig, id), b"", "SETATTR, seed {seed}");
    }
}

/// A request came twice, to two cores, and the core that the ledger did it for is so slow that the other answers
/// first, if it does. What the client then writes must still be there when both have been answered.
#[test]
fn a_length_that_was_asked_for_twice_is_not_set_again_after_what_was_written_since() {
    type Asked<'a> = Pin<Box<dyn Future<Output = Result<(), Status>> + 'a>>;
    fn race<'a>(rig: &'a Rig, id: FileId, ask: impl Fn(&'a Rc<Fs>) -> Asked<'a>) {
        rig.world.run_until(async {
            let (mut slow, mut quick) = (ask(&rig.fs[0]), ask(&rig.fs[1]));
            assert!(poll!(&mut slow).is_pending() && poll!(&mut quick).is_pending());
            let later = rig.fs[0].world.sleep(Duration::from_secs(1));
            let since = async || put(&rig.fs[1], id, 0, b"since", Stability::FileSync).await.unwrap();
            match select(quick, later).await {
                Either::Left((answered, _)) => {
                    answered.unwrap();
                    since().await;
                    slow.await.unwrap();
                }
                Either::Right((_, quick)) => {
                    slow.await.unwrap();
                    quick.await.unwrap();
                    since().await;
                }
            }
        });
        assert_eq!(contents(rig, id), b"since");
    }

    let rig = Rig::new(7, options(2, 64 << 20));
    let (size, replay) = (Some(0), Some(ReplayKey { client: 1, xid: 2, arguments: 3 }));
    let id = file(&rig, TOP, b"f", b"12345678").id();
    race(&rig, id, |fs| {
        let attr = SetAttr { size, ..SetAttr::default() };
        let create = create::create(fs, &Asker { replay, ..root() }, TOP, b"f", CreateHow::Unchecked, attr);
        Box::pin(async { create.wait().await.status })
    });
    let id = file(&rig, TOP, b"g", b"12345678").id();
    race(&rig, id, |fs| {
        let attr = SetAttr { size, mode: Some(0o600), ..SetAttr::default() };
        let replay = replay.map(|key| ReplayKey { xid: 3, ..key });
        let set = setattr::setattr(fs, &Cred::root(), id, attr, None, replay);
        Box::pin(async { set.wait().await.map(|_| ()) })
    });
    let id = file(&rig, TOP, b"h", b"12345678").id();
    race(&rig, id, |fs| {
        let attr = SetAttr { size, ..SetAttr::default() };
        let replay = replay.map(|key| ReplayKey { xid: 4, ..key });
        let set = setattr::setattr(fs, &Cred::root(), id, attr, None, replay);
        Box::pin(async { set.wait().await.map(|_| ()) })
    });
}
