//! Who has mounted what, for DUMP: a courtesy list in memory. Nothing depends on it, and it is lost at a stop
//! (RFC 1813 5.2.2 calls it advisory). Shared by all cores; touched by MNT, UMNT, UMNTALL and DUMP alone.

#![expect(clippy::disallowed_types, reason = "the list of mounts is off the hot path")]

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::net::IpAddr;

/// Most entries; the oldest one goes when another comes.
pub const MOUNTS_MAX: usize = 4096;
/// Most entries of one client, so that one cannot push out all others.
pub const MOUNTS_PER_CLIENT_MAX: usize = 64;

/// The list, oldest entry first.
#[derive(Debug, Default)]
pub struct MountList {
    entries: Mutex<VecDeque<Mounted>>,
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// The client.
    pub client: IpAddr,
    /// The path as the client named it.
    pub path: Box<[u8]>,
}

impl MountList {
    /// Enters a mount; once, however often it is repeated.
    pub fn add(&self, client: IpAddr, path: &[u8]) {
        let mut entries = self.entries.lock();
        if entries.iter().any(|entry| entry.client == client && *entry.path == *path) {
            return;
        }
        let own = entries.iter().filter(|entry| entry.client == client).count();
        if own >= MOUNTS_PER_CLIENT_MAX {
            let oldest = entries.iter().position(|entry| entry.client == client);
            oldest.and_then(|at| entries.remove(at));
        } else if entries.len() >= MOUNTS_MAX {
            entries.pop_front();
        }
        entries.push_back(Mounted { client, path: path.into() });
    }

    /// Takes a mount out.
    pub fn remove(&self, client: IpAddr, path: &[u8]) {
        self.entries.lock().retain(|entry| entry.client != client || *entry.path != *path);
    }

    /// Takes all mounts of a client out.
    pub fn remove_client(&self, client: IpAddr) {
        self.entries.lock().retain(|entry| entry.client != client);
    }

    /// A copy.
    pub fn all(&self) -> Vec<Mounted> {
        self.entries.lock().iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn a_mount_is_listed_once_until_it_is_taken_out() {
        let list = MountList::default();
        list.add(client(1), b"/a");
        list.add(client(1), b"/a");
        list.add(client(1), b"/b");
        list.add(client(2), b"/a");
        assert_eq!(list.all().len(), 3);
        list.remove(client(1), b"/a");
        assert_eq!(list.all().len(), 2);
        list.remove_client(client(1));
        assert_eq!(list.all(), [Mounted { client: client(2), path: b"/a"[..].into() }]);
    }

    #[test]
    fn one_client_cannot_push_out_the_others() {
        let list = MountList::default();
        list.add(client(1), b"/a");
        for number in 0..MOUNTS_MAX {
            list.add(client(2), number.to_string().as_bytes());
        }
        assert_eq!(list.all().len(), MOUNTS_PER_CLIENT_MAX + 1);
        assert_eq!(*list.all()[1].path, *(MOUNTS_MAX - MOUNTS_PER_CLIENT_MAX).to_string().as_bytes());
    }

    #[test]
    fn the_oldest_entry_goes_when_the_list_is_full() {
        let list = MountList::default();
        for number in 0..=MOUNTS_MAX as u32 {
            list.add(client(number), b"/a");
        }
        assert_eq!(list.all().len(), MOUNTS_MAX);
        assert_eq!(list.all()[0].client, client(1));
    }
}
