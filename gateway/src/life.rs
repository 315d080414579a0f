//! Whether the gateway still makes progress. Pure.

use std::fmt;

/// Longest silence of a part that runs, in ms. The buffer thread looks up every 5 s when idle, and a commit on a worn
/// card may take many seconds.
pub const MAX_SILENCE_MS: u64 = 30_000;

/// When each part last came round its loop, in ms since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beats {
    /// The pipeline thread.
    pub pipeline_ms: u64,
    /// The buffer thread.
    pub buffer_ms: u64,
    /// The shipping task.
    pub shipper_ms: u64,
    /// The disk answers the buffer, with a refusal: it is full, or broken.
    pub disk_refuses: bool,
}

/// A part of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The pipeline thread.
    Pipeline,
    /// The buffer thread.
    Buffer,
    /// The shipping task.
    Shipper,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Pipeline => "处理线程 pipeline",
            Part::Buffer => "缓存线程 buffer",
            Part::Shipper => "上行任务 shipper",
        })
    }
}

impl Beats {
    /// The part that stands still at `now_ms`, the one that the others wait for first.
    ///
    /// A disk that refuses is no reason for a new start: it would refuse again, and what waits in memory would be
    /// lost. Whoever waits for it is excused, as long as the buffer keeps trying. A disk that never answers at all is
    /// one: that thread hangs for good.
    pub fn stuck(&self, now_ms: u64) -> Option<Part> {
        let silent = |beat_ms: u64| now_ms.saturating_sub(beat_ms) > MAX_SILENCE_MS;
        if silent(self.buffer_ms) {
            return Some(Part::Buffer);
        }
        if self.disk_refuses {
            return None;
        }
        [(Part::Pipeline, self.pipeline_ms), (Part::Shipper, self.shipper_ms)]
            .into_iter()
            .find_map(|(part, beat_ms)| silent(beat_ms).then_some(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_stands_still_is_named_and_one_that_waits_for_a_full_disk_is_excused() {
        const NOW: u64 = 100_000;
        const OLD: u64 = NOW - MAX_SILENCE_MS - 1;
        const ON_TIME: u64 = NOW - MAX_SILENCE_MS;
        for (pipeline_ms, buffer_ms, shipper_ms, disk_refuses, stuck) in [
            (ON_TIME, ON_TIME, ON_TIME, false, None),
            (OLD, NOW, NOW, false, Some(Part::Pipeline)),
            (NOW, OLD, NOW, false, Some(Part::Buffer)),
            (NOW, NOW, OLD, false, Some(Part::Shipper)),
            (OLD, OLD, OLD, false, Some(Part::Buffer)),
            (OLD, NOW, OLD, true, None),
            (NOW, OLD, NOW, true, Some(Part::Buffer)),
            // Nothing has come round yet, soon after the start, and long after.
            (NOW + 1, NOW + 1, NOW + 1, false, None),
            (0, 0, 0, false, Some(Part::Buffer)),
        ] {
            let beats = Beats { pipeline_ms, buffer_ms, shipper_ms, disk_refuses };
            assert_eq!(beats.stuck(NOW), stuck, "{beats:?}");
        }
    }
}
