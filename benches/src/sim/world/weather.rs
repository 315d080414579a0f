//! The weather: what goes wrong, and that it ends.

use super::{Broken, World};

/// What one seed lets go wrong.
pub(super) struct Climate {
    pub(super) faults: Vec<Trouble>,
    pub(super) pause_ms: u64,
    pub(super) doubles_in: u32,
    pub(super) later_in: u32,
    pub(super) ghosts: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Trouble {
    PowerCut,
    PowerCutInCall,
    Kill,
    DiskFails,
    DiskFull,
    DiskStalls,
    LineLost,
    LineDown,
    LineMute,
    HalfOpen,
    Slow,
    ClockJumps,
    ClockSet,
    Fire,
    SensorsMute,
    IngestPowerCut,
    IngestKill,
    IngestFull,
    IngestLater,
    Checkpoint,
}

use Trouble::*;

pub(super) const ALL: [Trouble; 20] = [
    PowerCut,
    PowerCutInCall,
    Kill,
    DiskFails,
    DiskFull,
    DiskStalls,
    LineLost,
    LineDown,
    LineMute,
    HalfOpen,
    Slow,
    ClockJumps,
    ClockSet,
    Fire,
    SensorsMute,
    IngestPowerCut,
    IngestKill,
    IngestFull,
    IngestLater,
    Checkpoint,
];

impl World {
    /// Something goes wrong.
    pub(super) fn trouble(&mut self) -> Result<(), Broken> {
        let trouble = self.climate.faults[self.random.usize(..self.climate.faults.len())];
        let number = self.random.usize(..self.gateways.len());
        let until_ms = self.now_ms + self.random.u64(500..180_000);
        self.note(|| format!("{trouble:?} at gw-{number}"));
        let runs = self.gateways[number].life.is_some();
        let connection = self.lines[number].pipe.connection;
        match trouble {
            PowerCut if runs => self.crash(number, true),
            PowerCutInCall => self.gateways[number].disk.borrow_mut().die_in(self.random.u32(..8)),
            Kill if runs => self.crash(number, false),
            DiskFails => {
                let one_in = [0, 4, 30][self.random.usize(..3)];
                self.gateways[number].disk.borrow_mut().fail(one_in);
            }
            DiskFull => {
                self.gateways[number].disk.borrow_mut().fill(self.random.u64(..20_000));
                self.gateways[number].full_until_ms = Some(until_ms);
            }
            DiskStalls => self.gateways[number].stall_until_ms = self.now_ms + self.random.u64(100..20_000),
            LineLost => self.lost(number, connection),
            LineDown => {
                self.lines[number].down_until_ms = until_ms;
                self.lost(number, connection);
            }
            LineMute => {
                self.lines[number].mute_until_ms = until_ms;
                self.lost(number, connection);
            }
            HalfOpen => self.lines[number].pipe.is_half_open = true,
            Slow => self.lines[number].delay_ms = self.random.u64(1..4_000),
            ClockJumps => {
                self.gateways[number].off_ms +=
                    self.random.i64(10_000..100_000_000_000) * [-1, 1][self.random.usize(..2)];
            }
            ClockSet => self.gateways[number].set_clock(self.now_ms),
            Fire => self.gateways[number].fire_until_ms = until_ms,
            SensorsMute => self.gateways[number].mute_until_ms = until_ms,
            IngestPowerCut => self.ingest.disk.die_in(self.random.u32(..6)),
            IngestKill if self.ingest.is_up() => self.stop_ingest(false),
            IngestFull => {
                self.log_full_until_ms = until_ms;
                self.ingest.disk.set_full(true);
            }
            IngestLater => self.ingest_later_until_ms = until_ms,
            Checkpoint if self.ingest.is_up() => {
                let dies = self.random.u32(..4) == 0;
                self.ingest.keep(self.now_ms, dies);
                if !self.ingest.is_up() {
                    self.stop_ingest(self.ingest.disk.is_dead());
                }
            }
            PowerCut | Kill | IngestKill | Checkpoint => {}
        }
        if !matches!(trouble, ClockJumps | ClockSet | Fire | Checkpoint) {
            self.unrest(number);
        }
        Ok(())
    }

    /// The weather becomes fine.
    pub(super) fn clear_up(&mut self) -> Result<(), Broken> {
        self.note(|| "the weather is fine".into());
        self.is_storm = false;
        (self.ingest_later_until_ms, self.log_full_until_ms) = (0, 0);
        self.ingest.disk.heal();
        for number in 0..self.gateways.len() {
            let gateway = &mut self.gateways[number];
            gateway.set_clock(self.now_ms);
            (gateway.stall_until_ms, gateway.full_until_ms) = (0, Some(0));
            gateway.disk.borrow_mut().heal();
            let line = &mut self.lines[number];
            (line.down_until_ms, line.mute_until_ms, line.delay_ms) = (0, 0, line.delay_ms.min(400));
            self.unrest(number);
        }
        Ok(())
    }
}
