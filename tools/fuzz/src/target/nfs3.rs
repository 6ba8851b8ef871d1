//! NFSv3: arguments and results of all 22 procedures.
//!
//! Input: a byte that gives the procedure, the XDR.

use super::{Target, bounded, checked, golden};
use wire::Reader;
use wire::nfs3::*;

pub(super) const ARGUMENTS: Target = Target {
    name: "nfs3-args",
    about: "the arguments of every NFSv3 procedure",
    input_max: 6000,
    working_bytes: 0,
    words: &[b"\0\0\0\x01", b"\0\0\0\x28", b"\0\0\x10\x01", b"\0\0\0\x41"],
    seeds: || seeds("call"),
    run: |input| split(input, arguments),
};

pub(super) const RESULTS: Target = Target {
    name: "nfs3-results",
    about: "the results of every NFSv3 procedure, listings entry by entry",
    input_max: 6000,
    working_bytes: 0,
    words: &[b"\0\0\0\x01", b"\0\0\0\x28", b"\0\0\x10\x01", b"\0\0\0\x41", b"\0\0\0\0"],
    seeds: || seeds("reply"),
    run: |input| split(input, results),
};

fn split(input: &[u8], run: fn(u32, &mut Reader<'_>)) {
    let Some((procedure, body)) = input.split_first() else { return };
    run(u32::from(procedure % 22), &mut Reader::new(body));
}

/// Arguments, as the server reads them.
pub(super) fn arguments(procedure: u32, r: &mut Reader<'_>) {
    let Ok(procedure) = procedure.try_into() else { return };
    match procedure {
        Procedure::Null => drop(checked!(r, ())),
        Procedure::Getattr => drop(bounded!(r, GetattrArgs<'_>, object <= NFS3_FHSIZE)),
        Procedure::Setattr => drop(bounded!(r, SetattrArgs<'_>, object <= NFS3_FHSIZE)),
        Procedure::Lookup => {
            bounded!(r, LookupArgs<'_>, what.dir <= NFS3_FHSIZE, what.name <= NAME_WIRE_MAX);
        }
        Procedure::Access => drop(bounded!(r, AccessArgs<'_>, object <= NFS3_FHSIZE)),
        Procedure::Readlink => drop(bounded!(r, ReadlinkArgs<'_>, symlink <= NFS3_FHSIZE)),
        Procedure::Read => drop(bounded!(r, ReadArgs<'_>, file <= NFS3_FHSIZE)),
        Procedure::Write => drop(bounded!(r, WriteArgs<'_>, file <= NFS3_FHSIZE, data <= DATA_WIRE_MAX)),
        Procedure::Create => {
            bounded!(r, CreateArgs<'_>, location.dir <= NFS3_FHSIZE, location.name <= NAME_WIRE_MAX);
        }
        Procedure::Mkdir => {
            bounded!(r, MkdirArgs<'_>, location.dir <= NFS3_FHSIZE, location.name <= NAME_WIRE_MAX);
        }
        Procedure::Symlink => {
            bounded!(r, SymlinkArgs<'_>, location.name <= NAME_WIRE_MAX, symlink.symlink_data <= PATH_WIRE_MAX);
        }
        Procedure::Mknod => {
            bounded!(r, MknodArgs<'_>, location.dir <= NFS3_FHSIZE, location.name <= NAME_WIRE_MAX);
        }
        Procedure::Remove => {
            bounded!(r, RemoveArgs<'_>, object.dir <= NFS3_FHSIZE, object.name <= NAME_WIRE_MAX);
        }
        Procedure::Rmdir => {
            bounded!(r, RmdirArgs<'_>, object.dir <= NFS3_FHSIZE, object.name <= NAME_WIRE_MAX);
        }
        Procedure::Rename => {
            bounded!(r, RenameArgs<'_>, from.name <= NAME_WIRE_MAX, to.name <= NAME_WIRE_MAX, to.dir <= NFS3_FHSIZE);
        }
        Procedure::Link => drop(bounded!(r, LinkArgs<'_>, file <= NFS3_FHSIZE, link.name <= NAME_WIRE_MAX)),
        Procedure::Readdir => drop(bounded!(r, ReaddirArgs<'_>, dir <= NFS3_FHSIZE)),
        Procedure::Readdirplus => drop(bounded!(r, ReaddirplusArgs<'_>, dir <= NFS3_FHSIZE)),
        Procedure::Fsstat => drop(bounded!(r, FsstatArgs<'_>, fsroot <= NFS3_FHSIZE)),
        Procedure::Fsinfo => drop(bounded!(r, FsinfoArgs<'_>, fsroot <= NFS3_FHSIZE)),
        Procedure::Pathconf => drop(bounded!(r, PathconfArgs<'_>, object <= NFS3_FHSIZE)),
        Procedure::Commit => drop(bounded!(r, CommitArgs<'_>, file <= NFS3_FHSIZE)),
    }
}

/// Results, as a client reads them.
fn results(procedure: u32, r: &mut Reader<'_>) {
    let Ok(procedure) = procedure.try_into() else { return };
    match procedure {
        Procedure::Null => drop(checked!(r, ())),
        Procedure::Getattr => drop(checked!(r, GetattrRes)),
        Procedure::Setattr => drop(checked!(r, SetattrRes)),
        Procedure::Lookup => {
            if let Some(Res::Ok(ok)) = checked!(r, LookupRes<'_>) {
                assert!(ok.object.len() <= NFS3_FHSIZE);
            }
        }
        Procedure::Access => drop(checked!(r, AccessRes)),
        Procedure::Readlink => {
            if let Some(Res::Ok(ok)) = checked!(r, ReadlinkRes<'_>) {
                assert!(ok.data.len() <= PATH_WIRE_MAX);
            }
        }
        Procedure::Read => drop(checked!(r, ReadRes<'_>)),
        Procedure::Write => drop(checked!(r, WriteRes)),
        Procedure::Create => drop(checked!(r, CreateRes<'_>)),
        Procedure::Mkdir => drop(checked!(r, MkdirRes<'_>)),
        Procedure::Symlink => drop(checked!(r, SymlinkRes<'_>)),
        Procedure::Mknod => drop(checked!(r, MknodRes<'_>)),
        Procedure::Remove => drop(checked!(r, RemoveRes)),
        Procedure::Rmdir => drop(checked!(r, RmdirRes)),
        Procedure::Rename => drop(checked!(r, RenameRes)),
        Procedure::Link => drop(checked!(r, LinkRes)),
        Procedure::Readdir => listing(r),
        Procedure::Readdirplus => listing_plus(r),
        Procedure::Fsstat => drop(checked!(r, FsstatRes)),
        Procedure::Fsinfo => drop(checked!(r, FsinfoRes)),
        Procedure::Pathconf => drop(checked!(r, PathconfRes)),
        Procedure::Commit => drop(checked!(r, CommitRes)),
    }
}

/// A listing that was read is written again by the server's bounded writer, within any limit.
fn listing(r: &mut Reader<'_>) {
    let Some(Res::Ok(ok)) = checked!(r, ReaddirRes<'_>) else { return };
    for count in [u32::MAX, 200] {
        let mut bytes = Vec::new();
        let mut w = wire::Writer::new(&mut bytes);
        let mut list = DirListWriter::begin(&mut w, ok.dir_attributes, ok.cookieverf, count);
        let is_whole = ok.reply.entries.iter().all(|entry| list.push(&entry));
        let is_written = list.finish(ok.reply.eof).is_ok();
        assert!(bytes.len() <= 4_usize.saturating_add(count as usize));
        if is_whole && is_written {
            assert_eq!(wire::xdr::decode_all::<ReaddirRes<'_>>(&bytes), Ok(Res::Ok(ok)));
        }
    }
    assert!(ok.reply.entries.iter().all(|entry| entry.name.len() <= NAME_WIRE_MAX));
}

fn listing_plus(r: &mut Reader<'_>) {
    let Some(Res::Ok(ok)) = checked!(r, ReaddirplusRes<'_>) else { return };
    for count in [u32::MAX, 400] {
        let mut bytes = Vec::new();
        let mut w = wire::Writer::new(&mut bytes);
        let mut list = DirPlusWriter::begin(&mut w, ok.dir_attributes, ok.cookieverf, count / 2, count);
        let is_whole = ok.reply.entries.iter().all(|entry| list.push(&entry));
        let is_written = list.finish(ok.reply.eof).is_ok();
        assert!(bytes.len() <= 4_usize.saturating_add(count as usize));
        if is_whole && is_written {
            assert_eq!(wire::xdr::decode_all::<ReaddirplusRes<'_>>(&bytes), Ok(Res::Ok(ok)));
        }
    }
    for entry in ok.reply.entries.iter() {
        assert!(entry.name.len() <= NAME_WIRE_MAX && entry.name_handle.is_none_or(|fh| fh.len() <= NFS3_FHSIZE));
    }
}

fn seeds(direction: &str) -> Vec<Vec<u8>> {
    let ours = golden::all().into_iter().filter(|golden| golden.protocol == "nfs3" && golden.direction == direction);
    let seed = |golden: golden::Golden| {
        let procedure = Procedure::ALL.iter().position(|all| all.name() == golden.procedure);
        [&[procedure.expect("golden frames are of procedures that exist") as u8], golden.body()].concat()
    };
    ours.map(seed).collect()
}
