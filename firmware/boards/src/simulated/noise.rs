//! Numbers that look random and are the same every time: functions of a seed, with no state.

/// Mixes 64 bits thoroughly (splitmix64).
pub(crate) fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A number for a name (FNV-1a, mixed with the seed).
pub(crate) fn name(seed: u64, text: &str) -> u64 {
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    mix(text.bytes().fold(0xcbf2_9ce4_8422_2325, fnv) ^ mix(seed))
}

/// From 0 up to 1.
pub(crate) fn unit(x: u64) -> f64 {
    (mix(x) >> 11) as f64 / (1_u64 << 53) as f64
}

/// A smooth wander between -1 and 1 that takes about `period_s` to become something else.
pub(crate) fn wander(salt: u64, t_s: f64, period_s: f64) -> f64 {
    let x = t_s / period_s;
    let step = x.floor();
    let at = |offset: f64| unit(salt ^ mix((step + offset) as i64 as u64)) * 2.0 - 1.0;
    let weight = smooth(x - step);
    at(0.0) * (1.0 - weight) + at(1.0) * weight
}

/// 0 up to 0, 1 from 1 on, and no kink between.
pub(crate) fn smooth(x: f64) -> f64 {
    let x = x.clamp(0.0, 1.0);
    x * x * (3.0 - 2.0 * x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wandering_is_smooth_bounded_and_repeatable() {
        for step in 0..2_000 {
            let t = f64::from(step) * 0.01;
            let (here, next) = (wander(7, t, 1.0), wander(7, t + 0.01, 1.0));
            assert!((-1.0..=1.0).contains(&here));
            assert!((here - next).abs() < 0.05, "a jump at {t}");
            assert_eq!(here.to_bits(), wander(7, t, 1.0).to_bits());
        }
    }

    #[test]
    fn names_and_seeds_both_matter() {
        assert_ne!(name(1, "a"), name(1, "b"));
        assert_ne!(name(1, "a"), name(2, "a"));
    }
}
