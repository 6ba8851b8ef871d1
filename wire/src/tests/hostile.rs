//! Every type comes back as it was, and no cut or garbled message of it does harm.

use std::fmt::Debug;

use super::{Dice, Sample};
use crate::mount::*;
use crate::nfs3::*;
use crate::portmap::*;
use crate::rpc::*;
use crate::xdr::{Array, Decode, Encode, List, Opaque, decode_all, encode_vec};

/// Calls `$check` with every type that crosses the wire.
macro_rules! for_every_type {
    ($check:ident) => {
        for_every_type!(@ $check:
            u32, i32, u64, i64, bool, (), [u8; 8], Option<u64>,
            Opaque<'static, 7>, Array<u32, 5>, List<'static, u64>,
            OpaqueAuth<'static>, AuthSys<'static>, Versions, AuthStat, Accepted, Rejected, ReplyHeader<'static>,
            PmapProcedure, Mapping, Pmaplist<'static>,
            RpcbProcedure, Netid<'static>, Uaddr<'static>, Owner<'static>, Rpcb<'static>, Rpcblist<'static>,
            crate::mount::Procedure, Fhandle3<'static>, Dirpath<'static>, Name<'static>, Fhandle, Mountstat3,
            MountresOk<'static>, Mountres3<'static>, Fhstatus, Mountlist<'static>, Exports<'static>,
            crate::nfs3::Procedure, FileHandle<'static>, Filename<'static>, Nfspath<'static>, Data<'static>,
            Cookieverf3, Createverf3, Writeverf3, Nfsstat3, Ftype3, Specdata3, Nfstime3, Fattr3, PostOpAttr,
            WccAttr, PreOpAttr, WccData, PostOpFh3<'static>, SetTime, Sattr3, Diropargs3<'static>,
            GetattrArgs<'static>, GetattrRes,
            SetattrArgs<'static>, SetattrRes,
            LookupArgs<'static>, LookupRes<'static>,
            AccessArgs<'static>, AccessRes,
            ReadlinkArgs<'static>, ReadlinkRes<'static>,
            ReadArgs<'static>, ReadRes<'static>,
            StableHow, WriteArgs<'static>, WriteRes,
            Createhow3, CreateArgs<'static>, CreateRes<'static>,
            MkdirArgs<'static>, MkdirRes<'static>,
            Symlinkdata3<'static>, SymlinkArgs<'static>, SymlinkRes<'static>,
            Devicedata3, Mknoddata3, MknodArgs<'static>, MknodRes<'static>,
            RemoveArgs<'static>, RemoveRes,
            RmdirArgs<'static>, RmdirRes,
            RenameArgs<'static>, RenameRes,
            LinkArgs<'static>, LinkRes,
            ReaddirArgs<'static>, Entry3<'static>, ReaddirRes<'static>,
            ReaddirplusArgs<'static>, Entryplus3<'static>, ReaddirplusRes<'static>,
            FsstatArgs<'static>, FsstatRes,
            FsinfoArgs<'static>, FsinfoRes,
            PathconfArgs<'static>, PathconfRes,
            CommitArgs<'static>, CommitRes
        )
    };
    (@ $check:ident: $($ty:ty),*) => {
        $($check::<$ty>(stringify!($ty));)*
    };
}

/// Values of each type. The same seed for all, so that one type can be run alone.
const ROUNDS: usize = 60;
const SEED: u64 = 1813;

/// A message that lives as long as the values that are decoded from it.
fn keep(bytes: Vec<u8>) -> &'static [u8] {
    Vec::leak(bytes)
}

#[test]
fn every_type_comes_back_as_it_was_written() {
    fn check<T: Sample + Encode + Decode<'static> + PartialEq + Debug>(name: &str) {
        let dice = &mut Dice::new(SEED);
        for round in 0..ROUNDS {
            let value: T = dice.sample();
            let bytes = keep(encode_vec(&value));
            assert_eq!(bytes.len() % 4, 0, "{name}, round {round}");
            assert_eq!(decode_all(bytes), Ok(value), "{name}, round {round}");
        }
    }
    for_every_type!(check);
}

