//! Hears the alarm events of ingest's live stream, as a console does, and notes when.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

/// Events that may wait to be looked at: more than a run has.
const EVENTS: usize = 100_000;

/// An alarm event as it came in.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// When, in µs since 1970 UTC.
    pub at_us: u64,
    /// The gateway.
    pub gateway: String,
    /// The rule.
    pub rule: String,
    /// `active` or `cleared`.
    pub state: String,
}

/// Time in µs since 1970 UTC: the one clock of a machine, shared by its processes.
#[allow(clippy::disallowed_methods)] // the programs that measure own the clock
pub fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

/// Listens from now on; the receiver ends with the stream.
///
/// # Errors
/// Of the socket, or when the answer is not a stream.
pub fn listen(server: SocketAddr) -> io::Result<Receiver<Heard>> {
    let mut stream = TcpStream::connect(server)?;
    // HTTP 1.0, so that the body is not cut into chunks.
    stream.write_all(b"GET /api/v1/events?topics=alarm HTTP/1.0\r\naccept: text/event-stream\r\n\r\n")?;
    let mut lines = BufReader::new(stream).lines();
    let status = lines.next().transpose()?.unwrap_or_default();
    if !status.contains(" 200 ") {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("the event stream began {status:?}")));
    }
    let (sender, heard) = sync_channel(EVENTS);
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let at_us = now_us();
            if let Some(heard) = parse(&line, at_us)
                && sender.send(heard).is_err()
            {
                break;
            }
        }
    });
    Ok(heard)
}

/// A `data:` line with an alarm in it.
fn parse(line: &str, at_us: u64) -> Option<Heard> {
    let alarm: Value = serde_json::from_str(line.strip_prefix("data:")?).ok()?;
    let text = |key: &str| alarm[key].as_str().map(str::to_owned);
    Some(Heard { at_us, gateway: text("gateway")?, rule: text("rule")?, state: text("state")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_are_heard_and_other_lines_are_not() {
        let line = r#"data: {"gateway":"caotang-01","rule":"fire","state":"active","value":1.0}"#;
        let heard = parse(line, 7).unwrap();
        assert_eq!((heard.at_us, heard.rule.as_str(), heard.state.as_str()), (7, "fire", "active"));
        for line in ["event: alarm", "", ": ping", "data: {}"] {
            assert_eq!(parse(line, 7), None, "{line}");
        }
    }
}
