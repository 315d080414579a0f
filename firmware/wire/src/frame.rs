//! The envelope around everything a gateway ships.
//!
//! ```text
//! offset  bytes  meaning (numbers little-endian)
//!      0      4  magic "WFB1": the last byte is the version
//!      4      1  lane, as numbered in [`Lane`]
//!      5      1  codec: 0 plain, 1 lz4 block, 2 zstd
//!      6      8  store: random number of the gateway's buffer, new when a store is started afresh
//!     14      8  sequence within (gateway, store, lane), from 1, never reused
//!     22      4  items: readings, events, losses, envelopes; 1 for all else
//!     26      4  length of the payload before compression
//!     30      1  length n of the gateway id
//!     31      n  gateway id
//!   31+n      …  payload: bincode 2 "standard" (variable integers) of [`Payload`], compressed
//!   last      4  CRC-32C (Castagnoli, RFC 3720 §12.1) over all bytes before it
//! ```
//!
//! The header can be read and the checksum proved without unpacking ([`Header::peek`]), so that a repeat is
//! recognised before it costs anything. `(gateway, store, lane, sequence)` names a frame for ever.

use alloc::vec::Vec;
use core::fmt;

use bincode::{Decode, Encode};

use crate::alarm::{AlarmEvent, Alarms, BareAlarms, MAX_EVENTS, MAX_INPUTS};
use crate::columns::{Columns, MAX_READINGS, MAX_SERIES};
use crate::ids::GatewayId;
use crate::lane::Lane;
use crate::reading::Batch;
use crate::sealed::{Envelopes, MAX_ENVELOPES, PicturePart};
use crate::status::{Announcement, Health, Losses, MAX_GAUGES, MAX_LOSSES};
use crate::transposed::Transposed;

/// First bytes of a version 1 frame.
pub const MAGIC: [u8; 4] = *b"WFB1";
/// Largest frame in bytes. A frame is one value in the gateway's sled store, and a value over 1/80 of its
/// 2 MiB segments would land in a file that nothing syncs.
pub const MAX_FRAME_BYTES: usize = 25 * 1024;
/// Largest payload before compression in bytes: what a hostile frame can make a decoder allocate at once.
pub const MAX_RAW_BYTES: usize = 256 * 1024;
/// Longest free text of a payload in bytes: rule, chip, version, gauge name; a label may take twice that.
pub const MAX_TEXT: usize = 64;
/// Memory a decoder may claim for the parts of one payload, in bytes.
const MAX_DECODED_BYTES: usize = 2 * 1024 * 1024;
const FIXED_HEADER: usize = 31;
const CHECKSUM: usize = 4;

const CRC: crc32c::Crc<u32, crc32c::Table<16>> =
    crc32c::Crc::<u32, crc32c::Table<16>>::new(&crc32c::CRC_32_ISCSI);

/// CRC-32C of `bytes`, the checksum Watchfire uses everywhere.
pub fn crc32c(bytes: &[u8]) -> u32 {
    CRC.checksum(bytes)
}

/// How the payload is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Codec {
    /// Not at all.
    Plain = 0,
    /// LZ4 block format: for builds without C.
    Lz4 = 1,
    /// Zstandard level 3: the product's choice, a quarter smaller than lz4.
    Zstd = 2,
}

impl Codec {
    /// The best codec this build can write.
    pub const fn best() -> Self {
        if cfg!(feature = "zstd") { Codec::Zstd } else { Codec::Lz4 }
    }

    fn from_number(number: u8) -> Option<Self> {
        [Codec::Plain, Codec::Lz4, Codec::Zstd].get(usize::from(number)).copied()
    }
}

/// What a frame carries.
#[derive(Debug, Clone, PartialEq)]
pub enum Payload {
    /// Readings, in the reading lane.
    Readings(Batch),
    /// Alarm events, in the alarm lane.
    Alarms(Alarms),
    /// The gateway introduces itself, in the health lane.
    Announcement(Announcement),
    /// Gauges of the box, in the health lane.
    Health(Health),
    /// Explained gaps, in the health lane.
    Losses(Losses),
    /// What smart seals have signed, in the seal lane.
    Envelopes(Envelopes),
    /// A part of a photograph, in the frame lane.
    Picture(PicturePart),
}

