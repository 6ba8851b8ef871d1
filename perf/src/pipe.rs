//! One connection's bytes: calls going out, records coming in. Used by the load, the single-call client and the
//! floor. Blocking, and cheap: calls that are ready together leave in one send, and one receive takes all that came.

use crate::failure::{Failure, Outcome};
use std::io::{IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::time::Duration;
use wire::nfs3::{FileHandle, Procedure, StableHow};
use wire::record::{self, Step};
use wire::rpc::{AuthSys, CallHeader, OpaqueAuth};
use wire::xdr::{Array, Encode, Opaque, Writer, padding};

/// The most calls in flight on one connection: a slot's number has this many values in an xid.
pub(crate) const SLOTS_MAX: usize = 1 << SLOT_BITS;
const SLOT_BITS: u32 = 10;

/// The largest record either side takes, in bytes: 1 MiB of data and its call.
const RECORD_BYTES_MAX: usize = (1 << 20) + (64 << 10);
/// What one receive asks for when it isn't known how much is missing, in bytes.
const RECEIVE_BYTES: usize = 256 << 10;
/// Data from this length on is sent from where it lies, in bytes.
const SEND_IN_PLACE_BYTES: usize = 32 << 10;
/// A server that says nothing for this long hangs.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Opens a connection for one side of a measurement.
pub(crate) fn connect(address: SocketAddr) -> Outcome<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    Ok(stream)
}

/// Calls on their way out.
pub(crate) struct Outbox {
    stream: TcpStream,
    ready: Vec<u8>,
    /// Record mark, header and credential of a call, to be copied; xid and procedure are filled in.
    template: Vec<u8>,
    serial: u32,
    slot: usize,
    piece_bytes: usize,
}

/// Where the xid and the procedure stand in a call, behind the record mark.
const XID_AT: Range<usize> = 4..8;
const PROCEDURE_AT: Range<usize> = 24..28;

impl Outbox {
    /// Calls of one program, as root with AUTH_SYS.
    pub(crate) fn new(stream: TcpStream, program: u32, version: u32) -> Outcome<Self> {
        let machinename = Opaque::new(b"basalt-perf")?;
        let sys = AuthSys { stamp: 0, machinename, uid: 0, gid: 0, gids: Array::default() };
        let mut scratch = Vec::new();
        let cred = OpaqueAuth::sys(&mut scratch, &sys)?;
        let header = CallHeader { xid: 0, program, version, procedure: 0, cred, verf: OpaqueAuth::NONE };
        let mut template = Vec::new();
        let mut w = Writer::new(&mut template);
        w.u32(0);
        w.encode(&header);
        // Servers may take a call with an xid they know for a retransmission: begin anywhere.
        let serial = getrandom::u32().map_err(|error| Failure::said(error.to_string()))?;
        Ok(Self {
            stream,
            ready: Vec::with_capacity(RECEIVE_BYTES),
            template,
            serial,
            slot: 0,
            piece_bytes: usize::MAX,
        })
    }

    /// The slot that the next calls belong to; replies give it back, see [`slot_of`].
    pub(crate) fn choose_slot(&mut self, slot: usize) {
        assert!(slot < SLOTS_MAX);
        self.slot = slot;
    }

    /// Sends long data in pieces. One send is one stay in the kernel, which other threads of the same core may have to
    /// wait for.
    pub(crate) fn send_in_pieces(&mut self, bytes: usize) {
        assert!(bytes > 0);
        self.piece_bytes = bytes;
    }

    /// Makes an NFSv3 call ready.
    #[inline]
    pub(crate) fn call(&mut self, procedure: Procedure, args: &impl Encode) {
        self.call_number(procedure as u32, args);
    }

    /// Makes a call of any program ready.
    #[inline]
    pub(crate) fn call_number(&mut self, procedure: u32, args: &impl Encode) {
        let start = self.begin(procedure);
        Writer::new(&mut self.ready).encode(args);
        self.finish(start, 0);
    }

