//! A folder of 100,000 entries, listed while others come and go and while the server is started again: every entry
//! that stays is listed exactly once.

use crate::client::Client;
use crate::failure::{Failure, Outcome, ensure, fail};
use crate::guest::Mount;
use crate::lab::Lab;
use crate::random::Random;
use crate::server::Server;
use crate::share::Raw;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::thread;
use std::time::Duration;
use wire::nfs3::*;

pub(crate) fn run(lab: &Lab) -> Outcome {
    let mut server = lab.serve()?;
    let place = server.place().clone();
    let mut client = Client::new(server.address(), 1);
    let root = client.root(place.mountport, &place.share)?;
    let dir = Raw::worker_folder(&mut client, root, "many")?;
    fill(&server, dir)?;
    let mut crowd = Crowd { client, dir, random: lab.random(), mutable: (STABLE..ENTRIES).collect(), next: ENTRIES };
    for plus in [false, true] {
        walk(&mut crowd, &mut server, plus)?;
    }
    list_by_kernel(lab, &mut crowd, &mut server)?;
    server.stop()?;
    server.verify()?;
    Ok(format!("{ENTRIES} entries, {STABLE} of them stay"))
}

/// The folder and what changes in it.
struct Crowd {
    client: Client,
    dir: FileHandleBuf,
    random: Random,
    /// Numbers of the entries that may be removed.
    mutable: Vec<u64>,
    next: u64,
}

impl Crowd {
    /// Some entries go, as many come.
    fn change(&mut self, count: u64) -> Result<(), Failure> {
        for _ in 0..count {
            let index = self.random.below(self.mutable.len() as u64) as usize;
            let old = name(self.mutable.swap_remove(index));
            self.client.remove(self.dir, &old)?;
            self.client.create(self.dir, &name(self.next), 0o644)?;
            self.mutable.push(self.next);
            self.next += 1;
        }
        Ok(())
    }
}

/// Reads the folder page by page with our own client; others come and go after each, twice the server does.
fn walk(crowd: &mut Crowd, server: &mut Server, plus: bool) -> Result<(), Failure> {
    let mut seen = Seen::default();
    let mut from = (0, Cookieverf3::default());
    for page_number in 0.. {
        let eof = page(crowd, plus, &mut from, &mut seen)?;
        if eof {
            break;
        }
        ensure!(page_number < PAGES_MAX, "the listing does not end");
        match page_number {
            50 => server.stop().map(drop)?,
            150 => server.kill()?,
            _ => {
                crowd.change(5)?;
                continue;
            }
        }
        server.verify()?;
        server.start_again()?;
        crowd.client.disconnect();
    }
    seen.judge()
}

/// One page from `from` on, which moves; whether it was the last.
fn page(crowd: &mut Crowd, plus: bool, from: &mut (u64, Cookieverf3), seen: &mut Seen) -> Result<bool, Failure> {
    let (cookie, cookieverf) = *from;
    let dir = crowd.dir.handle();
    if plus {
        let args = ReaddirplusArgs { dir, cookie, cookieverf, dircount: 8 << 10, maxcount: 32 << 10 };
        let reply = crowd.client.nfs(Procedure::Readdirplus, &args)?;
        let Res::Ok(ok) = reply.results::<ReaddirplusRes<'_>>()? else {
            fail!("READDIRPLUS at {cookie}: {}", reply.status()?);
        };
        for entry in ok.reply.entries {
            from.0 = entry.cookie;
            seen.add(&entry.name, entry.cookie)?;
        }
        from.1 = ok.cookieverf;
        return Ok(ok.reply.eof);
    }
    let reply = crowd.client.nfs(Procedure::Readdir, &ReaddirArgs { dir, cookie, cookieverf, count: 8 << 10 })?;
    let Res::Ok(ok) = reply.results::<ReaddirRes<'_>>()? else {
        fail!("READDIR at {cookie}: {}", reply.status()?);
    };
    for entry in ok.reply.entries {
        from.0 = entry.cookie;
        seen.add(&entry.name, entry.cookie)?;
    }
    from.1 = ok.cookieverf;
    Ok(ok.reply.eof)
}

/// The kernel's client lists the folder; in the middle of it the folder changes and the server is started again.
fn list_by_kernel(lab: &Lab, crowd: &mut Crowd, server: &mut Server) -> Result<(), Failure> {
    let signals = lab.folder("signals")?;
    let folder = signals.to_str().ok_or_else(|| Failure::new("the working folder's path is not text"))?;
    let mount = Mount::of(lab, server, "listing").writable(&signals);
    let mut guest = mount.spawn_agent(&["listing", "--signals", folder, "many"])?;
    while !signals.join("paused").exists() {
        guest.still_runs()?;
        thread::sleep(Duration::from_millis(20));
    }
    crowd.change(200)?;
    server.kill()?;
    server.verify()?;
    server.start_again()?;
    crowd.client.disconnect();
    crowd.change(200)?;
    fs::write(signals.join("resume"), "")?;
    guest.finish()?;
    let mut seen = Seen::default();
    for (index, line) in fs::read_to_string(signals.join("names"))?.lines().enumerate() {
        seen.add(line.as_bytes(), index as u64 + 1)?;
    }
    seen.judge()
}

#[derive(Default)]
struct Seen {
    names: BTreeMap<Vec<u8>, u64>,
    cookies: BTreeSet<u64>,
}

impl Seen {
    fn add(&mut self, name: &[u8], cookie: u64) -> Result<(), Failure> {
        let shown = String::from_utf8_lossy(name);
        ensure!(self.cookies.insert(cookie), "cookie {cookie} is given twice, to {shown} too");
        let first = self.names.insert(name.to_vec(), cookie);
        ensure!(first.is_none(), "{shown} is listed twice, at {first:?} and {cookie}");
        Ok(())
    }

    fn judge(&self) -> Result<(), Failure> {
        let lost: Vec<_> = (0..STABLE).filter(|&number| !self.names.contains_key(name(number).as_bytes())).collect();
        ensure!(lost.is_empty(), "{} entries were not listed, first {}", lost.len(), name(lost[0]));
        Ok(())
    }
}

fn fill(server: &Server, dir: FileHandleBuf) -> Result<(), Failure> {
    thread::scope(|scope| {
        let makers: Vec<_> = (0..MAKERS)
            .map(|maker| {
                let mut client = Client::new(server.address(), (maker as u32 + 1) << 24);
                scope.spawn(move || -> Result<(), Failure> {
                    for number in (maker..ENTRIES).step_by(MAKERS as usize) {
                        client.create(dir, &name(number), 0o644)?;
                    }
                    Ok(())
                })
            })
            .collect();
        makers.into_iter().try_for_each(|maker| maker.join().map_err(|_| Failure::new("a maker panicked"))?)
    })
}

fn name(number: u64) -> String {
    format!("entry-{number:06}")
}

const ENTRIES: u64 = 100_000;
/// The first ones are never removed.
const STABLE: u64 = 90_000;
const MAKERS: u64 = 8;
const PAGES_MAX: u32 = 20_000;