impl Payload {
    /// The lane this kind travels in.
    pub fn lane(&self) -> Lane {
        match self {
            Payload::Readings(_) => Lane::Reading,
            Payload::Alarms(_) => Lane::Alarm,
            Payload::Announcement(_) | Payload::Health(_) | Payload::Losses(_) => Lane::Health,
            Payload::Envelopes(_) => Lane::Seal,
            Payload::Picture(_) => Lane::Frame,
        }
    }

    /// Readings, events, losses or envelopes inside.
    pub fn items(&self) -> usize {
        match self {
            Payload::Readings(batch) => batch.readings.len(),
            Payload::Alarms(alarms) => alarms.events.len(),
            Payload::Losses(losses) => losses.losses.len(),
            Payload::Envelopes(envelopes) => envelopes.envelopes.len(),
            Payload::Announcement(_) | Payload::Health(_) | Payload::Picture(_) => 1,
        }
    }
}

/// The payload as it lies in the frame. New kinds go to the end: their position is their number on the wire. A kind
/// never changes: alarms that say more than the first kind can are a kind of their own.
#[derive(Encode, Decode)]
enum Packed {
    Readings(Columns),
    BareAlarms(BareAlarms),
    Announcement(Announcement),
    Health(Health),
    Losses(Losses),
    /// Alarm events with measure, worst value and inputs.
    Alarms(Alarms),
    /// Readings, with the series as columns too. The first kind is read, and written no more.
    Transposed(Transposed),
    /// The same, where names may count up. An ingest from before it refuses it for good: ingest is upgraded first.
    Counted(Transposed),
    /// What smart seals have signed. An ingest from before seals refuses it for good, as all that follows.
    Envelopes(Envelopes),
    /// A part of a photograph.
    Picture(PicturePart),
}

/// How many kinds of payload this build reads.
const KINDS: u8 = 10;

/// What can be known of a frame without unpacking it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Who sends.
    pub gateway: GatewayId,
    /// Which buffer the sequence counts in.
    pub store: u64,
    /// The lane.
    pub lane: Lane,
    /// The number within the lane, from 1.
    pub sequence: u64,
    /// Readings, events, losses or envelopes inside, as claimed; [`Frame::decode`] proves it.
    pub items: u32,
    codec: Codec,
    raw_length: usize,
    payload_at: usize,
}

/// A message of a gateway.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Who sends.
    pub gateway: GatewayId,
    /// Which buffer the sequence counts in.
    pub store: u64,
    /// The number within the lane, from 1.
    pub sequence: u64,
    /// The content.
    pub payload: Payload,
}

/// Why something could not be put on the wire.
#[derive(Debug, Clone, PartialEq)]
pub enum EncodeError {
    /// Nothing to send.
    Empty,
    /// More of something than a frame may hold.
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many may be.
        most: usize,
    },
    /// The frame would be larger than [`MAX_FRAME_BYTES`]: split it.
    TooLarge {
        /// Its size in bytes.
        bytes: usize,
    },
    /// A reading points to a series or place that is not there.
    Dangling,
    /// A value is not finite, or is missing or present against its quality.
    BadValue {
        /// The sensor.
        series: u16,
    },
    /// A monotonic time beyond 292 million years.
    BadTime,
    /// A rule of the payload is broken.
    Inconsistent {
        /// Which.
        what: &'static str,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EncodeError::Empty => f.write_str("an empty batch is not sent"),
            EncodeError::TooMany { what, found, most } => {
                write!(f, "{found} {what} in one frame, at most {most} fit")
            }
            EncodeError::TooLarge { bytes } => {
                write!(f, "the frame takes {bytes} bytes, at most {MAX_FRAME_BYTES} are allowed: split it")
            }
            EncodeError::Dangling => {
                f.write_str("a reading names a series or place that the batch does not list")
            }
            EncodeError::BadValue { series } => {
                write!(f, "series {series}: a value must be finite, and be there unless the quality is fault")
            }
            EncodeError::Inconsistent { what } => write!(f, "not sent: {what}"),
            EncodeError::BadTime => f.write_str("a monotonic time does not fit 63 bits of milliseconds"),
        }
    }
}

