//! What a core asks of the outside: time, tasks, randomness. One real implementation (monoio) and
//! one simulated; the code in between never touches a clock or an executor by itself.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// A future that lives on one core.
pub type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// Wall-clock time since 1970, as file attributes carry it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Whole seconds since 1970-01-01 UTC.
    pub secs: i64,
    /// Nanoseconds within the second, below 1,000,000,000.
    pub nanos: u32,
}

/// Time, tasks and randomness of one core.
pub trait World {
    /// Wall-clock time; never goes back within one server instance.
    fn now(&self) -> Time;
    /// Time since an arbitrary start; never goes back.
    fn monotonic(&self) -> Duration;
    /// Completes after `duration`.
    fn sleep(&self, duration: Duration) -> LocalFuture<()>;
    /// Completes after whatever is ready on this core by now has had its turn.
    fn pause(&self) -> LocalFuture<()> {
        self.sleep(Duration::ZERO)
    }
    /// Runs `task` on this core.
    fn spawn(&self, task: LocalFuture<()>);
    /// 64 unpredictable bits.
    fn random(&self) -> u64;
}
