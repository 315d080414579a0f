//! A broker that is not ours: ingest as its client. The only file of ingest that knows rumqttc.
//!
//! Such a broker acknowledges to the gateway before ingest has seen anything, so its PUBACK promises nothing. Two
//! things make up for that. Ingest acknowledges to the broker only after its own group commit, and it answers
//! each frame with a receipt on the gateway's own topic; a gateway that is told to (`receipts = true`) forgets
//! only on that. What no receipt names is sent again, so losing our MQTT session on a restart loses nothing of a
//! gateway. Third parties get no receipts: their packs are as safe as the broker is, and packs published while
//! ingest is away are gone. Let them use HTTP or the embedded broker where that matters.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::{Packet, Publish, SubscribeFilter, SubscribeReasonCode};
use rumqttc::{AckMode, AsyncClient, Event, MqttOptions, PublishOptions};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use wire::frame::Header;
use wire::receipt::{MAX_SEQUENCES, Receipt, Verdict as Fate};
use wire::topic::{self, Uplink};
use wire::{GatewayId, Lane};

use crate::clock::now_ms;
use crate::config::BrokerUrl;
use crate::engine::Engine;
use crate::intake::{self, Verdict};
use crate::office::Downlink;

/// Unacknowledged publishes at once: enough for many to share a commit.
const RECEIVE_MAXIMUM: u16 = 256;
/// Largest packet in either direction, as with our own broker.
const MAX_PACKET: u32 = 128 * 1024;
/// Requests waiting for the client's loop: an acknowledgement and a receipt for each publish in flight.
const REQUESTS: usize = 1024;
/// Receipts waiting to be packed together.
const RECEIPTS: usize = 1024;
/// Publishes at QoS 0 judged at once; the broker may drop such, and so may we.
const UNPROMISED: usize = 256;
/// First and longest pause between attempts to connect.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// Pause before trying again what the engine could not take.
const LATER: Duration = Duration::from_secs(1);
/// How long the goodbye may take.
const CLOSING: Duration = Duration::from_secs(2);

/// How the connection is doing, for `/health`.
#[derive(Debug, Default)]
pub struct Link {
    state: Mutex<Option<String>>,
}

impl Link {
    /// What is wrong; `None` when it works.
    pub fn trouble(&self) -> Option<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, trouble: Option<String>) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// Ingest as a client of somebody else's broker.
