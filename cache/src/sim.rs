//! A simulated core: time, tasks and a disk that crashes. For tests only; one seed is one run.
//!
//! Callers: the tests of this crate and of those above it (feature `sim`). [`SimWorld`] runs tasks in
//! an order drawn from the seed and lets time pass only when nobody can run. [`SimDisk`] loses all that it
//! did not promise to keep.

#![expect(clippy::disallowed_types, reason = "wakers have to be Send")]

mod disk;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BinaryHeap};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

pub use disk::{Effect, SimDisk, Watch};
use parking_lot::Mutex;

use crate::world::{LocalFuture, Time, World};

/// Pseudo-random numbers from a seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Rng {
        Rng { state: seed ^ 0x5851_f42d_4c95_7f2d }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is above 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.bits() % limit
    }

    /// True once in `count` times.
    pub fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// Most polls while time stands still; more is a livelock.
pub const POLLS_MAX: u64 = 1_000_000;

/// A deterministic executor with its own clock.
#[derive(Clone)]
pub struct SimWorld {
    core: Rc<SimCore>,
}

struct SimCore {
    seed: u64,
    rng: RefCell<Rng>,
    clock: Cell<Duration>,
    tasks: RefCell<BTreeMap<u64, SimTask>>,
    task_count: Cell<u64>,
    group_count: Cell<u64>,
    ready: Arc<Ready>,
    timers: RefCell<BinaryHeap<Timer>>,
}

struct SimTask {
    /// The machine that it runs on; 0 outside of any.
    group: u64,
    future: LocalFuture<()>,
}

/// The tasks of one machine of a world: they end together, whenever its power goes.
#[derive(Clone)]
pub struct SimMachine {
    world: SimWorld,
    group: u64,
}

/// Tasks that can run, by number; 0 is the future that the test waits for.
#[derive(Default)]
struct Ready {
    tasks: Mutex<Vec<u64>>,
}

struct TaskWaker {
    task: u64,
    queued: AtomicBool,
    ready: Arc<Ready>,
}

struct Timer {
    at: Duration,
    waker: Waker,
}

impl SimWorld {
    /// The world of a seed.
    pub fn new(seed: u64) -> SimWorld {
        SimWorld::at(seed, Duration::ZERO)
    }

    /// The world of a seed, at a later time.
    pub fn at(seed: u64, clock: Duration) -> SimWorld {
        let core = SimCore {
            seed,
            rng: RefCell::new(Rng::new(seed)),
            clock: Cell::new(clock),
            tasks: RefCell::default(),
            task_count: Cell::default(),
            group_count: Cell::default(),
            ready: Arc::default(),
            timers: RefCell::default(),
        };
        SimWorld { core: Rc::new(core) }
    }

    /// As the trait object that the code under test takes.
    pub fn world(&self) -> Rc<dyn World> {
        Rc::new(self.clone())
    }

    /// Runs everything until `future` is done. Panics, naming the seed, when nothing can run and no
    /// timer is set, and on a livelock.
    pub fn run_until<T>(&self, future: impl Future<Output = T>) -> T {
        let mut main = pin!(future);
        let mut polls = 0;
        let main_waker = self.core.waker(0);
        main_waker.wake_by_ref();
        let mut wakers = BTreeMap::from([(0, main_waker)]);
        loop {
            let Some(task) = self.core.pick() else {
                polls = 0;
                self.core.pass_time();
                continue;
            };
            polls += 1;
            assert!(polls < POLLS_MAX, "livelock at {:?}, seed {}", self.core.clock.get(), self.core.seed);
            let waker = wakers.entry(task).or_insert_with(|| self.core.waker(task)).clone();
            waker.queued.store(false, Ordering::Relaxed);
            let waker = Waker::from(waker);
            let mut cx = Context::from_waker(&waker);
            if task == 0 {
                if let Poll::Ready(value) = main.as_mut().poll(&mut cx) {
                    return value;
                }
                continue;
            }
            let Some(mut running) = self.core.tasks.borrow_mut().remove(&task) else { continue };
            if running.future.as_mut().poll(&mut cx).is_pending() {
                self.core.tasks.borrow_mut().insert(task, running);
            } else {
                wakers.remove(&task);
            }
        }
    }

