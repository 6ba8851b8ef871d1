//! Judges what clients are answered: is there an order in which the model could have executed their calls?
//!
//! Callers: [`super::client`] (tells what it sends and receives), the crashes. A call takes effect at one moment
//! between its first transmission and its reply. So the judge keeps every [`Case`] that explains all replies so far:
//! a state of the model, and what calls under way have done in it. A reply that no case explains is a bug. A crash
//! makes more cases: a call under way has happened or not, a change that was not acknowledged is there or not.

use super::model::compare::Look;
use super::model::verbs::Execution;
use super::model::{Expect, ObjectId, State};
use super::op::{Op, Reply, User};
use super::policy::Policy;
use cache::world::Time;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::hash::Hasher;
use std::rc::Rc;
use wire::nfs3::{FileHandleBuf, Nfsstat3, Nfstime3};

/// A call of a client.
pub(crate) type CallId = u32;

/// The judge. Clones judge what might happen next, each for itself.
#[derive(Clone)]
pub(crate) struct Judge {
    cases: Vec<Case>,
    /// Under way.
    calls: BTreeMap<CallId, Call>,
    next: CallId,
    crashes: u32,
    rules: Rules,
    policy: Policy,
    events: Vec<Rc<Event>>,
}

/// What is forgiven.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rules {
    /// The disk fails: IO and ROFS may be answered, and the verifier may change.
    pub(crate) disk_fails: bool,
    /// The disk is full: NOSPC may be answered.
    pub(crate) disk_fills: bool,
    /// A WRITE may take effect once more after its answer, when a copy of it comes late.
    pub(crate) comes_late: bool,
}

/// One explanation of all that was answered.
#[derive(Clone, PartialEq)]
struct Case {
    state: State,
    done: BTreeMap<CallId, Done>,
}

/// What a call under way has done.
#[derive(Clone, Default, PartialEq)]
struct Done {
    /// What it would be answered, for each execution.
    expects: Vec<Rc<Expect>>,
    /// Executions in all, and since the server's start.
    total: u8,
    lately: u8,
}

#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) op: Rc<Op>,
    /// The client's number, which is part of its address.
    pub(crate) client: u8,
    /// Who asks, as the call has it.
    pub(crate) user: User,
    since: Nfstime3,
    /// Transmissions since the server's start.
    sent: u8,
    /// Those of them that may take effect after the answer.
    late: u8,
    /// It has its answer, and is here for those alone.
    is_answered: bool,
    /// No other call that changes anything was under way at any time since it began.
    is_alone: bool,
}

/// What happened, for the report of a failure.
#[derive(Debug)]
enum Event {
    Called { id: CallId, at: Time, client: u8, user: u32, op: Rc<Op> },
    Sent { id: CallId, at: Time },
    Answered { id: CallId, at: Time, reply: Box<Reply> },
    Crashed { at: Time, how: String },
}

impl Judge {
    /// Of a new file system.
    pub(crate) fn new(root: FileHandleBuf, rules: Rules, policy: Policy) -> Judge {
        let case = Case { state: State::new(root), done: BTreeMap::new() };
        Judge { cases: vec![case], calls: BTreeMap::new(), next: 1, crashes: 0, rules, policy, events: Vec::new() }
    }

    /// The disk is another one now, which does not fail.
    pub(crate) fn trust_the_disk(&mut self) {
        self.rules.disk_fails = false;
    }

    /// A client is going to ask.
    pub(crate) fn call(&mut self, op: Op, client: u8, user: User, at: Time) -> CallId {
        let id = self.next;
        self.next += 1;
        let op = Rc::new(op);
        self.events.push(Rc::new(Event::Called { id, at, client, user: user.uid, op: op.clone() }));
        let is_alone = self.calls.values().all(|other| other.op.is_read());
        self.calls.values_mut().for_each(|other| other.is_alone &= op.is_read());
        let since = nfstime(at);
        self.calls.insert(id, Call { op, client, user, since, sent: 0, late: 0, is_answered: false, is_alone });
        id
    }

    /// It sends it, for the first time or again.
    pub(crate) fn sent(&mut self, id: CallId, at: Time) {
        if let Some(call) = self.calls.get_mut(&id) {
            if call.sent > 0 {
                self.events.push(Rc::new(Event::Sent { id, at }));
            }
            call.sent = call.sent.saturating_add(1);
        }
    }

    /// It is sent once more, by a way on which it may take effect whenever it likes.
    pub(crate) fn sent_late(&mut self, id: CallId, at: Time) {
        self.sent(id, at);
        if self.rules.comes_late
            && let Some(call) = self.calls.get_mut(&id)
        {
            call.late = call.late.saturating_add(1);
        }
    }