impl core::error::Error for EncodeError {}

/// Why bytes are not a frame of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecodeError {
    /// Shorter than it must be.
    Truncated {
        /// Bytes there.
        have: usize,
        /// Bytes needed.
        need: usize,
    },
    /// Longer than [`MAX_FRAME_BYTES`].
    TooLarge {
        /// Bytes there.
        bytes: usize,
    },
    /// Does not start with the magic.
    NotAFrame,
    /// A version this build does not know.
    Version {
        /// The version byte.
        found: u8,
    },
    /// The checksum does not match: the bytes were damaged.
    Checksum {
        /// As computed over the bytes.
        computed: u32,
        /// As written at the end.
        written: u32,
    },
    /// A header field with a value that means nothing.
    Header {
        /// Which field.
        field: &'static str,
    },
    /// A codec this build cannot read.
    Codec {
        /// Its number.
        found: u8,
    },
    /// Decompression failed or gave another length than announced.
    Compression,
    /// A kind of payload that this build does not know: a newer gateway's.
    Kind {
        /// Its number.
        found: u8,
    },
    /// The payload is not what bincode expects.
    Malformed,
    /// Bytes are left after the payload.
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// More of something than is allowed.
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many may be.
        most: usize,
    },
    /// The parts contradict each other.
    Inconsistent {
        /// What does not fit.
        what: &'static str,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Truncated { have, need } => {
                write!(f, "truncated: {have} bytes, at least {need} expected")
            }
            DecodeError::TooLarge { bytes } => {
                write!(f, "{bytes} bytes, at most {MAX_FRAME_BYTES} are accepted")
            }
            DecodeError::NotAFrame => f.write_str("not a Watchfire frame: it does not start with \"WFB\""),
            DecodeError::Version { found } => {
                write!(f, "version byte {found:#04x} is unknown, this build reads version 1")
            }
            DecodeError::Checksum { computed, written } => {
                write!(f, "damaged: CRC-32C is {computed:08x}, the frame says {written:08x}")
            }
            DecodeError::Header { field } => write!(f, "the header's {field} has no valid value"),
            DecodeError::Codec { found } => write!(f, "codec {found} is not readable by this build"),
            DecodeError::Compression => {
                f.write_str("the payload does not decompress to the announced length")
            }
            DecodeError::Kind { found } => {
                write!(f, "payload kind {found} is unknown, this build reads 0 to {}", KINDS - 1)
            }
            DecodeError::Malformed => f.write_str("the payload is malformed"),
            DecodeError::Trailing { bytes } => write!(f, "{bytes} bytes are left after the payload"),
            DecodeError::TooMany { what, found, most } => {
                write!(f, "{found} {what}, at most {most} are accepted")
            }
            DecodeError::Inconsistent { what } => write!(f, "the parts contradict each other: {what}"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// Decodes bincode from outside: bounded in memory, all bytes used.
pub(crate) fn bounded<T: Decode<()>>(bytes: &[u8]) -> Result<T, DecodeError> {
    let config = bincode::config::standard().with_limit::<MAX_DECODED_BYTES>();
    let (value, used) = bincode::decode_from_slice(bytes, config)
        .map_err(|_: bincode::error::DecodeError| DecodeError::Malformed)?;
    match bytes.len() - used {
        0 => Ok(value),
        left => Err(DecodeError::Trailing { bytes: left }),
    }
}

impl Frame {
    /// Packs the frame.
    ///
    /// # Errors
    /// [`EncodeError`] when the content breaks a rule; `TooLarge` asks the caller to split it.
    pub fn encode(&self, codec: Codec) -> Result<Vec<u8>, EncodeError> {
        encode(&self.gateway, self.store, self.sequence, &self.payload, codec)
    }

    /// Unpacks a frame and proves that it is whole and consistent.
    ///
    /// # Errors
    /// [`DecodeError`]; no input makes it panic or take unbounded memory.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let header = Header::peek(bytes)?;
        header.unpack(bytes)
    }
}

