//! The one place in ingest that reads the wall clock; everything else takes `now` as an argument.

/// Milliseconds since 1970 UTC.
#[allow(clippy::disallowed_methods)] // the loops that drive call this
pub fn now_ms() -> i64 {
    match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        // A clock before 1970 is a clock that was never set.
        Err(_) => 0,
    }
}
