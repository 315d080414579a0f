//! MQTT packets written by hand, for clients that break the rules, and a small blocking client that keeps them.
//!
//! Layouts are of MQTT 5.0 (OASIS, 2019) and MQTT 3.1.1 (OASIS, 2014). The product's client is in the gateway:
//! nothing here is for a box.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Protocol level in CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1.
    V3 = 4,
    /// MQTT 5.0.
    V5 = 5,
}

/// Seconds in CONNECT's keep-alive.
const KEEP_ALIVE_S: u16 = 60;
/// How long an answer may take before the client gives up: ingest may be waiting for its disk.
const PATIENCE: Duration = Duration::from_secs(20);
/// Largest packet the client accepts, in bytes: ingest sends it acknowledgements only.
pub(crate) const MAX_ANSWER: usize = 64 * 1024;

/// A length as one to four bytes of seven bits each (5.0 §1.5.5).
pub fn variable_length(mut value: usize, out: &mut Vec<u8>) {
    loop {
        let byte = (value % 128) as u8;
        value /= 128;
        out.push(if value > 0 { byte | 0x80 } else { byte });
        if value == 0 {
            break;
        }
    }
}

fn text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// A packet from its first byte and its body.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    variable_length(body.len(), &mut out);
    out.extend_from_slice(body);
    out
}

/// CONNECT with a clean start and no will (5.0 §3.1).
pub fn connect(version: Version, client: &str) -> Vec<u8> {
    let mut body = Vec::new();
    text("MQTT", &mut body);
    body.extend_from_slice(&[version as u8, 0b10]);
    body.extend_from_slice(&KEEP_ALIVE_S.to_be_bytes());
    if version == Version::V5 {
        body.push(0);
    }
    text(client, &mut body);
    packet(0x10, &body)
}

/// PUBLISH with QoS 1 (5.0 §3.3).
pub fn publish(version: Version, topic: &str, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(topic.len() + payload.len() + 8);
    text(topic, &mut body);
    body.extend_from_slice(&id.to_be_bytes());
    if version == Version::V5 {
        body.push(0);
    }
    body.extend_from_slice(payload);
    packet(0x32, &body)
}

/// SUBSCRIBE to one filter (5.0 §3.8).
pub fn subscribe(version: Version, id: u16, filter: &str) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(0);
    }
    text(filter, &mut body);
    body.push(1);
    packet(0x82, &body)
}

/// DISCONNECT (5.0 §3.14).
pub const DISCONNECT: [u8; 2] = [0xe0, 0];

/// Reason code of a broker that cannot take a message now (5.0 §3.4.2.1, implementation specific error).
pub const LATER: u8 = 0x83;

/// Reads one packet: its first byte and its body.
///
/// # Errors
/// Of the stream, or when the packet is larger than any answer of ingest's.
pub async fn next_packet(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, Vec<u8>)> {
    let first = stream.read_u8().await?;
    let mut length = 0_usize;
    for shift in [0, 7, 14, 21] {
        let byte = stream.read_u8().await?;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    if length > MAX_ANSWER {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok((first, body))
}

/// What a broker said about one publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// Packet identifier of the publish.
    pub id: u16,
    /// Reason code: below 0x80 is yes.
    pub reason: u8,
}

impl Ack {
    /// Whether the broker took the message.
    pub fn is_yes(self) -> bool {
        self.reason < 0x80
    }
}

/// A blocking MQTT 5 publisher that counts its acknowledgements.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    next_id: u16,
    /// Most publishes the broker wants unacknowledged at once (receive maximum).
    pub window: u16,
}

