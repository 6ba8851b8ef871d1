//! `nfs3_types` as judge: what we write it reads and writes again in the same bytes, and what it has written we
//! read as the value we began with.

use std::fmt::Debug;
use std::io::Cursor;

use nfs3_types::xdr_codec::{List as TheirList, Opaque as TheirOpaque, Pack, Unpack, Void};
use nfs3_types::{mount, nfs3, portmap, rpc};

use super::{Dice, Sample};
use crate::mount as our_mount;
use crate::nfs3::*;
use crate::portmap as our_portmap;
use crate::rpc as our_rpc;
use crate::xdr::{Array, Decode, Encode, Opaque, decode_all, encode_vec};

const ROUNDS: usize = 200;

/// Sends random values of ours through their codec.
fn agree<Ours, Theirs>()
where
    Ours: Sample + Encode + Decode<'static> + PartialEq + Debug,
    Theirs: Pack + Unpack,
{
    let dice = &mut Dice::new(1813);
    for _ in 0..ROUNDS {
        through::<Ours, Theirs>(dice.sample());
    }
}

fn through<Ours, Theirs>(value: Ours)
where
    Ours: Encode + Decode<'static> + PartialEq + Debug,
    Theirs: Pack + Unpack,
{
    let ours = encode_vec(&value);
    let (read, read_bytes) = Theirs::unpack(&mut Cursor::new(&ours)).expect("they read what we wrote");
    assert_eq!(read_bytes, ours.len(), "{value:?}");
    let mut theirs = Vec::new();
    read.pack(&mut theirs).expect("a vector takes all");
    assert_eq!(ours, theirs, "{value:?}");
    assert_eq!(decode_all(Vec::leak(theirs)), Ok(value));
}

#[test]
fn the_basic_types_are_the_same() {
    agree::<Fattr3, nfs3::fattr3>();
    agree::<WccData, nfs3::wcc_data>();
    agree::<PostOpAttr, nfs3::post_op_attr>();
    agree::<PostOpFh3<'_>, nfs3::post_op_fh3>();
    agree::<Sattr3, nfs3::sattr3>();
    agree::<Diropargs3<'_>, nfs3::diropargs3<'_>>();
    agree::<Createhow3, nfs3::createhow3>();
    agree::<Ftype3, nfs3::ftype3>();
    agree::<StableHow, nfs3::stable_how>();
    agree::<Nfsstat3, nfs3::nfsstat3>();
    agree::<Procedure, nfs3::NFS_PROGRAM>();
}

#[test]
fn the_arguments_of_every_procedure_are_the_same() {
    agree::<GetattrArgs<'_>, nfs3::GETATTR3args>();
    agree::<SetattrArgs<'_>, nfs3::SETATTR3args>();
    agree::<LookupArgs<'_>, nfs3::LOOKUP3args<'_>>();
    agree::<AccessArgs<'_>, nfs3::ACCESS3args>();
    agree::<ReadlinkArgs<'_>, nfs3::READLINK3args>();
    agree::<ReadArgs<'_>, nfs3::READ3args>();
    agree::<WriteArgs<'_>, nfs3::WRITE3args<'_>>();
    agree::<CreateArgs<'_>, nfs3::CREATE3args<'_>>();
    agree::<MkdirArgs<'_>, nfs3::MKDIR3args<'_>>();
    agree::<SymlinkArgs<'_>, nfs3::SYMLINK3args<'_>>();
    agree::<RemoveArgs<'_>, nfs3::REMOVE3args<'_>>();
    agree::<RmdirArgs<'_>, nfs3::RMDIR3args<'_>>();
    agree::<RenameArgs<'_>, nfs3::RENAME3args<'_, '_>>();
    agree::<LinkArgs<'_>, nfs3::LINK3args<'_>>();
    agree::<ReaddirArgs<'_>, nfs3::READDIR3args>();
    agree::<ReaddirplusArgs<'_>, nfs3::READDIRPLUS3args>();
    agree::<FsstatArgs<'_>, nfs3::FSSTAT3args>();
    agree::<FsinfoArgs<'_>, nfs3::FSINFO3args>();
    agree::<PathconfArgs<'_>, nfs3::PATHCONF3args>();
    agree::<CommitArgs<'_>, nfs3::COMMIT3args>();
}