    /// What was sent late has taken effect, or never will.
    pub(crate) fn is_over(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.late = 0;
        if !call.is_answered {
            return;
        }
        let mut cases = Vec::new();
        for case in &self.cases {
            self.expand(case.clone(), &mut cases);
        }
        self.calls.remove(&id);
        self.cases.clear();
        for mut case in cases {
            case.done.remove(&id);
            push_new(&mut self.cases, case);
        }
        self.tidy();
    }

    /// It was answered. `Err` tells why that cannot be.
    pub(crate) fn answered(&mut self, id: CallId, reply: &Reply, at: Time) -> Result<(), String> {
        self.events.push(Rc::new(Event::Answered { id, at, reply: Box::new(reply.clone()) }));
        let is_alone = self.calls.get(&id).is_some_and(|call| call.is_alone);
        let look = Look { now: nfstime(at), is_alone, is_sound: !self.rules.disk_fails };
        let mut search = Search { judge: self, id, reply, look, seen: Vec::new(), found: Vec::new(), why: Vec::new() };
        for case in &self.cases {
            search.visit(case.clone());
        }
        if search.found.is_empty() && self.is_forgiven(reply) {
            self.cases.iter().for_each(|case| search.forgive(case));
        }
        let Search { found, why, .. } = search;
        if found.is_empty() {
            return Err(self.report(id, &why));
        }
        assert!(found.len() <= CASES_MAX, "{} cases: the history is too wild for the judge", found.len());
        self.cases = found;
        match self.calls.get_mut(&id) {
            Some(call) if call.late > 0 => {
                call.is_answered = true;
                call.sent = call.late;
            }
            _ => drop(self.calls.remove(&id)),
        }
        self.tidy();
        Ok(())
    }

    /// Where nothing is under way, cases that differ in nothing that matters are one.
    fn tidy(&mut self) {
        if self.calls.is_empty() {
            self.cases.iter_mut().for_each(|case| case.state.tidy());
            let cases = std::mem::take(&mut self.cases);
            cases.into_iter().for_each(|case| push_new(&mut self.cases, case));
        }
    }

    fn is_forgiven(&self, reply: &Reply) -> bool {
        match reply.error {
            Some(Nfsstat3::Io | Nfsstat3::Rofs) => self.rules.disk_fails,
            Some(Nfsstat3::Nospc) => self.rules.disk_fills,
            Some(Nfsstat3::Jukebox) => true,
            _ => false,
        }
    }

    /// The server is gone, in whatever way.
    pub(crate) fn crashed(&mut self, how: &str, at: Time) {
        self.events.push(Rc::new(Event::Crashed { at, how: how.to_string() }));
        self.crashes += 1;
        let mut cases = Vec::new();
        for case in &self.cases {
            self.expand(case.clone(), &mut cases);
        }
        self.calls.retain(|_, call| !call.is_answered);
        let mut left = Vec::new();
        for mut case in cases {
            case.state.crash();
            case.done.retain(|id, _| self.calls.contains_key(id));
            self.forget(case, &mut left);
        }
        self.cases = left;
        self.calls.values_mut().for_each(|call| (call.sent, call.late) = (0, 0));
    }

    /// Explanations of what was answered so far.
    pub(crate) fn cases(&self) -> usize {
        self.cases.len()
    }

    /// Calls under way, for clients that send them again.
    pub(crate) fn under_way(&self) -> Vec<(CallId, Call)> {
        let asking = self.calls.iter().filter(|(_, call)| !call.is_answered);
        asking.map(|(&id, call)| (id, call.clone())).collect()
    }

    /// Every way in which calls under way may have happened.
    fn expand(&self, case: Case, into: &mut Vec<Case>) {
        if into.contains(&case) {
            return;
        }
        into.push(case.clone());
        for (&id, call) in self.calls.iter().filter(|(_, call)| !call.op.is_read()) {
            if case.may_execute(id, call) {
                for next in self.executed(&case, id, call) {
                    self.expand(next, into);
                }
            }
        }
    }

    /// What of the calls under way the server still knows after a crash: effects, and answers to those that happen
    /// once.
    fn forget(&self, mut case: Case, into: &mut Vec<Case>) {
        for (id, call) in &self.calls {
            let Some(done) = case.done.get_mut(id) else { continue };
            done.lately = 0;
            let is_kept = call.op.is_stored() && done.expects.iter().any(|expect| expect.has_effect);
            if !is_kept {
                done.expects.clear();
            } else if done.expects.iter().any(|expect| expect.truncates()) {
                // The ledger answers, then the log truncates: the second part may be missing, and is made up for.
                let mut again = case.clone();
                again.done.remove(id);
                again.done.insert(*id, Done { total: 1, ..Done::default() });
                push_new(into, again);
            }
        }
        push_new(into, case);
    }

