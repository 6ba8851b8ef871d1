//! The admin address: health and metrics over HTTP, on a thread of its own. Loopback alone: nobody is asked who he is.
//!
//! | path | answer |
//! |---|---|
//! | `/health` | 200 while every store takes writes, else 503 |
//! | `/health/ready` | 200 while shares answer, else 503 |
//! | `/health/stores` | each share's state as JSON |
//! | `/metrics` | counters for Prometheus |

use crate::http::{self, Page};
use crate::metrics;
use crate::observe::{Observed, StoreState};
use std::fmt::Write;
use std::net::{SocketAddr, TcpListener};
use std::thread;

/// Looks at the running server. Called on the admin's thread for each request.
pub(crate) type Observer = Box<dyn Fn() -> Observed + Send>;

/// Begins to answer; the address with the port that was taken.
pub(crate) fn begin(address: SocketAddr, observe: Observer) -> Result<SocketAddr, String> {
    assert!(address.ip().is_loopback(), "the configuration allows loopback alone");
    let failed = |error: &dyn std::fmt::Display| format!("admin.listen {address}: {error}");
    let listener = TcpListener::bind(address).map_err(|error| failed(&error))?;
    let address = listener.local_addr().map_err(|error| failed(&error))?;
    listener.set_nonblocking(true).map_err(|error| failed(&error))?;
    let serve = move || http::serve(&listener, |path| page(path, &observe));
    thread::Builder::new().name("admin".into()).spawn(serve).map_err(|error| failed(&error))?;
    Ok(address)
}

const TEXT: &str = "text/plain; charset=utf-8";

fn page(path: &str, observe: &Observer) -> Page {
    let said = |good: bool, yes: &str, no: &str| Page {
        status: if good { 200 } else { 503 },
        kind: TEXT,
        body: if good { yes } else { no }.to_owned(),
    };
    match path {
        "/health" => said(observe().is_sound(), "ok\n", "a store failed and is read-only: see /health/stores\n"),
        "/health/ready" => said(observe().ready, "ready\n", "not ready\n"),
        "/health/stores" => Page { status: 200, kind: "application/json", body: json(&observe().stores) },
        "/metrics" => Page { status: 200, kind: "text/plain; version=0.0.4", body: metrics::render(&observe()) },
        _ => Page { status: 404, kind: TEXT, body: "/health, /health/ready, /health/stores, /metrics\n".to_owned() },
    }
}

fn json(stores: &[StoreState]) -> String {
    let one = |store: &StoreState| {
        let state = if store.failed { "read-only" } else { "ok" };
        format!(
            "{{\"share\":{},\"store\":\"{}\",\"state\":\"{state}\",\"capacity_bytes\":{},\"free_bytes\":{},\
             \"live_bytes\":{},\"inodes\":{},\"segments\":{},\"ledger_commits\":{},\"log_sequence\":{}}}",
            quoted(&store.share),
            store.store,
            store.capacity_bytes,
            store.free_bytes,
            store.live_bytes,
            store.inodes,
            store.segments,
            store.commits,
            store.log_sequence,
        )
    };
    let all: Vec<String> = stores.iter().map(one).collect();
    format!("{{\"stores\":[{}]}}\n", all.join(","))
}

/// A JSON string (RFC 8259 7).
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            char if char.is_control() => {
                write!(quoted, "\\u{:04x}", u32::from(char)).expect("a String takes everything");
            }
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    fn store(failed: bool) -> StoreState {
        StoreState {
            share: "/a \"b\"".into(),
            filesystem: 7,
            store: "disk",
            failed,
            capacity_bytes: 10,
            free_bytes: 9,
            live_bytes: 1,
            inodes: 3,
            segments: 2,
            corrupt: 0,
            replays: 0,
            commits: 2,
            checkpoints: 1,
            recent_bytes: 0,
            log_sequence: 3,
        }
    }

    /// Status line and body of the answer to one request.
    fn ask(observed: Observed, request: &str) -> (String, String) {
        let address = begin("127.0.0.1:0".parse().unwrap(), Box::new(move || observed.clone())).unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    fn status(observed: Observed, request: &str) -> String {
        ask(observed, request).0.split(' ').nth(1).unwrap().to_owned()
    }

    #[test]
    fn health_tells_a_failed_store() {
        let sound = Observed { stores: vec![store(false)], ..Observed::default() };
        let failed = Observed { stores: vec![store(false), store(true)], ..Observed::default() };
        assert_eq!(status(sound, "GET /health"), "200");
        assert_eq!(status(failed, "GET /health"), "503");
    }

    #[test]
    fn ready_follows_the_shares() {
        assert_eq!(status(Observed::default(), "GET /health/ready"), "503");
        assert_eq!(status(Observed { ready: true, ..Observed::default() }, "GET /health/ready?x=1"), "200");
    }

    #[test]
    fn stores_are_listed_as_json() {
        let observed = Observed { stores: vec![store(true)], ..Observed::default() };
        let (line, body) = ask(observed, "GET /health/stores");
        assert!(line.contains("200"));
        assert!(
            body.starts_with("{\"stores\":[{\"share\":\"/a \\\"b\\\"\",\"store\":\"disk\",\"state\":\"read-only\""),
            "{body}"
        );
    }

    #[test]
    fn metrics_are_text_and_other_paths_and_methods_are_refused() {
        let (line, body) = ask(Observed::default(), "GET /metrics");
        assert!(line.contains("200"));
        assert!(body.contains("# TYPE basalt_connections gauge"));
        assert_eq!(status(Observed::default(), "GET /"), "404");
        assert_eq!(status(Observed::default(), "POST /health"), "405");
        assert_eq!(status(Observed::default(), "HEAD /health"), "200");
    }
}
