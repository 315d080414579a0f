//! Who may use how much of the disk, and who makes room first. Pure.
//!
//! Frames may fill a budget of bytes. Alarms, seal receipts and health have a reserve that nobody else can take; the
//! rest is shared. When what lies beyond the reserves fills the shared part, room is made in this order: camera frames
//! are dropped, then gauges of the box, then readings, then alarms and seal receipts; oldest first, and never below a
//! lane's reserve. Readings are thinned from a little earlier on, so that with a slow flood none is dropped before all
//! are thin.

use wire::Lane;

use super::shelf::{FLOOR_BYTES, Room};

/// Part of the budget that belongs to a lane alone, in percent, by number of the lane.
const RESERVE_PERCENT: [u64; 5] = [10, 10, 0, 0, 5];
/// Readings are thinned from here on, in percent of the shared part…
const THIN_PERCENT: u64 = 88;
/// …and once something must be dropped, until here: few large losses explain better than many small ones.
const AFTER_DROP_PERCENT: u64 = 90;
/// Bytes of frames for each 100 bytes of disk above sled's floor, while cleaning keeps up…
const MAX_FILL_PERCENT: u64 = 36;
/// …and the least to go down to.
const MIN_FILL_PERCENT: u64 = 10;
/// From so many percent of the quota on the ratio goes down…
const BRAKE_PERCENT: u64 = 80;
/// …and below so many up again, slowly, and thinning may go on.
const EASE_PERCENT: u64 = 70;
/// Part of the file system that stays free for everything else on the box, in percent…
const FREE_PERCENT: u64 = 5;
/// …and at most so many bytes.
const MAX_FREE_BYTES: u64 = 256 << 20;
/// Smallest budget in bytes: two flight windows of the largest frames.
const MIN_BYTES: u64 = 4 << 20;
/// Lanes in the order in which they lose frames.
pub(super) const DROP_ORDER: [Lane; 5] = [Lane::Frame, Lane::Health, Lane::Reading, Lane::Alarm, Lane::Seal];

/// Turns the disk that sled takes into a budget for frames. sled takes some 1.8 bytes for each byte of theirs, more
/// while it cannot keep up with cleaning: so the ratio is not assumed but steered by what lies on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steering {
    quota_bytes: u64,
    /// Bytes of frames for each 100 bytes of disk above sled's floor.
    fill_percent: u64,
}

impl Steering {
    /// At the start: the ratio of a store that is cleaned in time.
    pub fn new(quota_bytes: u64) -> Self {
        Self { quota_bytes, fill_percent: MAX_FILL_PERCENT }
    }

    /// Looks at the disk. The quota gives way to the free floor of the file system, but never to less than what the
    /// store has taken already.
    pub fn look(&mut self, room: Room) -> Budget {
        let spare = room.free_bytes.saturating_sub(free_floor(room));
        let disk = self.quota_bytes.min(room.used_bytes.saturating_add(spare));
        let used_percent = room.used_bytes.saturating_mul(100) / self.quota_bytes.max(1);
        if used_percent >= BRAKE_PERCENT {
            self.fill_percent = (self.fill_percent - self.fill_percent / 6).max(MIN_FILL_PERCENT);
        } else if used_percent < EASE_PERCENT {
            self.fill_percent = (self.fill_percent + 1).min(MAX_FILL_PERCENT);
        }
        // Thinning writes what it saves twice: not while cleaning lags behind.
        let may_thin = used_percent < EASE_PERCENT;
        Budget::of(disk.saturating_sub(FLOOR_BYTES) / 100 * self.fill_percent, may_thin)
    }
}

/// What frames may fill, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    reserves: [u64; 5],
    shared: u64,
    may_thin: bool,
}

impl Budget {
    /// The budget of `bytes` of frames.
    fn of(bytes: u64, may_thin: bool) -> Self {
        // A store on a nearly full disk still holds a handful of frames inside of what sled takes anyway.
        Self::exactly(bytes.max(MIN_BYTES), may_thin)
    }

    /// The same, however little it is: for the simulation, whose frames are small.
    pub fn exactly(bytes: u64, may_thin: bool) -> Self {
        let reserves = RESERVE_PERCENT.map(|percent| bytes / 100 * percent);
        Self { reserves, shared: bytes - reserves.iter().sum::<u64>(), may_thin }
    }

    /// Bytes that frames may fill in all.
    pub fn bytes(&self) -> u64 {
        self.shared + self.reserves.iter().sum::<u64>()
    }

    /// Bytes beyond the reserves.
    fn beyond(&self, live: [u64; 5]) -> u64 {
        live.iter().zip(self.reserves).map(|(live, reserve)| live.saturating_sub(reserve)).sum()
    }

