//! The way from the cores to the ledger's thread and back.

use super::rig::*;
use crate::cred::Cred;
use crate::ledger::command::{CreateHow, Done, Job};
use crate::ledger::port::{Hub, JOBS_MAX};
use crate::ledger::thread::LedgerThread;
use crate::status::Status;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

#[test]
fn an_inline_ledger_answers_each_core_with_one_ring() {
    let mut rig = Rig::new();
    let root = rig.root();
    let hub = Hub::new(2);
    let rung = [0, 1].map(|_| Arc::new(AtomicUsize::new(0)));
    let ports: Vec<_> = (0..2)
        .map(|core| {
            let rung = rung[core].clone();
            let ring = move || {
                rung.fetch_add(1, Ordering::Relaxed);
            };
            hub.port(core as u16, Box::new(ring))
        })
        .collect();
    let mut waiting = Vec::new();
    for index in 0..6 {
        let verb = create(root, &format!("f{index}"), CreateHow::Guarded, 0o644);
        waiting.push(ports[index % 2].submit(rig.job_of(Cred::root(), None, verb)).unwrap());
    }
    assert!(hub.pump(&mut rig.ledger, 0));
    assert!(!hub.pump(&mut rig.ledger, 1), "all of it was one batch");
    for port in &ports {
        port.deliver();
    }
    for mut receiver in waiting {
        let done = receiver.try_recv().unwrap().expect("it was delivered");
        assert_eq!(answer(done).status, Ok(()));
    }
    assert_eq!(rung.map(|count| count.load(Ordering::Relaxed)), [1, 1]);
    assert_eq!(rig.list(root).len(), 6);
}

#[test]
fn a_full_lane_says_later() {
    let mut rig = Rig::new();
    let hub = Hub::new(1);
    let port = hub.port(0, Box::new(|| ()));
    let mut waiting: Vec<_> = (0..JOBS_MAX).map(|_| port.submit(Job::Sweep).unwrap()).collect();
    assert_eq!(port.submit(Job::Sweep).unwrap_err(), Status::Delay);
    while hub.pump(&mut rig.ledger, 0) {}
    assert_eq!(port.submit(Job::Sweep).unwrap_err(), Status::Delay, "the answers were not fetched yet");
    // Nobody waits for the first any more, which is no matter.
    drop(waiting.remove(0));
    port.deliver();
    assert!(port.submit(Job::Sweep).is_ok());
}

#[test]
fn the_thread_answers_whoever_asks_and_ends_when_told() {
    let mut rig = Rig::new();
    let root = rig.root();
    let (shared, store) = (rig.shared.clone(), rig.ledger.store().clone());
    let hub = Hub::new(2);
    let jobs: Vec<Vec<Job>> = (0..2)
        .map(|core| {
            (0..300)
                .map(|index| {
                    let verb = create(root, &format!("{core}-{index}"), CreateHow::Guarded, 0o644);
                    rig.job_of(Cred::root(), None, verb)
                })
                .collect()
        })
        .collect();
    let (ledger, _dir) = rig.into_ledger();
    let thread = LedgerThread::spawn(ledger, hub.clone()).unwrap();
    std::thread::scope(|scope| {
        for (core, jobs) in jobs.into_iter().enumerate() {
            let hub = &hub;
            scope.spawn(move || {
                let (ring, rung) = mpsc::channel();
                let port = hub.port(core as u16, Box::new(move || ring.send(()).unwrap_or_default()));
                for job in jobs {
                    let mut receiver = port.submit(job).unwrap();
                    let done = loop {
                        rung.recv().unwrap();
                        port.deliver();
                        if let Some(done) = receiver.try_recv().unwrap() {
                            break done;
                        }
                    };
                    assert_eq!(answer(done).status, Ok(()));
                }
            });
        }
    });
    let ledger = thread.stop().expect("it did not panic");
    assert_eq!(ledger.store().gauges().inodes.load(Ordering::Relaxed), 601);
    let mut reader = crate::ledger::reader::Reader::new(&store, shared);
    reader.refresh().unwrap();
    assert_eq!(reader.entries(root.ino, 0).unwrap().count(), 600);
}

#[test]
fn a_poisoned_ledger_refuses_through_the_lanes() {
    let fault = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut rig = Rig::with(|options| options.fault = Some(fault.clone()));
    let root = rig.root();
    let hub = Hub::new(1);
    let port = hub.port(0, Box::new(|| ()));
    fault.store(true, Ordering::Relaxed);
    for at in ["a", "b"] {
        let job = rig.job_of(Cred::root(), None, create(root, at, CreateHow::Guarded, 0o644));
        let mut receiver = port.submit(job).unwrap();
        hub.pump(&mut rig.ledger, 0);
        port.deliver();
        let done = receiver.try_recv().unwrap().unwrap();
        assert!(matches!(done, Done::Refused(Status::Io)));
        fault.store(false, Ordering::Relaxed);
    }
}
