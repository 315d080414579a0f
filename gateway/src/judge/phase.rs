//! Where an alarm stands: quiet, pending, active, clearing. Pure.
//!
//! ```text
//!            beyond                     beyond for on_delay
//!   quiet ───────────► pending ──────────────────────────► active ◄────────┐
//!     ▲                   │ back                             │ back by      │ beyond the
//!     └───────────────────┘                                  ▼ the deadband │ deadband again, or unknown
//!     └───────────────────────────────────────────────── clearing ──────────┘
//!                     back for off_delay
//! ```
//! Time passes only with readings: a delay has run out when a reading after it still says so, so that one lonely
//! sample of a slow sensor never proves that something lasted.

use wire::{AlarmKind, BootId};

use crate::config::{Direction, Rule};

/// Most times that one alarm says again that it goes on, in one run: whom a hundred calls did not move will not be
/// moved by more, and the list still shows it.
pub(super) const MAX_REPEATS: u32 = 100;

/// What one reading says of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Dangerous.
    Beyond,
    /// Neither dangerous nor back behind the deadband.
    Between,
    /// Back behind the deadband.
    Back,
    /// Nothing: there is no usable input. Never clears.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Phase {
    Quiet,
    Pending { since_ms: u64 },
    Active(Life),
    Clearing { life: Life, since_ms: u64 },
}

/// One alarm while it lives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Life {
    pub(super) episode: u64,
    /// When it was raised, or taken over from before a restart.
    pub(super) raised_ms: u64,
    /// When it last said that it goes on.
    said_ms: u64,
    repeats: u32,
    /// The worst value so far.
    pub(super) worst: Option<f64>,
}

impl Life {
    pub(super) fn new(episode: u64, now_ms: u64, worst: Option<f64>) -> Self {
        Self { episode, raised_ms: now_ms, said_ms: now_ms, repeats: 0, worst }
    }
}

/// Numbers for episodes: unique per gateway without a counter on disk, and below 2^53.
#[derive(Debug)]
pub(super) struct Episodes {
    boot: u64,
    count: u64,
}

impl Episodes {
    pub(super) fn new(boot: BootId) -> Self {
        Self { boot: boot.0, count: 0 }
    }

    pub(super) fn next(&mut self) -> u64 {
        self.count += 1;
        (self.boot & 0xffff_ffff) << 20 | self.count & 0xf_ffff
    }
}

impl Phase {
    /// The alarm, while it is active or clearing.
    pub(super) fn life(&self) -> Option<&Life> {
        match self {
            Phase::Active(life) | Phase::Clearing { life, .. } => Some(life),
            Phase::Quiet | Phase::Pending { .. } => None,
        }
    }

    fn life_mut(&mut self) -> Option<&mut Life> {
        match self {
            Phase::Active(life) | Phase::Clearing { life, .. } => Some(life),
            Phase::Quiet | Phase::Pending { .. } => None,
        }
    }

    /// Goes on by one verdict; the alarm that was raised or cleared by it.
    pub(super) fn step(
        &mut self,
        now_ms: u64,
        verdict: Verdict,
        rule: &Rule,
        episodes: &mut Episodes,
    ) -> Option<(AlarmKind, Life)> {
        let (next, event) = match (*self, verdict) {
            (phase @ (Phase::Quiet | Phase::Pending { .. }), Verdict::Unknown) => (phase, None),
            (Phase::Quiet | Phase::Pending { .. }, Verdict::Between | Verdict::Back) => (Phase::Quiet, None),
            (phase @ (Phase::Quiet | Phase::Pending { .. }), Verdict::Beyond) => {
                let since_ms = if let Phase::Pending { since_ms } = phase { since_ms } else { now_ms };
                if now_ms.saturating_sub(since_ms) < rule.on_delay_ms {
                    (Phase::Pending { since_ms }, None)
                } else {
                    let life = Life::new(episodes.next(), now_ms, None);
                    (Phase::Active(life), Some((AlarmKind::Raised, life)))
                }
            }
            (Phase::Active(life) | Phase::Clearing { life, .. }, Verdict::Back) => {
                let since_ms = if let Phase::Clearing { since_ms, .. } = *self { since_ms } else { now_ms };
                if now_ms.saturating_sub(since_ms) < rule.off_delay_ms {
                    (Phase::Clearing { life, since_ms }, None)
                } else {
                    (Phase::Quiet, Some((AlarmKind::Cleared, life)))
                }
            }
            (Phase::Active(life) | Phase::Clearing { life, .. }, _) => (Phase::Active(life), None),
        };
        *self = next;
        event
    }

    /// Remembers the worst value of the alarm.
    pub(super) fn note(&mut self, value: f64, direction: Direction) {
        if let Some(life) = self.life_mut() {
            life.worst = Some(life.worst.map_or(value, |worst| match direction {
                Direction::Above => worst.max(value),
                Direction::Below => worst.min(value),
            }));
        }
    }

    /// Whether it is time to say again that the alarm goes on; it is then taken as said.
    pub(super) fn repeats(&mut self, now_ms: u64, repeat_ms: Option<u64>) -> Option<Life> {
        let (life, repeat_ms) = (self.life_mut()?, repeat_ms?);
        if life.repeats >= MAX_REPEATS || now_ms.saturating_sub(life.said_ms) < repeat_ms {
            return None;
        }
        life.repeats += 1;
        life.said_ms = now_ms;
        Some(*life)
    }
}
