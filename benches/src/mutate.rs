//! Bytes that a careful server must survive: random, and valid ones that were damaged on purpose.

use fastrand::Rng;
use wire::frame::crc32c;
use wire::{GatewayId, Lane, topic};

use crate::mqtt::{self, Version};

/// Largest random packet in bytes: enough for every parser state, small enough to be many.
const MAX_RANDOM: usize = 512;
/// A payload over every limit of a frame and an HTTP body here, in bytes.
const OVERSIZED: usize = 3 * 1024 * 1024;

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    /// Random bytes to the MQTT port.
    MqttRandom,
    /// A CONNECT that was damaged.
    MqttConnect,
    /// A sound CONNECT, then a PUBLISH that was damaged.
    MqttPublish,
    /// A sound CONNECT, then a SUBSCRIBE that was damaged.
    MqttSubscribe,
    /// Sound MQTT around a frame that was damaged.
    Frame,
    /// Sound MQTT around a damaged frame whose checksum was made right again.
    FrameSealed,
    /// Sound MQTT around damaged SenML.
    MqttSenml,
    /// More bytes than allowed, or announced and never sent.
    Oversized,
    /// Random bytes to the HTTP port.
    HttpRandom,
    /// A sound request that was damaged.
    HttpRequest,
    /// A sound POST of damaged SenML JSON.
    SenmlJson,
    /// A sound POST of damaged SenML CBOR.
    SenmlCbor,
    /// Headers that are too long or too many.
    HttpHeaders,
    /// Sound requests with senseless queries and ids.
    HttpQuery,
}

impl Mix {
    /// All of them, with how often each is sent.
    pub const WEIGHTS: [(Mix, u32); 14] = [
        (Mix::MqttRandom, 8),
        (Mix::MqttConnect, 12),
        (Mix::MqttPublish, 14),
        (Mix::MqttSubscribe, 6),
        (Mix::Frame, 12),
        (Mix::FrameSealed, 12),
        (Mix::MqttSenml, 6),
        (Mix::Oversized, 1),
        (Mix::HttpRandom, 5),
        (Mix::HttpRequest, 6),
        (Mix::SenmlJson, 7),
        (Mix::SenmlCbor, 5),
        (Mix::HttpHeaders, 1),
        (Mix::HttpQuery, 5),
    ];

    /// One of them by weight.
    pub fn choose(random: &mut Rng) -> Mix {
        let mut ticket = random.u32(0..Self::WEIGHTS.iter().map(|(_, weight)| weight).sum());
        for (mix, weight) in Self::WEIGHTS {
            match ticket.checked_sub(weight) {
                Some(rest) => ticket = rest,
                None => return mix,
            }
        }
        Mix::MqttRandom
    }

    /// Whether it goes to the MQTT port.
    pub fn is_mqtt(self) -> bool {
        use Mix::*;
        matches!(
            self,
            MqttRandom
                | MqttConnect
                | MqttPublish
                | MqttSubscribe
                | Frame
                | FrameSealed
                | MqttSenml
                | Oversized
        )
    }

    /// Whether it comes after a sound CONNECT.
    pub fn needs_session(self) -> bool {
        self.is_mqtt() && !matches!(self, Mix::MqttRandom | Mix::MqttConnect)
    }

    /// Whether the HTTP request itself is sound, so that the server owes an answer that is not its own failure.
    pub fn deserves_answer(self) -> bool {
        matches!(self, Mix::SenmlJson | Mix::SenmlCbor | Mix::HttpQuery)
    }
}

/// What the packets are made from.
#[derive(Debug, Clone)]
pub struct Stock {
    /// The gateway that the hostile client claims to be.
    pub gateway: GatewayId,
    /// Sound frames of that gateway, and of others.
    pub frames: Vec<Vec<u8>>,
    /// What requests name as their host: with another one they would not get far.
    pub host: String,
}

/// Random bytes.
pub fn noise(random: &mut Rng) -> Vec<u8> {
    let length = random.usize(1..MAX_RANDOM);
    (0..length).map(|_| random.u8(..)).collect()
}

