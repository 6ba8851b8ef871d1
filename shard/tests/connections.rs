//! Many requests at once, several connections, several cores, and restarts.

mod lab;

use lab::{Client, Lab, Setup};
use std::collections::HashSet;
use std::time::Duration;
use wire::nfs3::*;

fn cores(cores: u16) -> Lab {
    Lab::new(Setup { cores, ..Setup::default() })
}

#[test]
fn requests_that_were_sent_together_are_all_answered() {
    let lab = cores(1);
    let mut client = lab.client();
    let root = client.mount("/share");
    let file = client.file(&root, "a");
    client.write(&file, 0, &[3; 100_000], StableHow::FileSync).unwrap();
    let mut batch = Vec::new();
    for xid in 100..1100 {
        batch.extend(match xid % 4 {
            0 => client.nfs_call(xid, Procedure::Getattr, &GetattrArgs { object: root.handle() }),
            1 => client.nfs_call(xid, Procedure::Read, &ReadArgs { file: file.handle(), offset: 5, count: 9000 }),
            2 => client.nfs_call(xid, Procedure::Null, &()),
            _ => {
                let name = format!("dir-{xid}");
                let attributes = Sattr3::default();
                let args = MkdirArgs { location: lab::location(&root, &name), attributes };
                client.nfs_call(xid, Procedure::Mkdir, &args)
            }
        });
    }
    // Read while writing: the server does not take more than it can hold replies for.
    let mut seen = HashSet::new();
    for part in batch.chunks(20_000) {
        client.send(part);
    }
    while seen.len() < 1000 {
        let record = client.receive();
        let xid = u32::from_be_bytes(record[..4].try_into().unwrap());
        let results = lab::results_of(&record, xid);
        assert_eq!(results.get(..4).unwrap_or(&[0; 4]), [0; 4], "xid {xid}");
        if xid % 4 == 1 {
            let Res::Ok(read) = lab::decoded::<ReadRes<'_>>(&results) else { panic!("the read went well") };
            assert_eq!(&read.data[..], [3; 9000]);
        }
        assert!(seen.insert(xid), "answered twice: {xid}");
    }
    assert_eq!(client.readdirplus(&root, 1 << 16).len(), 250 + 3);
}

#[test]
fn what_one_core_wrote_another_core_reads_and_commits() {
    let lab = cores(2);
    let mut clients: Vec<Client> = (0..4).map(|_| lab.client()).collect();
    let root = clients[0].mount("/share");
    let file = clients[0].file(&root, "a");
    let mut whole = vec![0; 400_000];
    for round in 0..20_usize {
        let (at, with) = (round * 19_001, round as u8 + 1);
        whole[at..at + 20_000].fill(with);
        clients[round % 4].write(&file, at as u64, &[with; 20_000], StableHow::Unstable).unwrap();
        let (read, _) = clients[(round + 1) % 4].read(&file, 0, 400_000).unwrap();
        assert!(read == whole[..at + 20_000], "round {round}");
    }
    let verf = clients[3].write(&file, 0, b"", StableHow::FileSync).unwrap().verf;
    assert_eq!(clients[2].commit(&file).unwrap().verf, verf);
    let loads: Vec<u64> =
        (0..2).map(|core| lab.server().core_stats(core, Duration::from_secs(5)).unwrap().connections).collect();
    assert_eq!(loads, [2, 2]);
}

#[test]
fn names_made_on_one_core_are_there_on_the_other_at_once() {
    let lab = cores(2);
    let (mut one, mut two) = (lab.client(), lab.client());
    let root = one.mount("/share");
    for number in 0..200 {
        let name = format!("f{number}");
        let file = one.file(&root, &name);
        assert_eq!(two.lookup(&root, &name).unwrap(), file);
        two.remove(&root, &name).unwrap();
        assert_eq!(one.lookup(&root, &name).err(), Some(Nfsstat3::Noent));
        assert_eq!(one.getattr(&file).err(), Some(Nfsstat3::Stale));
    }
}

