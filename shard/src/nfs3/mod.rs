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
mod write;

use crate::net::dispatch::Row;
use crate::net::reply::Ended;

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

/// Record mark and RPC header.
const HEADER_MAX: usize = 64;
/// Everything of fixed size: headers, a handle, attributes of two objects before and after.
const SMALL_MAX: usize = 512;
/// A symlink's text and its length.
const TARGET_MAX: usize = crate::ledger::command::TARGET_MAX + 8;
