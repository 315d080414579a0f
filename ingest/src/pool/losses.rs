//! What gateways reported as lost, and why: the newest reports, for people. The [`super::ledger`] counts all.

use std::collections::{BTreeMap, VecDeque};

use bincode::{Decode, Encode};
use wire::{GatewayId, Lane, Loss, LossReason};

/// Most reports remembered per gateway; the oldest are forgotten.
pub const MAX_REPORTS: usize = 64;

/// One gap, as its gateway explained it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Report {
    /// When the report was received, in milliseconds since 1970 UTC.
    pub received_ms: i64,
    /// The store whose numbers are meant.
    pub store: u64,
    /// The lane.
    pub lane: Lane,
    /// First number that will never come.
    pub from: u64,
    /// Last number that will never come.
    pub to: u64,
    /// Readings or events lost, where the box knows.
    pub count: u64,
    /// Why.
    pub reason: LossReason,
}

/// The reports of all gateways, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Reports(BTreeMap<GatewayId, VecDeque<Report>>);

impl Reports {
    /// Notes a gap.
    pub(super) fn add(&mut self, gateway: &GatewayId, store: u64, loss: &Loss, received_ms: i64) {
        let reports = self.0.entry(gateway.clone()).or_default();
        if reports.len() >= MAX_REPORTS {
            reports.pop_front();
        }
        let Loss { lane, from, to, count, reason, .. } = *loss;
        reports.push_back(Report { received_ms, store, lane, from, to, count, reason });
    }

    /// Those of one gateway, newest first.
    pub fn of(&self, gateway: &GatewayId) -> impl Iterator<Item = &Report> {
        self.0.get(gateway).into_iter().flat_map(|reports| reports.iter().rev())
    }
}
