//! What may enter the pool, and in which words the rest is refused. Pure: no clock, no disk.
//!
//! A refusal is never a dead end: the bytes go to the quarantine with one of the [`Reason`]s below, where a
//! person can read them and have them judged again (see [`crate::quarantine`]).

use std::collections::BTreeSet;

use wire::{ClockState, DecodeError, Frame, GatewayId, Header, Lane, Payload};

/// Wall times before 2020-01-01 UTC, in milliseconds, belong to a box that does not know the time.
pub const EARLIEST_MS: i64 = 1_577_836_800_000;
/// How far ahead of the moment of receipt a synchronised box may be: a day, in milliseconds.
pub const MAX_AHEAD_MS: i64 = 86_400_000;
/// Largest sequence accepted: Parquet and SQL hold it as a signed number.
pub const MAX_SEQUENCE: u64 = i64::MAX as u64;

/// Which gateways may deliver.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Registration {
    /// Any gateway; it is registered when it is first heard. For a test bench and for loopback.
    #[default]
    Open,
    /// Only these.
    Listed(BTreeSet<GatewayId>),
}

impl Registration {
    /// Whether `gateway` may deliver.
    pub fn knows(&self, gateway: &GatewayId) -> bool {
        match self {
            Registration::Open => true,
            Registration::Listed(listed) => listed.contains(gateway),
        }
    }
}

/// Why something was not taken into the pool. Numbers are written to the log: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Reason {
    /// The bytes are not a Watchfire frame.
    NotAFrame = 1,
    /// A frame of a version this ingest does not read.
    Version = 2,
    /// The checksum does not match.
    Damaged = 3,
    /// Larger than allowed.
    TooLarge = 4,
    /// The frame's parts contradict each other or cannot be unpacked.
    Malformed = 5,
    /// The topic names another gateway than the frame.
    OtherGateway = 6,
    /// The topic names another lane than the frame.
    OtherLane = 7,
    /// The gateway is not on the list.
    UnknownGateway = 8,
    /// The sequence number cannot be.
    Sequence = 9,
    /// The box says that its clock is synchronised, but its time is before 2020.
    ClockBehind = 10,
    /// The box says that its clock is synchronised, but its time is more than a day ahead.
    ClockAhead = 11,
    /// Readings of a quantity that the catalogue does not hold; the other readings of the frame were taken.
    UnknownQuantity = 12,
    /// SenML that is malformed, or records that no mapping names or whose unit or value does not fit; the other
    /// records of the pack were taken.
    SenmlRefused = 13,
    /// The topic is none of ours.
    UnknownTopic = 14,
    /// Readings of more sensors than one gateway may have; the other readings were taken.
    TooManySensors = 15,
}

