//! The state as a checkpoint: everything that the log before it gave and that is not in Parquet or SQL.
//!
//! Windows are not part of it: those that matter are rebuilt from the Parquet partials.

use std::collections::VecDeque;

use bincode::{Decode, Encode};
use wire::{Area, Codec, Frame, GatewayId, Lane};

use super::alarms::{Alarm, Alarms};
use super::apply::{decode, decode_first, encode};
use super::gateways::{Gateway, Gateways};
use super::ledger::{LaneLedger, Ledger};
use super::losses::Reports;
use super::sensors::{Sensor, Sensors};
use super::waiting::{Waiter, Waiting};
use super::{Rules, State, Totals};

#[derive(Encode)]
struct Written<'a> {
    totals: Totals,
    ledger: Vec<(GatewayId, u64, Lane, LaneLedger)>,
    packs: Vec<(GatewayId, Vec<u128>)>,
    sensors: &'a [Sensor],
    areas: &'a [Area],
    gateways: Vec<(GatewayId, Gateway)>,
    alarms: Vec<Alarm>,
    replayed: Vec<u64>,
    /// When received, and the frame as bytes.
    waiting: Vec<(i64, Vec<u8>)>,
}

#[derive(Decode)]
struct Read {
    totals: Totals,
    ledger: Vec<(GatewayId, u64, Lane, LaneLedger)>,
    packs: Vec<(GatewayId, Vec<u128>)>,
    sensors: Vec<Sensor>,
    areas: Vec<Area>,
    gateways: Vec<(GatewayId, Gateway)>,
    alarms: Vec<Alarm>,
    replayed: Vec<u64>,
    /// When received, and the frame as bytes.
    waiting: Vec<(i64, Vec<u8>)>,
}

impl State {
    /// The state as bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        let door = self.door.lock();
        let mut packs: Vec<(GatewayId, Vec<u128>)> = (door.packs.iter())
            .map(|(source, packs)| (source.clone(), packs.iter().copied().collect()))
            .collect();
        packs.sort();
        let (sensors, areas) = self.sensors.parts();
        let mut bytes = encode(&Written {
            totals: self.totals,
            ledger: door.ledger.to_list(),
            packs,
            sensors,
            areas,
            gateways: self.gateways.to_list(),
            alarms: self.alarms.to_list(),
            replayed: self.replayed.iter().copied().collect(),
            // It came in as a frame, so it goes out as one.
            waiting: (self.waiting.iter())
                .map(|waiter| (waiter.received_ms, waiter.frame.encode(Codec::best()).unwrap_or_default()))
                .collect(),
        });
        // What came later lies behind: an older ingest passes it over, and its checkpoints have none.
        bytes.extend(encode(&self.losses));
        bytes
    }

    /// The state from the bytes of a checkpoint at `position`, with the counts of files as they are after it;
    /// `None` when the bytes are of another version.
    pub fn restore(rules: Rules, position: u64, files: u64, rows: u64, bytes: &[u8]) -> Option<Self> {
        let (read, later): (Read, &[u8]) = decode_first(bytes)?;
        let losses = if later.is_empty() { Reports::default() } else { decode(later)? };
        let mut state = State::new(rules);
        state.position = position;
        state.checkpoint = position;
        state.current.from = position;
        state.totals = Totals { parquet_files: files, parquet_rows: rows, ..read.totals };
        {
            let mut door = state.door.lock();
            door.ledger = Ledger::from_list(read.ledger);
            door.packs =
                read.packs.into_iter().map(|(source, packs)| (source, VecDeque::from(packs))).collect();
        }
        state.sensors = Sensors::from_parts(read.sensors, read.areas);
        state.gateways = Gateways::from_list(read.gateways);
        state.losses = losses;
        state.alarms = Alarms::from_list(read.alarms);
        let waiting = read
            .waiting
            .into_iter()
            .map(|(received_ms, bytes)| Frame::decode(&bytes).map(|frame| Waiter { received_ms, frame }));
        state.waiting = Waiting::from_list(waiting.collect::<Result<_, _>>().ok()?);
        state.replayed = read.replayed.into_iter().collect();
        Some(state)
    }
}
