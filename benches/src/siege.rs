//! One attacker: sends what [`crate::mutate`] makes, and watches how it is answered.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use fastrand::Rng;

use crate::mqtt::{self, Version};
use crate::mutate::{Mix, Stock, http_request, mqtt_packet};

/// How long an answer to a sound request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to look for an answer that may never come.
const GLANCE: Duration = Duration::from_millis(5);
/// Packets on one MQTT connection at most; most connections end earlier, by the broker's hand.
const PER_CONNECTION: u32 = 16;
/// Pause after a connection was not to be had: ports in TIME_WAIT run out for a moment.
const PAUSE: Duration = Duration::from_millis(100);
/// Pause between two bytes of a slow client.
const SLOW: Duration = Duration::from_millis(300);

/// What came back.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Packets by kind.
    pub sent: BTreeMap<String, u64>,
    /// HTTP answers by status; 0 for none.
    pub statuses: BTreeMap<u16, u64>,
    /// Acknowledgements by first byte of the MQTT answer.
    pub mqtt_answers: BTreeMap<u8, u64>,
    /// Connections that were refused or broke while being made.
    pub no_connection: u64,
    /// Sound requests answered with 500 to 599 other than 503, or not at all.
    pub server_faults: u64,
    /// The first of those requests, for whoever must mend it.
    pub first_fault: Option<String>,
}

impl Tally {
    /// Adds what another attacker counted.
    pub fn add(&mut self, other: &Tally) {
        for (key, count) in &other.sent {
            *self.sent.entry(key.clone()).or_default() += count;
        }
        for (key, count) in &other.statuses {
            *self.statuses.entry(*key).or_default() += count;
        }
        for (key, count) in &other.mqtt_answers {
            *self.mqtt_answers.entry(*key).or_default() += count;
        }
        self.no_connection += other.no_connection;
        self.server_faults += other.server_faults;
        if self.first_fault.is_none() {
            self.first_fault.clone_from(&other.first_fault);
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "sent by kind: {:?}", self.sent)?;
        writeln!(f, "HTTP answers by status (0: closed without one): {:?}", self.statuses)?;
        writeln!(f, "MQTT answers by packet type: {:?}", self.mqtt_answers)?;
        write!(
            f,
            "connections not to be had: {}; server faults: {}",
            self.no_connection, self.server_faults
        )?;
        if let Some(fault) = &self.first_fault {
            write!(f, "\nfirst server fault: {fault}")?;
        }
        Ok(())
    }
}

/// One attacker with its own dice.
#[derive(Debug)]
pub struct Siege {
    mqtt: SocketAddr,
    http: SocketAddr,
    stock: Stock,
    random: Rng,
    session: Option<(TcpStream, Version, u32)>,
    /// What was seen so far.
    pub tally: Tally,
}

impl Siege {
    /// An attacker; the same seed sends the same packets.
    pub fn new(mqtt: SocketAddr, http: SocketAddr, stock: Stock, seed: u64) -> Self {
        Self { mqtt, http, stock, random: Rng::with_seed(seed), session: None, tally: Tally::default() }
    }

    /// Sends one packet.
    pub fn one(&mut self) {
        let mix = Mix::choose(&mut self.random);
        *self.tally.sent.entry(format!("{mix:?}")).or_default() += 1;
        if mix.is_mqtt() { self.one_mqtt(mix) } else { self.one_http(mix) }
    }

    fn one_mqtt(&mut self, mix: Mix) {
        let session = if mix.needs_session() { self.session.take() } else { None };
        let (mut stream, version, used) = match session {
            Some(session) => session,
            None => {
                let version = if self.random.bool() { Version::V5 } else { Version::V3 };
                let Some(mut stream) = self.open(self.mqtt) else { return };
                if mix.needs_session() {
                    // A client may publish under its own name only: most get as far as the frame's own checks.
                    let own = self.stock.gateway.to_string();
                    let name =
                        if self.random.u8(0..8) > 0 { own } else { format!("{own}-{}", self.random.u32(..)) };
                    // A broken pipe shows at the next write.
                    let _ = stream.write_all(&mqtt::connect(version, &name));
                    self.look(&mut stream);
                }
                (stream, version, 0)
            }
        };
        let packet = mqtt_packet(mix, &self.stock, version, &mut self.random);
        let written = stream.write_all(&packet).is_ok();
        let open = self.look(&mut stream);
        if written && open && used < PER_CONNECTION && mix.needs_session() {
            self.session = Some((stream, version, used + 1));
        }
    }

    /// Glances at what comes back; false when the connection is over.
    fn look(&mut self, stream: &mut TcpStream) -> bool {
        let mut answer = [0; 512];
        let _ = stream.set_read_timeout(Some(GLANCE));
        match stream.read(&mut answer) {
            Ok(0) => false,
            Ok(_) => {
                *self.tally.mqtt_answers.entry(answer[0] >> 4).or_default() += 1;
                true
            }
            Err(error) => {
                matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
            }
        }
    }

    fn one_http(&mut self, mix: Mix) {
        let request = http_request(mix, &self.stock, &mut self.random);
        let Some(mut stream) = self.open(self.http) else { return };
        let sound = mix.deserves_answer();
        let _ = stream.set_read_timeout(Some(if sound { PATIENCE } else { GLANCE }));
        // A server may answer and close before it has read everything: the answer counts, not the write.
        let _ = stream.write_all(&request);
        let mut head = [0; 64];
        let length = stream.read(&mut head).unwrap_or(0);
        let status = std::str::from_utf8(&head[..length.min(12)])
            .ok()
            .and_then(|text| text.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok())
            .unwrap_or(0);
        *self.tally.statuses.entry(status).or_default() += 1;
        if sound && (status == 0 || (status >= 500 && status != 503)) {
            self.tally.server_faults += 1;
            let line = String::from_utf8_lossy(request.split(|&b| b == b'\r').next().unwrap_or_default())
                .into_owned();
            self.tally
                .first_fault
                .get_or_insert_with(|| format!("{status} to {line} ({} bytes)", request.len()));
        }
    }

    fn open(&mut self, to: SocketAddr) -> Option<TcpStream> {
        match TcpStream::connect_timeout(&to, PATIENCE) {
            Ok(stream) => {
                let _ = stream.set_write_timeout(Some(PATIENCE));
                Some(stream)
            }
            Err(_) => {
                self.tally.no_connection += 1;
                thread::sleep(PAUSE);
                None
            }
        }
    }
}

/// Some clients that send a byte now and then until `stop`: half to each port.
pub fn loris(mqtt: SocketAddr, http: SocketAddr, clients: usize, stop: &AtomicBool) {
    let connect = mqtt::connect(Version::V5, "slow-client");
    let request = b"GET /api/v1/stats HTTP/1.1\r\nhost: slow\r\nx-slow: ".to_vec();
    let mut slow: Vec<(Option<TcpStream>, usize)> = (0..clients).map(|_| (None, 0)).collect();
    while !stop.load(Ordering::Relaxed) {
        for (number, (stream, at)) in slow.iter_mut().enumerate() {
            let (address, bytes) = if number % 2 == 0 { (mqtt, &connect) } else { (http, &request) };
            let byte = bytes.get(*at).copied().unwrap_or(b'a');
            let sent = stream.as_mut().is_some_and(|stream| stream.write_all(&[byte]).is_ok());
            *at += 1;
            if !sent {
                // The server rightly lost its patience: start again.
                *stream = TcpStream::connect_timeout(&address, PATIENCE).ok();
                *at = 0;
            }
        }
        thread::sleep(SLOW);
    }
}