/// What a sender can do about a refusal, for the code that answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalClass {
    /// The content is wrong: sending it again is useless.
    Content,
    /// It came under the wrong topic.
    Topic,
    /// The sender may not deliver.
    Unauthorised,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Reason; 15] = [
        Reason::NotAFrame,
        Reason::Version,
        Reason::Damaged,
        Reason::TooLarge,
        Reason::Malformed,
        Reason::OtherGateway,
        Reason::OtherLane,
        Reason::UnknownGateway,
        Reason::Sequence,
        Reason::ClockBehind,
        Reason::ClockAhead,
        Reason::UnknownQuantity,
        Reason::SenmlRefused,
        Reason::UnknownTopic,
        Reason::TooManySensors,
    ];

    /// The reason with this number, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as u8 == number)
    }

    /// The word used in JSON, SQL and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::NotAFrame => "not_a_frame",
            Reason::Version => "version",
            Reason::Damaged => "damaged",
            Reason::TooLarge => "too_large",
            Reason::Malformed => "malformed",
            Reason::OtherGateway => "other_gateway",
            Reason::OtherLane => "other_lane",
            Reason::UnknownGateway => "unknown_gateway",
            Reason::Sequence => "sequence",
            Reason::ClockBehind => "clock_behind",
            Reason::ClockAhead => "clock_ahead",
            Reason::UnknownQuantity => "unknown_quantity",
            Reason::SenmlRefused => "senml_refused",
            Reason::UnknownTopic => "unknown_topic",
            Reason::TooManySensors => "too_many_sensors",
        }
    }

    /// The reason with this word, if there is one.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    /// For a Chinese-speaking person who sees it for the first time: what happened and what to do.
    pub fn zh(self) -> &'static str {
        match self {
            Reason::NotAFrame => "内容不是望火数据帧：发送方不是望火网关，或主题用错。请检查发送方。",
            Reason::Version => "数据帧版本高于本系统可读的版本：请先升级接入服务，再重放。",
            Reason::Damaged => "校验和不符：数据在途中或存储卡上损坏。请检查网关的存储卡与网络。",
            Reason::TooLarge => "超过允许的大小：请让发送方拆分后再发。",
            Reason::Malformed => "数据帧内部自相矛盾，无法解开：请检查网关软件版本。",
            Reason::OtherGateway => "主题中的网关与数据帧中的网关不同：一台网关只能以自己的名义发送。",
            Reason::OtherLane => "主题中的通道与数据帧中的通道不同：请检查网关软件。",
            Reason::UnknownGateway => "该网关未登记：请核实后把它加入名单，再重放。",
            Reason::Sequence => "序号不可能存在：请检查网关软件。",
            Reason::ClockBehind => "网关称时钟已同步，时间却早于 2020 年：请检查网关的时间源，改正后可重放。",
            Reason::ClockAhead => "网关称时钟已同步，时间却比收到时刻超前一天以上：请检查网关的时间源。",
            Reason::UnknownQuantity => {
                "部分读数的物理量不在目录中：请把该物理量加入目录，再重放；其余读数已入库。"
            }
            Reason::SenmlRefused => {
                "SenML 内容无效，或部分记录没有映射、单位或数值不符：请按详情改正或补充映射后重放；其余记录已入库。"
            }
            Reason::UnknownTopic => "主题不属于本系统：请按 wf/1/网关/up/通道 或 senml/来源 发送。",
            Reason::TooManySensors => {
                "该网关的传感器名称超过 4096 个：多半是程序出错，请检查网关配置；其余读数已入库。"
            }
        }
    }

    /// For an English-speaking person who sees it for the first time: what happened and what to do.
    pub fn en(self) -> &'static str {
        match self {
            Reason::NotAFrame => {
                "The content is not a Watchfire frame: the sender is no Watchfire gateway, or used the wrong topic. Check the sender."
            }
            Reason::Version => {
                "The frame has a version this service cannot read yet: upgrade the service, then replay."
            }
            Reason::Damaged => {
                "The checksum does not match: damaged on the way or on the card. Check the gateway's card and network."
            }
            Reason::TooLarge => "Larger than allowed: the sender has to split it.",
            Reason::Malformed => {
                "The parts of the frame contradict each other: check the version of the gateway's software."
            }
            Reason::OtherGateway => {
                "The topic names another gateway than the frame: a gateway may send in its own name only."
            }
            Reason::OtherLane => "The topic names another lane than the frame: check the gateway's software.",
            Reason::UnknownGateway => {
                "The gateway is not registered: verify it, add it to the list, then replay."
            }
            Reason::Sequence => "The sequence number cannot exist: check the gateway's software.",
            Reason::ClockBehind => {
                "The gateway calls its clock synchronised, yet its time is before 2020: check its time source."
            }
            Reason::ClockAhead => {
                "The gateway calls its clock synchronised, yet its time is more than a day ahead of receipt: check its time source."
            }
            Reason::UnknownQuantity => {
                "Some readings are of a quantity that the catalogue does not hold: add it, then replay. The other readings were taken."
            }
            Reason::SenmlRefused => {
                "The SenML pack is malformed, or some records have no mapping, or a unit or value that does not fit: see the detail, complete the mapping, then replay. The other records were taken."
            }
            Reason::UnknownTopic => {
                "The topic is none of ours: send to wf/1/{gateway}/up/{lane} or senml/{source}."
            }
            Reason::TooManySensors => {
                "The gateway has named more than 4096 sensors: probably a program gone wrong, check its configuration. The other readings were taken."
            }
        }
    }

    /// What the sender can do about it.
    pub fn class(self) -> RefusalClass {
        match self {
            Reason::UnknownGateway => RefusalClass::Unauthorised,
            Reason::OtherGateway | Reason::OtherLane | Reason::UnknownTopic => RefusalClass::Topic,
            _ => RefusalClass::Content,
        }
    }

    fn of(error: &DecodeError) -> Self {
        match error {
            DecodeError::NotAFrame => Reason::NotAFrame,
            DecodeError::Version { .. } | DecodeError::Kind { .. } => Reason::Version,
            DecodeError::Checksum { .. } => Reason::Damaged,
            DecodeError::TooLarge { .. } => Reason::TooLarge,
            DecodeError::Truncated { have, .. } if *have < 4 => Reason::NotAFrame,
            DecodeError::Truncated { .. } => Reason::Damaged,
            _ => Reason::Malformed,
        }
    }
}

