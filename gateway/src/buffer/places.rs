//! Empty values under the numbers that a waiting lane will give next, so that sled writes each frame once. Pure.
//!
//! sled keeps keys in leaves. A change is written by itself; a leaf is written whole when it splits, at its 17th key,
//! and with its eleventh change. So frames put one behind the other are written three times: by themselves, then in
//! the right half of a split, then in the left half of the next; and what lies between the dead copies is moved once
//! more to get their room back. Places laid ahead split while they are empty, which costs nothing, into leaves of 8 or
//! 9: a frame only replaces an empty value, and its leaf is full before it has changed ten times. Measured with frames
//! of 8 KB: 1.1 bytes of log for each of theirs, and 3.6 without places.
//!
//! A lane where little waits has none: what is acknowledged soon never fills a leaf.

use std::ops::Range;

use super::LaneHead;

/// A lane gets places once so many frames wait in it: what a leaf holds.
const FROM_BACKLOG: u64 = 16;
/// Places that are laid at a time: a leaf of 8 splits with them, and none has more changes than it bears.
const STEP: u64 = 9;
/// Places that lie ahead at least: the last leaf, which grows and splits, then holds no frame.
const AHEAD: u64 = 18;

/// The numbers that get a place before the next frame is put, when those before `laid` have theirs.
pub(super) fn to_lay(head: LaneHead, laid: u64) -> Range<u64> {
    let from = laid.max(head.next);
    let short = (head.next + AHEAD).saturating_sub(from);
    if head.next - head.floor < FROM_BACKLOG { from..from } else { from..from + short.div_ceil(STEP) * STEP }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_lie_ahead_of_a_lane_that_waits() {
        for (name, floor, next, laid, expected) in [
            ("nothing waits", 5, 5, 0, 0..0),
            ("little waits", 5, 20, 0, 0..0),
            ("a leaf full waits", 5, 21, 0, 21..39),
            ("enough are left", 5, 22, 40, 0..0),
            ("one too few", 5, 23, 40, 40..49),
            ("the frames have come past them", 5, 60, 40, 60..78),
            ("it was drained: they are used up first", 70, 72, 80, 0..0),
        ] {
            let lay = to_lay(LaneHead { floor, next }, laid);
            assert_eq!(if lay.is_empty() { 0..0 } else { lay }, expected, "{name}");
        }
    }
}
