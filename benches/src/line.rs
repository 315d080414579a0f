//! A bad line between a gateway and ingest: a TCP proxy with delay, a bottleneck and losses.
//!
//! # The model
//! Bytes travel in segments of [`SEGMENT`] bytes, each with [`HEADERS`] bytes around it. Each direction has its own
//! bottleneck: a segment leaves when those before it have left and its own bits are through, and no more than
//! `queue_bytes` wait in front of it. Then the proxy stops reading, and since its own socket holds little, the sender's
//! kernel sees a closed window, as behind a modem.
//!
//! A lost segment is what TCP makes of it: it comes one retransmission time later (200 ms, the least of Linux, and one
//! round trip; twice that when it is lost again, and so on), it takes the bottleneck once more, and everything behind
//! it waits, because the stream has an order. Fast retransmission would be kinder, a shrinking congestion window less
//! so; neither is modelled.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use fastrand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Bytes of a segment: what is left of an Ethernet frame.
const SEGMENT: usize = 1448;
/// Bytes around it: Ethernet, IP, TCP with time stamps.
const HEADERS: usize = 66;
/// What Linux adds to the round trip before it sends again, in µs.
const RETRANSMISSION_US: u64 = 200_000;
/// A segment that was lost so often comes through: 5 % to the sixth is nothing.
const MOST_LOSSES: u32 = 6;
/// Receive buffer of the proxy's own socket in bytes: what it holds is a queue that no modem has.
const SOCKET_BYTES: u32 = 4 * 1024;
/// Segments on their way at once: far more than the slowest retransmission lets pile up on a narrow line.
const ON_THE_WAY: usize = 4096;

/// What the line is like; the same in both directions.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// Time from end to end in ms, each way.
    pub delay_ms: u64,
    /// Bits a second, each way.
    pub bits_per_s: u64,
    /// Bytes that may wait in front of the bottleneck.
    pub queue_bytes: usize,
    /// Chance that a segment is lost, 0 to 1.
    pub loss: f64,
    /// Seed of the losses.
    pub seed: u64,
}

/// When segments of one direction leave and arrive. Pure; times in µs.
#[derive(Debug)]
struct Course {
    line: Line,
    random: Rng,
    free_us: u64,
    arrived_us: u64,
}

impl Course {
    fn new(line: Line, direction: u64) -> Self {
        Self { line, random: Rng::with_seed(line.seed ^ direction), free_us: 0, arrived_us: 0 }
    }

    fn us(&self, bytes: usize) -> u64 {
        bytes as u64 * 8_000_000 / self.line.bits_per_s.max(1)
    }

    /// When the queue has room for another segment.
    fn room_us(&self) -> u64 {
        self.free_us.saturating_sub(self.us(self.line.queue_bytes.saturating_sub(SEGMENT)))
    }

    /// When a segment of so many bytes, given at `now_us`, arrives.
    fn send(&mut self, now_us: u64, bytes: usize) -> u64 {
        let takes_us = self.us(bytes + HEADERS);
        self.free_us = self.free_us.max(now_us) + takes_us;
        let mut arrives_us = self.free_us + self.line.delay_ms * 1000;
        let mut again_us = RETRANSMISSION_US + 2 * self.line.delay_ms * 1000;
        for _ in 0..MOST_LOSSES {
            if self.random.f64() >= self.line.loss {
                break;
            }
            self.free_us += takes_us;
            arrives_us += again_us;
            again_us *= 2;
        }
        self.arrived_us = self.arrived_us.max(arrives_us);
        self.arrived_us
    }
}

/// Opens the line in front of `server`; connections to the address given back go over it.
///
/// # Errors
/// Of the socket.
pub fn open(line: Line, server: SocketAddr) -> io::Result<SocketAddr> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(SOCKET_BYTES)?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let listener = socket.listen(16)?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = TcpStream::connect(server).await else { continue };
            if near.set_nodelay(true).is_err() || far.set_nodelay(true).is_err() {
                continue;
            }
            let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
            carry(from_near, to_far, Course::new(line, 0));
            carry(from_far, to_near, Course::new(line, 1));
        }
    });
    Ok(address)
}

/// One direction of one connection: ends with either side.
fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut course: Course) {
    let start = now();
    let (sender, mut segments) = mpsc::channel::<(u64, Vec<u8>)>(ON_THE_WAY);
    tokio::spawn(async move {
        let mut segment = vec![0; SEGMENT];
        loop {
            sleep_until(start + Duration::from_micros(course.room_us())).await;
            let Ok(read @ 1..) = from.read(&mut segment).await else { break };
            let now_us = now().duration_since(start).as_micros() as u64;
            let arrives_us = course.send(now_us, read);
            if sender.send((arrives_us, segment[..read].to_vec())).await.is_err() {
                break;
            }
        }
    });
    tokio::spawn(async move {
        while let Some((arrives_us, segment)) = segments.recv().await {
            sleep_until(start + Duration::from_micros(arrives_us)).await;
            if to.write_all(&segment).await.is_err() {
                break;
            }
        }
    });
}

#[allow(clippy::disallowed_methods)] // the proxy that drives owns the clock
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 8 Mbit/s: a byte takes a microsecond.
    const LINE: Line = Line { delay_ms: 10, bits_per_s: 8_000_000, queue_bytes: 10_000, loss: 0.0, seed: 1 };

    #[test]
    fn segments_queue_at_the_bottleneck() {
        let mut course = Course::new(LINE, 0);
        assert_eq!(course.send(0, 934), 11_000);
        assert_eq!(course.send(0, 934), 12_000, "behind the first");
        assert_eq!(course.send(50_000, 934), 61_000, "the line was idle");
    }

    #[test]
    fn a_full_queue_stops_the_sender() {
        let mut course = Course::new(LINE, 0);
        for _ in 0..20 {
            course.send(0, 934);
        }
        assert_eq!(course.room_us(), 20_000 - (10_000 - SEGMENT as u64));
    }

    #[test]
    fn a_lost_segment_holds_up_what_is_behind_it() {
        let mut course = Course::new(Line { loss: 1.0, ..LINE }, 0);
        let again: u64 = (0..MOST_LOSSES).map(|n| 220_000 << n).sum();
        assert_eq!(course.send(0, 934), 11_000 + again);
        course.line.loss = 0.0;
        assert_eq!(course.send(0, 934), 11_000 + again, "it waits for the first");
    }
}
