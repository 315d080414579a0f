//! One log record → the state.

use bincode::{Decode, Encode};
use wire::sealed::MAX_ENVELOPES;
use wire::{Batch, BootId, Clock, ClockState, Frame, GatewayId, Header, Lane, LossReason, Payload};

use super::ledger::Standing;
use super::readings::{Dating, Leftover, Origin};
use super::sensors::Sighting;
use super::waiting::Waiter;
use super::{Effect, Envelope, LaneTotal, MAX_REPLAYED, Rules, Seen, State};
use crate::admit::Reason;
use crate::counters::SENML;
use crate::normalise::wgs84_e7;
use crate::quarantine::{Held, HeldKind, Replay};
use crate::senml::{Mapped, MappedReading, SenmlFormat};

/// Kinds of log records. Numbers lie on disk: never reuse one.
pub mod kind {
    /// A frame that passed the door, as it came.
    pub const FRAME: u8 = 1;
    /// A message that did not, with the reason: [`super::Refused`].
    pub const REFUSED: u8 = 2;
    /// A SenML pack in JSON, as it came.
    pub const SENML_JSON: u8 = 3;
    /// A SenML pack in CBOR, as it came.
    pub const SENML_CBOR: u8 = 4;
    /// Something out of the quarantine that passes now: [`super::Replay`].
    pub const REPLAY: u8 = 5;
}

/// A message that was refused at the door.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Refused {
    /// Number of the lane its topic names; 255 when it names none.
    pub lane: u8,
    /// Number of the [`Reason`].
    pub reason: u8,
    /// The particulars.
    pub detail: String,
    /// The bytes as they came.
    pub body: Vec<u8>,
}

/// What the sender's task already worked out, so that it is not done twice.
#[derive(Debug)]
pub enum Known {
    /// Nothing: work it out from the bytes.
    Nothing,
    /// The frame.
    Frame(Box<Frame>),
    /// The pack.
    Mapped(Box<Mapped>),
}

/// A log record to be applied.
#[derive(Debug)]
pub struct Incoming<'a> {
    /// Where the record ends; names it.
    pub end: u64,
    /// When it was received, in milliseconds since 1970 UTC.
    pub received_ms: i64,
    /// One of [`kind`].
    pub kind: u8,
    /// The gateway or source its topic names.
    pub source: &'a str,
    /// Its bytes.
    pub payload: &'a [u8],
    /// What is known of it.
    pub known: Known,
}

/// A fingerprint of a pack: FNV-1a with 128 bits. A sender who forges one only harms himself.
pub fn fingerprint(body: &[u8]) -> u128 {
    body.iter().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash, &byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    })
}

/// What tells one reading of a pack from another, for a later replay of the rest.
fn print_of(reading: &MappedReading) -> u128 {
    let mut bytes = reading.sensor.as_str().as_bytes().to_vec();
    bytes.extend_from_slice(&reading.at_ms.to_le_bytes());
    bytes.extend_from_slice(&reading.value.to_bits().to_le_bytes());
    fingerprint(&bytes)
}

/// Decodes what ingest itself wrote into its log or database.
pub(crate) fn decode<T: Decode<()>>(bytes: &[u8]) -> Option<T> {
    bincode::decode_from_slice(bytes, bincode::config::standard()).ok().map(|(value, _)| value)
}

/// The same, and what lies behind it.
pub(crate) fn decode_first<T: Decode<()>>(bytes: &[u8]) -> Option<(T, &[u8])> {
    let (value, used) = bincode::decode_from_slice(bytes, bincode::config::standard()).ok()?;
    Some((value, bytes.get(used..)?))
}

/// The opposite of [`decode`]. Plain data into memory has no way to fail.
pub(crate) fn encode<T: Encode>(value: &T) -> Vec<u8> {
    bincode::encode_to_vec(value, bincode::config::standard()).unwrap_or_default()
}

