//! The targets: one file per protocol or format, and one for the whole server; each a function of bytes that panics
//! when a property does not hold.
//!
//! What holds everywhere: whatever the bytes, no panic; what was decoded respects the maxima of its type; written
//! again it has the length that was read, and reads back as the same value. Formats at rest are strict: what is
//! decoded at all is written again in the same bytes.

mod config;
mod frame;
mod golden;
mod handle;
mod journal;
mod ledger;
mod mount;
mod nfs3;
mod pages;
mod portmap;
mod record;
mod recovery;
mod replay;
mod root;
mod rpc;
mod server;

/// A decoder under test.
pub struct Target {
    pub name: &'static str,
    pub about: &'static str,
    /// Bytes of the longest input that is made.
    pub input_max: usize,
    /// Bytes beside: twice what a script makes to be decoded, or what the code under test works in whatever its input is.
    pub working_bytes: usize,
    /// What inputs are made of beside numbers.
    pub words: &'static [&'static [u8]],
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    record::RECORD,
    rpc::CALL,
    rpc::REPLY,
    portmap::PORTMAP,
    mount::MOUNT,
    nfs3::ARGUMENTS,
    nfs3::RESULTS,
    handle::HANDLE,
    frame::FRAME,
    replay::REPLAY,
    ledger::LEDGER,
    journal::JOURNAL,
    recovery::RECOVERY,
    pages::PAGES,
    root::ROOT,
    config::CONFIG,
    server::SERVER,
];

/// Not a decoder: six bytes that have to be right one after the other, to show that coverage guides.
pub const MAZE: Target = Target {
    name: "maze",
    about: "a way that only coverage finds",
    input_max: 64,
    working_bytes: 0,
    words: &[],
    seeds: Vec::new,
    run: maze,
};

/// Each turn is an edge of its own: the counts of a loop would tell less.
fn maze(input: &[u8]) {
    let at = |index: usize| std::hint::black_box(input.get(index).copied());
    if at(0) != Some(0x93) {
        return;
    }
    if at(1) != Some(b'w') {
        return;
    }
    if at(2) != Some(b'a') {
        return;
    }
    if at(3) != Some(0x07) {
        return;
    }
    if at(4) != Some(b'o') {
        return;
    }
    if at(5) != Some(0xE1) {
        return;
    }
    panic!("out of the maze");
}

/// Decodes a value of a type that crosses the wire, and checks what holds for all of them; gives it back. The input's
/// padding may be anything and is written as zeros, so that the bytes need not be the same.
macro_rules! checked {
    ($r:expr, $ty:ty) => {{
        let before = $r.position();
        match $r.decode::<$ty>() {
            Err(_) => None,
            Ok(value) => {
                let bytes = wire::xdr::encode_vec(&value);
                assert_eq!(bytes.len(), $r.position() - before, "{value:?} is written in another length");
                let again: $ty = wire::xdr::decode_all(&bytes).expect("what was written is read");
                assert!(again == value, "{value:?} is read back as {again:?}");
                Some(value)
            }
        }
    }};
}
use checked;

/// Decodes, checks, and compares the lengths of some fields with their maxima.
macro_rules! bounded {
    ($r:expr, $ty:ty $(, $($field:ident).+ <= $max:expr)*) => {{
        let value = $crate::target::checked!($r, $ty);
        if let Some(value) = &value {
            let _ = value;
            $(assert!(value.$($field).+.len() <= $max, "{value:?} is above a maximum");)*
        }
        value
    }};
}
use bounded;