/// Packs `payload` without owning it, for callers that keep the batch.
///
/// # Errors
/// As [`Frame::encode`].
pub fn encode(
    gateway: &GatewayId,
    store: u64,
    sequence: u64,
    payload: &Payload,
    codec: Codec,
) -> Result<Vec<u8>, EncodeError> {
    match broken_rule(payload) {
        None => {}
        Some(Broken::TooMany { what, found, most }) => {
            return Err(EncodeError::TooMany { what, found, most });
        }
        Some(Broken::Rule { what }) => return Err(EncodeError::Inconsistent { what }),
    }
    let packed = match payload {
        Payload::Readings(batch) => {
            let transposed = Transposed::of(Columns::pack(batch)?);
            if transposed.counts() { Packed::Counted(transposed) } else { Packed::Transposed(transposed) }
        }
        Payload::Alarms(alarms) => match alarms.bare() {
            Some(bare) => Packed::BareAlarms(bare),
            None => Packed::Alarms(alarms.clone()),
        },
        Payload::Announcement(announcement) => Packed::Announcement(announcement.clone()),
        Payload::Health(health) => Packed::Health(health.clone()),
        Payload::Losses(losses) => Packed::Losses(losses.clone()),
        Payload::Envelopes(envelopes) => Packed::Envelopes(envelopes.clone()),
        Payload::Picture(part) => Packed::Picture(part.clone()),
    };
    if payload.items() == 0 {
        return Err(EncodeError::Empty);
    }
    let raw = bincode::encode_to_vec(&packed, bincode::config::standard()).unwrap_or_default();
    if raw.len() > MAX_RAW_BYTES {
        return Err(EncodeError::TooLarge { bytes: raw.len() });
    }
    let id = gateway.as_str().as_bytes();
    let mut bytes = Vec::with_capacity(FIXED_HEADER + id.len() + raw.len() / 2 + CHECKSUM);
    bytes.extend_from_slice(&MAGIC);
    bytes.push(payload.lane() as u8);
    bytes.push(codec as u8);
    bytes.extend_from_slice(&store.to_le_bytes());
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(&(payload.items() as u32).to_le_bytes());
    bytes.extend_from_slice(&(raw.len() as u32).to_le_bytes());
    bytes.push(id.len() as u8);
    bytes.extend_from_slice(id);
    compress(codec, &raw, &mut bytes);
    let checksum = crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    if bytes.len() > MAX_FRAME_BYTES { Err(EncodeError::TooLarge { bytes: bytes.len() }) } else { Ok(bytes) }
}