impl State {
    /// Applies a record; one that was applied before is passed over.
    pub fn apply(&mut self, record: Incoming<'_>) {
        if record.end <= self.position {
            return;
        }
        self.position = record.end;
        for waiter in self.waiting.overdue(record.received_ms) {
            self.release(&waiter);
        }
        let Ok(source) = GatewayId::new(record.source) else {
            // Messages without a usable name can only have been refused.
            if record.kind == kind::REFUSED {
                self.refused(&record);
            }
            return;
        };
        match record.kind {
            kind::FRAME => self.frame_record(&record),
            kind::REFUSED => self.refused(&record),
            kind::SENML_JSON => self.senml_record(&source, SenmlFormat::Json, record),
            kind::SENML_CBOR => self.senml_record(&source, SenmlFormat::Cbor, record),
            kind::REPLAY => self.replay_record(&source, &record),
            other => tracing::error!(kind = other, position = record.end, "log record of an unknown kind"),
        }
    }

    /// Takes the newest readings of a record before [`State::position`] again: those that a checkpoint did not have.
    pub fn refresh(&mut self, record: &Incoming<'_>) {
        let Ok(source) = GatewayId::new(record.source) else { return };
        match record.kind {
            kind::FRAME => self.refresh_frame(record.payload, record.received_ms),
            kind::SENML_JSON => {
                self.refresh_pack(&source, SenmlFormat::Json, record.payload, record.received_ms);
            }
            kind::SENML_CBOR => {
                self.refresh_pack(&source, SenmlFormat::Cbor, record.payload, record.received_ms);
            }
            kind::REPLAY => {
                let Some(Replay { kind, received_ms, body, .. }) = decode(record.payload) else { return };
                match kind {
                    HeldKind::Frame | HeldKind::Readings => self.refresh_frame(&body, received_ms),
                    HeldKind::SenmlJson => {
                        self.refresh_pack(&source, SenmlFormat::Json, &body, received_ms);
                    }
                    HeldKind::SenmlCbor => {
                        self.refresh_pack(&source, SenmlFormat::Cbor, &body, received_ms);
                    }
                }
            }
            _ => {}
        }
    }

    fn refresh_frame(&mut self, bytes: &[u8], received_ms: i64) {
        if let Ok(Frame { gateway, payload: Payload::Readings(batch), .. }) = Frame::decode(bytes) {
            self.refresh_batch(&gateway, &batch, received_ms);
        }
    }

    fn refresh_pack(&mut self, source: &GatewayId, format: SenmlFormat, bytes: &[u8], received_ms: i64) {
        let Rules { mappings, catalogue, .. } = &self.rules;
        let mapped = mappings.map(source, format, bytes, received_ms, catalogue);
        self.refresh_mapped(source, &mapped.readings, received_ms);
    }

    fn frame_record(&mut self, record: &Incoming<'_>) {
        let decoded;
        let frame = match &record.known {
            Known::Frame(frame) => &**frame,
            _ => match Frame::decode(record.payload) {
                Ok(frame) => {
                    decoded = frame;
                    &decoded
                }
                // It was decoded before it was written.
                Err(error) => {
                    tracing::error!(%error, position = record.end, "a frame of the log cannot be read by this version");
                    return;
                }
            },
        };
        let leftover = self.apply_frame(frame, record.received_ms);
        self.hold_leftover(record.end, record.received_ms, record.source, record.payload, &leftover);
    }

    /// Takes a frame, once. What it could not take is returned; a repeat leaves nothing.
    pub fn apply_frame(&mut self, frame: &Frame, received_ms: i64) -> Leftover {
        let lane = frame.payload.lane();
        let before =
            self.door.lock().ledger.take(&frame.gateway, frame.store, lane, frame.sequence, received_ms);
        self.gateways.heard(&frame.gateway, received_ms);
        let items = frame.payload.items() as u64;
        let total = &mut self.totals.lanes[lane as usize];
        if before == Standing::Taken {
            total.duplicate += 1;
            if lane == Lane::Reading {
                self.totals.duplicate += items;
            }
            // Its number says nothing of a seal that was set back: the office looks at what is in it.
            return if lane == Lane::Seal { self.content(frame, received_ms) } else { Leftover::default() };
        }
        total.frames += 1;
        total.items += items;
        if before == Standing::Lost {
            // It was set aside on the box and counted as lost there.
            total.lost = total.lost.saturating_sub(items);
            if lane == Lane::Reading {
                self.totals.lost = self.totals.lost.saturating_sub(items);
            }
        }
        self.content(frame, received_ms)
    }

