//! READDIR cookies: stable under insertion, removal and restart, at 100,000 entries.

use super::rig::*;
use crate::cred::Cred;
use crate::inode::FileId;
use crate::ledger::command::{CreateHow, Verb};
use crate::ledger::record::entry::COOKIE_PARENT;
use std::collections::{BTreeMap, BTreeSet};

const ENTRIES: u32 = 100_000;

fn batches(rig: &mut Rig, verbs: Vec<Verb>) {
    for chunk in verbs.chunks(4096) {
        let jobs: Vec<_> = chunk.iter().map(|verb| rig.job_of(Cred::root(), None, verb.clone())).collect();
        for done in rig.jobs(&jobs) {
            assert_eq!(answer(done).status, Ok(()));
        }
    }
}

fn page(rig: &mut Rig, dir: FileId, after: u64, count: usize) -> Vec<(u64, String)> {
    rig.reader.refresh().unwrap();
    let entries = rig.reader.entries(dir.ino, after).unwrap().take(count);
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.cookie, String::from_utf8(entry.name.to_vec()).unwrap())
        })
        .collect()
}

#[test]
fn a_listing_meets_each_lasting_entry_once_whatever_happens_meanwhile() {
    let mut rig = Rig::new();
    let dir = rig.root();
    let make = |index: u32| create(dir, &format!("f{index}"), CreateHow::Guarded, 0o644);
    batches(&mut rig, (0..ENTRIES).map(make).collect());
    let cookies: BTreeMap<String, u64> = rig.list(dir).into_iter().map(|(cookie, name)| (name, cookie)).collect();
    assert_eq!(cookies.len(), ENTRIES as usize);
    assert!(cookies.values().all(|cookie| *cookie > COOKIE_PARENT));
    assert_eq!(cookies.values().collect::<BTreeSet<_>>().len(), ENTRIES as usize, "unique");

    let mut dice = Dice(0x5eed);
    let mut lasting: BTreeSet<u32> = (0..ENTRIES).collect();
    let (mut met, mut after, mut fresh) = (Vec::new(), 0, 0);
    loop {
        let entries = page(&mut rig, dir, after, 5_000);
        let Some((last, _)) = entries.last() else { break };
        after = *last;
        met.extend(entries);
        let mut verbs = Vec::new();
        for _ in 0..500 {
            let victim = dice.roll(u64::from(ENTRIES)) as u32;
            if lasting.remove(&victim) {
                verbs.push(remove(dir, &format!("f{victim}")));
            }
        }
        // The entry that the listing stands on goes too.
        if let Some(index) = met.last().and_then(|(_, name)| name.strip_prefix('f')).and_then(|n| n.parse().ok())
            && lasting.remove(&index)
        {
            verbs.push(remove(dir, &format!("f{index}")));
        }
        for _ in 0..50 {
            fresh += 1;
            if fresh <= 500 {
                verbs.push(create(dir, &format!("new{fresh}"), CreateHow::Guarded, 0o644));
            }
        }
        batches(&mut rig, verbs);
        if met.len() / 5_000 == 10 {
            rig = rig.crash();
        }
    }
    let mut seen = BTreeSet::new();
    for (cookie, name) in &met {
        assert!(seen.insert(name.clone()), "{name} was met twice");
        if let Some(known) = cookies.get(name) {
            assert_eq!(known, cookie, "{name} has another cookie now");
        }
    }
    for index in &lasting {
        assert!(seen.contains(&format!("f{index}")), "f{index} was skipped");
    }
    let now: BTreeMap<String, u64> = rig.list(dir).into_iter().map(|(cookie, name)| (name, cookie)).collect();
    for index in &lasting {
        let name = format!("f{index}");
        assert_eq!(now[&name], cookies[&name]);
    }
    assert_eq!(rig.attr(dir).entries, now.len() as u64);
}

#[test]
fn a_cookie_is_not_given_out_again_after_a_restart() {
    let mut rig = Rig::new();
    let dir = rig.root();
    rig.file(dir, "a", 0o644);
    let (last, _) = rig.list(dir)[0];
    rig.ok(remove(dir, "a"));
    let mut rig = rig.crash();
    rig.file(dir, "b", 0o644);
    assert!(rig.list(dir)[0].0 > last);
}

#[test]
fn a_replaced_name_keeps_its_place() {
    let mut rig = Rig::new();
    let dir = rig.root();
    for at in ["a", "b", "c"] {
        rig.file(dir, at, 0o644);
    }
    let before = rig.list(dir);
    rig.ok(rename(dir, "c", dir, "a"));
    assert_eq!(rig.list(dir), before[..2], "whoever lists the directory meets it once");
}