impl Header {
    /// Reads the header and proves the checksum, without unpacking.
    ///
    /// # Errors
    /// [`DecodeError`] for anything that is not a whole version 1 frame.
    pub fn peek(bytes: &[u8]) -> Result<Self, DecodeError> {
        let magic = bytes.get(..4).ok_or(DecodeError::Truncated { have: bytes.len(), need: FIXED_HEADER })?;
        if magic[..3] != MAGIC[..3] {
            return Err(DecodeError::NotAFrame);
        }
        if magic[3] != MAGIC[3] {
            return Err(DecodeError::Version { found: magic[3] });
        }
        if bytes.len() > MAX_FRAME_BYTES {
            return Err(DecodeError::TooLarge { bytes: bytes.len() });
        }
        let need = FIXED_HEADER + 1 + CHECKSUM;
        if bytes.len() < need {
            return Err(DecodeError::Truncated { have: bytes.len(), need });
        }
        let (body, tail) = bytes.split_at(bytes.len() - CHECKSUM);
        let written = u32::from_le_bytes(array(tail, 0));
        let computed = crc32c(body);
        if computed != written {
            return Err(DecodeError::Checksum { computed, written });
        }
        let id_length = usize::from(body[30]);
        let payload_at = FIXED_HEADER + id_length;
        let id = body
            .get(FIXED_HEADER..payload_at)
            .ok_or(DecodeError::Truncated { have: body.len(), need: payload_at })?;
        let gateway = core::str::from_utf8(id)
            .ok()
            .and_then(|text| GatewayId::new(text).ok())
            .ok_or(DecodeError::Header { field: "gateway id" })?;
        let sequence = u64::from_le_bytes(array(body, 14));
        if sequence == 0 {
            return Err(DecodeError::Header { field: "sequence" });
        }
        // Counters are fed from here before the payload is proved: no header may claim more than a frame can hold.
        let items = u32::from_le_bytes(array(body, 22));
        if items == 0 || items as usize > MAX_READINGS {
            return Err(DecodeError::Header { field: "number of items" });
        }
        let raw_length = u32::from_le_bytes(array(body, 26)) as usize;
        if raw_length > MAX_RAW_BYTES {
            return Err(DecodeError::TooMany {
                what: "payload bytes",
                found: raw_length,
                most: MAX_RAW_BYTES,
            });
        }
        Ok(Self {
            gateway,
            store: u64::from_le_bytes(array(body, 6)),
            lane: Lane::from_number(body[4]).ok_or(DecodeError::Header { field: "lane" })?,
            sequence,
            items,
            codec: Codec::from_number(body[5]).ok_or(DecodeError::Codec { found: body[5] })?,
            raw_length,
            payload_at,
        })
    }

    /// Unpacks the frame this header was read from.
    ///
    /// # Errors
    /// [`DecodeError`] when the payload is not what the header says.
    pub fn unpack(&self, bytes: &[u8]) -> Result<Frame, DecodeError> {
        let body = bytes
            .get(self.payload_at..bytes.len().saturating_sub(CHECKSUM))
            .ok_or(DecodeError::Truncated { have: bytes.len(), need: self.payload_at + CHECKSUM })?;
        let raw = decompress(self.codec, body, self.raw_length)?;
        // A number below 251 is one byte.
        if let Some(&found) = raw.first().filter(|kind| (KINDS..251).contains(*kind)) {
            return Err(DecodeError::Kind { found });
        }
        let payload = match bounded::<Packed>(&raw)? {
            Packed::Readings(columns) => Payload::Readings(columns.unpack()?),
            Packed::Transposed(transposed) => Payload::Readings(transposed.into_columns(false)?.unpack()?),
            Packed::Counted(transposed) => Payload::Readings(transposed.into_columns(true)?.unpack()?),
            Packed::BareAlarms(bare) => Payload::Alarms(bare.into()),
            Packed::Alarms(alarms) => Payload::Alarms(alarms),
            Packed::Announcement(announcement) => Payload::Announcement(announcement),
            Packed::Health(health) => Payload::Health(health),
            Packed::Losses(losses) => Payload::Losses(losses),
            Packed::Envelopes(envelopes) => Payload::Envelopes(envelopes),
            Packed::Picture(part) => Payload::Picture(part),
        };
        match broken_rule(&payload) {
            None => {}
            Some(Broken::TooMany { what, found, most }) => {
                return Err(DecodeError::TooMany { what, found, most });
            }
            Some(Broken::Rule { what }) => return Err(DecodeError::Inconsistent { what }),
        }
        if payload.lane() != self.lane {
            return Err(DecodeError::Inconsistent { what: "the payload belongs to another lane" });
        }
        if payload.items() != self.items as usize {
            return Err(DecodeError::Inconsistent { what: "the number of items" });
        }
        Ok(Frame { gateway: self.gateway.clone(), store: self.store, sequence: self.sequence, payload })
    }
}