/// A refusal with the particulars of this message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// What was found and what was expected.
    pub detail: String,
}

impl Refusal {
    fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// Reads the header and holds it against the topic and the registration: cheap, before anything is unpacked.
///
/// # Errors
/// The [`Refusal`].
pub fn header(
    topic_gateway: &GatewayId,
    topic_lane: Lane,
    bytes: &[u8],
    registration: &Registration,
) -> Result<Header, Refusal> {
    let header = Header::peek(bytes).map_err(|error| Refusal::new(Reason::of(&error), error.to_string()))?;
    if header.gateway != *topic_gateway {
        let detail = format!("the topic says {topic_gateway}, the frame says {}", header.gateway);
        return Err(Refusal::new(Reason::OtherGateway, detail));
    }
    if header.lane != topic_lane {
        let detail =
            format!("the topic says {}, the frame says {}", topic_lane.as_str(), header.lane.as_str());
        return Err(Refusal::new(Reason::OtherLane, detail));
    }
    if !registration.knows(&header.gateway) {
        let detail = format!("gateway {} is not on the list of known gateways", header.gateway);
        return Err(Refusal::new(Reason::UnknownGateway, detail));
    }
    if header.sequence > MAX_SEQUENCE {
        let detail = format!("sequence {} is above {MAX_SEQUENCE}", header.sequence);
        return Err(Refusal::new(Reason::Sequence, detail));
    }
    Ok(header)
}

/// Unpacks a frame whose header passed, and checks that a synchronised clock is plausible.
///
/// Only readings are refused for their clock: an alarm must get through, and is dated by its receipt instead.
///
/// # Errors
/// The [`Refusal`].
pub fn content(header: &Header, bytes: &[u8], received_ms: i64) -> Result<Frame, Refusal> {
    let frame = header.unpack(bytes).map_err(|error| Refusal::new(Reason::of(&error), error.to_string()))?;
    if let Payload::Readings(batch) = &frame.payload
        && batch.clock.state == ClockState::Synchronised
    {
        let times = || batch.readings.iter().map(|reading| batch.clock.wall_ms(reading.mono_ms));
        if let Some(earliest) = times().min()
            && earliest < EARLIEST_MS
        {
            let detail = format!("a reading is dated {earliest} ms since 1970, 2020 began at {EARLIEST_MS}");
            return Err(Refusal::new(Reason::ClockBehind, detail));
        }
        if let Some(latest) = times().max()
            && latest > received_ms.saturating_add(MAX_AHEAD_MS)
        {
            let ahead_s = latest.saturating_sub(received_ms) / 1000;
            let detail = format!("a reading is dated {ahead_s} s after its receipt, 86400 s are allowed");
            return Err(Refusal::new(Reason::ClockAhead, detail));
        }
    }
    Ok(frame)
}

/// Whether a wall time received at `received_ms` can be true.
pub fn is_plausible(at_ms: i64, received_ms: i64) -> bool {
    at_ms >= EARLIEST_MS && at_ms <= received_ms.saturating_add(MAX_AHEAD_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::tests::{T0, frame, gateway, readings};
    use wire::{AlarmEvent, Codec};

    #[test]
    fn every_reason_is_one_word_and_two_sentences() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(Reason::from_number(reason as u8), Some(reason));
            assert_eq!(Reason::from_word(reason.as_str()), Some(reason));
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str(), "one word everywhere");
            assert!(Reason::ALL[..index].iter().all(|other| other.as_str() != reason.as_str()));
            assert!(reason.zh().ends_with('。') && !reason.zh().contains([',', ';']), "{}", reason.zh());
            assert!(reason.en().ends_with('.'), "{}", reason.en());
        }
        assert_eq!(Reason::from_number(0), None);
    }

    fn judge(topic: (&str, Lane), bytes: &[u8], received_ms: i64) -> Result<Frame, Refusal> {
        let listed = Registration::Listed([gateway("known")].into());
        let header = header(&gateway(topic.0), topic.1, bytes, &listed)?;
        content(&header, bytes, received_ms)
    }

    #[test]
    fn what_is_wrong_is_named() {
        let good = |name, at_ms| readings(name, 1, at_ms, &[20.0, 21.0]).encode(Codec::Zstd).unwrap();
        let bytes = good("known", T0);
        assert!(judge(("known", Lane::Reading), &bytes, T0).is_ok());
        let mut flipped = bytes.clone();
        flipped[50] ^= 1;
        let mut newer = bytes.clone();
        newer[3] = b'2';
        let far = readings("known", u64::MAX, T0, &[20.0]).encode(Codec::Plain).unwrap();
        let large = [bytes.as_slice(), &[0; 30_000]].concat();
        let reading = ("known", Lane::Reading);
        for (topic, bytes, received_ms, reason, word) in [
            (reading, &b"hello"[..], T0, Reason::NotAFrame, "Watchfire"),
            (reading, b"", T0, Reason::NotAFrame, "truncated"),
            (reading, &bytes[..20], T0, Reason::Damaged, "truncated"),
            (reading, &flipped, T0, Reason::Damaged, "CRC-32C"),
            (reading, &newer, T0, Reason::Version, "0x32"),
            (reading, &large, T0, Reason::TooLarge, "accepted"),
            (("other", Lane::Reading), &bytes, T0, Reason::OtherGateway, "other"),
            (("known", Lane::Alarm), &bytes, T0, Reason::OtherLane, "alarm"),
            (("new", Lane::Reading), &good("new", T0), T0, Reason::UnknownGateway, "new"),
            (reading, &far, T0, Reason::Sequence, "18446744073709551615"),
            (reading, &good("known", 1_000_000_000_000), T0, Reason::ClockBehind, "1000000000000"),
            (reading, &good("known", T0 + MAX_AHEAD_MS), T0, Reason::ClockAhead, "86407"),
        ] {
            let refusal = judge(topic, bytes, received_ms).unwrap_err();
            assert_eq!(refusal.reason, reason, "{refusal:?}");
            assert!(refusal.detail.contains(word), "{refusal:?}");
        }
    }

    #[test]
    fn an_alarm_gets_through_whatever_the_clock_says() {
        let event = AlarmEvent {
            episode: 1,
            rule: "hot".into(),
            rule_version: 1,
            kind: wire::AlarmKind::Raised,
            level: wire::Level::Red,
            sensor: wire::SensorName::new("s").unwrap(),
            quantity: wire::QuantityCode(1),
            place: wire::Place::new(30.0, 104.0, wire::Datum::Wgs84, wire::Area::unknown()).unwrap(),
            mono_ms: 0,
            value: None,
            quality: wire::Quality::Fault,
            threshold: 1.0,
            measure: wire::Measure::Value,
            worst: None,
            inputs: Vec::new(),
        };
        let clock = wire::Clock { state: ClockState::Synchronised, epoch_ms: 0 };
        let alarms = wire::Alarms { boot: wire::BootId(1), clock, events: vec![event] };
        let bytes = frame("known", 1, Payload::Alarms(alarms)).encode(Codec::Zstd).unwrap();
        let taken = judge(("known", Lane::Alarm), &bytes, T0).unwrap();
        let mut state = crate::pool::State::new(crate::pool::tests::rules());
        state.apply_frame(&taken, T0);
        assert_eq!(state.alarms.iter().next().unwrap().raised_ms, T0, "dated by receipt, not 1970");
    }
}
