//! MOUNT, versions 1 and 3: arguments and results.
//!
//! Input: a byte that says which, the XDR.

use super::{Target, bounded, checked, golden};
use wire::Reader;
use wire::mount::{
    AUTH_FLAVORS_MAX, Dirpath, Exports, FHSIZE3, Fhstatus, MNTNAMLEN, MNTPATHLEN, MountResult, Mountlist, Mountres3,
    Procedure,
};

pub(super) const MOUNT: Target = Target {
    name: "mount",
    about: "MOUNT 1 and 3: arguments, results, lists of exports and mounts",
    input_max: 4096,
    working_bytes: 0,
    words: &[b"/share", b"\0\0\0\x01", b"\0\0\0\0"],
    seeds,
    run,
};

fn run(input: &[u8]) {
    let Some((which, body)) = input.split_first() else { return };
    let mut r = Reader::new(body);
    match which % 8 {
        0 => arguments(Procedure::Mnt as u32, &mut r),
        1 => drop(checked!(r, Fhstatus)),
        2 | 3 => result(&mut r),
        4 | 5 => mounts(&mut r),
        _ => exports(&mut r),
    }
}

/// The arguments of a procedure, the same in all versions.
pub(super) fn arguments(procedure: u32, r: &mut Reader<'_>) {
    if let Ok(Procedure::Mnt | Procedure::Umnt) = procedure.try_into() {
        let path = checked!(r, Dirpath<'_>);
        path.into_iter().for_each(|path| assert!(path.len() <= MNTPATHLEN));
    }
}

fn result(r: &mut Reader<'_>) {
    if let Some(MountResult::Ok(ok)) = bounded!(r, Mountres3<'_>) {
        assert!(ok.fhandle.len() <= FHSIZE3 && ok.auth_flavors.len() <= AUTH_FLAVORS_MAX);
    }
}

fn mounts(r: &mut Reader<'_>) {
    let Some(list) = checked!(r, Mountlist<'_>) else { return };
    for mount in list.iter() {
        assert!(mount.ml_hostname.len() <= MNTNAMLEN && mount.ml_directory.len() <= MNTPATHLEN);
    }
}

fn exports(r: &mut Reader<'_>) {
    let Some(list) = checked!(r, Exports<'_>) else { return };
    for export in list.iter() {
        assert!(export.ex_dir.len() <= MNTPATHLEN);
        assert!(export.ex_groups.iter().all(|group| group.len() <= MNTNAMLEN));
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let of_mount = golden::all().into_iter().filter(|golden| golden.protocol.starts_with("mount"));
    let seed = |golden: golden::Golden| {
        let which: u8 = match (golden.direction.as_str(), golden.procedure.as_str()) {
            ("call", _) => 0,
            (_, "MNT") if golden.protocol == "mount1" => 1,
            (_, "MNT") => 2,
            (_, "DUMP") => 4,
            _ => 6,
        };
        [&[which], golden.body()].concat()
    };
    of_mount.map(seed).collect()
}
