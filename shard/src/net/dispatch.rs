//! From a record to its procedure, and back to a reply. RFC 5531 9: every call that can be answered
//! gets its answer, and its connection goes on; a record that is no call closes it, since the peer
//! speaks something else or has lost its place in the stream.
//!
//! Caller: a connection's reader, for each complete record. Runs to the end without waiting; what
//! has to wait leaves a [`Ticket`].

use super::conn::{Connection, Ticket};
use super::reply::{Ended, Outcome, Reply};
use crate::fs::Step;
use crate::mount;
use crate::nfs3;
use crate::policy::Claim;
use cache::world::LocalFuture;
use std::rc::Rc;
use wire::nfs3::Procedure;
use wire::rpc::{Accepted, BadCall, CallHeader, Credential, Rejected, ReplyHeader, Versions};
use wire::{Decode, Malformed, Reader};

/// A procedure: from decoded headers to results.
pub(crate) type Handler = fn(&Call<'_>, &mut Reply<'_>) -> Outcome;

/// What a program's table says of a procedure.
pub(crate) struct Row {
    /// Its name as the RFC spells it; also the name in the metrics.
    pub(crate) name: &'static str,
    /// What it does.
    pub(crate) run: Handler,
    /// Most bytes of its reply, record mark and headers included.
    pub(crate) reply_max: usize,
}

/// A call whose headers were understood.
pub(crate) struct Call<'a> {
    /// Where it came from.
    pub(crate) connection: &'a Rc<Connection>,
    /// Transaction id.
    pub(crate) xid: u32,
    /// Who the caller says it is.
    pub(crate) cred: Credential<'a>,
    /// Everything after the transaction id: what makes a repeated call the same.
    pub(crate) body: &'a [u8],
    args: Reader<'a>,
    row: usize,
    since: u64,
}

impl<'a> Call<'a> {
    /// The arguments. Bytes after them are ignored, as every NFS server does.
    #[inline]
    pub(crate) fn args<T: Decode<'a>>(&self) -> Result<T, Malformed> {
        self.args.clone().decode()
    }

    /// The identity that the call claims.
    #[inline]
    pub(crate) fn claim(&self) -> Claim<'_> {
        match &self.cred {
            Credential::None => Claim::Nobody,
            Credential::Sys(sys) => Claim::Sys { uid: sys.uid, gid: sys.gid, groups: &sys.gids },
        }
    }

    /// Leaves the call in the receive buffer, and its connection unread, until `room` is ready; then it
    /// is served again from its beginning. For calls too large to be copied, while the wait is short and
    /// nothing was done yet.
    pub(crate) fn hold(&self, room: LocalFuture<()>) -> Ended {
        self.connection.hold_calls(room);
        Ended::Held
    }

    /// Answers with what a verb came to: at once, or when it is there. `bytes` is what the answer
    /// will hold in memory beside the call, as far as it is known.
    #[inline]
    pub(crate) fn settle<T: 'static>(
        &self,
        step: Step<T>,
        bytes: usize,
        reply: &mut Reply<'_>,
        write: impl FnOnce(T, &mut Reply<'_>) -> Ended + 'static,
    ) -> Outcome {
        match step {
            Step::Done(value) => Ok(write(value, reply)),
            Step::Later(future) => {
                let held = self.body.len() + bytes;
                let ticket = Ticket::new(self.connection, self.row, self.xid, self.since, held);
                self.connection.core.world.spawn(Box::pin(async move {
                    let value = future.await;
                    ticket.answer(|reply| write(value, reply));
                }));
                Ok(Ended::Later)
            }
        }
    }
}

/// Serves one record that came at `since` and appends its reply. Returns the time after.
#[inline]
pub(crate) fn serve(connection: &Rc<Connection>, message: &[u8], since: u64) -> u64 {
    let mut args = Reader::new(message);
    let answer = match CallHeader::parse(&mut args) {
        Ok(header) => route(&header).and_then(|(row, run)| {
            let cred = header.cred.credential().map_err(Rejected::AuthError).map_err(|why| refuse(&header, why))?;
            let body = message.get(4..).unwrap_or_default();
            Ok((run, Call { connection, xid: header.xid, cred, body, args, row, since }))
        }),
        Err(BadCall::Unanswerable(_)) => {
            connection.core.stats.dropped.add(1);
            connection.drain();
            return since;
        }
        Err(BadCall::Denied { xid, why }) => Err(ReplyHeader::denied(xid, why)),
    };
    match answer {
        Ok((_, call)) if connection.core.is_short() && is_put_off(&call, message) => since,
        Ok((run, call)) => execute(run, &call, message.len()),
        Err(header) => {
            refuse_with(connection, &header);
            since
        }
    }
}

/// Whether the call waits for pages of the ledger, to be served from its start when they are there. A short
/// one is copied, so that others on the connection are served meanwhile; WRITE, which may wait in the
/// receive buffer by itself, and long ones stay there.
#[cold]
fn is_put_off(call: &Call<'_>, message: &[u8]) -> bool {
    let Some(number) = u32::try_from(call.row).ok().filter(|_| call.row < nfs3::TABLE.len()) else { return false };
    let Some((fs, touch)) = nfs3::touch::touch(call, number) else { return false };
    let Some(touched) = fs.touch(touch) else { return false };
    if number == Procedure::Write as u32 || message.len() > COPIED_BYTES_MAX {
        call.hold(touched);
        return true;
    }
    let (connection, message, since) = (Rc::clone(call.connection), message.to_vec(), call.since);
    let held = message.len() + reply_bytes_max(&message);
    let ticket = Ticket::new(&connection, call.row, call.xid, since, held);
    call.connection.core.world.spawn(Box::pin(async move {
        touched.await;
        // What it held is counted anew for the answer.
        drop(ticket);
        connection.serve_copied(|| _ = serve(&connection, &message, since));
    }));
    true
}

