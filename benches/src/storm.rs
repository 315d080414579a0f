//! Thousands of gateways that return at once, each with a backlog.
//!
//! They are tasks of one process, and well-behaved: none has more publishes in flight than it was granted. As boxes do,
//! they stay connected when their backlog is gone, so that at the end all of them are.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, ensure};
use fastrand::Rng;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;
use wire::{Codec, Lane, topic};

use crate::city::{Gateway, Habits, SEED};
use crate::mqtt::{self, Version};

/// Sensors and readings in a frame: a small box's.
const SENSORS: usize = 8;
const READINGS: usize = 50;
/// Hours before now at which the readings begin.
const AGE_MS: i64 = 6 * 3_600_000;
/// Attempts of one gateway to connect.
const ATTEMPTS: u32 = 60;
/// How often one that is done looks whether all are.
const LOOK: Duration = Duration::from_millis(50);
/// Longest pause before the next attempt in ms; half of it is random, as on a box.
const PAUSE_MS: u64 = 2_000;

/// A storm.
#[derive(Debug, Clone, Copy)]
pub struct Storm {
    /// Gateways.
    pub clients: usize,
    /// Frames each has waiting.
    pub frames: usize,
    /// They all connect within this time.
    pub within: Duration,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Frames acknowledged.
    pub acknowledged: AtomicU64,
    /// Answers "later" and broken connections: the frame was sent again.
    pub repeats: AtomicU64,
    /// Attempts to connect that failed.
    pub failed: AtomicU64,
    /// Gateways that are rid of their backlog.
    pub done: AtomicU64,
    /// Gateways that gave up.
    pub gave_up: AtomicU64,
    /// Gateways by what they were granted: 2, up to 8, up to 32, more.
    pub granted: [AtomicU64; 4],
    /// Connections that are open, and the most there were.
    pub open: AtomicU64,
    /// See `open`.
    pub most_open: AtomicU64,
}

impl Storm {
    /// Readings of all frames.
    pub fn readings(&self) -> u64 {
        (self.clients * self.frames * READINGS) as u64
    }

    /// Runs it against the broker of an ingest; ends when every gateway is rid of its backlog, or gave up.
    ///
    /// # Errors
    /// When frames cannot be made.
    pub async fn run(self, broker: SocketAddr, now_ms: i64, outcome: Arc<Outcome>) -> anyhow::Result<()> {
        let mut random = Rng::with_seed(SEED);
        let mut boxes = Vec::with_capacity(self.clients);
        for number in 0..self.clients {
            let name = format!("storm-{}", number / 100);
            let mut gateway = Gateway::new(
                &name,
                number % 100,
                SENSORS,
                SEED ^ number as u64,
                now_ms - AGE_MS,
                Habits::default(),
            )?;
            let frames: Result<Vec<_>, _> = (0..self.frames)
                .map(|_| gateway.frame(READINGS, Codec::Zstd).map(|(_, bytes)| bytes))
                .collect();
            let wait = self.within.mul_f64(random.f64());
            boxes.push((gateway.id.to_string(), topic::up(&gateway.id, Lane::Reading), frames?, wait));
        }
        let mut tasks = JoinSet::new();
        for (name, topic, frames, wait) in boxes {
            let outcome = Arc::clone(&outcome);
            tasks.spawn(async move {
                sleep(wait).await;
                let mut left = frames;
                for _ in 0..ATTEMPTS {
                    if let Ok(mut connection) = deliver(broker, &name, &topic, &mut left, &outcome).await {
                        outcome.done.fetch_add(1, Relaxed);
                        while (outcome.done.load(Relaxed) + outcome.gave_up.load(Relaxed))
                            < self.clients as u64
                        {
                            sleep(LOOK).await;
                        }
                        // It may be gone already.
                        let _ = connection.stream.write_all(&mqtt::DISCONNECT).await;
                        return;
                    }
                    let pause = fastrand::u64(PAUSE_MS / 2..=PAUSE_MS);
                    sleep(Duration::from_millis(pause)).await;
                }
                outcome.gave_up.fetch_add(1, Relaxed);
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.context("a client panicked")?;
        }
        ensure!(outcome.open.load(Relaxed) == 0, "connections are still counted as open");
        Ok(())
    }
}

/// A connection, counted while it lives.
struct Connection<'a> {
    stream: BufReader<TcpStream>,
    outcome: &'a Outcome,
}

impl<'a> Connection<'a> {
    fn new(stream: TcpStream, outcome: &'a Outcome) -> Self {
        let open = outcome.open.fetch_add(1, Relaxed) + 1;
        outcome.most_open.fetch_max(open, Relaxed);
        Self { stream: BufReader::new(stream), outcome }
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.outcome.open.fetch_sub(1, Relaxed);
    }
}

/// One connection until nothing is left, or until it breaks. What was acknowledged is taken out of `left`.
async fn deliver<'a>(
    broker: SocketAddr,
    name: &str,
    topic: &str,
    left: &mut Vec<Vec<u8>>,
    outcome: &'a Outcome,
) -> io::Result<Connection<'a>> {
    let stream = match TcpStream::connect(broker).await {
        Ok(stream) => stream,
        Err(error) => {
            outcome.failed.fetch_add(1, Relaxed);
            return Err(error);
        }
    };
    let mut connection = Connection::new(stream, outcome);
    let stream = &mut connection.stream;
    stream.write_all(&mqtt::connect(Version::V5, name)).await?;
    let (first, body) = mqtt::next_packet(stream).await?;
    if first != 0x20 || body.get(1) != Some(&0) {
        outcome.failed.fetch_add(1, Relaxed);
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    let granted = usize::from(mqtt::receive_maximum(&body).unwrap_or(u16::MAX));
    let class = match granted {
        ..=2 => 0,
        3..=8 => 1,
        9..=32 => 2,
        _ => 3,
    };
    outcome.granted[class].fetch_add(1, Relaxed);
    // Packet identifiers are places in `flying`, from 1.
    let mut flying: Vec<Option<Vec<u8>>> = Vec::new();
    loop {
        while !left.is_empty() && flying.iter().flatten().count() < granted {
            let frame = left.remove(0);
            let id = flying.len() as u16 + 1;
            let sent = stream.write_all(&mqtt::publish(Version::V5, topic, id, &frame)).await;
            flying.push(Some(frame));
            if let Err(error) = sent {
                return Err(keep(error, flying, left, outcome));
            }
        }
        if flying.iter().flatten().count() == 0 {
            return Ok(connection);
        }
        let (first, body) = match mqtt::next_packet(stream).await {
            Ok(packet) => packet,
            Err(error) => return Err(keep(error, flying, left, outcome)),
        };
        let (4, [high, low, rest @ ..]) = (first >> 4, body.as_slice()) else { continue };
        let id = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(frame) = flying.get_mut(id.wrapping_sub(1)).and_then(Option::take) else { continue };
        if rest.first().is_none_or(|reason| *reason < 0x80) {
            outcome.acknowledged.fetch_add(1, Relaxed);
        } else {
            outcome.repeats.fetch_add(1, Relaxed);
            left.push(frame);
        }
    }
}

/// What was in flight when a connection broke is sent again, in its order.
fn keep(
    error: io::Error,
    flying: Vec<Option<Vec<u8>>>,
    left: &mut Vec<Vec<u8>>,
    outcome: &Outcome,
) -> io::Error {
    let flying: Vec<Vec<u8>> = flying.into_iter().flatten().collect();
    outcome.repeats.fetch_add(flying.len() as u64, Relaxed);
    left.splice(0..0, flying);
    error
}
