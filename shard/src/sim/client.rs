//! An NFSv3 client of the simulated server: it sends a call again, with the same transaction id, until it is answered,
//! on whichever connection and core, also across crashes. Every answer goes to the judge.
//!
//! Callers: the histories. A [`Site`] is what clients and the driver of a history share: the server, as long as it
//! runs, and the judge.

use super::judge::{CallId, Judge};
use super::network::{Link, Weather};
use super::op::{Op, Reply, User, split_record, xid_of};
use super::server::{Image, Moment, Server, Setup, Watcher};
use cache::sim::{Rng, SimWorld};
use cache::world::World;
use futures_util::future::{Either, select};
use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

/// Where a history takes place.
pub(crate) struct Site {
    pub(crate) world: SimWorld,
    /// What the server's machine has: its disk and its folder.
    pub(crate) image: RefCell<Option<Image>>,
    /// `None` while it is down.
    pub(crate) server: RefCell<Option<Server>>,
    pub(crate) judge: RefCell<Judge>,
    /// Told when a client got its reply.
    pub(crate) watcher: RefCell<Option<Watcher>>,
    /// What is said when an answer is impossible.
    pub(crate) title: String,
}

/// One client.
pub(crate) struct Client {
    site: Rc<Site>,
    number: u8,
    user: User,
    address: IpAddr,
    weather: Weather,
    patience: Duration,
    rng: Rng,
    link: Option<Rc<Link>>,
    /// What came by here may take effect as long as the server has it, also when the call was answered.
    late: Option<(CallId, Rc<Link>)>,
    received: Vec<u8>,
}

impl Client {
    /// The client with this number. Its connections are as bad as `weather`.
    pub(crate) fn new(site: &Rc<Site>, number: u8, user: User, weather: Weather) -> Client {
        Client {
            site: site.clone(),
            number,
            user,
            address: address_of(number),
            weather,
            patience: PATIENCE,
            rng: Rng::new(site.world.random()),
            link: None,
            late: None,
            received: Vec::new(),
        }
    }

    /// Does nothing for a while.
    pub(crate) async fn rest(&self, pause: Duration) {
        self.site.world.sleep(pause).await;
    }

    /// Asks, and waits for the answer. One that makes no sense is a panic.
    pub(crate) async fn ask(&mut self, op: Op) -> Reply {
        if let Some((id, _)) = self.late.take_if(|(_, link)| link.is_over()) {
            self.site.judge.borrow_mut().is_over(id);
        }
        let id = self.site.judge.borrow_mut().call(op.clone(), self.number, self.user, self.site.world.now());
        self.pursue(id, &op).await
    }

    /// Sends a call that was sent before, until it is answered.
    pub(crate) async fn pursue(&mut self, id: CallId, op: &Op) -> Reply {
        let record = op.record(id, self.user);
        loop {
            let link = self.connected().await;
            self.site.judge.borrow_mut().sent(id, self.site.world.now());
            link.send(&record);
            // Impatient, or the network has duplicated it.
            if self.weather.is_choppy && op.is_once() && self.rng.one_in(16) {
                self.site.judge.borrow_mut().sent(id, self.site.world.now());
                link.send(&record);
            }
            if matches!(op, Op::Write { .. }) {
                self.send_late(id, &record);
            }
            if let Some(body) = self.awaited(&link, id).await {
                return self.judged(id, op, &body);
            }
            self.hang_up(op, &link).await;
        }
    }

    /// Now and then the network has kept a copy, which comes by another way and when it likes.
    fn send_late(&mut self, id: CallId, record: &[u8]) {
        let one_in = self.weather.late_one_in;
        if one_in == 0 || self.late.is_some() || !self.rng.one_in(one_in) {
            return;
        }
        let Some(link) = self.site.server.borrow().as_ref().map(|server| server.connect(self.address, self.weather))
        else {
            return;
        };
        self.site.judge.borrow_mut().sent_late(id, self.site.world.now());
        link.delay(Duration::from_micros(self.rng.below(LATE_US_MAX)));
        link.send(record);
        link.close();
        self.late = Some((id, link));
    }