    /// Makes a WRITE ready. Long data is sent at once, from where it lies.
    pub(crate) fn write(&mut self, file: FileHandle<'_>, offset: u64, stable: StableHow, data: &[u8]) -> Outcome<()> {
        let start = self.begin(Procedure::Write as u32);
        let mut w = Writer::new(&mut self.ready);
        w.encode(&file);
        w.u64(offset);
        w.u32(data.len() as u32);
        w.encode(&stable);
        w.u32(data.len() as u32);
        assert!(padding(data.len()) == 0, "data is sent in whole words");
        if data.len() < SEND_IN_PLACE_BYTES {
            w.raw(data);
            self.finish(start, 0);
            return Ok(());
        }
        self.finish(start, data.len());
        let (first, others) = data.split_at(data.len().min(self.piece_bytes));
        send_all(&mut self.stream, &mut [IoSlice::new(&self.ready), IoSlice::new(first)])?;
        for piece in others.chunks(self.piece_bytes) {
            self.stream.write_all(piece)?;
        }
        self.ready.clear();
        Ok(())
    }

    /// Sends what is ready.
    pub(crate) fn flush(&mut self) -> Outcome<()> {
        if !self.ready.is_empty() {
            self.stream.write_all(&self.ready)?;
            self.ready.clear();
        }
        Ok(())
    }

    #[inline]
    fn begin(&mut self, procedure: u32) -> usize {
        let start = self.ready.len();
        self.serial = self.serial.wrapping_add(1);
        let xid = self.serial << SLOT_BITS | self.slot as u32;
        self.ready.extend_from_slice(&self.template);
        let call = &mut self.ready[start..];
        call[XID_AT].copy_from_slice(&xid.to_be_bytes());
        call[PROCEDURE_AT].copy_from_slice(&procedure.to_be_bytes());
        start
    }

    #[inline]
    fn finish(&mut self, start: usize, extra_bytes: usize) {
        let bytes = self.ready.len() - start - record::MARK_BYTES + extra_bytes;
        let mark = 1 << 31 | bytes as u32;
        self.ready[start..][..record::MARK_BYTES].copy_from_slice(&mark.to_be_bytes());
    }
}

/// The slot of the call that a reply with this xid answers.
#[inline]
pub(crate) fn slot_of(xid: u32) -> usize {
    xid as usize % SLOTS_MAX
}

/// Sends all pieces, however many sends that takes.
pub(crate) fn send_all(stream: &mut TcpStream, mut pieces: &mut [IoSlice<'_>]) -> Outcome<()> {
    while !pieces.is_empty() {
        let sent = stream.write_vectored(pieces)?;
        if sent == 0 {
            return Err(Failure::said("the connection takes nothing more"));
        }
        IoSlice::advance_slices(&mut pieces, sent);
    }
    Ok(())
}

/// Records as they come in.
pub(crate) struct Inbox {
    stream: TcpStream,
    bytes: Vec<u8>,
    /// What is received and not yet taken.
    filled: Range<usize>,
    /// What has to come at least before the next record is whole, in bytes.
    missing: usize,
}

impl Inbox {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, bytes: vec![0; RECORD_BYTES_MAX + RECEIVE_BYTES], filled: 0..0, missing: 0 }
    }

    /// Waits for bytes. False when the other side has ended the connection between two records.
    ///
    /// A long record is received to its end and not further, so that it never has to be moved.
    pub(crate) fn receive(&mut self) -> Outcome<bool> {
        let wanted = match self.missing > RECEIVE_BYTES {
            true => self.missing,
            false => RECEIVE_BYTES,
        };
        if self.filled.is_empty() {
            self.filled = 0..0;
        } else if self.bytes.len() - self.filled.end < wanted {
            self.bytes.copy_within(self.filled.clone(), 0);
            self.filled = 0..self.filled.len();
        }
        let room_end = self.bytes.len().min(self.filled.end + wanted);
        let count = self.stream.read(&mut self.bytes[self.filled.end..room_end])?;
        if count == 0 && !self.filled.is_empty() {
            return Err(Failure::said("the connection ended within a record"));
        }
        self.filled.end += count;
        Ok(count > 0)
    }

    /// Where the next whole record stands, if there is one; see [`Inbox::record`].
    #[inline]
    pub(crate) fn next_record(&mut self) -> Outcome<Option<Range<usize>>> {
        let start = self.filled.start;
        match record::next_record(&mut self.bytes[self.filled.clone()], RECORD_BYTES_MAX)? {
            Step::More { missing } => {
                self.missing = missing;
                Ok(None)
            }
            Step::Record { body, consumed } => {
                self.filled.start += consumed;
                self.missing = 0;
                Ok(Some(start + body.start..start + body.end))
            }
        }
    }

    /// The bytes of a record; good until the next [`Inbox::receive`].
    #[inline]
    pub(crate) fn record(&self, place: Range<usize>) -> &[u8] {
        &self.bytes[place]
    }
}
