//! The smallest HTTP client that can ask our own API: one request per connection, plain TCP. For `ingest query` and for
//! benches.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Largest answer that is read, in bytes.
const MAX_ANSWER: u64 = 64 * 1024 * 1024;
/// How long one read may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status code, 200 and so on.
    pub status: u16,
    /// The body, de-chunked.
    pub body: Vec<u8>,
}

fn bad(message: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.into())
}

/// Asks `method` `path` with an optional body and its content type.
///
/// # Errors
/// Of the socket, or `InvalidData` when the answer is not HTTP.
pub fn request(
    server: SocketAddr,
    method: &str,
    path: &str,
    body: Option<(&str, &[u8])>,
) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\n");
    if let Some((kind, body)) = body {
        head.push_str(&format!("content-type: {kind}\r\ncontent-length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    if let Some((_, body)) = body {
        stream.write_all(body)?;
    }
    let mut bytes = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut bytes)?;
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> io::Result<Answer> {
    let end = bytes
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .ok_or_else(|| bad("the answer has no end of head"))?;
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| bad(format!("the answer starts with {:?}", head.lines().next())))?;
    let rest = &bytes[end + 4..];
    let body = if head.contains("\r\ntransfer-encoding: chunked") { unchunk(rest)? } else { rest.to_vec() };
    Ok(Answer { status, body })
}

fn unchunk(mut rest: &[u8]) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end =
            rest.windows(2).position(|w| w == b"\r\n").ok_or_else(|| bad("a chunk without its length"))?;
        let length =
            std::str::from_utf8(&rest[..end]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let length = length.ok_or_else(|| bad("a chunk with a strange length"))?;
        if length == 0 {
            return Ok(body);
        }
        let chunk = rest.get(end + 2..end + 2 + length).ok_or_else(|| bad("a chunk was cut off"))?;
        body.extend_from_slice(chunk);
        rest = rest.get(end + 4 + length..).unwrap_or_default();
    }
}

/// Whether an ingest answers at `server` and calls itself healthy or degraded.
pub fn answers(server: SocketAddr) -> bool {
    request(server, "GET", "/api/v1/health", None).is_ok_and(|answer| answer.body.starts_with(b"{"))
}

/// Reads JSON from our API.
///
/// # Errors
/// Of the socket, for a status other than 200, or when the body is not JSON; the message shows the answer.
pub fn get_json(server: SocketAddr, path: &str) -> io::Result<Value> {
    let answer = request(server, "GET", path, None)?;
    if answer.status != 200 {
        let shown: String = String::from_utf8_lossy(&answer.body).chars().take(200).collect();
        return Err(bad(format!("GET {path} answered {}: {shown}", answer.status)));
    }
    serde_json::from_slice(&answer.body).map_err(|error| bad(format!("GET {path}: {error}")))
}

/// All items of a list that comes in pages; `path` may hold a query.
///
/// # Errors
/// As [`get_json`].
pub fn get_items(server: SocketAddr, path: &str) -> io::Result<Vec<Value>> {
    let mut items = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let joint = if path.contains('?') { '&' } else { '?' };
        let mut url = format!("{path}{joint}limit=1000");
        if let Some(cursor) = &cursor {
            url.push_str(&format!("&cursor={}", escape(cursor)));
        }
        let page = get_json(server, &url)?;
        items.extend(page["items"].as_array().into_iter().flatten().cloned());
        cursor = match &page["next"] {
            Value::String(next) => Some(next.clone()),
            Value::Number(next) => Some(next.to_string()),
            _ => return Ok(items),
        };
    }
}

/// A text as part of a path or query.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whole_and_in_chunks() {
        let answer = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (200, b"hi".as_slice()));
        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n3\r\n ho\r\n0\r\n\r\n";
        assert_eq!(parse(chunked).unwrap().body, b"hi ho");
        assert!(parse(&chunked[..chunked.len() - 12]).is_err());
        assert!(parse(b"SSH-2.0").is_err());
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(escape("caotang-03:kiln.t"), "caotang-03%3Akiln.t");
    }
}