#[derive(Debug)]
pub struct External {
    client: AsyncClient,
    link: Arc<Link>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl External {
    /// Connects, and keeps connecting. Needs a tokio runtime.
    pub fn start(url: &BrokerUrl, engine: Engine) -> Self {
        let link = Arc::new(Link::default());
        let named = format!("{}:{}", url.host, url.port);
        link.set(Some(format!("not connected to {named} yet")));
        let (stop, stopping) = watch::channel(false);
        let mut options = MqttOptions::new(
            format!("watchfire-ingest-{:08x}", fastrand::u32(..)),
            (url.host.clone(), url.port),
        );
        options
            .set_keep_alive(20)
            // Our log and the gateways' stores are the memory, not the broker.
            .set_clean_start(true)
            .set_ack_mode(AckMode::Manual)
            .set_receive_maximum(Some(RECEIVE_MAXIMUM))
            .set_max_packet_size(Some(MAX_PACKET));
        let (client, events) = AsyncClient::builder(options).capacity(REQUESTS).build();
        let (receipts, outgoing) = mpsc::channel(RECEIPTS);
        let writer = tokio::spawn(send_receipts(outgoing, client.clone()));
        let session = Session {
            engine,
            client,
            receipts,
            life: Arc::default(),
            unpromised: Arc::new(Semaphore::new(UNPROMISED)),
        };
        let task = tokio::spawn(run(events, session.clone(), link.clone(), named, stopping, writer));
        Self { client: session.client, link, stop, task }
    }

    /// The way to the seals of gateways. Whether one of them listens, only the broker knows.
    pub fn downlink(&self) -> Downlink {
        let client = self.client.clone();
        Arc::new(move |gateway, bytes| {
            client.try_publish(topic::seal(gateway), bytes, PublishOptions::at_least_once()).is_ok()
        })
    }

    /// How the connection is doing.
    pub fn link(&self) -> Arc<Link> {
        self.link.clone()
    }

    /// Says goodbye and ends. What is not acknowledged is sent again to the next ingest.
    pub async fn stop(mut self) {
        // Without a receiver the task is gone already.
        let _ = self.stop.send(true);
        if tokio::time::timeout(CLOSING, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

/// What handling a publish needs.
#[derive(Clone)]
struct Session {
    engine: Engine,
    client: AsyncClient,
    receipts: mpsc::Sender<Settled>,
    /// Counts connections: an acknowledgement belongs to the one its publish came by.
    life: Arc<AtomicU64>,
    unpromised: Arc<Semaphore>,
}

/// A frame whose fate is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Settled {
    gateway: GatewayId,
    store: u64,
    lane: Lane,
    sequence: u64,
    fate: Fate,
}

async fn run(
    mut events: rumqttc::EventLoop,
    session: Session,
    link: Arc<Link>,
    broker: String,
    mut stopping: watch::Receiver<bool>,
    writer: JoinHandle<()>,
) {
    let mut pause = PAUSES.0;
    loop {
        let event = tokio::select! {
            event = events.poll() => event,
            _ = stopping.wait_for(|stop| *stop) => break,
        };
        match event {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                pause = PAUSES.0;
                session.life.fetch_add(1, Ordering::Relaxed);
                let filters =
                    topic::UPLINK_FILTERS.map(|filter| SubscribeFilter::new(filter, QoS::AtLeastOnce));
                // The queue was drained by the connection before; if it is full all the same, the next one tries.
                if let Err(error) = session.client.try_subscribe_many(filters) {
                    link.set(Some(format!("cannot subscribe at {broker}: {error}")));
                }
            }
            Ok(Event::Incoming(Packet::SubAck(ack))) => {
                let granted = ack.return_codes.iter().all(|code| {
                    matches!(code, SubscribeReasonCode::Success(QoS::AtLeastOnce | QoS::ExactlyOnce))
                });
                if granted {
                    tracing::info!(broker, "已连接外部消息代理 connected to the external broker");
                    link.set(None);
                } else {
                    let detail = format!(
                        "{broker} refuses the subscription to {:?}: {:?}; its access rules must allow it at QoS 1",
                        topic::UPLINK_FILTERS,
                        ack.return_codes
                    );
                    tracing::error!(detail, "外部消息代理拒绝订阅");
                    link.set(Some(detail));
                }
            }
            Ok(Event::Incoming(Packet::Publish(publish))) => session.handle(publish),
            Ok(_) => {}
            Err(error) => {
                session.life.fetch_add(1, Ordering::Relaxed);
                let detail = format!("not connected to {broker}: {error}");
                tracing::warn!(detail, "外部消息代理不可用");
                link.set(Some(detail));
                // Jitter, so that a broker coming back is not met by all its clients at once.
                let wait = pause.mul_f64(0.5 + fastrand::f64());
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    _ = stopping.wait_for(|stop| *stop) => break,
                }
                pause = (pause * 2).min(PAUSES.1);
            }
        }
    }
    // Best effort: a broker that does not hear it notices the closed socket.
    if session.client.try_disconnect().is_ok() {
        let _ = tokio::time::timeout(CLOSING / 2, async { while events.poll().await.is_ok() {} }).await;
    }
    writer.abort();
}

impl Session {
    /// Judges a publish beside the client's loop, which must never wait.
    fn handle(&self, publish: Publish) {
        let session = self.clone();
        let life = self.life.load(Ordering::Relaxed);
        // At QoS 1 the receive maximum bounds these tasks; at QoS 0 nothing else does.
        let place = match publish.qos {
            QoS::AtMostOnce => match self.unpromised.clone().try_acquire_owned() {
                Ok(place) => Some(place),
                Err(_) => return,
            },
            _ => None,
        };
        tokio::spawn(async move {
            session.settle(publish, life).await;
            drop(place);
        });
    }

