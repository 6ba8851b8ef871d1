//! Frames of real programs, kept in `wire/golden/`: one RPC message a file, without its record mark, as hex text.
//! The first line says what it is: `# call nfs3 LOOKUP` or `# reply mount3 MNT`; further lines with `#` say where
//! it is from. Each is read to its last byte and written again in the same bytes.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::mount;
use crate::nfs3::{self, *};
use crate::portmap::{self, PmapProcedure, RpcbProcedure};
use crate::rpc::{BadCall, CallHeader, ReplyHeader};
use crate::xdr::{Decode, Encode, Reader, Result, Writer};

/// A file of `golden/`.
#[derive(Clone)]
struct Golden {
    path: PathBuf,
    /// `call` or `reply`.
    direction: String,
    /// `nfs3`, `mount3`, `mount1`, `portmap2`, `rpcbind3`, `rpcbind4`.
    protocol: String,
    procedure: String,
    frame: Vec<u8>,
}

fn load() -> Vec<Golden> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/golden");
    let files = fs::read_dir(folder).expect("the folder is part of the source");
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "hex"));
    paths.sort();
    paths.into_iter().map(read).collect()
}

fn read(path: PathBuf) -> Golden {
    let text = fs::read_to_string(&path).unwrap();
    let title = text.lines().next().unwrap_or_default();
    let words: Vec<&str> = title.split_whitespace().collect();
    let ["#", direction, protocol, procedure] = words[..] else {
        panic!("{}: bad first line `{title}`", path.display());
    };
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let digits: Vec<u32> = lines
        .flat_map(str::chars)
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).expect("hex digits"))
        .collect();
    assert_eq!(digits.len() % 2, 0, "{}: half a byte", path.display());
    Golden {
        direction: direction.into(),
        protocol: protocol.into(),
        procedure: procedure.into(),
        frame: digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect(),
        path,
    }
}

/// Reads a value and writes it again.
fn copy<'a, T: Decode<'a> + Encode>(r: &mut Reader<'a>, w: &mut Writer<'_>) -> Result<()> {
    w.encode(&r.decode::<T>()?);
    Ok(())
}

/// Reads a message and writes it again.
fn again(golden: &Golden) -> Result<Vec<u8>> {
    let mut r = Reader::new(&golden.frame);
    let mut bytes = Vec::new();
    let mut w = Writer::new(&mut bytes);
    let is_call = golden.direction == "call";
    if is_call {
        let header = CallHeader::parse(&mut r).map_err(|bad| match bad {
            BadCall::Unanswerable(malformed) => malformed,
            BadCall::Denied { why, .. } => panic!("{}: {why:?}", golden.path.display()),
        })?;
        assert_eq!(title_of(&header), (&*golden.protocol, &*golden.procedure));
        header.cred.credential().expect("a real program's credential");
        w.encode(&header);
    } else {
        let header: ReplyHeader<'_> = r.decode()?;
        assert!(header.is_success(), "{}", golden.path.display());
        w.encode(&header);
    }
    body(golden, is_call, &mut r, &mut w)?;
    r.finish()?;
    Ok(bytes)
}

/// What the first line of the call's file must say.
fn title_of(header: &CallHeader<'_>) -> (&'static str, &'static str) {
    match (header.program, header.version) {
        (nfs3::PROGRAM, nfs3::VERSION) => ("nfs3", name(header, nfs3::Procedure::name)),
        (mount::PROGRAM, mount::VERSION_3) => ("mount3", name(header, mount::Procedure::name)),
        (mount::PROGRAM, mount::VERSION_1) => ("mount1", name(header, mount::Procedure::name)),
        (portmap::PROGRAM, portmap::VERSION_2) => ("portmap2", name(header, PmapProcedure::name)),
        (portmap::PROGRAM, portmap::VERSION_3) => ("rpcbind3", name(header, RpcbProcedure::name)),
        (portmap::PROGRAM, portmap::VERSION_4) => ("rpcbind4", name(header, RpcbProcedure::name)),
        other => panic!("no program of ours: {other:?}"),
    }
}

fn name<P: TryFrom<u32, Error = crate::Malformed>>(
    header: &CallHeader<'_>,
    name: fn(P) -> &'static str,
) -> &'static str {
    name(header.procedure.try_into().expect("a procedure that exists"))
}

