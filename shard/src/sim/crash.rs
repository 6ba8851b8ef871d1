//! A crash at a moment of a history, without ending the history: what it would leave is taken into a world of its
//! own, started there by the production's recovery, and judged over the wire. Then the calls that were under way are
//! sent again.

use super::client::{Client, Site, boot};
use super::network::Weather;
use super::op::User;
use super::server::{Crash, Image, Moment, Server, Setup, Watcher, root};
use super::walk::walk;
use cache::sim::{Rng, SimWorld};
use cache::world::World;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

/// Crashes a history at each of its moments.
pub(crate) struct Reaper {
    setup: Setup,
    rng: RefCell<Rng>,
    /// A moment is taken once in so many.
    one_in: u64,
    points: Cell<u64>,
    is_at_work: Cell<bool>,
}

impl Reaper {
    pub(crate) fn new(setup: Setup, seed: u64, one_in: u64) -> Rc<Reaper> {
        let rng = RefCell::new(Rng::new(seed ^ 0x0b17));
        Rc::new(Reaper { setup, rng, one_in, points: Cell::new(0), is_at_work: Cell::new(false) })
    }

    /// Crash points judged so far.
    pub(crate) fn points(&self) -> u64 {
        self.points.get()
    }

    /// What a site's server and clients tell of its moments.
    pub(crate) fn watcher(self: &Rc<Reaper>, site: &Rc<Site>) -> Watcher {
        let (reaper, site) = (self.clone(), Rc::downgrade(site));
        Rc::new(move |moment| {
            if let Some(site) = site.upgrade() {
                reaper.seize(&site, moment);
            }
        })
    }

    fn seize(&self, site: &Rc<Site>, moment: Moment) {
        if self.one_in > 1 && !self.rng.borrow_mut().one_in(self.one_in) {
            return;
        }
        let Some(image) = site.image.borrow().clone() else { return };
        // A moment in the middle of another's judgement is another world's.
        assert!(!self.is_at_work.replace(true), "one crash is judged at a time");
        for crash in [Crash::Kill, Crash::Power] {
            let seed = self.rng.borrow_mut().bits();
            self.judge(site, &image, moment, crash, seed);
        }
        self.is_at_work.set(false);
    }

    /// One crash point; at some the machine crashes again while it recovers.
    fn judge(&self, site: &Rc<Site>, image: &Image, moment: Moment, crash: Crash, seed: u64) {
        self.points.set(self.points.get() + 1);
        let title = format!("{}, crash {}, {crash:?} at {moment:?}", site.title, self.points.get());
        let world = SimWorld::at(seed, site.world.monotonic() + DOWN_TIME);
        let mut judge = site.judge.borrow().clone();
        judge.crashed(&format!("{crash:?} at {moment:?}"), site.world.now());
        judge.trust_the_disk();
        let fork = Site::new(world.clone(), judge, title);
        let image = image.after(crash, &world, seed);
        if self.rng.borrow_mut().one_in(SECOND_CRASH_ONE_IN) {
            self.crash_again(&fork, &image, seed);
        }
        fork.run(recovered(fork.clone(), image, self.setup));
        drop(fork.server.take());
    }

    /// Crashes at any effect of the recovery, and judges what that leaves.
    fn crash_again(&self, site: &Rc<Site>, image: &Image, seed: u64) {
        let mut rng = Rng::new(seed);
        let crash = if rng.one_in(2) { Crash::Kill } else { Crash::Power };
        let later = SimWorld::at(seed + 1, site.world.monotonic() + DOWN_TIME);
        let first = image.after(Crash::Kill, &site.world, seed);
        let (left, found) = (Rc::new(Cell::new(1 + rng.below(3))), Rc::new(RefCell::new(None)));
        let watcher: Watcher = {
            let (first, later, found) = (first.clone(), later.clone(), found.clone());
            Rc::new(move |_| {
                left.set(left.get().saturating_sub(1));
                if left.get() == 0 && found.borrow().is_none() {
                    found.replace(Some(first.after(crash, &later, seed + 2)));
                }
            })
        };
        let setup = self.setup;
        let booted = site.run(async { Server::boot(&site.world, first, setup, Some(watcher)).await.is_ok() });
        assert!(booted, "{}: no recovery\n{}", site.title, site.judge.borrow().history());
        let Some(image) = found.take() else { return };
        self.points.set(self.points.get() + 1);
        let mut judge = site.judge.borrow().clone();
        judge.crashed(&format!("{crash:?} during the recovery"), site.world.now());
        let fork = Site::new(later, judge, format!("{}, {crash:?} during the recovery", site.title));
        fork.run(recovered(fork.clone(), image, self.setup));
        drop(fork.server.take());
    }
}

async fn recovered(site: Rc<Site>, image: Image, setup: Setup) {
    boot(&site, image, setup, None).await;
    let mut client = Client::new(&site, OBSERVER, User { uid: 0, gid: 0 }, Weather::FAIR);
    walk(&mut client, root()).await;
    let under_way = site.judge.borrow().under_way();
    let mut repeated = 0;
    for (id, call) in under_way.into_iter().filter(|(_, call)| !call.op.is_read()) {
        Client::new(&site, call.client, call.user, Weather::FAIR).pursue(id, &call.op).await;
        repeated += 1;
    }
    if repeated > 0 {
        walk(&mut client, root()).await;
    }
}

/// The number of the client that looks at what is left.
pub(crate) const OBSERVER: u8 = 250;
/// Once in so many crashes a second one comes during the recovery.
const SECOND_CRASH_ONE_IN: u64 = 6;
/// Between a crash and the next start.
const DOWN_TIME: Duration = Duration::from_millis(1);
