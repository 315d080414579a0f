//! The embedded MQTT broker, versions 5 and 3.1.1. The only file that knows ntex-mqtt.
//!
//! It is a front door, not a switchboard: nothing is forwarded between clients, and only what a
//! seal has to hear goes down. A publish is judged, appended to
//! the log, and acknowledged when the group commit that holds it is on stable storage: the handler's return value
//! is the PUBACK. Publishes of one connection are handled side by side, up to [`RECEIVE_MAXIMUM`], so that one
//! commit carries many; the acknowledgements leave in the order of the publishes.
//!
//! Each broker thread runs its own event loop and accepts from the same socket. The engine lives on other
//! threads; its answers come through channels that wake any executor.
//!
//! The more connections are open, the fewer publishes a new one may have in flight ([`grant`]): ten thousand gateways
//! that return at once with a backlog each then wait in their own buffers, not in our memory.
//!
//! A version 3.1.1 client cannot be told "refused": a frame that is refused closes the connection, a SenML pack
//! that is refused is acknowledged once it lies in the quarantine. Wills are not published: nobody listens.

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU16;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ntex_bytes::ByteString;
use ntex_io::{IoBoxed, IoConfig};
use ntex_mqtt::v5::codec::{
    ConnectAckReason, Disconnect, DisconnectReasonCode, PublishAckReason, SubscribeAckReason,
};
use ntex_mqtt::{Control, MqttServer, MqttServiceConfig, QoS, v3, v5};
use ntex_service::Pipeline;
use ntex_service::cfg::SharedCfg;
use ntex_util::time::Seconds;
use tokio::sync::{Notify, mpsc, watch};
use wire::{GatewayId, topic};

use crate::clock::now_ms;
use crate::engine::Engine;
use crate::intake::{self, Verdict, Why, cut};

mod drain;
#[cfg(test)]
mod tests;

use drain::Drain;

/// Largest packet in bytes: a SenML pack of 64 KiB and its topic fit, and so does a frame of 25 KiB.
pub const MAX_PACKET: u32 = 128 * 1024;
/// Publishes of one connection handled at once: a window that keeps a slow line busy during a commit.
pub const RECEIVE_MAXIMUM: u16 = 64;
/// Publishes that all connections together may have in flight: of 25 KiB each, these are 400 MiB if everybody uses
/// all of it at once, as when a city comes back from a power cut.
const GRANTED: usize = 16_384;
/// What a connection is granted at least: one of readings, and one for an alarm beside it.
const LEAST_GRANT: u16 = 2;
/// Bytes of such publishes at once: 64 frames of the largest size.
const RECEIVE_BYTES: usize = 64 * 26 * 1024;
/// Longest client id in bytes; a gateway's has at most 32.
const MAX_CLIENT_ID: usize = 128;
/// Seconds a new connection has to say CONNECT.
const CONNECT_SECONDS: u16 = 10;
/// Seconds between packets of a client that asked for no keep-alive; such connections would live for ever.
const SILENCE_SECONDS: u16 = 300;
/// Longest reason string in characters.
const MAX_REASON: usize = 400;
/// How long connections may take to close at the end.
const CLOSING: Duration = Duration::from_secs(2);
/// Messages for one seal that wait for its connection: an answer to a hello with rules and grants, twice.
const HEARD: usize = 32;
/// Pause after a failed accept, which is nearly always a lack of file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the broker counted since its start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Connections open now.
    pub open: AtomicUsize,
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections turned away because there were too many.
    pub turned_away: AtomicU64,
    /// Publishes received.
    pub publishes: AtomicU64,
    /// Publishes refused for good.
    pub refused: AtomicU64,
    /// Publishes answered "later".
    pub later: AtomicU64,
    /// Connections that ended with a protocol error.
    pub protocol_errors: AtomicU64,
}

