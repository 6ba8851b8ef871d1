//! System calls that no crate wraps, in the only file of the crate with unsafe code besides the opening of LMDB.

use std::io;
use std::os::fd::RawFd;

/// The calling thread steps back from all others by `nice`, as `nice(2)` has it: what a stranger can keep busy, and what
/// nobody waits for, calls this first.
///
/// A nice value says how much of a processor a thread gets, not when. Linux lets a thread that runs go on to the end of its slice,
/// some milliseconds, though one with more to say wakes up, unless that one's slice is shorter. So its slice becomes the
/// longest that there is. Who wakes up may be the kernel, whose threads end direct writes: no nice value of ours
/// counts beside those, only the slice does.
///
/// Before Linux 6.12 a thread's slice can't be set, and the nice value alone is what changes.
///
/// # Errors
///
/// What the kernel says. The thread can go on: where it stays as it is, it takes more from the others.
pub fn step_back(nice: i32) -> io::Result<()> {
    let nice = rustix::process::nice(nice)?;
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_OTHER as u32,
        sched_flags: 0,
        sched_nice: nice,
        sched_priority: 0,
        sched_runtime: SLICE_NANOSECONDS_MAX,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel reads as many bytes as `size` says, of a value that lives until the call is over. 0 is the
    // calling thread.
    let set = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Receiving from `socket` waits until so many bytes are there, or as many as its buffer can have.
pub(crate) fn set_low_water(socket: RawFd, bytes: libc::c_int) -> io::Result<()> {
    // SAFETY: the kernel reads as many bytes as the value has, which lives until the call is over.
    let set = unsafe {
        libc::setsockopt(
            socket,
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            (&raw const bytes).cast(),
            size_of_val(&bytes) as libc::socklen_t,
        )
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What Linux takes at most for a slice.
const SLICE_NANOSECONDS_MAX: u64 = 100_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::read_to_string;
    use std::thread;

    /// The nice value and the slice of the calling thread, this where the kernel tells it.
    fn scheduled() -> (i32, Option<u64>) {
        let stat = read_to_string("/proc/thread-self/stat").unwrap();
        let (_, after_name) = stat.rsplit_once(')').unwrap();
        let nice = after_name.split_whitespace().nth(16).unwrap().parse().unwrap();
        let details = read_to_string("/proc/thread-self/sched").unwrap_or_default();
        let slice =
            details.lines().find_map(|line| line.strip_prefix("se.slice")?.rsplit(':').next()?.trim().parse().ok());
        (nice, slice)
    }

    fn kernel() -> (u32, u32) {
        let release = read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(|number| number.parse().unwrap());
        (numbers.next().unwrap(), numbers.next().unwrap())
    }

    #[test]
    fn a_thread_that_stepped_back_has_the_longest_slice_and_no_other_has_changed() {
        let (nice, slice) = scheduled();
        let stepped = thread::spawn(|| {
            step_back(3).unwrap();
            let once = scheduled();
            step_back(4).unwrap();
            (once, scheduled(), thread::spawn(scheduled).join().unwrap())
        });
        let (once, twice, begun_by_it) = stepped.join().unwrap();
        assert_eq!((once.0, twice.0, begun_by_it.0), ((nice + 3).min(19), (nice + 7).min(19), (nice + 7).min(19)));
        assert_eq!(scheduled(), (nice, slice));
        if slice.is_some() && kernel() >= (6, 12) {
            assert_eq!(
                (once.1, twice.1, begun_by_it.1),
                (Some(SLICE_NANOSECONDS_MAX), Some(SLICE_NANOSECONDS_MAX), Some(SLICE_NANOSECONDS_MAX))
            );
        }
    }
}
