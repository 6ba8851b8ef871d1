//! Frames of real programs (`wire/golden/`), as inputs to begin with.

use std::fs;
use std::path::Path;
use wire::Reader;
use wire::rpc::{CallHeader, ReplyHeader};

/// One RPC message of a real program.
pub(super) struct Golden {
    /// `call` or `reply`.
    pub(super) direction: String,
    /// `nfs3`, `mount3`, `mount1`, `portmap2`, `rpcbind3`, `rpcbind4`.
    pub(super) protocol: String,
    /// As the protocol spells it.
    pub(super) procedure: String,
    /// The message without a record mark.
    pub(super) frame: Vec<u8>,
}

impl Golden {
    /// What follows the RPC header.
    pub(super) fn body(&self) -> &[u8] {
        let mut r = Reader::new(&self.frame);
        let is_read = match self.direction.as_str() {
            "call" => CallHeader::parse(&mut r).is_ok(),
            _ => r.decode::<ReplyHeader<'_>>().is_ok(),
        };
        assert!(is_read, "a golden frame has a header");
        r.rest()
    }
}

/// All of them, in the order of their files.
pub(super) fn all() -> Vec<Golden> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wire/golden");
    let files = fs::read_dir(folder).expect("the folder is part of the source");
    let mut paths: Vec<_> = files.map(|file| file.expect("it can be listed").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "hex"));
    paths.sort();
    paths.iter().map(|path| parse(&fs::read_to_string(path).expect("it is text"))).collect()
}

fn parse(text: &str) -> Golden {
    let mut words = text.lines().next().unwrap_or_default().split_whitespace().skip(1).map(str::to_owned);
    let mut word = || words.next().expect("the first line has direction, protocol and procedure");
    let (direction, protocol, procedure) = (word(), word(), word());
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let digits: Vec<u8> = lines.flat_map(str::chars).filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    let frame = digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect();
    Golden { direction, protocol, procedure, frame }
}