    fn content(&mut self, frame: &Frame, received_ms: i64) -> Leftover {
        let gateway = &frame.gateway;
        let origin = Origin { gateway, store: frame.store, sequence: frame.sequence, received_ms };
        match &frame.payload {
            Payload::Readings(batch) => {
                self.learn_clock(gateway, batch.boot, &batch.clock, received_ms);
                if !self.knows_time(gateway, batch) && self.show_unset(gateway, batch, received_ms) {
                    // Accepted: it is durable, and shown.
                    self.totals.accepted += batch.readings.len() as u64;
                    self.waiting.push(Waiter { received_ms, frame: frame.clone() });
                    return Leftover::default();
                }
                let leftover = self.take_batch(origin, batch, None);
                self.totals.quarantined += leftover.readings();
                return leftover;
            }
            Payload::Alarms(alarms) => {
                let clock = self.gateways.heard(gateway, received_ms).better_clock(alarms.boot, alarms.clock);
                let monos = alarms.events.iter().map(|event| event.mono_ms);
                let dating = Dating::of(clock, monos, received_ms);
                for event in &alarms.events {
                    let place = wgs84_e7(&event.place);
                    let alarm = self.alarms.event(gateway, event, |mono_ms| dating.at_ms(mono_ms), place);
                    self.effects.push(Effect::Alarm(Box::new(alarm.clone())));
                }
            }
            Payload::Announcement(announcement) => {
                self.learn_clock(gateway, announcement.boot, &announcement.clock, received_ms);
                let entry = self.gateways.heard(gateway, received_ms);
                entry.announced(announcement, wgs84_e7(&announcement.place));
                self.gateways.described(gateway);
                let owner = self.sensors.owner(gateway);
                // 64 bits are enough to notice a change, which is not against anybody's interest.
                let is_new =
                    self.sensors.announced(owner, fingerprint(&encode(&announcement.sensors)) as u64);
                for info in &announcement.sensors {
                    let (lat_e7, lon_e7) = wgs84_e7(&info.place);
                    let area = self.sensors.area_number(&info.place.area);
                    let seen = Sighting { quantity: info.quantity, lat_e7, lon_e7, area };
                    if let Some(number) = self.sensors.see(owner, &info.sensor, &seen)
                        && is_new
                    {
                        self.sensors.describe(number, info);
                    }
                }
            }
            Payload::Health(health) => {
                self.learn_clock(gateway, health.boot, &health.clock, received_ms);
                self.gateways.heard(gateway, received_ms).health(health, received_ms);
            }
            Payload::Envelopes(envelopes) => {
                for (nth, bytes) in (0..).zip(&envelopes.envelopes) {
                    let number = self.position * MAX_ENVELOPES as u64 + nth;
                    let (gateway, bytes) = (gateway.clone(), bytes.clone());
                    self.effects.push(Effect::Envelope(Box::new(Envelope {
                        number,
                        gateway,
                        received_ms,
                        bytes,
                    })));
                }
            }
            Payload::Picture(part) => {
                let (number, gateway, part) = (self.position, gateway.clone(), part.clone());
                self.effects.push(Effect::Picture(Box::new(Seen { number, gateway, part })));
            }
            Payload::Losses(losses) => {
                for loss in &losses.losses {
                    self.totals.lanes[loss.lane as usize].lost += loss.count;
                    if loss.lane == Lane::Reading {
                        self.totals.lost += loss.count;
                    }
                    self.losses.add(gateway, frame.store, loss, received_ms);
                    if loss.reason == LossReason::Thinned {
                        // Its frames still come, with fewer readings.
                        continue;
                    }
                    let range = (loss.from, loss.to.min(crate::admit::MAX_SEQUENCE));
                    self.door.lock().ledger.lose(gateway, frame.store, loss.lane, range, received_ms);
                }
            }
        }
        Leftover::default()
    }

    /// Takes what a message says of its box's clock. When the box has learned the time, those who waited for it go.
    fn learn_clock(&mut self, gateway: &GatewayId, boot: BootId, clock: &Clock, received_ms: i64) {
        self.gateways.heard(gateway, received_ms).clock(boot, clock);
        if clock.state == ClockState::Synchronised {
            for waiter in self.waiting.take(gateway, boot) {
                self.release(&waiter);
            }
        }
    }