/// Theirs has no arm for the types without data, so that those are left out.
#[test]
fn the_arguments_of_mknod_are_the_same() {
    let dice = &mut Dice::new(1813);
    for _ in 0..ROUNDS {
        let args: MknodArgs<'_> = dice.sample();
        if !matches!(args.what, Mknoddata3::Reg | Mknoddata3::Dir | Mknoddata3::Lnk) {
            through::<MknodArgs<'_>, nfs3::MKNOD3args<'_>>(args);
        }
    }
}

#[test]
fn the_results_of_every_procedure_are_the_same() {
    agree::<GetattrRes, nfs3::GETATTR3res>();
    agree::<SetattrRes, nfs3::SETATTR3res>();
    agree::<LookupRes<'_>, nfs3::LOOKUP3res>();
    agree::<AccessRes, nfs3::ACCESS3res>();
    agree::<ReadlinkRes<'_>, nfs3::READLINK3res<'_>>();
    agree::<ReadRes<'_>, nfs3::READ3res<'_>>();
    agree::<WriteRes, nfs3::WRITE3res>();
    agree::<CreateRes<'_>, nfs3::CREATE3res>();
    agree::<MkdirRes<'_>, nfs3::MKDIR3res>();
    agree::<SymlinkRes<'_>, nfs3::SYMLINK3res>();
    agree::<MknodRes<'_>, nfs3::MKNOD3res>();
    agree::<RemoveRes, nfs3::REMOVE3res>();
    agree::<RmdirRes, nfs3::RMDIR3res>();
    agree::<RenameRes, nfs3::RENAME3res>();
    agree::<LinkRes, nfs3::LINK3res>();
    agree::<ReaddirRes<'_>, nfs3::READDIR3res<'_>>();
    agree::<ReaddirplusRes<'_>, nfs3::READDIRPLUS3res<'_>>();
    agree::<FsstatRes, nfs3::FSSTAT3res>();
    agree::<FsinfoRes, nfs3::FSINFO3res>();
    agree::<PathconfRes, nfs3::PATHCONF3res>();
    agree::<CommitRes, nfs3::COMMIT3res>();
    agree::<(), Void>();
}

#[test]
fn mount_is_the_same() {
    agree::<our_mount::Mountres3<'_>, mount::mountres3<'_>>();
    agree::<our_mount::Mountlist<'_>, mount::mountlist<'_, '_>>();
    agree::<our_mount::Exports<'_>, mount::exports<'_, '_>>();
    agree::<our_mount::Dirpath<'_>, mount::dirpath<'_>>();
}

#[test]
fn the_portmapper_is_the_same() {
    agree::<our_portmap::Mapping, portmap::mapping>();
    agree::<our_portmap::Pmaplist<'_>, TheirList<portmap::mapping>>();
}

#[test]
fn auth_sys_is_the_same() {
    agree::<our_rpc::AuthSys<'_>, rpc::auth_unix>();
    let sys = our_rpc::AuthSys {
        stamp: 1,
        machinename: Opaque::new(b"wks").unwrap(),
        uid: 1000,
        gid: 100,
        gids: Array::new(&[5, 6]).unwrap(),
    };
    let theirs = rpc::opaque_auth::auth_unix(&rpc::auth_unix {
        stamp: 1,
        machinename: TheirOpaque::borrowed(b"wks"),
        uid: 1000,
        gid: 100,
        gids: vec![5, 6],
    });
    let mut bytes = Vec::new();
    theirs.pack(&mut bytes).unwrap();
    let mut scratch = Vec::new();
    assert_eq!(bytes, encode_vec(&our_rpc::OpaqueAuth::sys(&mut scratch, &sys).unwrap()));
}