    /// The case after one more execution of a call; several where the model first has to say what a crash left.
    fn executed(&self, case: &Case, id: CallId, call: &Call) -> Vec<Case> {
        let mut cases = vec![case.clone()];
        for object in touched(&case.state, &call.op) {
            let resolved = cases.iter().flat_map(|case| {
                let states = case.state.resolve(object, (u32::MAX - self.crashes, 0));
                states.into_iter().map(|state| Case { state, done: case.done.clone() })
            });
            cases = resolved.collect();
        }
        let guessed: Vec<_> = cases
            .iter()
            .filter_map(|case| Some(Case { state: case.state.as_guarded(&call.op)?, done: case.done.clone() }))
            .collect();
        cases.extend(guessed);
        for case in &mut cases {
            let done = case.done.entry(id).or_default();
            let key = (id, done.total);
            done.total += 1;
            done.lately += 1;
            let (policy, client) = (&self.policy, call.client);
            let standing = policy.standing(client);
            let user = standing.map_or(call.user, |standing| standing.identity(call.user));
            let execution = Execution { op: &call.op, policy, client, user, key, since: call.since };
            let expect = case.state.execute(execution);
            case.done.entry(id).or_default().expects.push(Rc::new(expect));
        }
        cases
    }

    fn report(&self, id: CallId, why: &[String]) -> String {
        let mut text = format!("the answer to call {id} is impossible:\n");
        for reason in why.iter().take(REASONS_SHOWN_MAX) {
            let _ = writeln!(text, "  {reason}");
        }
        let _ = writeln!(text, "after {} cases, under {:?}; the history:", self.cases.len(), self.policy);
        text + &self.history()
    }

    /// A number that stands for all that happened.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = siphasher::sip::SipHasher24::new();
        for event in &self.events {
            hasher.write(format!("{event:?}").as_bytes());
        }
        hasher.finish()
    }

    /// All that happened, a line for each event.
    pub(crate) fn history(&self) -> String {
        let mut text = String::new();
        for event in &self.events {
            let _ = writeln!(text, "{event}");
        }
        text
    }
}

impl Case {
    /// The call has its answer. What it did is told; how often it may happen yet is kept.
    fn settle(&mut self, id: CallId, call: &Call) {
        match self.done.get_mut(&id) {
            Some(done) if call.late > 0 => {
                done.expects.clear();
                done.lately = done.lately.saturating_sub(call.sent - call.late);
            }
            _ => drop(self.done.remove(&id)),
        }
    }

    fn may_execute(&self, id: CallId, call: &Call) -> bool {
        if call.sent == 0 {
            return false;
        }
        let Some(done) = self.done.get(&id) else { return true };
        if call.op.is_once() { done.expects.is_empty() } else { done.lately < call.sent }
    }
}

/// Looks for all cases that explain an answer.
struct Search<'a> {
    judge: &'a Judge,
    id: CallId,
    reply: &'a Reply,
    look: Look,
    seen: Vec<Case>,
    found: Vec<Case>,
    why: Vec<String>,
}

impl Search<'_> {
    fn visit(&mut self, case: Case) {
        if self.seen.contains(&case) {
            return;
        }
        let call = &self.judge.calls[&self.id];
        if let Some(done) = case.done.get(&self.id) {
            for expect in done.expects.clone() {
                self.try_accept(&case, call, &expect);
            }
        }
        if case.may_execute(self.id, call) {
            for next in self.judge.executed(&case, self.id, call) {
                let done = &next.done[&self.id];
                let expect = done.expects.last().cloned().expect("it was just executed");
                self.try_accept(&next, call, &expect);
                // Sent twice and not remembered by the server, it may have happened twice.
                if next.may_execute(self.id, call) {
                    self.visit(next);
                }
            }
        }
        for other in self.rivals(&case) {
            for next in self.judge.executed(&case, other, &self.judge.calls[&other]) {
                self.visit(next);
            }
        }
        self.seen.push(case);
    }

    fn try_accept(&mut self, case: &Case, call: &Call, expect: &Expect) {
        let mut next = case.clone();
        // A repeated CREATE that truncates tells of the file as it is, and leaves it alone where it has changed.
        let is_repeated = call.sent > 1 || case.done.get(&self.id).is_some_and(|done| done.lately == 0);
        let loose = (expect.truncates() && is_repeated).then(|| expect.without_object());
        let expect = loose.as_ref().unwrap_or(expect);
        match next.state.accept(&call.op, expect, self.reply, self.look) {
            Err(why) if self.why.contains(&why) => {}
            Err(why) => self.why.push(why),
            Ok(()) => {
                next.settle(self.id, call);
                push_new(&mut self.found, next);
            }
        }
    }

    /// An answer that means nothing: it happened, as often as it was sent, or not.
    fn forgive(&mut self, case: &Case) {
        let call = &self.judge.calls[&self.id];
        let never = self.reply.error != Some(Nfsstat3::Io) && call.sent == 1;
        let mut cases = vec![case.clone()];
        while let Some(case) = cases.pop() {
            if !never && case.may_execute(self.id, call) {
                cases.extend(self.judge.executed(&case, self.id, call));
            }
            let mut ended = case;
            ended.settle(self.id, call);
            push_new(&mut self.found, ended);
        }
    }

    /// Other calls under way that may have come first and have to do with this one.
    fn rivals(&self, case: &Case) -> Vec<CallId> {
        let calls = &self.judge.calls;
        let mut concerned = touched(&case.state, &calls[&self.id].op);
        let mut rivals = Vec::new();
        loop {
            let before = rivals.len();
            for (&id, call) in calls.iter().filter(|(id, _)| **id != self.id) {
                if rivals.contains(&id) || !case.may_execute(id, call) {
                    continue;
                }
                let touched = touched(&case.state, &call.op);
                if touched.iter().any(|object| concerned.contains(object)) {
                    rivals.push(id);
                    concerned.extend(touched);
                }
            }
            if rivals.len() == before {
                return rivals;
            }
        }
    }
}