    /// Whether the readings of a batch can be dated, by what it says or by what its box has said since.
    fn knows_time(&self, gateway: &GatewayId, batch: &Batch) -> bool {
        let known = self.gateways.get(gateway);
        let clock = known.map_or(batch.clock, |gateway| gateway.better_clock(batch.boot, batch.clock));
        clock.state != ClockState::Unset
    }

    /// Takes the readings of a frame that has waited. They were counted when they came, and all of them can be taken:
    /// what holds others back was looked at before they had to wait.
    fn release(&mut self, waiter: &Waiter) {
        let Waiter { received_ms, frame } = waiter;
        if let Some(batch) = waiter.batch() {
            let accepted = self.totals.accepted;
            let (store, sequence) = (frame.store, frame.sequence);
            let origin = Origin { gateway: &frame.gateway, store, sequence, received_ms: *received_ms };
            self.take_batch(origin, batch, None);
            self.totals.accepted = accepted;
        }
    }

    fn hold_leftover(&mut self, id: u64, received_ms: i64, source: &str, body: &[u8], leftover: &Leftover) {
        let (reason, detail) = if leftover.unknown_readings > 0 {
            let codes: Vec<String> = leftover.unknown.iter().map(u16::to_string).collect();
            let detail = format!(
                "{} readings of quantity {}, which the catalogue does not hold",
                leftover.unknown_readings,
                codes.join(", ")
            );
            (Reason::UnknownQuantity, detail)
        } else if leftover.crowded_readings > 0 {
            let detail = format!("{} readings of sensors beyond the limit", leftover.crowded_readings);
            (Reason::TooManySensors, detail)
        } else {
            return;
        };
        self.effects.push(Effect::Held(Box::new(Held {
            id,
            received_ms,
            source: source.to_owned(),
            kind: HeldKind::Readings,
            reason,
            detail,
            body: body.to_vec(),
            memo: encode(&leftover.unknown),
        })));
    }

    fn refused(&mut self, record: &Incoming<'_>) {
        let Some(refused) = decode::<Refused>(record.payload) else {
            tracing::error!(position = record.end, "a refusal in the log cannot be read");
            return;
        };
        if let Some(total) = self.totals.lanes.get_mut(usize::from(refused.lane)) {
            total.refused += 1;
        }
        if let Ok(header) = Header::peek(&refused.body)
            && header.lane == Lane::Reading
        {
            self.totals.quarantined += u64::from(header.items);
        }
        self.effects.push(Effect::Held(Box::new(Held {
            id: record.end,
            received_ms: record.received_ms,
            source: record.source.to_owned(),
            kind: HeldKind::Frame,
            reason: Reason::from_number(refused.reason).unwrap_or(Reason::Malformed),
            detail: refused.detail,
            body: refused.body,
            memo: vec![refused.lane],
        })));
    }

    fn senml_record(&mut self, source: &GatewayId, format: SenmlFormat, record: Incoming<'_>) {
        let mapped = match record.known {
            Known::Mapped(mapped) => *mapped,
            _ => self.rules.mappings.map(
                source,
                format,
                record.payload,
                record.received_ms,
                &self.rules.catalogue,
            ),
        };
        let taken = mapped.readings.len() as u64;
        let total = &mut self.totals.lanes[SENML];
        if is_repeatable(&mapped) {
            let print = fingerprint(record.payload);
            let mut door = self.door.lock();
            if door.knows_pack(source, print) {
                total.duplicate += 1;
                self.totals.duplicate += taken;
                return;
            }
            door.remember_pack(source, print);
        }
        if mapped.readings.is_empty() {
            total.refused += 1;
        } else {
            total.frames += 1;
            total.items += taken;
            self.gateways.heard(source, record.received_ms);
            let origin = Origin { gateway: source, store: 0, sequence: 0, received_ms: record.received_ms };
            let leftover = self.take_mapped(origin, &mapped.readings);
            self.totals.quarantined += leftover.readings();
        }
        self.hold_records(
            record.end,
            record.received_ms,
            source,
            format,
            record.payload,
            &mapped,
            Vec::new(),
        );
    }

