//! WRITE: the bytes go into this core's log at once; what "done" means depends on the stability.
//!
//! Callers: nfs3::write. Order: copy into the log's open frame, then under the stripe take the log
//! sequence number and insert the extent, then make it a record, all in one turn. RFC 1813 3.3.7.

use super::column::Fs;
use super::{Step, access, clean};
use crate::cred::Cred;
use crate::inode::{FileId, Inode, Kind, SETGID, SETUID, later};
use crate::live::Stamp;
use crate::status::Status;
use cache::disk::Stable;
use cache::frame::{PAYLOAD_MAX, RecordKind};
use cache::log::{Position, RecordFields, Refused, Urgency};
use std::rc::Rc;

/// How stable a write is to be, and is (RFC 1813 3.3.7 `stable_how`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stability {
    /// May be lost until a COMMIT.
    Unstable,
    /// The data is durable, and what is needed to find it.
    DataSync,
    /// Data and attributes are durable.
    FileSync,
}

/// What WRITE answers.
#[derive(Clone, Copy, Debug)]
pub struct WriteDone {
    /// The file before, from the same critical section as the write.
    pub before: Inode,
    /// The file after.
    pub after: Inode,
    /// Bytes written.
    pub bytes: u32,
    /// How stable they are.
    pub committed: Stability,
    /// The write verifier.
    pub verifier: [u8; 8],
}

/// Writes `payload` at `offset`.
pub fn write(
    fs: &Rc<Fs>,
    cred: &Cred,
    id: FileId,
    offset: u64,
    payload: &[u8],
    stability: Stability,
) -> Step<Result<WriteDone, Status>> {
    // A longer payload is answered with a short count.
    let payload = &payload[..payload.len().min(PAYLOAD_MAX)];
    let want = Want { cred: *cred, id, offset, stability };
    if fs.log.fits(payload.len()) < payload.len() {
        return Step::Later(Box::pin(append_later(Rc::clone(fs), want, payload.to_vec())));
    }
    match append(fs, &want, payload) {
        Ok((done, None)) => Step::Done(Ok(done)),
        Ok((done, Some(position))) => Step::Later(Box::pin(settle(Rc::clone(fs), done, position))),
        Err(Refusal::Status(status)) => Step::Done(Err(status)),
        Err(Refusal::Wait(_)) => Step::Later(Box::pin(append_later(Rc::clone(fs), want, payload.to_vec()))),
    }
}

/// What is asked.
#[derive(Clone, Copy)]
struct Want {
    cred: Cred,
    id: FileId,
    offset: u64,
    stability: Stability,
}

/// Why nothing was appended.
enum Refusal {
    /// For good.
    Status(Status),
    /// There may be room later.
    Wait(Refused),
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Refusal {
        Refusal::Status(status)
    }
}

/// The part that never waits. Answers the position to be flushed, if any.
fn append(fs: &Fs, want: &Want, payload: &[u8]) -> Result<(WriteDone, Option<Position>), Refusal> {
    fs.writable()?;
    let end = want.offset.checked_add(payload.len() as u64).filter(|end| *end <= FILE_BYTES_MAX);
    if end.is_none() {
        return Err(Status::FileTooBig.into());
    }
    if payload.is_empty() {
        let attr = fs.attr(want.id)?;
        may_write(&attr, &want.cred)?;
        return Ok((want.done(fs, attr, attr, 0), None));
    }
    if fs.backlog.is_full() {
        return Err(Refusal::Wait(Refused::Later));
    }
    let reservation = fs.log.reserve(payload, Urgency::Data).map_err(Refusal::Wait)?;
    let now = fs.world.now();
    let (before, after, position) = fs.with_entry(want.id, |entry| {
        let before = entry.attr();
        may_write(&before, &want.cred)?;
        let place = reservation.place();
        let stamp = Stamp {
            lsn: fs.shared.lsn(),
            now: later(before.ctime, now),
            core: fs.core,
            position: reservation.position().0,
            clears_setid: clears_setid(&before, &want.cred),
        };
        // First the record, which makes the bytes readable, then the extent, which shows them.
        let record = fields(want.id, want.offset, RecordKind::Data, &stamp);
        let position = reservation.commit(record, want.stability.of_frame());
        let (live, inode) = entry.live_mut();
        live.write(inode, want.offset, payload.len() as u64, place, stamp);
        Ok::<_, Status>((before, entry.attr(), position))
    })??;
    fs.backlog.note(want.id, payload.len() as u64);
    fs.stats.written_bytes.set(fs.stats.written_bytes.get() + payload.len() as u64);
    let done = want.done(fs, before, after, payload.len() as u32);
    Ok((done, (want.stability != Stability::Unstable).then_some(position)))
}