/// What all broker threads share.
struct Shared {
    engine: Engine,
    counts: Arc<Counts>,
    max_connections: usize,
    next: AtomicU64,
    /// Who is connected under which client id: a second one takes over (MQTT-3.1.4-3).
    clients: Mutex<HashMap<String, (u64, Arc<Notify>)>>,
    listeners: Listeners,
}

/// Which gateways listen to what their seals are told, and the way to each; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Listeners(Arc<Mutex<HashMap<GatewayId, Way>>>);

/// The number of a connection, and the way to it.
type Way = (u64, mpsc::Sender<Vec<u8>>);

impl Listeners {
    /// Sends something to the seal of a gateway. False when it does not listen here, or has [`HEARD`] unheard.
    pub fn send(&self, gateway: &GatewayId, bytes: Vec<u8>) -> bool {
        self.all().get(gateway).is_some_and(|(_, way)| way.try_send(bytes).is_ok())
    }

    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<GatewayId, Way>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection, from accept to close.
struct Connection {
    shared: Arc<Shared>,
    number: u64,
    peer: SocketAddr,
    client: RefCell<String>,
    /// Whether a version 5 client wants to read reasons (MQTT-3.1.2-28).
    reasons: std::cell::Cell<bool>,
    sink: RefCell<Option<Sink>>,
    replaced: Arc<Notify>,
    /// Whose payload is being read.
    reading: tokio::sync::Mutex<()>,
    /// How many connections this thread has: dropping this one, even by a panic, counts it out.
    open: Rc<watch::Sender<usize>>,
}

/// How to say goodbye.
enum Sink {
    V3(v3::MqttSink),
    V5(v5::MqttSink),
}

/// Ends a connection; what a version 3.1.1 client gets instead of a reason.
#[derive(Debug)]
struct Close(&'static str);

impl From<Infallible> for Close {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl TryFrom<Close> for v5::PublishAck {
    type Error = Close;

    fn try_from(close: Close) -> Result<Self, Close> {
        Err(close)
    }
}

/// A running broker.
#[derive(Debug)]
pub struct Broker {
    addr: SocketAddr,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Broker {
    /// Listens on `addr` (port 0 takes a free one) with `threads` event loops.
    ///
    /// # Errors
    /// What the system said to listening or to a new thread.
    pub fn start(
        addr: SocketAddr,
        threads: usize,
        max_connections: usize,
        engine: Engine,
        counts: Arc<Counts>,
        listeners: Listeners,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(addr)?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            engine,
            counts,
            max_connections,
            next: AtomicU64::new(1),
            clients: Mutex::default(),
            listeners,
        });
        let (stop, stopping) = watch::channel(false);
        let mut broker = Self { addr, stop, threads: Vec::new() };
        for number in 0..threads.max(1) {
            let listener = listener.try_clone()?;
            let shared = shared.clone();
            let stopping = stopping.clone();
            let thread = std::thread::Builder::new().name(format!("mqtt-{number}")).spawn(move || {
                let system = ntex_rt::System::build().name("mqtt").ping_interval(0);
                system.build(ntex_net::DefaultRuntime).block_on(serve(listener, shared, stopping));
            })?;
            broker.threads.push(thread);
        }
        Ok(broker)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Tells every client goodbye and ends the threads. Blocks, [`CLOSING`] at most and a little.
    pub fn stop(self) {
        // Every receiver is a thread of ours: when none is left there is nobody to tell.
        let _ = self.stop.send(true);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("接入线程异常退出 a broker thread had panicked");
            }
        }
    }
}

/// One event loop: accepts until it is told to stop, then waits for its connections to close.
async fn serve(listener: TcpListener, shared: Arc<Shared>, mut stopping: watch::Receiver<bool>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "无法监听 the broker cannot use its socket");
            return;
        }
    };
    let mqtt = MqttServiceConfig::new()
        .set_max_qos(QoS::AtLeastOnce)
        .set_max_size(MAX_PACKET)
        .set_max_receive(RECEIVE_MAXIMUM)
        .set_max_receive_size(RECEIVE_BYTES)
        .set_min_chunk_size(MAX_PACKET)
        .set_connect_timeout(Seconds(CONNECT_SECONDS))
        .set_handshake_timeout(Seconds(CONNECT_SECONDS))
        .protocol_version_timeout(Seconds(CONNECT_SECONDS))
        // A client may publish at QoS 0 and leave at once: what arrived is taken.
        .set_handle_qos_after_disconnect(Some(QoS::AtLeastOnce));
    let io =
        IoConfig::new().set_disconnect_timeout(Seconds(1)).set_frame_read_rate(Seconds(10), Seconds(60), 256);
    let config: SharedCfg = SharedCfg::new("mqtt").add(mqtt).add(io).build();
    let pipeline = Pipeline::new((), server());
    let (open, mut closed) = watch::channel(0_usize);
    let open = Rc::new(open);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.changed() => break,
        };
        let (stream, peer) = match accepted {
            Ok(pair) => pair,
            Err(error) => {
                tracing::warn!(%error, "无法接受新连接 a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let counts = &shared.counts;
        if counts.open.load(Relaxed) >= shared.max_connections {
            counts.turned_away.fetch_add(1, Relaxed);
            continue;
        }
        let io = match stream.into_std().and_then(|stream| ntex_net::from_tcp_stream(stream, config.clone()))
        {
            Ok(io) => IoBoxed::from(io),
            Err(error) => {
                tracing::debug!(%peer, %error, "the connection was gone before it began");
                continue;
            }
        };
        counts.open.fetch_add(1, Relaxed);
        counts.accepted.fetch_add(1, Relaxed);
        let connection = Rc::new(Connection {
            shared: shared.clone(),
            number: shared.next.fetch_add(1, Relaxed),
            peer,
            client: RefCell::default(),
            reasons: std::cell::Cell::new(true),
            sink: RefCell::default(),
            replaced: Arc::new(Notify::new()),
            reading: tokio::sync::Mutex::default(),
            open: open.clone(),
        });
        open.send_modify(|open| *open += 1);
        // Pinned where it is made: within the task there would be room for it twice, some kilobytes a connection.
        let mut served = Box::pin(pipeline.call_static((connection.clone(), io)));
        let mut stopping = stopping.clone();
        ntex_rt::spawn(async move {
            let reason = tokio::select! {
                result = &mut served => {
                    if let Err(error) = result {
                        tracing::debug!(peer = %connection.peer, client = %connection.client.borrow(), %error, "connection ended");
                    }
                    None
                }
                () = connection.replaced.notified() => Some(DisconnectReasonCode::SessionTakenOver),
                _ = stopping.wait_for(|stop| *stop) => Some(DisconnectReasonCode::ServerShuttingDown),
            };
            if let Some(reason) = reason {
                connection.say_goodbye(reason);
                // What is in flight gets its acknowledgement while the rest closes.
                let _ = tokio::time::timeout(CLOSING, served).await;
            }
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(CLOSING + CLOSING / 2, closed.wait_for(|open| *open == 0)).await;
}

/// Both protocol versions, one behind the other.
fn server()
-> impl ntex_service::Service<(), (Rc<Connection>, IoBoxed), Res = (), Error = ntex_mqtt::MqttError<Close>> {
    MqttServer::new()
        .v3(v3::MqttServer::<Rc<Connection>, Rc<Connection>, Close, _, _, _>::with(
            async |session: &v3::Session<Rc<Connection>>, publish: v3::Publish| {
                publish_v3(session, publish).await
            },
        )
        .protocol(async |session: &v3::Session<Rc<Connection>>, message: v3::ProtocolMessage| {
            Ok::<_, Close>(protocol_v3(session, message))
        })
        .control(async |session: &v3::Session<Rc<Connection>>, control: Control<Close>| {
            session.ended(&control);
            Ok::<_, Close>(None)
        })
        .middleware(Drain)
        .build(async |connect: v3::Connect<Rc<Connection>>| Ok::<_, Close>(connect_v3(connect))))
        .v5(v5::MqttServer::<Rc<Connection>, Rc<Connection>, Close, Close, _, _, _>::with(
            async |session: &v5::Session<Rc<Connection>>, publish: v5::Publish| {
                publish_v5(session, publish).await
            },
        )
        .protocol(async |session: &v5::Session<Rc<Connection>>, message: v5::ProtocolMessage| {
            Ok::<_, Close>(protocol_v5(session, message))
        })
        .control(async |session: &v5::Session<Rc<Connection>>, control: Control<Close>| {
            session.ended(&control);
            Ok::<_, Close>(None)
        })
        .middleware(Drain)
        .build(async |connect: v5::Connect<Rc<Connection>>| Ok::<_, Close>(connect_v5(connect))))
}

/// How many publishes a new connection may have in flight while so many others are open. A gateway that finds itself
/// with little still drains a megabyte a second on a short line: its frames are large.
fn grant(open: usize) -> u16 {
    u16::try_from(GRANTED / open.max(1)).unwrap_or(u16::MAX).clamp(LEAST_GRANT, RECEIVE_MAXIMUM)
}

fn connect_v5(connect: v5::Connect<Rc<Connection>>) -> v5::ConnectAck<Rc<Connection>> {
    let connection = connect.st().clone();
    let packet = connect.packet();
    connection.reasons.set(packet.request_problem_info);
    let asked = packet.client_id.to_string();
    let keep_alive = packet.keep_alive;
    if asked.len() > MAX_CLIENT_ID {
        return connect.failed(ConnectAckReason::ClientIdentifierNotValid);
    }
    if packet.auth_method.is_some() {
        return connect.failed(ConnectAckReason::BadAuthenticationMethod);
    }
    *connection.sink.borrow_mut() = Some(Sink::V5(connect.sink()));
    let given = connection.enter(&asked);
    let granted = grant(connection.shared.counts.open.load(Relaxed));
    let mut ack = connect.ack(connection);
    if keep_alive == 0 {
        ack = ack.keep_alive(SILENCE_SECONDS);
    }
    ack.with(|packet| {
        packet.receive_max = NonZeroU16::new(granted).unwrap_or(NonZeroU16::MIN);
        packet.session_present = false;
        packet.session_expiry_interval_secs = Some(0);
        packet.retain_available = false;
        packet.shared_subscription_available = false;
        packet.subscription_identifiers_available = false;
        packet.assigned_client_id = given.map(ByteString::from);
        if keep_alive == 0 {
            packet.server_keepalive_sec = Some(SILENCE_SECONDS / 3 * 2);
        }
    })
}

fn connect_v3(connect: v3::Connect<Rc<Connection>>) -> v3::ConnectAck<Rc<Connection>> {
    let connection = connect.st().clone();
    let asked = connect.packet().client_id.to_string();
    let keep_alive = connect.packet().keep_alive;
    // MQTT-3.1.3-8: without an id there is no session to keep.
    if asked.len() > MAX_CLIENT_ID || (asked.is_empty() && !connect.packet().clean_session) {
        return connect.identifier_rejected();
    }
    *connection.sink.borrow_mut() = Some(Sink::V3(connect.sink()));
    connection.enter(&asked);
    let ack = connect.ack(connection, false);
    if keep_alive == 0 { ack.idle_timeout(Seconds(SILENCE_SECONDS)) } else { ack }
}

async fn publish_v5(connection: &Rc<Connection>, publish: v5::Publish) -> Result<v5::PublishAck, Close> {
    bounded(publish.payload_size())?;
    let verdict = match connection.in_turn(publish.read_all()).await {
        Ok(payload) => connection.take(publish.publish_topic(), payload.to_vec()).await,
        Err(_) => return Err(Close("the payload did not arrive whole")),
    };
    let (code, reason) = match verdict {
        Verdict::Durable { note } => (PublishAckReason::Success, note),
        Verdict::Refused { why: Why::Payload, detail, .. } => {
            (PublishAckReason::PayloadFormatInvalid, Some(detail))
        }
        Verdict::Refused { why: Why::Topic, detail, .. } => {
            (PublishAckReason::TopicNameInvalid, Some(detail))
        }
        Verdict::Refused { why: Why::Sender, detail, .. } => (PublishAckReason::NotAuthorized, Some(detail)),
        Verdict::Later { detail } => (PublishAckReason::ImplementationSpecificError, Some(detail)),
    };
    let ack = publish.ack().reason_code(code);
    Ok(match reason {
        Some(reason) if connection.reasons.get() => ack.reason(cut(&reason, MAX_REASON).into()),
        _ => ack,
    })
}

async fn publish_v3(connection: &Rc<Connection>, publish: v3::Publish) -> Result<(), Close> {
    bounded(publish.payload_size())?;
    let payload = connection.in_turn(publish.read_all()).await;
    let payload = payload.map_err(|_| Close("the payload did not arrive whole"))?;
    let is_senml = publish.publish_topic().starts_with("senml/");
    match connection.take(publish.publish_topic(), payload.to_vec()).await {
        Verdict::Durable { .. } => Ok(()),
        Verdict::Refused { held: true, .. } if is_senml => Ok(()),
        Verdict::Refused { .. } => Err(Close("refused, which MQTT 3.1.1 cannot say")),
        Verdict::Later { .. } => Err(Close("not now, which MQTT 3.1.1 cannot say")),
    }
}

/// ntex-mqtt 9.0.0 takes the length of the header from the length of the packet without looking, so that a packet
/// whose topic is longer than itself announces a payload of 4 GiB.
fn bounded(payload: usize) -> Result<(), Close> {
    if payload > MAX_PACKET as usize { Err(Close("the packet is shorter than its topic")) } else { Ok(()) }
}

fn protocol_v5(connection: &Rc<Connection>, message: v5::ProtocolMessage) -> v5::ProtocolMessageAck {
    match message {
        v5::ProtocolMessage::Subscribe(mut subscribe) => {
            for mut wanted in &mut subscribe {
                if connection.may_hear(wanted.topic()) {
                    connection.listen(wanted.topic());
                    wanted.confirm(QoS::AtLeastOnce);
                } else {
                    wanted.fail(SubscribeAckReason::NotAuthorized);
                }
            }
            subscribe.ack()
        }
        v5::ProtocolMessage::Unsubscribe(mut unsubscribe) => {
            for mut topic in &mut unsubscribe {
                topic.success();
            }
            unsubscribe.ack()
        }
        other => other.ack(),
    }
}

fn protocol_v3(connection: &Rc<Connection>, message: v3::ProtocolMessage) -> v3::ProtocolMessageAck {
    match message {
        v3::ProtocolMessage::Subscribe(mut subscribe) => {
            for mut wanted in &mut subscribe {
                if connection.may_hear(wanted.topic()) {
                    wanted.confirm(QoS::AtLeastOnce);
                } else {
                    wanted.fail();
                }
            }
            subscribe.ack()
        }
        other => other.ack(),
    }
}

impl Connection {
    /// Takes the client id, gives one to a client without (returned), and turns out who had it before.
    fn enter(&self, asked: &str) -> Option<String> {
        let given = asked.is_empty().then(|| format!("auto-{:x}", self.number));
        let client = given.clone().unwrap_or_else(|| asked.to_owned());
        *self.client.borrow_mut() = client.clone();
        let before = self.clients().insert(client, (self.number, self.replaced.clone()));
        if let Some((number, replaced)) = before
            && number != self.number
        {
            replaced.notify_one();
        }
        given
    }

    fn clients(&self) -> std::sync::MutexGuard<'_, HashMap<String, (u64, Arc<Notify>)>> {
        self.shared.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a payload after those that began before it. The server starts on a publish when its head is there, and
    /// tells it of a tail that comes later only after it has started on the next one, if that came along: an alarm
    /// would be overtaken by its own end. Who has its payload takes it in before anybody else runs on this thread.
    async fn in_turn<T>(&self, payload: impl Future<Output = T>) -> T {
        let _turn = self.reading.lock().await;
        payload.await
    }

    async fn take(&self, topic: &str, payload: Vec<u8>) -> Verdict {
        let client = self.client.borrow().clone();
        let verdict = intake::take(&self.shared.engine, Some(&client), topic, payload, now_ms()).await;
        let counts = &self.shared.counts;
        counts.publishes.fetch_add(1, Relaxed);
        match &verdict {
            Verdict::Durable { .. } => {}
            Verdict::Refused { why, detail, .. } => {
                counts.refused.fetch_add(1, Relaxed);
                tracing::debug!(peer = %self.peer, %client, ?why, detail, "拒收 refused");
            }
            Verdict::Later { detail } => {
                counts.later.fetch_add(1, Relaxed);
                tracing::warn!(peer = %self.peer, %client, detail, "暂不接收 not now");
            }
        }
        verdict
    }

    /// Whether this client may subscribe to `filter`: a gateway to its own down topics, nobody to anything else.
    fn may_hear(&self, filter: &str) -> bool {
        let client = self.client.borrow();
        GatewayId::new(&client).is_ok()
            && filter
                .strip_prefix("wf/1/")
                .and_then(|rest| rest.strip_prefix(client.as_str()))
                .is_some_and(|rest| rest.strip_prefix("/down/").is_some_and(|rest| !rest.is_empty()))
    }

    /// Opens the way to this gateway's seal, if that is what `filter` asks for. Version 5 only: a seal's gateway is ours.
    fn listen(&self, filter: &str) {
        let Ok(gateway) = GatewayId::new(&self.client.borrow()) else { return };
        let sink = match self.sink.borrow().as_ref() {
            Some(Sink::V5(sink)) if filter == topic::seal(&gateway) => sink.clone(),
            _ => return,
        };
        let (way, mut said) = mpsc::channel::<Vec<u8>>(HEARD);
        let topic = filter.to_owned();
        self.shared.listeners.all().insert(gateway, (self.number, way));
        // Ends when the way is taken away, with the connection or by its successor.
        ntex_rt::spawn(async move {
            while let Some(bytes) = said.recv().await {
                let sent = sink.publish(topic.as_str()).send_at_least_once(bytes.into()).await;
                if let Err(error) = sent {
                    tracing::debug!(topic, ?error, "a seal does not hear: it asks again");
                }
            }
        });
    }

    fn ended(&self, control: &Control<Close>) {
        match control {
            Control::Stop(ntex_mqtt::Reason::Protocol(error)) => {
                self.shared.counts.protocol_errors.fetch_add(1, Relaxed);
                tracing::debug!(peer = %self.peer, client = %self.client.borrow(), error = %error.get_ref(), "protocol error");
            }
            Control::Stop(ntex_mqtt::Reason::Error(error)) => {
                tracing::debug!(peer = %self.peer, client = %self.client.borrow(), error = error.get_ref().0, "closed");
            }
            _ => {}
        }
    }

    fn say_goodbye(&self, reason: DisconnectReasonCode) {
        match self.sink.borrow().as_ref() {
            Some(Sink::V5(sink)) => sink.close_with_reason(Disconnect::new(reason)),
            Some(Sink::V3(sink)) => sink.close(),
            None => {}
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.counts.open.fetch_sub(1, Relaxed);
        self.open.send_modify(|open| *open -= 1);
        let client = self.client.borrow().clone();
        let mut clients = self.clients();
        if clients.get(&client).is_some_and(|(number, _)| *number == self.number) {
            clients.remove(&client);
        }
        drop(clients);
        let mut listeners = self.shared.listeners.all();
        if let Ok(gateway) = GatewayId::new(&client)
            && listeners.get(&gateway).is_some_and(|(number, _)| *number == self.number)
        {
            listeners.remove(&gateway);
        }
    }
}