    /// Drops all tasks where they are: the machine is off.
    pub fn power_off(&self) {
        let tasks = self.core.tasks.take();
        drop(tasks);
        self.core.timers.take();
        self.core.ready.tasks.lock().clear();
    }

    /// A machine of its own in this world.
    pub fn machine(&self) -> SimMachine {
        let group = self.core.group_count.get() + 1;
        self.core.group_count.set(group);
        SimMachine { world: self.clone(), group }
    }

    /// Lets other tasks run.
    pub async fn yield_now(&self) {
        let mut yielded = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// A number below `limit` from the world's seed.
    pub fn below(&self, limit: u64) -> u64 {
        self.core.rng.borrow_mut().below(limit)
    }
}

impl SimCore {
    fn waker(&self, task: u64) -> Arc<TaskWaker> {
        Arc::new(TaskWaker { task, queued: AtomicBool::new(false), ready: self.ready.clone() })
    }

    /// Takes any of the tasks that can run.
    fn pick(&self) -> Option<u64> {
        let mut tasks = self.ready.tasks.lock();
        if tasks.is_empty() {
            return None;
        }
        let index = self.rng.borrow_mut().below(tasks.len() as u64) as usize;
        Some(tasks.swap_remove(index))
    }

    /// Goes to the next timer.
    fn pass_time(&self) {
        let next = self.timers.borrow_mut().pop();
        let Some(timer) = next else {
            panic!("nothing can ever run again at {:?}, seed {}", self.clock.get(), self.seed);
        };
        self.clock.set(self.clock.get().max(timer.at));
        timer.waker.wake();
    }
}

impl World for SimWorld {
    fn now(&self) -> Time {
        let clock = self.core.clock.get();
        Time { secs: SIM_EPOCH_SECS + clock.as_secs() as i64, nanos: clock.subsec_nanos() }
    }

    fn monotonic(&self) -> Duration {
        self.core.clock.get()
    }

    fn sleep(&self, duration: Duration) -> LocalFuture<()> {
        let core = self.core.clone();
        let at = core.clock.get() + duration;
        let mut set: Option<Waker> = None;
        Box::pin(poll_fn(move |cx| {
            if core.clock.get() >= at {
                return Poll::Ready(());
            }
            if !set.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                set = Some(cx.waker().clone());
                core.timers.borrow_mut().push(Timer { at, waker: cx.waker().clone() });
            }
            Poll::Pending
        }))
    }

    fn spawn(&self, task: LocalFuture<()>) {
        let number = self.core.task_count.get() + 1;
        self.core.task_count.set(number);
        self.core.tasks.borrow_mut().insert(number, SimTask { group: 0, future: task });
        self.core.ready.tasks.lock().push(number);
    }

    fn random(&self) -> u64 {
        self.core.rng.borrow_mut().bits()
    }
}

impl SimMachine {
    /// Drops all tasks of the machine where they are. None of them calls this.
    pub fn power_off(&self) {
        let mut tasks = self.world.core.tasks.borrow_mut();
        let ended: Vec<SimTask> =
            tasks.extract_if(.., |_, task| task.group == self.group).map(|(_, task)| task).collect();
        drop(tasks);
        drop(ended);
    }
}

impl World for SimMachine {
    fn now(&self) -> Time {
        self.world.now()
    }

    fn monotonic(&self) -> Duration {
        self.world.monotonic()
    }

    fn sleep(&self, duration: Duration) -> LocalFuture<()> {
        self.world.sleep(duration)
    }

    fn spawn(&self, task: LocalFuture<()>) {
        self.world.spawn(task);
        let number = self.world.core.task_count.get();
        if let Some(task) = self.world.core.tasks.borrow_mut().get_mut(&number) {
            task.group = self.group;
        }
    }

    fn random(&self) -> u64 {
        self.world.random()
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready.tasks.lock().push(self.task);
        }
    }
}

impl PartialEq for Timer {
    fn eq(&self, other: &Timer) -> bool {
        self.at == other.at
    }
}

impl Eq for Timer {}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Timer) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timer {
    /// The earliest is the greatest: the heap gives that first.
    fn cmp(&self, other: &Timer) -> std::cmp::Ordering {
        other.at.cmp(&self.at)
    }
}

/// Where the simulated wall clock starts.
const SIM_EPOCH_SECS: i64 = 1_800_000_000;