    /// Bytes that thinning should save.
    pub fn to_thin(&self, live: [u64; 5]) -> u64 {
        if !self.may_thin {
            return 0;
        }
        self.beyond(live).saturating_sub(self.shared / 100 * THIN_PERCENT)
    }

    /// Bytes that each lane has to give up; all 0 while there is room.
    pub fn to_drop(&self, live: [u64; 5]) -> [u64; 5] {
        let mut drops = [0; 5];
        let beyond = self.beyond(live);
        if beyond <= self.shared {
            return drops;
        }
        let mut surplus = beyond - self.shared / 100 * AFTER_DROP_PERCENT;
        for lane in DROP_ORDER {
            let lane = lane as usize;
            drops[lane] = live[lane].saturating_sub(self.reserves[lane]).min(surplus);
            surplus -= drops[lane];
        }
        drops
    }
}

/// Bytes of the file system that are not ours to fill.
pub fn free_floor(room: Room) -> u64 {
    (room.disk_bytes / 100 * FREE_PERCENT).min(MAX_FREE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn room(used: u64, free: u64, disk: u64) -> Room {
        Room { used_bytes: used * MIB, blobs: 0, free_bytes: free * MIB, disk_bytes: disk * MIB }
    }

    #[test]
    fn the_quota_gives_way_to_the_free_floor_and_to_nothing_less() {
        let of = |mib: u64| Budget::of(mib * MIB / 100 * MAX_FILL_PERCENT, true);
        let budget = |room| Steering::new(128 * MIB).look(room);
        assert_eq!(budget(room(30, 10_000, 32_000)), of(100), "plenty of room");
        assert_eq!(budget(room(38, 50, 1_000)), of(10), "50 MiB free are the floor of 1,000");
        assert_eq!(budget(room(38, 90, 1_000)), of(50), "40 MiB above the floor");
        assert_eq!(budget(room(60, 0, 1_000)), of(32), "what it has it keeps");
        assert_eq!(budget(room(3, 0, 64)), Budget::of(MIN_BYTES, true), "a full disk at the start");
    }

    #[test]
    fn a_disk_that_fills_faster_than_frames_do_is_steered_against() {
        let mut steering = Steering::new(100 * MIB);
        let mut filled = |used| {
            let budget = steering.look(room(used, 10_000, 32_000));
            (budget.bytes() * 100 / (72 * MIB), budget.may_thin)
        };
        let near = |(percent, thin): (u64, bool)| (percent + 1, thin);
        assert_eq!(near(filled(50)), (36, true));
        assert_eq!(near(filled(75)), (36, false), "a little much: no thinning");
        assert_eq!(near(filled(80)), (30, false), "too much: less for frames");
        assert_eq!(near(filled(80)), (25, false));
        for _ in 0..20 {
            filled(99);
        }
        assert_eq!(near(filled(99)), (10, false), "never nothing");
        assert_eq!(near(filled(60)), (11, true), "slowly back");
    }

    #[test]
    fn room_is_made_in_the_order_of_worth() {
        let budget = Budget::of(100_000_000, true);
        assert_eq!(budget.shared, 75_000_000);
        // By number: alarm, seal, reading, frame, health.
        let full = [0, 0, 75_000_000, 0, 0];
        assert_eq!(budget.to_drop(full), [0; 5], "exactly full is not over");
        assert_eq!(budget.to_thin(full), 9_000_000);
        let cases = [
            ("readings alone", [0, 0, 76_000_000, 0, 0], [0, 0, 8_500_000, 0, 0]),
            ("reserves do not count", [10_000_000, 10_000_000, 75_000_000, 0, 5_000_000], [0; 5]),
            ("camera frames first", [0, 0, 60_000_000, 16_000_000, 0], [0, 0, 0, 8_500_000, 0]),
            ("then readings", [0, 0, 75_000_000, 1_000_000, 0], [0, 0, 7_500_000, 1_000_000, 0]),
            ("then gauges", [0, 0, 75_000_000, 0, 6_000_000], [0, 0, 7_500_000, 0, 1_000_000]),
            ("alarms take from readings", [40_000_000, 0, 50_000_000, 0, 0], [0, 0, 12_500_000, 0, 0]),
            ("alarms last", [86_000_000, 0, 0, 0, 0], [8_500_000, 0, 0, 0, 0]),
            ("seal receipts after all", [0, 86_000_000, 0, 0, 0], [0, 8_500_000, 0, 0, 0]),
        ];
        for (name, live, expected) in cases {
            assert_eq!(budget.to_drop(live), expected, "{name}");
        }
    }
}
