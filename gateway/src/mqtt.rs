//! The MQTT 5 client; nothing else names rumqttc.
//!
//! One [`Connection`] is one TCP connection: at its first error it is over, and [`crate::ship`] says when to build
//! the next. The client library keeps nothing that matters: sessions always start clean, because the buffer is the
//! memory. Its event loop is polled in a task of its own, for a task that publishes and polls deadlocks when the
//! request queue is full.

use std::sync::Arc;
use std::time::Duration;

use rumqttc::{
    AsyncClient, Event as Raw, EventLoop, MqttOptions, PubAckReason, PublishNoticeError, PublishOptions, QoS,
};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};
use wire::{Lane, Receipt, topic};

use crate::config::Config;
use crate::ship::Answer;

/// Publishes that may wait for the event loop: more than the windows of all lanes together, so that there is always
/// room and nobody ever waits for a broker that has stopped reading.
const REQUESTS: usize = 96;
/// Publishes that may be unacknowledged: more than the windows of all lanes together.
const IN_FLIGHT: u16 = REQUESTS as u16;
/// Events that may wait for the courier: more than can be in flight at once.
const EVENTS: usize = 256;
/// Turns that those who wait for an answer get before the end of a connection is told: each needs one or two.
const LAST_WORDS: usize = 64;
/// Largest packet accepted from a broker, in bytes: a receipt of 512 numbers takes some 5 KiB.
const MAX_INCOMING_BYTES: u32 = 64 * 1024;
/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Ping interval in s: finds a dead path in a minute and costs a few bytes.
const KEEP_ALIVE_S: u16 = 30;
/// What the standard grants when a broker does not name its receive maximum.
const DEFAULT_RECEIVE_MAXIMUM: u16 = u16::MAX;

/// What came from the broker.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The connection stands and takes this many unacknowledged publishes.
    Up {
        /// The broker's receive maximum.
        receive_maximum: u16,
    },
    /// The connection is over; the reason is for people.
    Down(String),
    /// What became of the publish with this token.
    Answer {
        /// As given to [`Connection::publish`].
        token: u64,
        /// What became of it.
        answer: Answer,
    },
    /// Ingest's word.
    Receipt(Receipt),
    /// For the seal, as it came.
    Seal(Vec<u8>),
}

/// One TCP connection to the broker. Dropping it closes it at once.
#[derive(Debug)]
pub struct Connection {
    client: AsyncClient,
    poller: JoinHandle<()>,
    waiters: Vec<AbortHandle>,
    /// Held by each publish that waits for its answer.
    flying: Arc<()>,
    topics: [String; 5],
    events: mpsc::Sender<Event>,
}

/// Starts to connect; what happens comes out of the receiver.
pub fn connect(config: &Config) -> (Connection, mpsc::Receiver<Event>) {
    let mut options = MqttOptions::new(config.id.as_str(), (config.broker.host.clone(), config.broker.port));
    options
        .set_keep_alive(KEEP_ALIVE_S)
        .set_clean_start(true)
        .set_max_packet_size(Some(MAX_INCOMING_BYTES))
        .set_connect_timeout(CONNECT_TIMEOUT)
        // Unset, the client makes room for 65,535 at every connection.
        .set_outgoing_inflight_upper_limit(IN_FLIGHT);
    let mut network = options.network_options();
    // Else the kernel holds an alarm back, as a small packet, until what was sent before it is acknowledged.
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    let (client, event_loop) = AsyncClient::builder(options).capacity(REQUESTS).build();
    let (events, receiver) = mpsc::channel(EVENTS);
    let ears = Ears {
        receipts: config.receipts.then(|| topic::receipt(&config.id)),
        seal: config.has_seals().then(|| topic::seal(&config.id)),
    };
    let flying = Arc::new(());
    let poller = tokio::spawn(poll(event_loop, client.clone(), ears, events.clone(), Arc::clone(&flying)));
    let mut topics: [String; 5] = Default::default();
    for lane in Lane::ALL {
        topics[lane as usize] = topic::up(&config.id, lane);
    }
    (Connection { client, poller, waiters: Vec::new(), flying, topics, events }, receiver)
}

