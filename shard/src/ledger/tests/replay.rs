//! Exactly once: a replayed request is answered and not done again, also after a crash.

use super::rig::*;
use crate::cred::Cred;
use crate::inode::FileId;
use crate::ledger::command::{Answer, CreateHow, ReplayKey, SetAttr, Verb};
use crate::status::Status;

fn key(xid: u32) -> ReplayKey {
    ReplayKey { client: 5, xid, arguments: u64::from(xid) << 32 }
}

fn again(answer: &Answer) -> Answer {
    Answer { replayed: true, ..*answer }
}

fn all_verbs(root: FileId, dir: FileId, file: FileId) -> Vec<Verb> {
    vec![
        create(root, "new", CreateHow::Guarded, 0o644),
        mkdir(root, "newdir", 0o755),
        symlink(root, "newlink", b"target"),
        link(file, root, "second"),
        rename(root, "f", dir, "moved"),
        rename(root, "second", root, "third"),
        setattr(file, mode(0o600)),
        remove(root, "gone"),
        rmdir(root, "emptydir"),
    ]
}

#[test]
fn every_verb_takes_effect_once_also_across_a_crash() {
    let mut rig = Rig::new();
    let root = rig.root();
    let dir = rig.mkdir(root, "d", 0o755).id();
    let file = rig.file(root, "f", 0o644).id();
    rig.file(root, "gone", 0o644);
    rig.mkdir(root, "emptydir", 0o755);
    let verbs = all_verbs(root, dir, file);
    let mut first = Vec::new();
    for (xid, verb) in verbs.iter().enumerate() {
        let answer = rig.replayed(key(xid as u32), verb.clone());
        assert_eq!(answer.status, Ok(()), "{verb:?}");
        first.push(answer);
    }
    let (listing, attr) = (rig.list(root), rig.attr(root));
    for (xid, verb) in verbs.iter().enumerate() {
        assert_eq!(rig.replayed(key(xid as u32), verb.clone()), again(&first[xid]), "{verb:?}");
    }
    let mut rig = rig.crash();
    for (xid, verb) in verbs.iter().enumerate() {
        assert_eq!(rig.replayed(key(xid as u32), verb.clone()), again(&first[xid]), "{verb:?}");
    }
    assert_eq!((listing, attr), (rig.list(root), rig.attr(root)));
}

#[test]
fn twins_in_one_batch_are_one() {
    let mut rig = Rig::new();
    let root = rig.root();
    let verb = create(root, "f", CreateHow::Guarded, 0o644);
    let jobs = [1, 1, 2].map(|xid| rig.job_of(Cred::root(), Some(key(xid)), verb.clone()));
    let answers: Vec<_> = rig.jobs(&jobs).into_iter().map(answer).collect();
    assert_eq!(answers[0].status, Ok(()));
    assert_eq!(answers[1], again(&answers[0]));
    assert_eq!(answers[2].status, Err(Status::Exist), "another request");
}

#[test]
fn a_refusal_is_remembered_while_the_server_runs() {
    let mut rig = Rig::new();
    let root = rig.root();
    let first = rig.replayed(key(1), remove(root, "f"));
    assert_eq!(first.status, Err(Status::NoEnt));
    rig.file(root, "f", 0o644);
    assert_eq!(rig.replayed(key(1), remove(root, "f")), again(&first));
    assert!(rig.find(root, "f").is_some(), "the replay came late and must not remove it");
    assert_eq!(rig.replayed(key(2), remove(root, "f")).status, Ok(()));
}

#[test]
fn the_ring_forgets_the_oldest() {
    let mut rig = Rig::with(|options| options.reply_slots = 4);
    let root = rig.root();
    let verb = |xid: u32| create(root, &format!("f{xid}"), CreateHow::Guarded, 0o644);
    for xid in 0..5 {
        assert_eq!(rig.replayed(key(xid), verb(xid)).status, Ok(()));
    }
    assert_eq!(rig.replayed(key(0), verb(0)).status, Err(Status::Exist), "forgotten, done again");
    let mut rig = rig.crash();
    for xid in 1..5 {
        let answer = rig.replayed(key(xid), verb(xid));
        assert!(answer.status.is_ok() && answer.replayed, "{xid}");
    }
    assert_eq!(rig.replayed(key(9), verb(9)).status, Ok(()), "the ring goes round");
    assert_eq!(rig.replayed(key(1), verb(1)).status, Err(Status::Exist));
    assert!(rig.replayed(key(2), verb(2)).replayed);
}

#[test]
fn an_answer_without_effect_costs_no_commit() {
    let mut rig = Rig::new();
    let root = rig.root();
    rig.file(root, "f", 0o644);
    let commit = rig.reader.commit();
    let first = rig.replayed(key(1), create(root, "f", CreateHow::Unchecked, 0o644));
    assert_eq!(rig.replayed(key(1), create(root, "f", CreateHow::Unchecked, 0o644)), again(&first));
    assert_eq!(rig.reader.commit(), commit);
}

/// The truncation that goes with it is an effect, though the ledger itself changes nothing.
#[test]
fn a_create_that_truncates_is_stored() {
    let mut rig = Rig::new();
    let root = rig.root();
    rig.file(root, "f", 0o644);
    let attr = SetAttr { size: Some(0), ..SetAttr::default() };
    let verb = Verb::Create { dir: root, name: name("f"), how: CreateHow::Unchecked, attr };
    let first = rig.replayed(key(1), verb.clone());
    assert!(first.existed && !first.replayed);
    let mut rig = rig.crash();
    assert_eq!(rig.replayed(key(1), verb), again(&first));
}

#[test]
fn other_clients_xids_and_arguments_are_other_requests() {
    let mut rig = Rig::new();
    let root = rig.root();
    let base = key(1);
    rig.replayed(base, create(root, "f", CreateHow::Guarded, 0));
    for other in [ReplayKey { client: 6, ..base }, ReplayKey { xid: 2, ..base }, ReplayKey { arguments: 3, ..base }] {
        let answer = rig.replayed(other, create(root, "f", CreateHow::Guarded, 0));
        assert_eq!(answer.status, Err(Status::Exist), "{other:?}");
    }
}
