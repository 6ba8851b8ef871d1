//! stress-ng's file system stressors, and fio with verify.

use crate::failure::{Outcome, ensure};
use crate::guest::Mount;
use crate::lab::Lab;

pub(crate) fn stress_ng(lab: &Lab) -> Outcome {
    let mut server = lab.serve()?;
    let mut script = String::new();
    for stressor in STRESSORS {
        script += &format!(
            "stress-ng --{stressor} 2 --timeout 2s --verify --temp-path /mnt --oomable 2>&1 || {{ echo FAILED {stressor}; exit 1; }}\n"
        );
    }
    let report = Mount::of(lab, &server, "stress").memory("2G").shell(&script)?;
    ensure!(!report.contains("fail:"), "{report}");
    server.stop()?;
    server.verify()?;
    Ok(format!("{} stressors", STRESSORS.len()))
}

pub(crate) fn fio(lab: &Lab) -> Outcome {
    let mut server = lab.serve()?;
    let common =
        "--directory=/mnt --size=64M --verify=crc32c --verify_fatal=1 --verify_dump=0 --randseed=7 --group_reporting";
    let script = format!(
        "fio --name=random --rw=randwrite --bsrange=4k-256k --numjobs=4 --ioengine=psync --end_fsync=1 {common}
         echo 3 >/proc/sys/vm/drop_caches
         fio --name=random --rw=randwrite --bsrange=4k-256k --numjobs=4 --ioengine=psync --verify_only {common}
         fio --name=direct --rw=randrw --bs=16k --direct=1 --numjobs=4 --ioengine=libaio --iodepth=8 {common}"
    );
    Mount::of(lab, &server, "fio").memory("2G").shell(&script)?;
    server.stop()?;
    server.verify()?;
    Ok("four jobs, buffered and direct".to_string())
}

/// Those of the class that ask something of the server which NFSv3 has.
const STRESSORS: &[&str] = &[
    "access",
    "chdir",
    "chmod",
    "chown",
    "copy-file",
    "dentry",
    "dir",
    "dirdeep",
    "dirmany",
    "fcntl",
    "filename",
    "flock",
    "fstat",
    "getdent",
    "hdd",
    "io",
    "iomix",
    "link",
    "lockf",
    "mknod",
    "mmap",
    "open",
    "rename",
    "seek",
    "sendfile",
    "splice",
    "symlink",
    "sync-file",
    "touch",
    "utime",
];