/// The objects that a call looks at or changes.
fn touched(state: &State, op: &Op) -> Vec<ObjectId> {
    let mut ids: Vec<ObjectId> = Vec::new();
    ids.extend([op.object(), op.dir(), op.to_dir()].into_iter().flatten().filter_map(|handle| state.find(handle)));
    for (dir, name) in op.names() {
        let dir = state.find(dir);
        ids.extend(dir.and_then(|dir| state.object(dir).names.get(name)).map(|name| name.object));
    }
    if let Op::Readdirplus { dir, .. } = op
        && let Some(dir) = state.find(dir)
    {
        ids.extend(state.object(dir).names.values().map(|name| name.object));
        ids.push(state.object(dir).parent);
    }
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn push_new(cases: &mut Vec<Case>, case: Case) {
    if !cases.contains(&case) {
        cases.push(case);
    }
}

/// A moment as clients see it.
pub(crate) fn nfstime(time: Time) -> Nfstime3 {
    Nfstime3 { seconds: time.secs as u32, nseconds: time.nanos }
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let clock = |at: &Time| format!("{:>4}.{:06}", at.secs - 1_800_000_000, at.nanos / 1000);
        match self {
            Event::Called { id, at, client, user, op } => {
                write!(f, "{} {id:>4} client {client}, user {user}: {}", clock(at), shown(op))
            }
            Event::Sent { id, at } => write!(f, "{} {id:>4} sent again", clock(at)),
            Event::Answered { id, at, reply } => write!(f, "{} {id:>4} answer: {}", clock(at), told(reply)),
            Event::Crashed { at, how } => write!(f, "{}      {how}", clock(at)),
        }
    }
}

fn shown(op: &Op) -> String {
    match op {
        Op::Write { file, offset, data, stable } => {
            format!("Write {{ file: {}, offset: {offset}, bytes: {}, stable: {stable:?} }}", short(file), data.len())
        }
        _ => {
            let mut text = format!("{op:?}");
            for handle in [op.object(), op.dir(), op.to_dir()].into_iter().flatten() {
                text = text.replace(&format!("{handle:?}"), &short(handle));
            }
            text
        }
    }
}

/// The number of the inode in a handle, for people.
fn short(handle: &FileHandleBuf) -> String {
    let ino = handle.get(12..20).and_then(|bytes| bytes.first_chunk::<8>()).map(|bytes| u64::from_le_bytes(*bytes));
    ino.map_or_else(|| "?".to_string(), |ino| format!("#{ino}"))
}

fn told(reply: &Reply) -> String {
    let mut text = reply.error.map_or_else(|| "OK".to_string(), |error| format!("{error:?}"));
    if let Some(handle) = &reply.handle {
        let _ = write!(text, " {}", short(handle));
    }
    for (what, attr) in [("object", &reply.object), ("dir", &reply.dir.after)] {
        if let Some(attr) = attr {
            let (size, mode, nlink, ctime) = (attr.size, attr.mode, attr.nlink, attr.ctime);
            let _ = write!(
                text,
                " {what}({:?} size {size} mode {mode:o} nlink {nlink} ctime {}.{})",
                attr.ftype, ctime.seconds, ctime.nseconds
            );
        }
    }
    if reply.count > 0 {
        let _ = write!(text, " count {}", reply.count);
    }
    for entry in &reply.entries {
        let _ = write!(text, " {:?}", entry.name);
    }
    text
}

const CASES_MAX: usize = 4096;
const REASONS_SHOWN_MAX: usize = 12;
