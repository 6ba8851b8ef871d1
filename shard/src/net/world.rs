//! The real world of a core: clocks of the kernel, tasks and timers of monoio.
//!
//! Callers: [`super::core`], which makes one per core; everything else sees [`World`].
//! Promises: wall-clock time never repeats its past, also when an administrator sets the clock back:
//! then it crawls by one nanosecond a call until the clock has caught up, so that a change always
//! shows in a file's times.

use cache::world::{LocalFuture, Time, World};
use rustix::event::{EventfdFlags, eventfd};
use siphasher::sip::SipHasher24;
use std::cell::{Cell, OnceCell};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Time, tasks and randomness from the kernel and from monoio. Lives on the core that made it.
pub struct MonoioWorld {
    start: Instant,
    last: Cell<Time>,
    key: [u8; 16],
    drawn: Cell<u64>,
    /// Written and read again by [`World::pause`]: the next round of the event loop sees that.
    bell: OwnedFd,
    heard: OnceCell<Rc<monoio::fs::File>>,
}

impl MonoioWorld {
    /// Fails when the kernel gives no randomness.
    pub fn new() -> io::Result<MonoioWorld> {
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(|_| io::Error::from(io::ErrorKind::Unsupported))?;
        // Each read takes one write.
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::SEMAPHORE)?;
        let (last, drawn, heard) = (Cell::default(), Cell::new(0), OnceCell::new());
        Ok(MonoioWorld { start: Instant::now(), last, key, drawn, bell, heard })
    }

    /// The bell's other side, made when it is first heard: monoio wants its runtime for that.
    fn heard(&self) -> io::Result<Rc<monoio::fs::File>> {
        if let Some(heard) = self.heard.get() {
            return Ok(heard.clone());
        }
        let heard = Rc::new(monoio::fs::File::from_std(File::from(self.bell.try_clone()?))?);
        Ok(self.heard.get_or_init(|| heard).clone())
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

    fn pause(&self) -> LocalFuture<()> {
        let Ok(heard) = self.heard() else { return self.sleep(Duration::ZERO) };
        #[expect(clippy::host_endian_bytes, reason = "the kernel reads it")]
        let once = 1_u64.to_ne_bytes();
        if rustix::io::write(&self.bell, &once).is_err() {
            return self.sleep(Duration::ZERO);
        }
        Box::pin(async move {
            let (_, _) = heard.read_at(vec![0; 8], 0).await;
        })
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
    fn a_pause_ends_and_others_have_had_their_turn() {
        let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().enable_timer().build().unwrap();
        runtime.block_on(async {
            let world = MonoioWorld::new().unwrap();
            let turns = Rc::new(Cell::new(0));
            for _ in 0..1000 {
                let (both, before) = (futures_util::future::join(world.pause(), world.pause()), turns.get());
                let counted = turns.clone();
                world.spawn(Box::pin(async move { counted.set(counted.get() + 1) }));
                both.await;
                assert_eq!(turns.get(), before + 1);
            }
        });
    }

    #[test]
    fn two_draws_differ() {
        let world = MonoioWorld::new().unwrap();
        assert_ne!(world.random(), world.random());
    }
}
