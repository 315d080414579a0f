//! The quarantine: what could not be taken, held with its reason, and how it is judged again.

use bincode::{Decode, Encode};
use configs::Catalogue;
use wire::{Frame, GatewayId, Lane, Payload};

use crate::admit::{self, Reason, Refusal, Registration};
use crate::pool::apply::{decode, encode, remove_taken};
use crate::senml::{Mappings, SenmlFormat};

/// What is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum HeldKind {
    /// A whole message that came under a frame's topic.
    Frame,
    /// Readings of a frame whose other readings were taken.
    Readings,
    /// Records of a SenML pack in JSON whose other records were taken, or all of them.
    SenmlJson,
    /// The same in CBOR.
    SenmlCbor,
}

impl HeldKind {
    /// The word used in JSON and SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            HeldKind::Frame => "frame",
            HeldKind::Readings => "readings",
            HeldKind::SenmlJson => "senml+json",
            HeldKind::SenmlCbor => "senml+cbor",
        }
    }

    /// The kind with this word, if there is one.
    pub fn from_word(word: &str) -> Option<Self> {
        [HeldKind::Frame, HeldKind::Readings, HeldKind::SenmlJson, HeldKind::SenmlCbor]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }
}

/// Something held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Names it for ever: where its log record ends.
    pub id: u64,
    /// When it was received, in milliseconds since 1970 UTC.
    pub received_ms: i64,
    /// The gateway or source its topic names.
    pub source: String,
    /// What it is.
    pub kind: HeldKind,
    /// Why it is held.
    pub reason: Reason,
    /// The particulars.
    pub detail: String,
    /// The bytes as they came.
    pub body: Vec<u8>,
    /// What a replay must know. Frame: the lane of its topic. Readings: the quantities that were unknown, as a list.
    /// SenML: prints of the records that were taken.
    pub memo: Vec<u8>,
}

/// A log record: this passes now.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Replay {
    /// Which entry of the quarantine.
    pub id: u64,
    /// What it is.
    pub kind: HeldKind,
    /// When it was first received: its readings are as late as they are.
    pub received_ms: i64,
    /// As in [`Held`]; for readings only the quantities that are known now.
    pub memo: Vec<u8>,
    /// The bytes as they came.
    pub body: Vec<u8>,
}

/// How many messages per second may be held for long; a person can look at far fewer.
const HELD_PER_S: i64 = 200;
/// How many may be held at once: a gateway with a wrong setting delivers its whole buffer.
const HELD_BURST: i64 = 2000;

/// How much may still be held now: a flood of rubbish must not take the disk from those who send readings. What is not
/// held is not refused either: its sender is told to come again.
#[derive(Debug, Clone)]
pub struct Allowance {
    /// Messages that may be held now, in thousandths.
    milli: i64,
    filled_ms: i64,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { milli: HELD_BURST * 1000, filled_ms: i64::MIN }
    }
}

impl Allowance {
    /// Whether one more may be held at `now_ms`.
    pub fn take(&mut self, now_ms: i64) -> bool {
        let since_ms = now_ms.saturating_sub(self.filled_ms).clamp(0, 60_000);
        self.filled_ms = self.filled_ms.max(now_ms);
        self.milli = (self.milli + since_ms * HELD_PER_S).min(HELD_BURST * 1000);
        let may = self.milli >= 1000;
        self.milli -= if may { 1000 } else { 0 };
        may
    }
}

/// Today's rules.
#[derive(Debug, Clone, Copy)]
pub struct Judge<'a> {
    /// Which gateways may deliver.
    pub registration: &'a Registration,
    /// What is measured.
    pub catalogue: &'a Catalogue,
    /// What third-party names mean.
    pub mappings: &'a Mappings,
}