#[test]
fn a_call_of_theirs_is_read_by_us() {
    let call = rpc::rpc_msg {
        xid: 77,
        body: rpc::msg_body::CALL(rpc::call_body {
            rpcvers: 2,
            prog: PROGRAM,
            vers: VERSION,
            proc: Procedure::Write as u32,
            cred: rpc::opaque_auth::auth_unix(&rpc::auth_unix::default()),
            verf: rpc::opaque_auth::default(),
        }),
    };
    let mut bytes = Vec::new();
    call.pack(&mut bytes).unwrap();
    let mut r = crate::Reader::new(&bytes);
    let header = our_rpc::CallHeader::parse(&mut r).unwrap();
    assert_eq!(r.finish(), Ok(()));
    assert_eq!((header.xid, header.procedure), (77, 7));
    assert!(matches!(header.cred.credential(), Ok(our_rpc::Credential::Sys(_))));
    assert_eq!(encode_vec(&header), bytes);
}

/// Theirs knows the flavors 0 to 3 and the refusals up to AUTH_FAILED.
#[test]
fn replies_are_the_same() {
    use our_rpc::{Accepted, AuthStat, Rejected, ReplyHeader, Versions};
    let versions = Versions { low: 3, high: 4 };
    let accepted = [
        Accepted::Success,
        Accepted::ProgUnavail,
        Accepted::ProgMismatch(versions),
        Accepted::ProcUnavail,
        Accepted::GarbageArgs,
        Accepted::SystemErr,
    ];
    for stat in accepted {
        through::<_, rpc::rpc_msg<'_, '_>>(ReplyHeader::accepted(7, stat));
    }
    through::<_, rpc::rpc_msg<'_, '_>>(ReplyHeader::denied(8, Rejected::RPC_MISMATCH));
    for why in AuthStat::ALL.into_iter().take_while(|&why| why <= AuthStat::Failed) {
        through::<_, rpc::rpc_msg<'_, '_>>(ReplyHeader::denied(9, Rejected::AuthError(why)));
    }
}

/// Their value, in bytes, read by us. Catches two neighbours of one type that have changed places.
fn ours_of<Ours: Decode<'static>>(theirs: &impl Pack) -> Ours {
    let mut bytes = Vec::new();
    theirs.pack(&mut bytes).expect("a vector takes all");
    decode_all(Vec::leak(bytes)).expect("we read what they wrote")
}

fn their_time(seconds: u32) -> nfs3::nfstime3 {
    nfs3::nfstime3 { seconds, nseconds: seconds + 1 }
}

fn our_time(seconds: u32) -> Nfstime3 {
    Nfstime3 { seconds, nseconds: seconds + 1 }
}

fn their_attributes(mode: u32) -> nfs3::fattr3 {
    nfs3::fattr3 {
        type_: nfs3::ftype3::NF3LNK,
        mode,
        nlink: 2,
        uid: 3,
        gid: 4,
        size: 5,
        used: 6,
        rdev: nfs3::specdata3 { specdata1: 7, specdata2: 8 },
        fsid: 9,
        fileid: 10,
        atime: their_time(11),
        mtime: their_time(13),
        ctime: their_time(15),
    }
}

fn our_attributes(mode: u32) -> Fattr3 {
    Fattr3 {
        ftype: Ftype3::Lnk,
        mode,
        nlink: 2,
        uid: 3,
        gid: 4,
        size: 5,
        used: 6,
        rdev: Specdata3 { specdata1: 7, specdata2: 8 },
        fsid: 9,
        fileid: 10,
        atime: our_time(11),
        mtime: our_time(13),
        ctime: our_time(15),
    }
}

fn their_handle(bytes: &'static [u8]) -> nfs3::nfs_fh3 {
    nfs3::nfs_fh3 { data: TheirOpaque::borrowed(bytes) }
}

