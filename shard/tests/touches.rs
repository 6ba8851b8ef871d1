//! A ledger that has too little memory: calls wait for its pages, and are served all the same.

mod lab;

use lab::{Lab, Setup, decoded, location, results_of};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use wire::nfs3::*;

const FILES: u32 = 200;

/// Short of memory from its start, with files that its table does not know, and their numbers.
fn short() -> (Lab, Vec<u64>) {
    let mut lab = Lab::new(Setup { ledger_memory: Some(0), ..Setup::default() });
    let mut client = lab.client();
    let root = client.mount("/share");
    let mut numbers = Vec::new();
    for index in 0..FILES {
        let file = client.file(&root, &name(index));
        client.write(&file, 0, &[index as u8; 3000], StableHow::Unstable).expect("it is written");
        numbers.push(client.getattr(&file).expect("it is there").fileid);
    }
    lab.restart();
    // The thread that looks needs its time, and a core looks once a second.
    let (mut client, mut missing) = (lab.client(), 0);
    let deadline = Instant::now() + Duration::from_secs(60);
    while touches(&lab) == 0 {
        assert!(Instant::now() < deadline, "nobody waits");
        assert_eq!(client.lookup(&root, &format!("missing-{missing}")), Err(Nfsstat3::Noent));
        missing += 1;
    }
    (lab, numbers)
}

fn touches(lab: &Lab) -> u64 {
    lab.server().core_stats(0, Duration::from_secs(5)).expect("the core answers").stores[0].touches
}

fn name(index: u32) -> String {
    format!("file-{index}")
}

#[test]
fn calls_on_one_connection_wait_together_and_each_is_answered_once() {
    let (lab, numbers) = short();
    let mut client = lab.client();
    let root = client.mount("/share");
    let before = touches(&lab);
    for index in 0..FILES {
        let call = client.nfs_call(index + 1, Procedure::Lookup, &LookupArgs { what: location(&root, &name(index)) });
        client.send(&call);
    }
    let mut found = HashMap::new();
    for _ in 0..FILES {
        let record = client.receive();
        let xid = u32::from_be_bytes(record[..4].try_into().unwrap());
        let results = results_of(&record, xid);
        assert_eq!(results[..4], [0; 4], "it is there");
        let resok: LookupResOk<'_> = decoded(&results[4..]);
        assert_eq!(found.insert(xid, resok.obj_attributes.unwrap().fileid), None);
    }
    (0..FILES).for_each(|index| assert_eq!(found[&(index + 1)], numbers[index as usize]));
    let cold = touches(&lab) - before;
    assert!(cold >= u64::from(FILES), "{cold} of {FILES} waited");
    // What was looked up lately is not waited for.
    (0..FILES).for_each(|index| _ = client.lookup(&root, &name(index)).unwrap());
    let warm = touches(&lab) - before - cold;
    assert!(warm <= u64::from(FILES) / 10, "{warm} waited again");
}

#[test]
fn every_kind_of_call_is_served_as_ever() {
    let (lab, _) = short();
    let mut client = lab.client();
    let root = client.mount("/share");
    let file = client.lookup(&root, &name(7)).unwrap();
    assert_eq!(client.read(&file, 0, 5000), Ok((vec![7; 3000], true)));
    client.write(&file, 1, &[9; 5000], StableHow::FileSync).unwrap();
    assert_eq!(client.read(&file, 0, 3).unwrap().0, [7, 9, 9]);
    let long = vec![5; 100_000];
    let other = client.lookup(&root, &name(8)).unwrap();
    client.write(&other, 0, &long, StableHow::FileSync).unwrap();
    assert_eq!(client.read(&other, 0, 200_000), Ok((long, true)));

    let dir = client.mkdir(&root, "dir").unwrap();
    client.rename((&root, &name(7)), (&dir, "moved")).unwrap();
    assert_eq!(client.lookup(&dir, "moved"), Ok(file));
    assert_eq!(client.lookup(&dir, ".."), Ok(root));
    client.link(&other, &dir, "link").unwrap();
    client.remove(&root, &name(8)).unwrap();
    assert_eq!(client.getattr(&other).unwrap().nlink, 1);
    let symlink = client.symlink(&dir, "symlink", b"moved").unwrap();
    assert_eq!(client.readlink(&symlink), Ok(b"moved".to_vec()));
    let mut names: Vec<_> = client.readdirplus(&dir, 4096).into_iter().map(|entry| entry.0).collect();
    names.sort();
    assert_eq!(names, [".", "..", "link", "moved", "symlink"]);
    client.remove(&dir, "moved").unwrap();
    assert_eq!(client.getattr(&file), Err(Nfsstat3::Stale));
}

#[test]
fn who_waits_for_pages_is_answered_while_the_server_stops() {
    let (mut lab, _) = short();
    let mut client = lab.client();
    let root = client.mount("/share");
    for index in 0..FILES {
        let call = client.nfs_call(index + 1, Procedure::Lookup, &LookupArgs { what: location(&root, &name(index)) });
        client.send(&call);
    }
    client.receive();
    lab.stop();
    while let Some(record) = client.try_receive() {
        assert_eq!(results_of(&record, u32::from_be_bytes(record[..4].try_into().unwrap()))[..4], [0; 4]);
    }
}