impl Judge<'_> {
    /// Judges something held by today's rules.
    ///
    /// # Errors
    /// The [`Refusal`] when nothing of it passes.
    pub fn again(&self, held: &Held) -> Result<Replay, Refusal> {
        let refuse = |detail: String| Refusal { reason: held.reason, detail };
        let source = GatewayId::new(&held.source).map_err(|error| refuse(error.to_string()))?;
        let memo = match held.kind {
            HeldKind::Frame => {
                let lane = held.memo.first().copied().and_then(Lane::from_number);
                let lane = lane.ok_or_else(|| refuse("its topic named no lane".into()))?;
                let header = admit::header(&source, lane, &held.body, self.registration)?;
                admit::content(&header, &held.body, held.received_ms)?;
                held.memo.clone()
            }
            HeldKind::Readings => {
                let unknown: Vec<u16> = decode(&held.memo).unwrap_or_default();
                let known: Vec<u16> = (unknown.iter().copied())
                    .filter(|&code| self.catalogue.get(wire::QuantityCode(code)).is_some())
                    .collect();
                if known.is_empty() {
                    return Err(refuse(format!("the catalogue holds none of the quantities {unknown:?}")));
                }
                match Frame::decode(&held.body) {
                    Ok(Frame { payload: Payload::Readings(_), .. }) => {}
                    _ => return Err(refuse("the frame cannot be read".into())),
                }
                encode(&known)
            }
            HeldKind::SenmlJson | HeldKind::SenmlCbor => {
                let format = match held.kind {
                    HeldKind::SenmlCbor => SenmlFormat::Cbor,
                    _ => SenmlFormat::Json,
                };
                let before: Vec<u128> = decode(&held.memo).unwrap_or_default();
                let mut mapped =
                    self.mappings.map(&source, format, &held.body, held.received_ms, self.catalogue);
                remove_taken(&mut mapped, &before);
                if mapped.readings.is_empty() {
                    let why = mapped.refused.first().map_or("no record is left", |(_, why)| why.as_str());
                    return Err(refuse(why.to_owned()));
                }
                held.memo.clone()
            }
        };
        Ok(Replay {
            id: held.id,
            kind: held.kind,
            received_ms: held.received_ms,
            memo,
            body: held.body.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::pool::apply::{Incoming, Known, kind};
    use crate::pool::tests::{T0, batch, frame, rules};
    use crate::pool::{Effect, Rules, State};

    const RIVER: &str = include_str!("../../configs/senml/river-works.toml");
    const FISH: &str = "\n[[map]]\nname = 'station/*/fish'\nquantity = 'water-level'\nsensor = '{}.fish'\n";
    const NEW: &str = "[[quantity]]\ncode=64000\nname='fish'\nunit='1'\nzh='鱼'\nen='Fish'\nmin=0\nmax=100\n";

    fn applied(state: &mut State, end: u64, kind: u8, source: &str, payload: &[u8]) -> Vec<Effect> {
        let known = Known::Nothing;
        state.apply(Incoming { end, received_ms: T0, kind, source, payload, known });
        state.take_effects()
    }

    /// Judges by the state's rules and applies what passes.
    fn replay(state: &mut State, end: u64, held: &Held) -> Result<Vec<Effect>, Refusal> {
        let Rules { catalogue, mappings, .. } = state.rules.clone();
        let judge = Judge { registration: &Registration::Open, catalogue: &catalogue, mappings: &mappings };
        let replay = encode(&judge.again(held)?);
        Ok(applied(state, end, kind::REPLAY, &held.source, &replay))
    }

    #[test]
    fn readings_pass_when_the_catalogue_has_grown() {
        let mut state = State::new(rules());
        let mut strange = batch(T0, &[20.0, 21.0, 22.0, 23.0]);
        strange.series[1].quantity = wire::QuantityCode(64_000);
        strange.series[2].quantity = wire::QuantityCode(64_001);
        let bytes = frame("g", 1, Payload::Readings(strange)).encode(wire::Codec::Zstd).unwrap();
        let effects = applied(&mut state, 100, kind::FRAME, "g", &bytes);
        let [Effect::Held(held)] = effects.as_slice() else { panic!("{effects:?}") };
        assert_eq!((state.totals.accepted, state.totals.quarantined), (2, 2));
        assert_eq!(replay(&mut state, 200, held).unwrap_err().reason, Reason::UnknownQuantity);

        let mut catalogue = Catalogue::builtin();
        catalogue.add("new.toml", NEW).unwrap();
        state.rules.catalogue = Arc::new(catalogue);
        for end in [300, 400] {
            replay(&mut state, end, held).unwrap();
            assert_eq!(
                (state.totals.accepted, state.totals.quarantined),
                (3, 1),
                "once, and only the new kind"
            );
        }
        assert_eq!(state.current.rows.as_slice().last().unwrap().quantity, 64_000);
    }

    #[test]
    fn records_pass_when_the_mapping_has_grown() {
        let catalogue = Catalogue::builtin();
        let mut mappings = Mappings::default();
        mappings.add("river-works.toml", RIVER, &catalogue).unwrap();
        let mut state = State::new(Rules { mappings: Arc::new(mappings), ..rules() });
        let pack = br#"[{"bn":"station/jinjiang-2/","n":"level","u":"m","v":3.42},{"n":"fish","u":"m","v":2},
            {"n":"level","u":"m","v":3.42},{"n":"bird","u":"m","v":3}]"#;
        let effects = applied(&mut state, 100, kind::SENML_JSON, "river-works", pack);
        let [Effect::Held(held)] = effects.as_slice() else { panic!("{effects:?}") };
        assert_eq!((state.totals.accepted, state.totals.quarantined), (2, 2));
        assert!(replay(&mut state, 200, held).unwrap_err().detail.contains("no rule maps"));

        let mut mappings = Mappings::default();
        mappings.add("river-works.toml", &format!("{RIVER}{FISH}"), &catalogue).unwrap();
        state.rules.mappings = Arc::new(mappings);
        let effects = replay(&mut state, 300, held).unwrap();
        assert_eq!(
            (state.totals.accepted, state.totals.quarantined),
            (3, 1),
            "the fish, not the levels again"
        );
        let [Effect::Held(rest), Effect::Replayed { id: 100 }] = effects.as_slice() else {
            panic!("{effects:?}")
        };
        assert!(rest.id == 300 && rest.detail.contains("record 3"), "the bird is held on: {}", rest.detail);
        assert!(replay(&mut state, 400, rest).is_err());
        assert_eq!(state.totals.accepted, 3);
    }

    #[test]
    fn a_flood_is_bounded_and_a_trickle_is_not() {
        let mut allowance = Allowance::default();
        let flood = (0..100_000).filter(|_| allowance.take(5000)).count();
        assert_eq!(flood, HELD_BURST as usize);
        let second = (0..100_000).filter(|_| allowance.take(6000)).count();
        assert_eq!(second, HELD_PER_S as usize);
        assert!((0..10_000).all(|index| allowance.take(7000 + index * 5)));
        assert!(!Allowance { milli: 0, filled_ms: 9000 }.take(8000), "a clock that goes back gives nothing");
    }
}