    /// The answer; `None` when it does not come.
    async fn awaited(&mut self, link: &Rc<Link>, id: CallId) -> Option<Vec<u8>> {
        let world = self.site.world.clone();
        let patience = self.patience + Duration::from_micros(self.rng.below(20_000));
        let deadline = world.monotonic() + patience;
        loop {
            while let Some((body, rest)) = split_record(&self.received) {
                let (body, rest) = (body.to_vec(), rest.to_vec());
                self.received = rest;
                // An answer to an earlier transmission may come twice.
                if xid_of(&body) == Some(id) {
                    return Some(body);
                }
            }
            let left = deadline.saturating_sub(world.monotonic());
            match select(pin!(link.receive()), world.sleep(left)).await {
                Either::Left((Some(bytes), _)) => self.received.extend_from_slice(&bytes),
                Either::Left((None, _)) | Either::Right(_) => return None,
            }
        }
    }

    /// Before the call is sent again on another connection. A call that the server does not remember must have come
    /// to its end on the old one: otherwise it might happen after others that are sent later.
    async fn hang_up(&mut self, op: &Op, link: &Rc<Link>) {
        if op.is_once() && !link.is_lost() && self.rng.one_in(2) {
            // It stays open, and whatever comes by it is never read.
            self.link = None;
            return;
        }
        self.link = None;
        match self.rng.one_in(2) {
            true => link.cut(),
            false => link.close(),
        }
        while !op.is_once() && !link.is_over() {
            self.site.world.sleep(Duration::from_micros(300)).await;
        }
    }

    async fn connected(&mut self) -> Rc<Link> {
        loop {
            if let Some(link) = self.link.clone().filter(|link| !link.is_lost()) {
                return link;
            }
            let link = self.site.server.borrow().as_ref().map(|server| server.connect(self.address, self.weather));
            match link {
                Some(link) => {
                    self.received.clear();
                    self.link = Some(link);
                }
                None => self.site.world.sleep(Duration::from_millis(1)).await,
            }
        }
    }

    fn judged(&self, id: CallId, op: &Op, body: &[u8]) -> Reply {
        let now = self.site.world.now();
        let verdict = op.reply(body).and_then(|reply| {
            self.site.judge.borrow_mut().answered(id, &reply, now)?;
            Ok(reply)
        });
        match verdict {
            Err(why) => panic!("{}: {why}", self.site.title),
            Ok(reply) => {
                let watcher = self.site.watcher.borrow().clone();
                if let Some(watcher) = watcher {
                    watcher(Moment::Reply);
                }
                reply
            }
        }
    }
}

/// Where the client with this number is.
pub(crate) fn address_of(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, number))
}

/// Starts the server of a site from an image.
pub(crate) async fn boot(site: &Rc<Site>, image: Image, setup: Setup, watcher: Option<&Watcher>) {
    site.image.replace(Some(image.clone()));
    match Server::boot(&site.world, image, setup, watcher.cloned()).await {
        Ok(server) => drop(site.server.replace(Some(server))),
        Err(error) => panic!("{}: no recovery: {error}\n{}", site.title, site.judge.borrow().history()),
    }
}

impl Site {
    /// A site without a server.
    pub(crate) fn new(world: SimWorld, judge: Judge, title: String) -> Rc<Site> {
        Rc::new(Site {
            world,
            image: RefCell::new(None),
            server: RefCell::new(None),
            judge: RefCell::new(judge),
            watcher: RefCell::new(None),
            title,
        })
    }

    /// Runs `play` in the site's world. Whoever waits for ever is found out.
    pub(crate) fn run<T>(self: &Rc<Site>, play: impl Future<Output = T>) -> T {
        let timer = self.world.sleep(PLAY_MAX);
        self.world.run_until(async {
            match select(pin!(play), timer).await {
                Either::Left((result, _)) => result,
                Either::Right(_) => panic!("{}: no end in sight\n{}", self.title, self.judge.borrow().history()),
            }
        })
    }
}

/// Most time that a history takes.
const PLAY_MAX: Duration = Duration::from_secs(120);
/// How late a copy comes.
const LATE_US_MAX: u64 = 100_000;
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_millis(60);