/// Arguments or results, by the title.
fn body(golden: &Golden, is_call: bool, r: &mut Reader<'_>, w: &mut Writer<'_>) -> Result<()> {
    macro_rules! rows {
        ($($protocol:literal $procedure:literal: $args:ty => $res:ty,)*) => {
            match (&*golden.protocol, &*golden.procedure) {
                $(($protocol, $procedure) if is_call => copy::<$args>(r, w),
                ($protocol, $procedure) => copy::<$res>(r, w),)*
                other => panic!("{}: no such procedure: {other:?}", golden.path.display()),
            }
        };
    }
    rows! {
        "nfs3" "NULL": () => (),
        "nfs3" "GETATTR": GetattrArgs<'_> => GetattrRes,
        "nfs3" "SETATTR": SetattrArgs<'_> => SetattrRes,
        "nfs3" "LOOKUP": LookupArgs<'_> => LookupRes<'_>,
        "nfs3" "ACCESS": AccessArgs<'_> => AccessRes,
        "nfs3" "READLINK": ReadlinkArgs<'_> => ReadlinkRes<'_>,
        "nfs3" "READ": ReadArgs<'_> => ReadRes<'_>,
        "nfs3" "WRITE": WriteArgs<'_> => WriteRes,
        "nfs3" "CREATE": CreateArgs<'_> => CreateRes<'_>,
        "nfs3" "MKDIR": MkdirArgs<'_> => MkdirRes<'_>,
        "nfs3" "SYMLINK": SymlinkArgs<'_> => SymlinkRes<'_>,
        "nfs3" "MKNOD": MknodArgs<'_> => MknodRes<'_>,
        "nfs3" "REMOVE": RemoveArgs<'_> => RemoveRes,
        "nfs3" "RMDIR": RmdirArgs<'_> => RmdirRes,
        "nfs3" "RENAME": RenameArgs<'_> => RenameRes,
        "nfs3" "LINK": LinkArgs<'_> => LinkRes,
        "nfs3" "READDIR": ReaddirArgs<'_> => ReaddirRes<'_>,
        "nfs3" "READDIRPLUS": ReaddirplusArgs<'_> => ReaddirplusRes<'_>,
        "nfs3" "FSSTAT": FsstatArgs<'_> => FsstatRes,
        "nfs3" "FSINFO": FsinfoArgs<'_> => FsinfoRes,
        "nfs3" "PATHCONF": PathconfArgs<'_> => PathconfRes,
        "nfs3" "COMMIT": CommitArgs<'_> => CommitRes,
        "mount3" "NULL": () => (),
        "mount3" "MNT": mount::Dirpath<'_> => mount::Mountres3<'_>,
        "mount3" "DUMP": () => mount::Mountlist<'_>,
        "mount3" "UMNT": mount::Dirpath<'_> => (),
        "mount3" "UMNTALL": () => (),
        "mount3" "EXPORT": () => mount::Exports<'_>,
        "mount1" "NULL": () => (),
        "mount1" "MNT": mount::Dirpath<'_> => mount::Fhstatus,
        "mount1" "DUMP": () => mount::Mountlist<'_>,
        "mount1" "UMNT": mount::Dirpath<'_> => (),
        "mount1" "UMNTALL": () => (),
        "mount1" "EXPORT": () => mount::Exports<'_>,
        "portmap2" "NULL": () => (),
        "portmap2" "SET": portmap::Mapping => bool,
        "portmap2" "UNSET": portmap::Mapping => bool,
        "portmap2" "GETPORT": portmap::Mapping => u32,
        "portmap2" "DUMP": () => portmap::Pmaplist<'_>,
        "rpcbind3" "NULL": () => (),
        "rpcbind3" "GETADDR": portmap::Rpcb<'_> => portmap::Uaddr<'_>,
        "rpcbind3" "DUMP": () => portmap::Rpcblist<'_>,
        "rpcbind4" "NULL": () => (),
        "rpcbind4" "SET": portmap::Rpcb<'_> => bool,
        "rpcbind4" "UNSET": portmap::Rpcb<'_> => bool,
        "rpcbind4" "GETADDR": portmap::Rpcb<'_> => portmap::Uaddr<'_>,
        "rpcbind4" "GETVERSADDR": portmap::Rpcb<'_> => portmap::Uaddr<'_>,
        "rpcbind4" "GETTIME": () => u32,
        "rpcbind4" "DUMP": () => portmap::Rpcblist<'_>,
    }
}

#[test]
fn every_frame_of_a_real_program_is_read_to_its_end_and_written_the_same() {
    for golden in load() {
        let path = golden.path.display();
        let written = again(&golden).unwrap_or_else(|malformed| panic!("{path}: {malformed}"));
        assert_eq!(written, golden.frame, "{path}");
    }
}

#[test]
fn no_cut_of_a_real_frame_is_taken_for_whole() {
    for golden in load() {
        for len in head_bytes(&golden)..golden.frame.len() {
            let frame = golden.frame[..len].to_vec();
            let cut = again(&Golden { frame, ..golden.clone() });
            assert!(cut.is_err(), "{} cut at {len}", golden.path.display());
        }
    }
}

/// The length of the RPC header.
fn head_bytes(golden: &Golden) -> usize {
    let mut r = Reader::new(&golden.frame);
    match golden.direction.as_str() {
        "call" => assert!(CallHeader::parse(&mut r).is_ok()),
        _ => assert!(r.decode::<ReplyHeader<'_>>().is_ok()),
    }
    r.position()
}

#[test]
fn both_directions_of_every_nfs_procedure_are_there() {
    let there: BTreeSet<(String, String)> = load()
        .into_iter()
        .filter(|golden| golden.protocol == "nfs3")
        .map(|golden| (golden.direction, golden.procedure))
        .collect();
    for procedure in nfs3::Procedure::ALL {
        for direction in ["call", "reply"] {
            let wanted = (direction.to_string(), procedure.name().to_string());
            assert!(there.contains(&wanted), "{wanted:?}");
        }
    }
}