impl Connection {
    /// Publishes a frame with QoS 1. The answer comes as an event; none comes when the connection breaks first.
    pub fn publish(&mut self, token: u64, lane: Lane, frame: Vec<u8>) {
        let options = PublishOptions::new(QoS::AtLeastOnce);
        let topic = self.topics[lane as usize].clone();
        let Ok(notice) = self.client.try_publish_tracked(topic, frame, options) else {
            // The event loop has ended, which is on its way as an event, or stands still, which patience notices.
            return;
        };
        let (events, flying) = (self.events.clone(), Arc::clone(&self.flying));
        let waiter = tokio::spawn(async move {
            let answer = match notice.wait_completion_async().await {
                Ok(()) => Answer::Durable,
                Err(PublishNoticeError::V5PubAck(reason)) => judge(reason),
                // The connection broke: the shipper hears of that by itself.
                Err(_) => return,
            };
            // Nobody listens to an old connection.
            let _ = events.send(Event::Answer { token, answer }).await;
            drop(flying);
        });
        self.waiters.retain(|waiter| !waiter.is_finished());
        self.waiters.push(waiter.abort_handle());
    }

    /// Says goodbye to the broker, for a clean stop.
    pub async fn close(mut self) {
        const GOODBYE: Duration = Duration::from_millis(500);
        if self.client.try_disconnect_now().is_ok() {
            // A broker that does not let go is left alone.
            let _ = tokio::time::timeout(GOODBYE, &mut self.poller).await;
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.poller.abort();
        for waiter in &self.waiters {
            waiter.abort();
        }
    }
}

/// What a reason code means for the frame. Contract with ingest: three reasons are for good, all others pass.
fn judge(reason: PubAckReason) -> Answer {
    match reason {
        PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Answer::Durable,
        PubAckReason::PayloadFormatInvalid | PubAckReason::TopicNameInvalid | PubAckReason::NotAuthorized => {
            Answer::Refused(reason as u8)
        }
        other => Answer::Later(other as u8),
    }
}

/// The topics that are listened to, if any.
struct Ears {
    receipts: Option<String>,
    seal: Option<String>,
}

impl Ears {
    fn is_for_seal(&self, topic: &[u8]) -> bool {
        self.seal.as_ref().is_some_and(|seal| seal.as_bytes() == topic)
    }
}

async fn poll(
    mut event_loop: EventLoop,
    client: AsyncClient,
    ears: Ears,
    events: mpsc::Sender<Event>,
    flying: Arc<()>,
) {
    loop {
        let event = match event_loop.poll().await {
            Ok(Raw::Incoming(rumqttc::Packet::ConnAck(ack))) => {
                for topic in [&ears.receipts, &ears.seal].into_iter().flatten() {
                    if client.try_subscribe(topic.as_str(), QoS::AtLeastOnce).is_err() {
                        return;
                    }
                }
                let granted = ack.properties.and_then(|p| p.receive_max).unwrap_or(DEFAULT_RECEIVE_MAXIMUM);
                Event::Up { receive_maximum: granted }
            }
            Ok(Raw::Incoming(rumqttc::Packet::Publish(publish))) if ears.is_for_seal(&publish.topic) => {
                // The seal asks again for what has no room.
                let _ = events.try_send(Event::Seal(publish.payload.to_vec()));
                continue;
            }
            Ok(Raw::Incoming(rumqttc::Packet::Publish(publish))) => match Receipt::decode(&publish.payload) {
                Ok(receipt) => {
                    // Waiting here would stop the event loop. A receipt without room is asked for again by a repeat.
                    let _ = events.try_send(Event::Receipt(receipt));
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%error, "a message on the receipt topic is not a receipt");
                    continue;
                }
            },
            Ok(_) => continue,
            Err(error) => {
                drop(event_loop);
                // An acknowledgement that came with the end still counts: those who wait for theirs go first.
                for _ in 0..LAST_WORDS {
                    // This task and the connection hold it too.
                    if Arc::strong_count(&flying) <= 2 {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                // The library would connect again by itself: the shipper decides that.
                let _ = events.send(Event::Down(error.to_string())).await;
                return;
            }
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}