/// Longest call that is copied to wait for pages.
const COPIED_BYTES_MAX: usize = 4096;

/// Most bytes of the reply to this record, its mark included.
pub(crate) fn reply_bytes_max(message: &[u8]) -> usize {
    let mut args = Reader::new(message);
    let Ok(header) = CallHeader::parse(&mut args) else { return REFUSAL_BYTES_MAX };
    let Ok((_, row)) = route(&header) else { return REFUSAL_BYTES_MAX };
    match header.program {
        wire::nfs3::PROGRAM => nfs3::reply_bytes_max(row, header.procedure, &args),
        _ => row.reply_max,
    }
}

/// A reply that refuses a call.
const REFUSAL_BYTES_MAX: usize = 64;

/// Runs a procedure and counts it. Returns the time after.
#[inline]
fn execute(procedure: &Row, call: &Call<'_>, message_bytes: usize) -> u64 {
    let connection = call.connection;
    let stats = &connection.core.stats;
    let mut outcome = Ok(Ended::Later);
    let bytes = connection.append(|reply| {
        outcome = reply.results(call.xid, |reply| (procedure.run)(call, reply));
    });
    debug_assert!(bytes <= procedure.reply_max, "{}: reply outgrew its row", procedure.name);
    if outcome == Ok(Ended::Held) {
        return call.since;
    }
    let counted = &stats.rows[call.row];
    counted.bytes_in.add(message_bytes as u64);
    let now = connection.core.nanos();
    match outcome {
        Ok(Ended::Later | Ended::Held) => {}
        Ok(ended) => counted.answered(ended == Ended::Failed, bytes, now.saturating_sub(call.since)),
        Err(_) => {
            counted.answered(true, 0, now.saturating_sub(call.since));
            refuse_with(connection, &ReplyHeader::accepted(call.xid, Accepted::GarbageArgs));
        }
    }
    now
}

/// Finds the procedure and the row of its counters.
#[inline]
fn route(header: &CallHeader<'_>) -> Result<(usize, &'static Row), ReplyHeader<'static>> {
    let accepted = |stat| ReplyHeader::accepted(header.xid, stat);
    let program = PROGRAMS.iter().find(|program| program.number == header.program);
    let program = program.ok_or_else(|| accepted(Accepted::ProgUnavail))?;
    let table = program.tables.iter().find(|table| table.version == header.version);
    let Some(table) = table else { return Err(accepted(Accepted::ProgMismatch(program.versions))) };
    let procedure = header.procedure as usize;
    let row = table.rows.get(procedure).ok_or_else(|| accepted(Accepted::ProcUnavail))?;
    Ok((table.first + procedure, row))
}

#[cold]
fn refuse(header: &CallHeader<'_>, why: Rejected) -> ReplyHeader<'static> {
    ReplyHeader::denied(header.xid, why)
}

#[cold]
fn refuse_with(connection: &Connection, header: &ReplyHeader<'_>) {
    connection.core.stats.rpc_errors.add(1);
    connection.append(|reply| reply.header(header));
}

/// A program and its versions.
struct Program {
    number: u32,
    versions: Versions,
    tables: &'static [Table],
}

/// The procedures of one version, by their number.
struct Table {
    name: &'static str,
    version: u32,
    rows: &'static [Row],
    /// Where its counters begin.
    first: usize,
}

/// Everything that is spoken, the most frequent first.
const PROGRAMS: &[Program] = &[
    Program {
        number: wire::nfs3::PROGRAM,
        versions: Versions { low: wire::nfs3::VERSION, high: wire::nfs3::VERSION },
        tables: &[Table { name: "nfs3", version: wire::nfs3::VERSION, rows: &nfs3::TABLE, first: 0 }],
    },
    Program {
        number: wire::mount::PROGRAM,
        versions: Versions { low: wire::mount::VERSION_1, high: wire::mount::VERSION_3 },
        tables: &[
            Table { name: "mount3", version: wire::mount::VERSION_3, rows: &mount::TABLE_3, first: MOUNT_3_FIRST },
            Table { name: "mount1", version: wire::mount::VERSION_1, rows: &mount::TABLE_1, first: MOUNT_1_FIRST },
        ],
    },
];

const MOUNT_3_FIRST: usize = nfs3::TABLE.len();
const MOUNT_1_FIRST: usize = MOUNT_3_FIRST + mount::TABLE_3.len();
/// Rows of counters.
pub const ROWS: usize = MOUNT_1_FIRST + mount::TABLE_1.len();

/// What each row of counters counts: the program's name and the procedure's.
pub fn row_names() -> impl Iterator<Item = (&'static str, &'static str)> {
    let tables = PROGRAMS.iter().flat_map(|program| program.tables);
    tables.flat_map(|table| table.rows.iter().map(|row| (table.name, row.name)))
}