#[test]
fn everything_is_there_after_a_restart_and_handles_stay_good() {
    let mut lab = cores(2);
    let mut client = lab.client();
    let root = client.mount("/share");
    let dir = client.mkdir(&root, "d").unwrap();
    let file = client.file(&dir, "a");
    let data: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 253) as u8).collect();
    for (index, part) in data.chunks(700_000).enumerate() {
        client.write(&file, index as u64 * 700_000, part, StableHow::Unstable).unwrap();
    }
    let verf = client.commit(&file).unwrap().verf;
    let before = client.getattr(&file).unwrap();
    for _ in 0..2 {
        lab.restart();
        let mut client = lab.client();
        assert_eq!(client.lookup(&dir, "a").unwrap(), file);
        let after = client.getattr(&file).unwrap();
        assert_eq!((after.size, after.mtime, after.ctime), (before.size, before.mtime, before.ctime));
        let mut read = Vec::new();
        while read.len() < data.len() {
            read.extend(client.read(&file, read.len() as u64, 1 << 20).unwrap().0);
        }
        assert!(read == data);
        assert_ne!(client.commit(&file).unwrap().verf, verf, "a start has its own verifier");
    }
}

#[test]
fn a_repeated_request_takes_effect_once_also_after_a_restart() {
    let mut lab = cores(1);
    let mut client = lab.client();
    let root = client.mount("/share");
    let attributes = Sattr3 { mode: Some(0o700), ..Sattr3::default() };
    let mkdir = MkdirArgs { location: lab::location(&root, "d"), attributes };
    let call = client.nfs_call(77, Procedure::Mkdir, &mkdir);
    let ask = |client: &mut Client, call: &[u8]| {
        client.send(call);
        client.receive()
    };
    let first = ask(&mut client, &call);
    assert_eq!(lab::decoded::<MkdirRes<'_>>(&lab::results_of(&first, 77)).error(), None);
    assert_eq!(ask(&mut client, &call), first);
    let mut other = lab.client();
    assert_eq!(ask(&mut other, &call), first, "the client is known by its address");
    let renamed = client.nfs_call(78, Procedure::Mkdir, &mkdir);
    let second = ask(&mut client, &renamed);
    assert_eq!(lab::decoded::<MkdirRes<'_>>(&lab::results_of(&second, 78)).error(), Some(Nfsstat3::Exist));

    lab.restart();
    let mut client = lab.client();
    assert_eq!(ask(&mut client, &call), first);
    let remove = client.nfs_call(79, Procedure::Rmdir, &RmdirArgs { object: lab::location(&root, "d") });
    let removed = ask(&mut client, &remove);
    lab.restart();
    let mut client = lab.client();
    assert_eq!(ask(&mut client, &remove), removed);
    assert_eq!(client.lookup(&root, "d").err(), Some(Nfsstat3::Noent));
}

#[test]
fn another_request_under_an_old_number_is_another_request() {
    let lab = cores(1);
    let mut client = lab.client();
    let root = client.mount("/share");
    for name in ["a", "b"] {
        let args = MkdirArgs { location: lab::location(&root, name), attributes: Sattr3::default() };
        let call = client.nfs_call(77, Procedure::Mkdir, &args);
        client.send(&call);
        let reply = client.receive();
        assert_eq!(lab::decoded::<MkdirRes<'_>>(&lab::results_of(&reply, 77)).error(), None);
        client.lookup(&root, name).unwrap();
    }
}

#[test]
fn a_setattr_that_is_sent_again_does_not_cut_what_was_written_since() {
    let lab = cores(1);
    let mut client = lab.client();
    let root = client.mount("/share");
    let file = client.file(&root, "a");
    client.write(&file, 0, &[7; 5000], StableHow::Unstable).unwrap();
    for (xid, mode) in [(77, Some(0o600)), (78, None)] {
        let new_attributes = Sattr3 { mode, size: Some(10), ..Sattr3::default() };
        let args = SetattrArgs { object: file.handle(), new_attributes, guard: None };
        let call = client.nfs_call(xid, Procedure::Setattr, &args);
        for size in [10, 3000] {
            client.send(&call);
            let reply = client.receive();
            let results = lab::results_of(&reply, xid);
            let SetattrRes::Ok(done) = lab::decoded::<SetattrRes>(&results) else { panic!("{results:?}") };
            // A kept answer is what it was; one that is made anew tells of the file as it is.
            let told = if mode.is_some() { size } else { 10 };
            assert_eq!(done.obj_wcc.after.unwrap().size, told);
            assert_eq!(client.getattr(&file).unwrap().size, size);
            client.write(&file, 0, &[8; 3000], StableHow::Unstable).unwrap();
        }
    }
}

#[test]
fn calls_are_counted_by_procedure() {
    let lab = cores(2);
    let mut clients = [lab.client(), lab.client()];
    let root = clients[0].mount("/share");
    for client in &mut clients {
        for _ in 0..10 {
            client.getattr(&root).unwrap();
        }
        client.lookup(&root, "missing").unwrap_err();
    }
    let (stats, silent) = lab.server().stats(Duration::from_secs(5));
    assert_eq!(silent, 0);
    assert_eq!(stats.connections, 2);
    let names: Vec<_> = shard::net::dispatch::row_names().collect();
    assert_eq!(names.len(), stats.rows.len());
    let row = |name| &stats.rows[names.iter().position(|row| *row == name).unwrap()];
    let getattr = row(("nfs3", "GETATTR"));
    assert_eq!((getattr.calls, getattr.errors), (20, 0));
    assert_eq!(getattr.buckets.iter().sum::<u64>(), 20);
    assert_eq!(getattr.bytes_out, 20 * (28 + 4 + 84));
    assert_eq!((row(("nfs3", "LOOKUP")).calls, row(("nfs3", "LOOKUP")).errors), (2, 2));
    assert_eq!(row(("mount3", "MNT")).calls, 1);
}

#[test]
fn a_stop_answers_what_was_asked_before() {
    let mut lab = cores(1);
    let mut client = lab.client();
    let root = client.mount("/share");
    let file = client.file(&root, "a");
    let mut batch = Vec::new();
    for xid in 100..120_u32 {
        let args = lab::write_args(&file, u64::from(xid) * 1000, &[1; 1000], StableHow::FileSync);
        batch.extend(client.nfs_call(xid, Procedure::Write, &args));
    }
    client.send(&batch);
    // The first answer shows that the server has begun to read.
    let first = client.receive();
    lab.stop();
    let mut answers = vec![first];
    answers.extend(std::iter::from_fn(|| client.try_receive()));
    for record in answers {
        let xid = u32::from_be_bytes(record[..4].try_into().unwrap());
        assert_eq!(lab::decoded::<WriteRes>(&lab::results_of(&record, xid)).error(), None);
    }
}

#[test]
fn writes_that_the_disk_is_behind_with_wait_in_the_receive_buffer() {
    let lab = Lab::new(Setup { unwritten_bytes_max: 256 << 10, ..Setup::default() });
    let mut client = lab.client();
    let root = client.mount("/share");
    let file = client.file(&root, "a");
    const BYTES: usize = 100_000;
    const WRITES: u32 = 100;
    let payload = |index: u32| vec![index as u8 + 1; BYTES];
    let mut calls = Vec::new();
    for index in 0..WRITES {
        let data = payload(index);
        let args = lab::write_args(&file, u64::from(index) * BYTES as u64, &data, StableHow::Unstable);
        let call = client.nfs_call(index, Procedure::Write, &args);
        // Every other one comes in two fragments, which are joined before it is served the first time.
        match index % 2 {
            0 => calls.extend(call),
            _ => {
                let (first, second) = call[4..].split_at(BYTES / 3);
                calls.extend([&(first.len() as u32).to_be_bytes(), first, &lab::marked(second)].concat());
            }
        }
    }
    let mut other = lab.client();
    std::thread::scope(|scope| {
        let mut sender = client.twin();
        scope.spawn(move || sender.send(&calls));
        let mut seen = HashSet::new();
        while seen.len() < WRITES as usize {
            let record = client.receive();
            let xid = u32::from_be_bytes(record[..4].try_into().unwrap());
            let results = lab::results_of(&record, xid);
            let Res::Ok(written) = lab::decoded::<WriteRes>(&results) else { panic!("the write went well") };
            assert_eq!(written.count as usize, BYTES);
            assert!(seen.insert(xid), "answered twice: {xid}");
            if xid % 10 == 0 {
                other.getattr(&file).unwrap();
            }
        }
    });
    client.commit(&file).unwrap();
    for index in 0..WRITES {
        let (read, _) = client.read(&file, u64::from(index) * BYTES as u64, BYTES as u32).unwrap();
        assert!(read == payload(index), "write {index}");
    }
    assert!(lab.server().stats(Duration::from_secs(5)).0.stalls > 0, "the disk was never behind");
}
