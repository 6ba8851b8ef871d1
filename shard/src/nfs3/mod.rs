//! NFS version 3 (RFC 1813): the table of its procedures. One file each holds what they do, [`common`] what
//! they share.

mod access;
mod commit;
mod common;
mod create;
mod fsinfo;
mod fsstat;
mod getattr;
mod link;
mod lookup;
mod mkdir;
mod mknod;
mod pathconf;
mod read;
mod readdir;
mod readdirplus;
mod readlink;
mod remove;
mod rename;
mod rmdir;
mod setattr;
mod symlink;
pub(crate) mod touch;
mod write;

use crate::net::dispatch::Row;
use crate::net::reply::{COPIED_MAX, Ended};
use cache::block::CHUNK_BYTES;
use wire::Reader;
use wire::nfs3::{Procedure, ReadArgs, ReaddirArgs, ReaddirplusArgs};

/// The procedures, by their number (RFC 1813 3).
pub(crate) static TABLE: [Row; 22] = [
    Row { name: "NULL", run: |_, _| Ok(Ended::Well), reply_max: HEADER_MAX },
    Row { name: "GETATTR", run: getattr::getattr, reply_max: SMALL_MAX },
    Row { name: "SETATTR", run: setattr::setattr, reply_max: SMALL_MAX },
    Row { name: "LOOKUP", run: lookup::lookup, reply_max: SMALL_MAX },
    Row { name: "ACCESS", run: access::access, reply_max: SMALL_MAX },
    Row { name: "READLINK", run: readlink::readlink, reply_max: SMALL_MAX + TARGET_MAX },
    Row { name: "READ", run: read::read, reply_max: SMALL_MAX + common::TRANSFER_MAX },
    Row { name: "WRITE", run: write::write, reply_max: SMALL_MAX },
    Row { name: "CREATE", run: create::create, reply_max: SMALL_MAX },
    Row { name: "MKDIR", run: mkdir::mkdir, reply_max: SMALL_MAX },
    Row { name: "SYMLINK", run: symlink::symlink, reply_max: SMALL_MAX },
    Row { name: "MKNOD", run: mknod::mknod, reply_max: SMALL_MAX },
    Row { name: "REMOVE", run: remove::remove, reply_max: SMALL_MAX },
    Row { name: "RMDIR", run: rmdir::rmdir, reply_max: SMALL_MAX },
    Row { name: "RENAME", run: rename::rename, reply_max: SMALL_MAX },
    Row { name: "LINK", run: link::link, reply_max: SMALL_MAX },
    Row { name: "READDIR", run: readdir::readdir, reply_max: SMALL_MAX + common::LIST_MAX },
    Row { name: "READDIRPLUS", run: readdirplus::readdirplus, reply_max: SMALL_MAX + common::LIST_MAX },
    Row { name: "FSSTAT", run: fsstat::fsstat, reply_max: SMALL_MAX },
    Row { name: "FSINFO", run: fsinfo::fsinfo, reply_max: SMALL_MAX },
    Row { name: "PATHCONF", run: pathconf::pathconf, reply_max: SMALL_MAX },
    Row { name: "COMMIT", run: commit::commit, reply_max: SMALL_MAX },
];

/// Most bytes of the reply to a call with these arguments: READ and the listings give what is asked for.
pub(crate) fn reply_bytes_max(row: &Row, procedure: u32, args: &Reader<'_>) -> usize {
    let mut args = args.clone();
    let asked = match procedure {
        _ if procedure == Procedure::Read as u32 => {
            args.decode::<ReadArgs<'_>>().map(|args| args.count.saturating_add(kept(args.count)))
        }
        _ if procedure == Procedure::Readdir as u32 => args.decode::<ReaddirArgs<'_>>().map(|args| args.count),
        _ if procedure == Procedure::Readdirplus as u32 => {
            args.decode::<ReaddirplusArgs<'_>>().map(|args| args.maxcount)
        }
        _ => return row.reply_max,
    };
    // What cannot be decoded is refused in a few words.
    asked.map_or(SMALL_MAX, |asked| row.reply_max.min(SMALL_MAX.saturating_add(asked as usize)))
}

/// What a READ keeps of the cache beside its data: the rest of the chunks where it begins and ends.
fn kept(count: u32) -> u32 {
    if count as usize <= COPIED_MAX { 0 } else { 2 * CHUNK_BYTES as u32 }
}

/// Record mark and RPC header.
const HEADER_MAX: usize = 64;
/// Everything of fixed size: headers, a handle, attributes of two objects before and after.
const SMALL_MAX: usize = 512;
/// A symlink's text and its length.
const TARGET_MAX: usize = crate::ledger::command::TARGET_MAX + 8;
