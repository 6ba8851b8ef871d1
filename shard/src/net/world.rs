//! The real world of a core: clocks of the kernel, tasks and timers of monoio.
//!
//! Callers: [`super::core`], which makes one per core; everything else sees [`World`].
//! Promises: wall-clock time never repeats its past, also when an administrator sets the clock back:
//! then it crawls by one nanosecond a call until the clock has caught up, so that a change always
//! shows in a file's times.

use cache::world::{LocalFuture, Time, World};
use siphasher::sip::SipHasher24;
use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Time, tasks and randomness from the kernel and from monoio. Lives on the core that made it.
pub struct MonoioWorld {
    start: Instant,
    last: Cell<Time>,
    key: [u8; 16],
    drawn: Cell<u64>,
}

impl MonoioWorld {
    /// Fails when the kernel gives no randomness.
    pub fn new() -> io::Result<MonoioWorld> {
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(|_| io::Error::from(io::ErrorKind::Unsupported))?;
        Ok(MonoioWorld { start: Instant::now(), last: Cell::new(Time::default()), key, drawn: Cell::new(0) })
    }
}

impl World for MonoioWorld {
    fn now(&self) -> Time {
        let read = clock();
        let last = self.last.get();
        let now = if read >= last { read } else { after(last) };
        self.last.set(now);
        now
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) -> LocalFuture<()> {
        Box::pin(monoio::time::sleep(duration))
    }

    fn spawn(&self, task: LocalFuture<()>) {
        monoio::spawn(task);
    }

    fn random(&self) -> u64 {
        let drawn = self.drawn.get();
        self.drawn.set(drawn.wrapping_add(1));
        SipHasher24::new_with_key(&self.key).hash(&drawn.to_le_bytes())
    }
}

/// The kernel's wall clock; 1970 when it stands before that.
fn clock() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time { secs: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), nanos: since.subsec_nanos() }
}

/// The next instant that a file's time can tell apart.
fn after(time: Time) -> Time {
    match time.nanos {
        999_999_999 => Time { secs: time.secs.saturating_add(1), nanos: 0 },
        nanos => Time { secs: time.secs, nanos: nanos + 1 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_when_the_clock_was_set_back() {
        let world = MonoioWorld::new().unwrap();
        let future = Time { secs: clock().secs + 3600, nanos: 999_999_999 };
        world.last.set(future);
        assert_eq!(world.now(), Time { secs: future.secs + 1, nanos: 0 });
        assert_eq!(world.now(), Time { secs: future.secs + 1, nanos: 1 });
    }

    #[test]
    fn two_draws_differ() {
        let world = MonoioWorld::new().unwrap();
        assert_ne!(world.random(), world.random());
    }
}