/// Damages `bytes`: bits, bytes, runs, cuts, doublings, extreme numbers.
pub fn damage(bytes: &mut Vec<u8>, random: &mut Rng) {
    for _ in 0..random.usize(1..=4) {
        if bytes.is_empty() {
            bytes.push(random.u8(..));
        }
        let at = random.usize(0..bytes.len());
        match random.u8(0..8) {
            0 => bytes[at] ^= 1 << random.u8(0..8),
            1 => bytes[at] = random.u8(..),
            2 => bytes[at] = [0, 0x7f, 0x80, 0xff][random.usize(0..4)],
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(at..(at + random.usize(1..16)).min(bytes.len()))),
            5 => {
                let run: Vec<u8> = bytes[at..(at + random.usize(1..64)).min(bytes.len())].to_vec();
                bytes.splice(at..at, run);
            }
            6 => {
                let word = [0, u64::MAX, i64::MAX as u64, 1 << 31, u64::from(u32::MAX)][random.usize(0..5)];
                for (offset, byte) in word.to_le_bytes().into_iter().enumerate() {
                    if let Some(place) = bytes.get_mut(at + offset) {
                        *place = byte;
                    }
                }
            }
            _ => bytes.insert(at, random.u8(..)),
        }
    }
}

fn version(random: &mut Rng) -> Version {
    if random.bool() { Version::V5 } else { Version::V3 }
}

fn a_frame(stock: &Stock, random: &mut Rng) -> Vec<u8> {
    random.choice(&stock.frames).cloned().unwrap_or_default()
}

/// Makes the checksum at the end right, as somebody would who knows the format.
pub fn seal(frame: &mut [u8]) {
    if let Some(split) = frame.len().checked_sub(4) {
        let (body, tail) = frame.split_at_mut(split);
        tail.copy_from_slice(&crc32c(body).to_le_bytes());
    }
}

/// The next packet for the MQTT port; the session, where one is needed, speaks `version`.
pub fn mqtt_packet(mix: Mix, stock: &Stock, version_: Version, random: &mut Rng) -> Vec<u8> {
    let own = topic::up(&stock.gateway, Lane::Reading);
    let id = random.u16(1..);
    match mix {
        Mix::MqttConnect => {
            let version = version(random);
            damaged(mqtt::connect(version, &format!("{}-{}", stock.gateway, random.u32(..))), random)
        }
        Mix::MqttPublish => damaged(mqtt::publish(version_, &own, id, &a_frame(stock, random)), random),
        Mix::MqttSubscribe => damaged(mqtt::subscribe(version_, id, "wf/1/+/up/#"), random),
        Mix::Frame => mqtt::publish(version_, &own, id, &damaged(a_frame(stock, random), random)),
        Mix::FrameSealed => {
            let mut frame = damaged(a_frame(stock, random), random);
            seal(&mut frame);
            mqtt::publish(version_, &own, id, &frame)
        }
        Mix::MqttSenml => {
            let pack = damaged(if random.bool() { senml_json(random) } else { senml_cbor(random) }, random);
            mqtt::publish(version_, &format!("senml/{}", stock.gateway), id, &pack)
        }
        Mix::Oversized => match random.u8(0..3) {
            // Announced, never sent.
            0 => vec![0x32, 0xff, 0xff, 0xff, 0x7f, 0, 4, b'w', b'f'],
            1 => mqtt::publish(version_, &own, id, &vec![0x57; 30 * 1024]),
            _ => mqtt::publish(version_, &own, id, &vec![0; OVERSIZED]),
        },
        _ => noise(random),
    }
}

fn damaged(mut bytes: Vec<u8>, random: &mut Rng) -> Vec<u8> {
    damage(&mut bytes, random);
    bytes
}

/// A sound SenML pack (RFC 8428) of a few records.
pub fn senml_json(random: &mut Rng) -> Vec<u8> {
    let value = random.u32(0..4000);
    format!(
        r#"[{{"bn":"urn:dev:mac:{:012x}:","bt":1.78e9,"bu":"Cel"}},{{"n":"temperature","v":{}.{}}},{{"n":"level","u":"mm","v":{value},"t":-5}},{{"n":"open","vb":true}},{{"n":"note","vs":"雨"}}]"#,
        random.u64(0..1 << 40),
        random.u8(0..40),
        random.u8(0..10),
    )
    .into_bytes()
}

/// The same in CBOR (RFC 8428 §6), written by hand: two maps with integer labels.
pub fn senml_cbor(random: &mut Rng) -> Vec<u8> {
    let mut out = vec![0x82, 0xa2, 0x21, 0x78, 0x18];
    out.extend_from_slice(format!("urn:dev:mac:{:012x}", random.u64(0..1 << 40)).as_bytes());
    out.extend_from_slice(&[0x22, 0x1a, 0x6a, 0x1b, 0x00, 0x00]);
    out.extend_from_slice(&[0xa3, 0x00, 0x6b]);
    out.extend_from_slice(b"temperature");
    out.extend_from_slice(&[0x01, 0x63]);
    out.extend_from_slice(b"Cel");
    out.extend_from_slice(&[0x02, 0xf9, 0x4d, random.u8(..)]);
    out
}