    async fn settle(&self, publish: Publish, life: u64) {
        let current = || self.life.load(Ordering::Relaxed) == life;
        let Ok(topic) = std::str::from_utf8(&publish.topic) else { return };
        let verdict = loop {
            let payload = publish.payload.to_vec();
            match intake::take(&self.engine, None, topic, payload, now_ms()).await {
                // Keeping it unacknowledged takes one of the broker's places: that is the back pressure.
                Verdict::Later { detail } if current() => {
                    tracing::warn!(detail, "暂不接收 not now");
                    tokio::time::sleep(LATER).await;
                }
                verdict => break verdict,
            }
        };
        let fate = match &verdict {
            Verdict::Durable { .. } => Fate::Durable,
            Verdict::Refused { detail, .. } => {
                tracing::debug!(topic, detail, "拒收 refused");
                Fate::Refused
            }
            Verdict::Later { .. } => return,
        };
        // A refusal is settled too: the broker must not bring it again.
        if current()
            && let Err(error) = self.client.ack(&publish).await
        {
            tracing::debug!(%error, "an acknowledgement came too late; the publish will come again");
        }
        if let Some(settled) = settled(topic, &publish.payload, fate) {
            // The receiver lives as long as the client's loop.
            let _ = self.receipts.send(settled).await;
        }
    }
}

/// What a receipt says of a frame; none for SenML and for frames that do not even say which they are.
fn settled(topic: &str, payload: &[u8], fate: Fate) -> Option<Settled> {
    let Some(Uplink::Frame { gateway, .. }) = topic::parse_uplink(topic) else { return None };
    let header = Header::peek(payload).ok().filter(|header| header.gateway == gateway)?;
    Some(Settled { gateway, store: header.store, lane: header.lane, sequence: header.sequence, fate })
}

/// Packs what is settled into few receipts.
fn pack(settled: Vec<Settled>) -> Vec<(GatewayId, Receipt)> {
    let mut groups: BTreeMap<(GatewayId, u64, u8, bool), Vec<u64>> = BTreeMap::new();
    for one in settled {
        let key = (one.gateway, one.store, one.lane as u8, one.fate == Fate::Durable);
        groups.entry(key).or_default().push(one.sequence);
    }
    let mut receipts = Vec::new();
    for ((gateway, store, lane, durable), sequences) in groups {
        let Some(lane) = Lane::from_number(lane) else { continue };
        let verdict = if durable { Fate::Durable } else { Fate::Refused };
        for part in sequences.chunks(MAX_SEQUENCES) {
            receipts.push((gateway.clone(), Receipt { store, lane, sequences: part.to_vec(), verdict }));
        }
    }
    receipts
}

/// Publishes receipts, as many settled frames in one as are there at the moment.
async fn send_receipts(mut outgoing: mpsc::Receiver<Settled>, client: AsyncClient) {
    let mut settled = Vec::new();
    while outgoing.recv_many(&mut settled, RECEIPTS).await > 0 {
        for (gateway, receipt) in pack(std::mem::take(&mut settled)) {
            // A receipt that is lost is asked for again: the gateway repeats the frame.
            let sent = client
                .publish(topic::receipt(&gateway), receipt.encode(), PublishOptions::at_least_once())
                .await;
            if let Err(error) = sent {
                tracing::debug!(%error, %gateway, "a receipt could not be sent");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(gateway: &str, lane: Lane, sequence: u64, fate: Fate) -> Settled {
        Settled { gateway: GatewayId::new(gateway).unwrap(), store: 7, lane, sequence, fate }
    }

    #[test]
    fn frames_of_one_lane_share_a_receipt() {
        let receipts = pack(vec![
            one("a", Lane::Reading, 1, Fate::Durable),
            one("b", Lane::Reading, 1, Fate::Durable),
            one("a", Lane::Reading, 2, Fate::Durable),
            one("a", Lane::Alarm, 1, Fate::Durable),
            one("a", Lane::Reading, 3, Fate::Refused),
        ]);
        assert_eq!(receipts.len(), 4);
        let of_a: Vec<&Receipt> =
            receipts.iter().filter(|(gateway, _)| gateway.as_str() == "a").map(|(_, r)| r).collect();
        assert!(
            of_a.iter()
                .any(|r| r.lane == Lane::Reading && r.sequences == [1, 2] && r.verdict == Fate::Durable)
        );
        assert!(of_a.iter().any(|r| r.sequences == [3] && r.verdict == Fate::Refused));
    }

    #[test]
    fn a_receipt_is_bounded() {
        let many =
            (1..=MAX_SEQUENCES as u64 + 1).map(|n| one("a", Lane::Reading, n, Fate::Durable)).collect();
        let lengths: Vec<usize> = pack(many).iter().map(|(_, receipt)| receipt.sequences.len()).collect();
        assert_eq!(lengths, [MAX_SEQUENCES, 1]);
    }

    #[test]
    fn what_is_no_frame_gets_no_receipt() {
        assert_eq!(settled("senml/river-works", b"[]", Fate::Durable), None);
        assert_eq!(settled("wf/1/a/up/reading", b"junk", Fate::Refused), None);
    }
}
