//! EXPORT, RFC 1813 5.2.5: every share by its path, and its clients as configured. EXPORTALL of version 1 is the same.

use crate::net::dispatch::Call;
use crate::net::reply::{Ended, Outcome, Reply};
use crate::policy::{Export, Exports};
use wire::Writer;
use wire::mount::{Dirpath, MNTNAMLEN, Name};

/// Longest reply. A server with more shares and clients than fit lists the first ones; each share that is listed is
/// listed whole.
pub(super) const REPLY_BYTES_MAX: usize = 512 * 1024;
/// What is left for the headers before and the end behind the list.
const HEADER_BYTES: usize = 256;

pub(super) fn export(call: &Call<'_>, reply: &mut Reply<'_>) -> Outcome {
    let exports = call.connection.core.exports.borrow_mut().get().clone();
    write_all(&exports, &mut reply.writer());
    Ok(Ended::Well)
}

fn write_all(exports: &Exports, w: &mut Writer<'_>) {
    let start = w.position();
    let mut sorted: Vec<&Export> = exports.iter().collect();
    sorted.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    for export in sorted {
        let before = w.position();
        w.bool(true);
        write_one(export, w);
        if w.position() - start > REPLY_BYTES_MAX - HEADER_BYTES {
            w.truncate(before);
            break;
        }
    }
    w.bool(false);
}

fn write_one(export: &Export, w: &mut Writer<'_>) {
    w.encode(&Dirpath::new(export.path.as_str().as_bytes()).expect("a share's path has at most 1024 bytes"));
    for rule in &export.rules {
        let who = rule.who.to_string();
        // A host name has at most 253 bytes, an address fewer.
        let name = Name::new(&who.as_bytes()[..who.len().min(MNTNAMLEN)]);
        w.bool(true);
        w.encode(&name.expect("it was cut to fit"));
    }
    w.bool(false);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{FilesystemId, Rule};
    use wire::mount;

    fn export(number: u64, path: &str, who: &[&str]) -> Export {
        let rules = who.iter().map(|who| Rule::new(who.parse().unwrap())).collect();
        Export { path: path.parse().unwrap(), filesystem: FilesystemId(number), rules }
    }

    fn listed(exports: &Exports) -> Vec<(String, Vec<String>)> {
        let mut bytes = Vec::new();
        write_all(exports, &mut Writer::new(&mut bytes));
        assert!(bytes.len() <= REPLY_BYTES_MAX);
        let list: mount::Exports<'_> = wire::xdr::decode_all(&bytes).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        list.iter().map(|node| (text(&node.ex_dir), node.ex_groups.iter().map(|name| text(&name)).collect())).collect()
    }

    #[test]
    fn every_share_is_listed_by_its_path_with_its_clients() {
        let shares = vec![export(2, "/a", &["10.0.0.0/8", "anyone"]), export(1, "/b", &["farm.example"])];
        let list = listed(&Exports::new(shares).unwrap());
        assert_eq!(list[0], ("/a".to_string(), vec!["10.0.0.0/8".to_string(), "*".to_string()]));
        assert_eq!(list[1], ("/b".to_string(), vec!["farm.example".to_string()]));
    }

    #[test]
    fn a_list_that_does_not_fit_ends_after_a_whole_share() {
        let who: Vec<String> = (0..1000).map(|number| format!("10.0.{}.{}", number / 250, number % 250)).collect();
        let who: Vec<&str> = who.iter().map(String::as_str).collect();
        let shares = (0..100).map(|number| export(number, &format!("/share{number}"), &who)).collect();
        let list = listed(&Exports::new(shares).unwrap());
        assert!((2..100).contains(&list.len()));
        assert!(list.iter().all(|(_, clients)| clients.len() == 1000));
    }
}