fn our_handle(bytes: &'static [u8]) -> FileHandle<'static> {
    FileHandle::new(bytes).unwrap()
}

#[test]
fn neighbours_of_one_type_stand_in_the_order_of_the_rfc() {
    assert_eq!(ours_of::<Fattr3>(&their_attributes(1)), our_attributes(1));
    assert_eq!(
        ours_of::<WccAttr>(&nfs3::wcc_attr { size: 1, mtime: their_time(2), ctime: their_time(4) }),
        WccAttr { size: 1, mtime: our_time(2), ctime: our_time(4) }
    );
    assert_eq!(
        ours_of::<Sattr3>(&nfs3::sattr3 {
            mode: nfs3::set_mode3::Some(1),
            uid: nfs3::set_uid3::Some(2),
            gid: nfs3::set_gid3::Some(3),
            size: nfs3::set_size3::Some(4),
            atime: nfs3::set_atime::SET_TO_CLIENT_TIME(their_time(5)),
            mtime: nfs3::set_mtime::SET_TO_SERVER_TIME,
        }),
        Sattr3 {
            mode: Some(1),
            uid: Some(2),
            gid: Some(3),
            size: Some(4),
            atime: SetTime::SetToClientTime(our_time(5)),
            mtime: SetTime::SetToServerTime,
        }
    );
}

#[test]
fn neighbours_in_arguments_stand_in_the_order_of_the_rfc() {
    assert_eq!(
        ours_of::<ReaddirplusArgs<'_>>(&nfs3::READDIRPLUS3args {
            dir: their_handle(b"d"),
            cookie: 1,
            cookieverf: nfs3::cookieverf3([2; 8]),
            dircount: 3,
            maxcount: 4,
        }),
        ReaddirplusArgs { dir: our_handle(b"d"), cookie: 1, cookieverf: Cookieverf3([2; 8]), dircount: 3, maxcount: 4 }
    );
    assert_eq!(
        ours_of::<RenameArgs<'_>>(&nfs3::RENAME3args {
            from: nfs3::diropargs3 { dir: their_handle(b"1"), name: b"2"[..].into() },
            to: nfs3::diropargs3 { dir: their_handle(b"3"), name: b"4"[..].into() },
        }),
        RenameArgs {
            from: Diropargs3 { dir: our_handle(b"1"), name: Filename::new(b"2").unwrap() },
            to: Diropargs3 { dir: our_handle(b"3"), name: Filename::new(b"4").unwrap() },
        }
    );
}

#[test]
fn neighbours_in_results_stand_in_the_order_of_the_rfc() {
    assert_eq!(
        ours_of::<LookupResOk<'_>>(&nfs3::LOOKUP3resok {
            object: their_handle(b"f"),
            obj_attributes: nfs3::post_op_attr::Some(their_attributes(1)),
            dir_attributes: nfs3::post_op_attr::Some(their_attributes(2)),
        }),
        LookupResOk {
            object: our_handle(b"f"),
            obj_attributes: Some(our_attributes(1)),
            dir_attributes: Some(our_attributes(2)),
        }
    );
    assert_eq!(
        ours_of::<FsstatResOk>(&nfs3::FSSTAT3resok {
            obj_attributes: nfs3::post_op_attr::None,
            tbytes: 1,
            fbytes: 2,
            abytes: 3,
            tfiles: 4,
            ffiles: 5,
            afiles: 6,
            invarsec: 7,
        }),
        FsstatResOk {
            obj_attributes: None,
            tbytes: 1,
            fbytes: 2,
            abytes: 3,
            tfiles: 4,
            ffiles: 5,
            afiles: 6,
            invarsec: 7,
        }
    );
    assert_eq!(
        ours_of::<FsinfoResOk>(&nfs3::FSINFO3resok {
            obj_attributes: nfs3::post_op_attr::None,
            rtmax: 1,
            rtpref: 2,
            rtmult: 3,
            wtmax: 4,
            wtpref: 5,
            wtmult: 6,
            dtpref: 7,
            maxfilesize: 8,
            time_delta: their_time(9),
            properties: 10,
        }),
        FsinfoResOk {
            obj_attributes: None,
            rtmax: 1,
            rtpref: 2,
            rtmult: 3,
            wtmax: 4,
            wtpref: 5,
            wtmult: 6,
            dtpref: 7,
            maxfilesize: 8,
            time_delta: our_time(9),
            properties: 10,
        }
    );
    for place in 0..4 {
        let is = |at: usize| at == place;
        assert_eq!(
            ours_of::<PathconfResOk>(&nfs3::PATHCONF3resok {
                obj_attributes: nfs3::post_op_attr::None,
                linkmax: 1,
                name_max: 2,
                no_trunc: is(0),
                chown_restricted: is(1),
                case_insensitive: is(2),
                case_preserving: is(3),
            }),
            PathconfResOk {
                obj_attributes: None,
                linkmax: 1,
                name_max: 2,
                no_trunc: is(0),
                chown_restricted: is(1),
                case_insensitive: is(2),
                case_preserving: is(3),
            }
        );
    }
}