/// A rule that a payload breaks, on its way out or in.
enum Broken {
    TooMany { what: &'static str, found: usize, most: usize },
    Rule { what: &'static str },
}

/// The rules beyond what bincode and [`Columns`] check themselves. The same for sender and receiver.
fn broken_rule(payload: &Payload) -> Option<Broken> {
    let (what, found, most) = match payload {
        Payload::Readings(_) => return None,
        Payload::Envelopes(envelopes) => ("envelopes", envelopes.envelopes.len(), MAX_ENVELOPES),
        Payload::Picture(_) => ("pictures", 1, 1),
        Payload::Alarms(alarms) => ("alarm events", alarms.events.len(), MAX_EVENTS),
        Payload::Announcement(announcement) => ("sensors", announcement.sensors.len(), MAX_SERIES),
        Payload::Health(health) => ("gauges", health.gauges.len(), MAX_GAUGES),
        Payload::Losses(losses) => ("losses", losses.losses.len(), MAX_LOSSES),
    };
    if found > most {
        return Some(Broken::TooMany { what, found, most });
    }
    let (sound, what) = match payload {
        Payload::Readings(_) => (true, ""),
        Payload::Alarms(alarms) => (
            alarms.events.iter().all(sound),
            "an alarm event has a place off the map, a number that is not finite, a long rule name or too many inputs",
        ),
        Payload::Announcement(announcement) => (
            announcement.place.is_valid()
                && announcement.version.len() <= MAX_TEXT
                && announcement.board.len() <= MAX_TEXT
                && announcement
                    .sensors
                    .iter()
                    .all(|s| s.place.is_valid() && s.chip.len() <= MAX_TEXT && s.label.len() <= 2 * MAX_TEXT),
            "an announcement has a place off the map or a long text",
        ),
        Payload::Health(health) => (
            health.gauges.iter().all(|(name, value)| value.is_finite() && name.len() <= MAX_TEXT),
            "a gauge is not finite or has a long name",
        ),
        Payload::Losses(losses) => (
            losses.losses.iter().all(|loss| loss.from >= 1 && loss.from <= loss.to),
            "a loss ends before it starts",
        ),
        Payload::Envelopes(envelopes) => (envelopes.is_sound(), "an envelope is empty or too long"),
        Payload::Picture(part) => {
            (part.is_sound(), "a part of a picture is empty or too long, or lies outside of it")
        }
    };
    (!sound).then_some(Broken::Rule { what })
}

fn sound(event: &AlarmEvent) -> bool {
    let finite = |value: Option<f64>| value.is_none_or(f64::is_finite);
    event.place.is_valid()
        && event.threshold.is_finite()
        && finite(event.value)
        && finite(event.worst)
        && event.rule.len() <= MAX_TEXT
        && event.inputs.len() <= MAX_INPUTS
        && event
            .inputs
            .iter()
            .all(|input| finite(input.value) && input.value.is_some() == input.quality.has_value())
}

/// Copies `N` bytes; callers have checked the length.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

fn compress(codec: Codec, raw: &[u8], out: &mut Vec<u8>) {
    match codec {
        Codec::Plain => out.extend_from_slice(raw),
        #[cfg(feature = "zstd")]
        Codec::Zstd => match crate::codec_zstd::compress(raw) {
            Ok(bytes) => out.extend_from_slice(&bytes),
            // Only an allocation can fail here. The frame then decodes to an error, and the buffer's
            // read-back check keeps the readings.
            Err(_) => out.extend_from_slice(raw),
        },
        // A build without zstd is never asked for it: `Codec::best` says lz4.
        #[cfg(not(feature = "zstd"))]
        Codec::Zstd => out.extend_from_slice(raw),
        Codec::Lz4 => out.extend_from_slice(&lz4_flex::block::compress(raw)),
    }
}

fn decompress(codec: Codec, body: &[u8], raw_length: usize) -> Result<Vec<u8>, DecodeError> {
    let raw = match codec {
        Codec::Plain => body.to_vec(),
        Codec::Lz4 => lz4_flex::block::decompress(body, raw_length).map_err(|_| DecodeError::Compression)?,
        #[cfg(feature = "zstd")]
        Codec::Zstd => {
            crate::codec_zstd::decompress(body, raw_length).map_err(|_| DecodeError::Compression)?
        }
        #[cfg(not(feature = "zstd"))]
        Codec::Zstd => return Err(DecodeError::Codec { found: Codec::Zstd as u8 }),
    };
    if raw.len() == raw_length { Ok(raw) } else { Err(DecodeError::Compression) }
}
