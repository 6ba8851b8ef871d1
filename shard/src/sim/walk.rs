//! Looks at everything there is: every directory, every attribute, every byte. The judge compares.

use super::client::Client;
use super::op::Op;
use std::collections::BTreeSet;
use wire::nfs3::{FileHandleBuf, Ftype3};

/// Walks the tree below `root`. Answers how many objects it has seen.
pub(crate) async fn walk(client: &mut Client, root: FileHandleBuf) -> usize {
    let mut seen = BTreeSet::new();
    let mut directories = vec![root];
    while let Some(dir) = directories.pop() {
        let mut cookie = 0;
        loop {
            let listing = client.ask(Op::Readdirplus { dir, cookie, count: LIST_BYTES }).await;
            assert!(listing.error.is_none(), "the superuser lists every directory: {:?}", listing.error);
            for entry in listing.entries {
                cookie = entry.cookie;
                let (Some(attr), Some(handle)) = (entry.object, entry.handle) else { continue };
                if entry.name == "." || entry.name == ".." || !seen.insert(attr.fileid) {
                    continue;
                }
                match attr.ftype {
                    Ftype3::Dir => directories.push(handle),
                    Ftype3::Reg => drop(client.ask(Op::Read { file: handle, offset: 0, count: FILE_BYTES_MAX }).await),
                    Ftype3::Lnk => drop(client.ask(Op::Readlink { object: handle }).await),
                    _ => {}
                }
            }
            if listing.eof {
                break;
            }
        }
    }
    seen.len()
}

const LIST_BYTES: u32 = 8192;
/// More than any file of a history has.
const FILE_BYTES_MAX: u32 = 1 << 20;
