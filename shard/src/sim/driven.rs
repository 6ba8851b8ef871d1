//! A history that a string of bytes makes: what is asked, what fails and when the server dies.

use super::client::{Client, Site, boot};
use super::crash::OBSERVER;
use super::history::{Board, Known, restart};
use super::judge::{Judge, Rules};
use super::network::Weather;
use super::op::User;
use super::policy::Policy;
use super::server::{Image, Setup, root};
use super::walk::walk;
use crate::ledger::touch::Room;
use cache::sim::{Rng, SimWorld};
use cache::world::World;
use std::time::Duration;

/// Plays what `decisions` say, and panics where an answer is not what the model allows.
///
/// For a stateful fuzz target: `shard::sim::drive(input)`, with the feature `sim`. Deterministic, single-threaded,
/// without state between calls; it leaves nothing behind in /dev/shm unless it panics. Every four bytes are one
/// decision, so that bytes cut out or moved leave the others as they are; the first four choose cores and network. A
/// decision's first byte says what it is: below 208 a client's call (the other three bytes choose it), then a disk that
/// will fail, a crash, a pause. Input beyond 256 decisions is ignored, and what follows when the judge has too many
/// explanations for what happened: each error of the disk may double them.
pub fn drive(decisions: &[u8]) {
    let (first, rest) = decisions.split_at(decisions.len().min(DECISION_BYTES));
    let first = seed_of(first);
    let world = SimWorld::new(first);
    let image = Image::blank(&world);
    let setup = Setup {
        cores: 1 + (first & 1) as u16,
        segments: 64,
        room: if first & 4 == 0 { Room::Enough } else { Room::Short },
        policy: Policy::PLAIN,
    };
    let weather = match first & 2 {
        0 => Weather::FAIR,
        // Late copies beside a disk that fails would be too many cases for the judge.
        _ => Weather { latency_us_max: 500, cut_one_in: 12, is_choppy: true, late_one_in: 0 },
    };
    let judge = Judge::new(root(), Rules { disk_fails: true, ..Rules::default() }, setup.policy);
    let site = Site::new(world.clone(), judge, format!("driven by {decisions:02x?}"));
    site.run(async {
        boot(&site, image, setup, None).await;
        let board = Board::new(1);
        let user = |number| if number == 2 { User { uid: 1000, gid: 100 } } else { User { uid: 0, gid: 0 } };
        let client = |number| (Client::new(&site, number, user(number), weather), Known::new(number, root()));
        let mut clients = [client(1), client(2)];
        let mut pauses_ms = PAUSES_MS_MAX;
        for decision in rest.chunks(DECISION_BYTES).take(DECISIONS_MAX) {
            if site.judge.borrow().cases() > CASES_MAX {
                break;
            }
            let mut rng = Rng::new(seed_of(decision));
            match decision[0] {
                number @ 0..208 => {
                    let (client, known) = &mut clients[usize::from(number & 1)];
                    let op = known.choose(&board, &mut rng);
                    let reply = client.ask(op.clone()).await;
                    known.learn(&board, &op, &reply);
                }
                208..224 => fail(&site, &mut rng),
                224..240 => restart(&site, setup, None, &mut rng).await,
                _ => {
                    let pause_ms = rng.below(PAUSE_MS_MAX).min(pauses_ms);
                    pauses_ms -= pause_ms;
                    world.sleep(Duration::from_millis(pause_ms)).await;
                }
            }
        }
        // Whatever has failed: after a restart everything that was acknowledged is there.
        restart(&site, setup, None, &mut Rng::new(first)).await;
        let mut observer = Client::new(&site, OBSERVER, User { uid: 0, gid: 0 }, Weather::FAIR);
        walk(&mut observer, root()).await;
    });
    drop(site.server.take());
}

/// One of the next few operations of the disk fails.
pub(crate) fn fail(site: &Site, rng: &mut Rng) {
    let Some(image) = site.image.borrow().clone() else { return };
    let count = 1 + rng.below(4);
    match rng.below(3) {
        0 => image.disk.fail_nth_read(count),
        1 => image.disk.fail_nth_write(count),
        _ => image.disk.fail_nth_flush(count),
    }
}

fn seed_of(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

const DECISION_BYTES: usize = 4;
const DECISIONS_MAX: usize = 256;
/// Explanations with which a history still goes on.
const CASES_MAX: usize = 64;
/// A pause is shorter: time for a checkpoint, and for what is done when nobody asks for anything.
const PAUSE_MS_MAX: u64 = 1500;
/// All pauses together: a history that takes much longer is one that hangs.
const PAUSES_MS_MAX: u64 = 60_000;