    /// Holds the refused records of a pack. `before` are the prints of what was taken from it earlier.
    #[expect(clippy::too_many_arguments, reason = "one caller per kind of pack")]
    fn hold_records(
        &mut self,
        id: u64,
        received_ms: i64,
        source: &GatewayId,
        format: SenmlFormat,
        body: &[u8],
        mapped: &Mapped,
        before: Vec<u128>,
    ) {
        let Some((first, why)) = mapped.refused.first() else { return };
        self.totals.quarantined += mapped.refused.len() as u64;
        let more = match mapped.refused.len() {
            1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        let mut prints = before;
        prints.extend(mapped.readings.iter().map(print_of));
        self.effects.push(Effect::Held(Box::new(Held {
            id,
            received_ms,
            source: source.to_string(),
            kind: match format {
                SenmlFormat::Json => HeldKind::SenmlJson,
                SenmlFormat::Cbor => HeldKind::SenmlCbor,
            },
            reason: Reason::SenmlRefused,
            detail: format!("record {first}: {why}{more}"),
            body: body.to_vec(),
            memo: encode(&prints),
        })));
    }

    fn replay_record(&mut self, source: &GatewayId, record: &Incoming<'_>) {
        let Some(replay) = decode::<Replay>(record.payload) else {
            tracing::error!(position = record.end, "a replay in the log cannot be read");
            return;
        };
        // Two people may press the button at once.
        if !self.replayed.insert(replay.id) {
            return;
        }
        while self.replayed.len() > MAX_REPLAYED {
            self.replayed.pop_first();
        }
        let accepted = self.totals.accepted;
        let received_ms = replay.received_ms;
        match replay.kind {
            HeldKind::Frame => {
                if let Ok(frame) = Frame::decode(&replay.body) {
                    let quarantined = self.totals.quarantined;
                    let leftover = self.apply_frame(&frame, received_ms);
                    // What is still left over was held already, as a part of the frame.
                    self.totals.quarantined = quarantined;
                    self.hold_leftover(record.end, received_ms, record.source, &replay.body, &leftover);
                }
            }
            HeldKind::Readings => {
                let only: Vec<u16> = decode(&replay.memo).unwrap_or_default();
                if let Ok(Frame { gateway, store, sequence, payload: Payload::Readings(batch) }) =
                    Frame::decode(&replay.body)
                {
                    let origin = Origin { gateway: &gateway, store, sequence, received_ms };
                    let leftover = self.take_batch(origin, &batch, Some(&only));
                    self.hold_leftover(record.end, received_ms, record.source, &replay.body, &leftover);
                }
            }
            HeldKind::SenmlJson | HeldKind::SenmlCbor => {
                let format = match replay.kind {
                    HeldKind::SenmlCbor => SenmlFormat::Cbor,
                    _ => SenmlFormat::Json,
                };
                let before: Vec<u128> = decode(&replay.memo).unwrap_or_default();
                let mut mapped =
                    self.rules.mappings.map(source, format, &replay.body, received_ms, &self.rules.catalogue);
                remove_taken(&mut mapped, &before);
                let origin = Origin { gateway: source, store: 0, sequence: 0, received_ms };
                self.take_mapped(origin, &mapped.readings);
                let total = &mut self.totals.lanes[SENML];
                total.items += mapped.readings.len() as u64;
                let quarantined = self.totals.quarantined;
                self.hold_records(record.end, received_ms, source, format, &replay.body, &mapped, before);
                self.totals.quarantined = quarantined;
            }
        }
        let gained = self.totals.accepted - accepted;
        self.totals.quarantined = self.totals.quarantined.saturating_sub(gained);
        self.effects.push(Effect::Replayed { id: replay.id });
    }

    /// The counts of one lane, for tests and benches.
    pub fn lane_total(&self, lane: Lane) -> LaneTotal {
        self.totals.lanes[lane as usize]
    }
}

/// Whether a repeat of the pack can be told from new data: all its readings say when they were taken.
pub fn is_repeatable(mapped: &Mapped) -> bool {
    !mapped.readings.is_empty() && mapped.readings.iter().all(|reading| reading.timed)
}

/// Takes out of a pack the readings that were taken from it before, each print once.
pub fn remove_taken(mapped: &mut Mapped, before: &[u128]) {
    let mut before = before.to_vec();
    mapped.readings.retain(|reading| {
        let print = print_of(reading);
        match before.iter().position(|&taken| taken == print) {
            Some(at) => {
                before.swap_remove(at);
                false
            }
            None => true,
        }
    });
}