impl Client {
    /// Connects as `client`.
    ///
    /// # Errors
    /// Of the socket, or `ConnectionRefused` with the broker's reason code.
    pub fn connect(broker: SocketAddr, client: &str) -> io::Result<Self> {
        let mut stream = TcpStream::connect_timeout(&broker, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(&connect(Version::V5, client))?;
        let (first, body) = read_packet(&mut stream)?;
        let reason = body.get(1).copied().unwrap_or(0xff);
        if first != 0x20 || reason != 0 {
            let message =
                format!("{client}: the broker answered {first:#04x} with reason {reason:#04x} to CONNECT");
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, message));
        }
        Ok(Self { stream, next_id: 0, window: receive_maximum(&body).unwrap_or(u16::MAX) })
    }

    /// Sends one message and gives its packet identifier; the caller keeps at most [`Client::window`] open.
    ///
    /// # Errors
    /// Of the socket.
    pub fn publish(&mut self, topic: &str, payload: &[u8]) -> io::Result<u16> {
        // Zero is not an identifier (5.0 §2.2.1).
        self.next_id = self.next_id.checked_add(1).unwrap_or(1);
        self.stream.write_all(&publish(Version::V5, topic, self.next_id, payload))?;
        Ok(self.next_id)
    }

    /// Waits for the next acknowledgement.
    ///
    /// # Errors
    /// Of the socket; `ConnectionAborted` when the broker says DISCONNECT.
    pub fn ack(&mut self) -> io::Result<Ack> {
        loop {
            let (first, body) = read_packet(&mut self.stream)?;
            match (first >> 4, body.as_slice()) {
                (4, [high, low, rest @ ..]) => {
                    let id = u16::from_be_bytes([*high, *low]);
                    // Without a reason it is success (5.0 §3.4.2.1).
                    return Ok(Ack { id, reason: rest.first().copied().unwrap_or(0) });
                }
                (14, rest) => {
                    let reason = rest.first().copied().unwrap_or(0);
                    let message = format!("the broker disconnected with reason {reason:#04x}");
                    return Err(io::Error::new(io::ErrorKind::ConnectionAborted, message));
                }
                _ => {}
            }
        }
    }

    /// Says goodbye; errors no longer matter.
    pub fn close(mut self) {
        let _ = self.stream.write_all(&DISCONNECT);
    }
}

/// The receive maximum among CONNACK's properties (5.0 §3.2.2.3), when it is there before an unknown one.
pub(crate) fn receive_maximum(connack: &[u8]) -> Option<u16> {
    // Flags, reason, one byte of length: brokers send few properties.
    let mut rest = connack.get(3..)?;
    loop {
        let (&kind, after) = rest.split_first()?;
        let length = match kind {
            0x21 => return Some(u16::from_be_bytes([*after.first()?, *after.get(1)?])),
            0x11 | 0x27 => 4,
            0x13 | 0x22 => 2,
            0x24 | 0x25 | 0x28 | 0x29 | 0x2a => 1,
            0x12 | 0x1a | 0x1c | 0x1f | 0x15 | 0x16 => {
                2 + usize::from(u16::from_be_bytes([*after.first()?, *after.get(1)?]))
            }
            _ => return None,
        };
        rest = after.get(length..)?;
    }
}

fn read_packet(stream: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    let first = byte[0];
    let mut length = 0_usize;
    for shift in [0, 7, 14, 21] {
        stream.read_exact(&mut byte)?;
        length |= usize::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    if length > MAX_ANSWER {
        let message = format!("the broker announced {length} bytes, {MAX_ANSWER} at most were expected");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((first, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_as_the_standard_prints_them() {
        assert_eq!(connect(Version::V3, "a"), b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01a");
        assert_eq!(connect(Version::V5, "a"), b"\x10\x0e\0\x04MQTT\x05\x02\0\x3c\0\0\x01a");
        assert_eq!(publish(Version::V5, "t", 7, b"xy"), b"\x32\x08\0\x01t\0\x07\0xy");
        assert_eq!(subscribe(Version::V3, 1, "#"), b"\x82\x06\0\x01\0\x01#\x01");
        let mut length = Vec::new();
        variable_length(321, &mut length);
        assert_eq!(length, [0xc1, 0x02]);
    }

    #[test]
    fn the_window_is_found_behind_other_properties() {
        // Flags, reason, length, then topic alias maximum 10 and receive maximum 16.
        assert_eq!(receive_maximum(&[0, 0, 6, 0x22, 0, 10, 0x21, 0, 16]), Some(16));
        assert_eq!(receive_maximum(&[0, 0, 0]), None);
    }
}
