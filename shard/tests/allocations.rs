//! GETATTR, LOOKUP and READ of what is in memory allocate nothing, over a real connection, once everything has been
//! asked for before: not on a core, and on no other thread of the server.
//!
//! What LMDB takes from the C library for a look-up is not seen here.

mod lab;

use lab::{Client, Lab, Setup, location};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use wire::nfs3::*;

/// Counts what is taken by threads that are not the test's own.
struct Counting;

static TAKEN: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static IS_TEST: Cell<bool> = const { Cell::new(false) };
}

fn note() {
    // A thread that ends has no such variable any more.
    if !IS_TEST.try_with(Cell::get).unwrap_or(false) {
        TAKEN.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: everything is done by the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(start, layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        note();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(start, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Calls that are sent at once, as clients do.
const BATCH: u32 = 32;
const WARM_BATCHES: usize = 50;
const BATCHES: usize = 200;
const FILE_BYTES: u32 = 1 << 20;

/// What the server's threads allocate for [`BATCHES`] batches of the same calls.
fn allocations(client: &mut Client, calls: &[u8], replies: &mut [u8]) -> u64 {
    let mut serve = |count: usize| {
        for _ in 0..count {
            client.send(calls);
            client.receive_exact(replies);
        }
    };
    serve(WARM_BATCHES);
    let before = TAKEN.load(Ordering::Relaxed);
    serve(BATCHES);
    TAKEN.load(Ordering::Relaxed) - before
}

/// Sends a batch once and answers it, with room for the replies to it.
fn batch(client: &mut Client, call: impl Fn(&Client, u32) -> Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    let calls: Vec<Vec<u8>> = (0..BATCH).map(|index| call(client, index)).collect();
    let calls = calls.concat();
    client.send(&calls);
    let bytes: usize = (0..BATCH).map(|_| 4 + client.receive().len()).sum();
    (calls, vec![0; bytes])
}

#[test]
fn getattr_lookup_and_read_allocate_nothing_in_steady_state() {
    IS_TEST.set(true);
    let lab = Lab::new(Setup::default());
    let mut client = lab.client();
    let root = client.mount("/share");
    let file = client.file(&root, "file");
    let data: Vec<u8> = (0..FILE_BYTES).map(|at| (at % 251) as u8).collect();
    client.write(&file, 0, &data, StableHow::FileSync).expect("it is written");
    let read = |client: &Client, index: u32, count: u32| {
        let args = ReadArgs { file: file.handle(), offset: u64::from(index * count % FILE_BYTES), count };
        client.nfs_call(index, Procedure::Read, &args)
    };
    let getattr = GetattrArgs { object: file.handle() };
    let lookup = LookupArgs { what: location(&root, "file") };
    let batches = [
        ("GETATTR", batch(&mut client, |client, index| client.nfs_call(index, Procedure::Getattr, &getattr))),
        ("LOOKUP", batch(&mut client, |client, index| client.nfs_call(index, Procedure::Lookup, &lookup))),
        ("READ 4 KiB", batch(&mut client, |client, index| read(client, index, 4 << 10))),
        ("READ 64 KiB", batch(&mut client, |client, index| read(client, index, 64 << 10))),
    ];
    for (name, (calls, mut replies)) in batches {
        // A checkpoint or the tick of a second may fall into one of the tries: that is not the calls' doing.
        let tries: Vec<u64> = (0..TRIES).map(|_| allocations(&mut client, &calls, &mut replies)).collect();
        assert!(tries.contains(&0), "{name}: {tries:?} for {} calls each", BATCHES * BATCH as usize);
    }
    let (bytes, _) = client.read(&file, 0, FILE_BYTES).expect("it is read");
    assert!(bytes == data);
}

/// Runs of which one has to be without any allocation.
const TRIES: usize = 5;