impl Stability {
    /// How the frame of the record is written.
    fn of_frame(self) -> Stable {
        if self == Stability::Unstable { Stable::Later } else { Stable::Now }
    }
}

impl Want {
    fn done(&self, fs: &Fs, before: Inode, after: Inode, bytes: u32) -> WriteDone {
        let committed = match self.stability {
            Stability::Unstable => Stability::Unstable,
            Stability::DataSync | Stability::FileSync => Stability::FileSync,
        };
        WriteDone { before, after, bytes, committed, verifier: fs.shared.verifier() }
    }
}

/// Appends part by part, so that segments are filled to their end, and waits for room in between. When
/// no more can be had, a part that is appended is answered with a short count.
async fn append_later(fs: Rc<Fs>, mut want: Want, payload: Vec<u8>) -> Result<WriteDone, Status> {
    let mut rest = payload.as_slice();
    let mut sum: Option<(WriteDone, Option<Position>)> = None;
    let refused = loop {
        let (part, left) = rest.split_at(fs.log.fits(rest.len()));
        match append(&fs, &want, part) {
            Ok((done, position)) => {
                let (before, bytes) = sum.map_or((done.before, 0), |(first, _)| (first.before, first.bytes));
                sum = Some((WriteDone { before, bytes: bytes + done.bytes, ..done }, position));
                want.offset += part.len() as u64;
                rest = left;
                if rest.is_empty() {
                    break None;
                }
            }
            Err(Refusal::Status(status)) => break Some(status),
            Err(Refusal::Wait(refused)) => {
                if let Err(status) = room(&fs, part.len(), Urgency::Data, refused).await {
                    break Some(status);
                }
            }
        }
    };
    match (sum, refused) {
        (Some((done, Some(position))), _) => settle(fs, done, position).await,
        (Some((done, None)), _) => Ok(done),
        (None, refused) => Err(refused.unwrap_or(Status::ServerFault)),
    }
}

/// Waits until the log is likely to take `bytes`.
pub(super) async fn room(fs: &Rc<Fs>, bytes: usize, urgency: Urgency, refused: Refused) -> Result<(), Status> {
    let refused = match refused {
        Refused::Later if urgency == Urgency::Data && fs.backlog.is_full() => {
            return fs.drained().await;
        }
        Refused::Later => match fs.log.room(bytes, urgency).await {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        },
        refused => refused,
    };
    match refused {
        Refused::Later => Ok(()),
        Refused::NoSpace => clean::wait_for_space(fs).await,
        Refused::Poisoned => Err(fs.fail()),
    }
}

/// Waits until the write is durable.
async fn settle(fs: Rc<Fs>, done: WriteDone, position: Position) -> Result<WriteDone, Status> {
    fs.flush(position).await?;
    Ok(WriteDone { verifier: fs.shared.verifier(), ..done })
}

/// Whether `cred` may change the bytes of `file`, which has to be a regular one.
pub(super) fn may_write(file: &Inode, cred: &Cred) -> Result<(), Status> {
    match file.kind {
        Kind::File => access::write_data(file, cred),
        Kind::Directory => Err(Status::IsDir),
        _ => Err(Status::Inval),
    }
}

/// The record of a change of the bytes.
pub(super) fn fields(id: FileId, offset: u64, kind: RecordKind, stamp: &Stamp) -> RecordFields {
    RecordFields {
        ino: id.ino.0,
        generation: id.generation,
        lsn: stamp.lsn,
        offset,
        time: stamp.now,
        kind,
        clears_setid: stamp.clears_setid,
        aux: 0,
    }
}

/// Whether a change of the bytes of `file` by `cred` clears set-id bits.
pub(super) fn clears_setid(file: &Inode, cred: &Cred) -> bool {
    !cred.is_root() && file.mode & (SETUID | SETGID) != 0
}

/// The longest that a file may be: offsets fit a signed 64-bit number, as clients want them.
pub const FILE_BYTES_MAX: u64 = i64::MAX as u64;
