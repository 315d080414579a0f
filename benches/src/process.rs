//! What the kernel says about a process (Linux `/proc`).

use std::fs;

use anyhow::Context;

/// Memory a process holds in RAM, in bytes; `None` when there is no such process.
pub fn rss_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Processor time of this thread so far, in ns (`schedstat`: time on the processor); so other load hardly shows.
///
/// # Errors
/// Where the kernel does not say.
pub fn processor_ns() -> anyhow::Result<u64> {
    let text =
        fs::read_to_string("/proc/thread-self/schedstat").context("this needs Linux with schedstat")?;
    let first = text.split_whitespace().next().context("schedstat is empty")?;
    Ok(first.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_holds_memory_and_a_missing_one_does_not() {
        assert!(rss_bytes(std::process::id()).is_some_and(|bytes| bytes > 100_000));
        assert_eq!(rss_bytes(u32::MAX), None);
    }
}