/// The next request for the HTTP port.
pub fn http_request(mix: Mix, stock: &Stock, random: &mut Rng) -> Vec<u8> {
    match mix {
        Mix::HttpRequest => damaged(get(stock, "/api/v1/stats"), random),
        Mix::SenmlJson => post(stock, "application/senml+json", &damaged(senml_json(random), random)),
        Mix::SenmlCbor => post(stock, "application/senml+cbor", &damaged(senml_cbor(random), random)),
        Mix::HttpHeaders => {
            let mut request = format!("GET /api/v1/stats HTTP/1.1\r\nhost: {}\r\n", stock.host).into_bytes();
            match random.u8(0..3) {
                0 => (0..2000).for_each(|n| request.extend_from_slice(format!("x-{n}: y\r\n").as_bytes())),
                1 => request.extend_from_slice(format!("cookie: {}\r\n", "a".repeat(1 << 20)).as_bytes()),
                _ => request
                    .extend_from_slice(b"content-length: 18446744073709551615\r\ntransfer-encoding: x\r\n"),
            }
            request.extend_from_slice(b"\r\n");
            request
        }
        Mix::HttpQuery => get(stock, &query(random)),
        _ => noise(random),
    }
}

fn get(stock: &Stock, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", stock.host).into_bytes()
}

fn post(stock: &Stock, kind: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST /api/v1/senml?source={} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
        stock.gateway,
        stock.host,
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

/// A sound request line that asks for nonsense.
fn query(random: &mut Rng) -> String {
    const PATHS: [&str; 12] = [
        "/api/v1/cells?quantity={}&window=1m",
        "/api/v1/cells?quantity=air-temperature&window={}",
        "/api/v1/cells?quantity=air-temperature&precision={}",
        "/api/v1/cells?quantity=air-temperature&bbox={}",
        "/api/v1/cells?quantity=air-temperature&from={}&to={}",
        "/api/v1/sensors?limit={}",
        "/api/v1/sensors?cursor={}",
        "/api/v1/sensors/{}",
        "/api/v1/sensors/{}/readings?from=0",
        "/api/v1/quarantine?cursor={}&limit=1",
        "/api/v1/alarms?state={}",
        "/console/{}",
    ];
    const VALUES: [&str; 16] = [
        "",
        "-1",
        "0",
        "18446744073709551616",
        "1e999",
        "NaN",
        "%00",
        "%ff%fe",
        "..%2f..%2f..%2fetc%2fpasswd",
        "%27%3B%20DROP%20TABLE%20sensors%3B--",
        "104,30,105",
        "105,31,104,30",
        "nan,inf,-inf,0",
        "-9223372036854775808",
        "9999-99-99T99:99:99Z",
        "%E6%B0%B4%E4%BD%8D",
    ];
    let mut path = PATHS[random.usize(0..PATHS.len())].to_owned();
    while path.contains("{}") {
        path = path.replacen("{}", VALUES[random.usize(0..VALUES.len())], 1);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::Frame;

    #[test]
    fn the_same_seed_damages_the_same_way() {
        let make = |seed| {
            let mut random = Rng::with_seed(seed);
            let mut bytes = (0..200).collect();
            damage(&mut bytes, &mut random);
            bytes
        };
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
    }

    #[test]
    fn sealed_frames_pass_the_checksum_and_still_never_break_the_decoder() {
        let habits = crate::city::Habits::default();
        let mut gateway = crate::city::Gateway::new("h", 0, 16, 1, 0, habits).unwrap();
        let frame = gateway.frame(50, wire::Codec::Plain).unwrap().1;
        let mut random = Rng::with_seed(7);
        let mut other_errors = 0;
        for _ in 0..2_000 {
            let mut bytes = damaged(frame.clone(), &mut random);
            seal(&mut bytes);
            if let Err(error) = Frame::decode(&bytes) {
                assert!(!matches!(error, wire::DecodeError::Checksum { .. }), "{error}");
                other_errors += 1;
            }
        }
        assert!(other_errors > 1_000);
    }

    #[test]
    fn every_mix_is_chosen() {
        let mut random = Rng::with_seed(3);
        let chosen: Vec<Mix> = (0..5_000).map(|_| Mix::choose(&mut random)).collect();
        for (mix, _) in Mix::WEIGHTS {
            assert!(chosen.contains(&mix), "{mix:?}");
        }
    }
}