#[test]
fn every_message_that_is_cut_off_is_an_error() {
    fn check<T: Sample + Encode + Decode<'static> + Debug>(name: &str) {
        let dice = &mut Dice::new(SEED);
        for round in 0..ROUNDS / 4 {
            let bytes = keep(encode_vec(&dice.sample::<T>()));
            for len in 0..bytes.len() {
                let cut = decode_all::<T>(&bytes[..len]);
                assert!(cut.is_err(), "{name}, round {round}, cut at {len}: {cut:?}");
            }
        }
    }
    for_every_type!(check);
}

/// Puts each of some bad numbers at each place of a message in turn. What still decodes must encode again.
#[test]
fn no_number_at_any_place_does_harm() {
    fn check<T: Sample + Encode + Decode<'static> + Debug>(_: &str) {
        let dice = &mut Dice::new(SEED);
        for _ in 0..ROUNDS / 12 {
            let bytes = encode_vec(&dice.sample::<T>());
            for at in (0..bytes.len()).step_by(4) {
                for bad in [u32::MAX, i32::MAX as u32, 1 << 20, 3] {
                    let mut garbled = bytes.clone();
                    garbled[at..at + 4].copy_from_slice(&bad.to_be_bytes());
                    let garbled = keep(garbled);
                    if let Ok(value) = decode_all::<T>(garbled) {
                        assert_eq!(encode_vec(&value).len(), garbled.len());
                        let _ = format!("{value:?}");
                    }
                }
            }
        }
    }
    for_every_type!(check);
}

#[test]
fn random_bytes_do_no_harm() {
    fn check<T: Sample + Encode + Decode<'static> + Debug>(_: &str) {
        let dice = &mut Dice::new(SEED);
        for _ in 0..ROUNDS {
            let len = dice.below(200);
            let bytes = (0..len).map(|_| [0, 0, 0, 1, 2, 5, 0xFF][dice.below(7)]).collect();
            if let Ok(value) = decode_all::<T>(keep(bytes)) {
                encode_vec(&value);
            }
        }
    }
    for_every_type!(check);
}

#[test]
fn a_read_sent_in_two_parts_is_the_read_sent_in_one() {
    let dice = &mut Dice::new(SEED);
    for _ in 0..ROUNDS {
        let data: Data<'static> = dice.sample();
        let count = data.len() as u32;
        let whole = ReadResOk { file_attributes: dice.sample(), count, eof: dice.sample(), data };
        let head = ReadResOkHead { file_attributes: whole.file_attributes, count, eof: whole.eof };
        let mut parts = encode_vec(&ReadResHead::Ok(head));
        parts.extend_from_slice(&data);
        parts.resize(parts.len() + crate::xdr::padding(data.len()), 0);
        assert_eq!(parts, encode_vec(&ReadRes::Ok(whole)));
    }
}

#[test]
fn a_name_longer_than_any_server_takes_still_decodes() {
    let name = vec![b'n'; NAME_WIRE_MAX];
    let args =
        LookupArgs { what: Diropargs3 { dir: FileHandle::new(b"dir").unwrap(), name: Filename::new(&name).unwrap() } };
    assert_eq!(decode_all(&encode_vec(&args)), Ok(args));
    assert!(Filename::new(&[b'n'; NAME_WIRE_MAX + 1]).is_err());
}

#[test]
fn a_write_borrows_its_data_from_the_frame() {
    let data = vec![0xA5; 1 << 20];
    let frame = encode_vec(&WriteArgs {
        file: FileHandle::new(&[1; 32]).unwrap(),
        offset: 1 << 40,
        count: 1 << 20,
        stable: StableHow::Unstable,
        data: Data::new(&data).unwrap(),
    });
    let args: WriteArgs<'_> = decode_all(&frame).unwrap();
    assert!(frame.as_ptr_range().contains(&args.data.as_ptr()));
    assert_eq!(args.data.len(), 1 << 20);
}

#[test]
fn the_procedures_are_numbered_without_a_gap() {
    use crate::nfs3::Procedure;
    for (number, procedure) in (0..).zip(Procedure::ALL) {
        assert_eq!(procedure as u32, number);
        assert_eq!(Procedure::try_from(number), Ok(procedure));
    }
    assert_eq!(Procedure::ALL.len(), 22);
    assert!(Procedure::try_from(22).is_err());
}
