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
    /// Notes a gap. A box that thins says so each minute: what follows on another such report makes that longer, or
    /// an hour of it would push out every other reason.
    pub(super) fn add(&mut self, gateway: &GatewayId, store: u64, loss: &Loss, received_ms: i64) {
        let reports = self.0.entry(gateway.clone()).or_default();
        if let Some(last) = reports.back_mut()
            && loss.reason == LossReason::Thinned
            && (last.reason, last.store, last.lane) == (LossReason::Thinned, store, loss.lane)
        {
            (last.from, last.to) = (last.from.min(loss.from), last.to.max(loss.to));
            last.count = last.count.saturating_add(loss.count);
            last.received_ms = received_ms;
            return;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_of_thinning_is_one_report_and_pushes_out_no_other() {
        let gateway = GatewayId::new("g").unwrap();
        let mut reports = Reports::default();
        let mut add = |reason, from, count| {
            let lane = Lane::Reading;
            let loss = Loss { lane, from, to: from + 9, count, reason, mono_ms: 0 };
            reports.add(&gateway, 7, &loss, from as i64);
        };
        add(LossReason::Corrupt, 1, 0);
        for minute in 0..2 * MAX_REPORTS as u64 {
            // The second step begins again at the oldest.
            add(LossReason::Thinned, 100 + minute % 100 * 10, 3);
        }
        add(LossReason::Quota, 5000, 8);
        add(LossReason::Thinned, 6000, 3);
        let told: Vec<_> = reports.of(&gateway).map(|r| (r.reason, r.from, r.to, r.count)).collect();
        let thinned = 2 * 3 * MAX_REPORTS as u64;
        assert_eq!(
            told,
            [
                (LossReason::Thinned, 6000, 6009, 3),
                (LossReason::Quota, 5000, 5009, 8),
                (LossReason::Thinned, 100, 1099, thinned),
                (LossReason::Corrupt, 1, 10, 0),
            ]
        );
    }
}
