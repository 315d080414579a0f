//! When something is due next. Pure.

/// The first time after `now_ms` on the grid that starts at `due_ms` and has a point each `every_ms`.
/// Times that were missed are not made up for.
pub(crate) fn next_due(due_ms: u64, every_ms: u64, now_ms: u64) -> u64 {
    if due_ms > now_ms {
        return due_ms;
    }
    let every_ms = every_ms.max(1);
    due_ms + ((now_ms - due_ms) / every_ms + 1) * every_ms
}

#[cfg(test)]
mod tests {
    use super::next_due;

    #[test]
    fn the_grid_is_kept_and_missed_points_are_skipped() {
        assert_eq!(next_due(0, 1000, 3), 1000);
        assert_eq!(next_due(1000, 1000, 1000), 2000);
        assert_eq!(next_due(1000, 1000, 5500), 6000);
        assert_eq!(next_due(9000, 1000, 3), 9000);
        assert_eq!(next_due(5, 0, 5), 6, "an interval of 0 does not divide");
    }
}
