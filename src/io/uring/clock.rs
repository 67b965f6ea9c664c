//! Time and chance of the real machine. Usable on any thread.

use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::io::Instant;
use crate::model::Timestamp;

/// The processor's counter, and its value when it was first asked for. quanta calibrates it
/// against the monotonic clock then (below a millisecond), and uses that clock itself where the
/// counter cannot be trusted.
static CLOCK: OnceLock<(quanta::Clock, u64)> = OnceLock::new();

/// The time on the monotonic clock.
pub fn now() -> Instant {
    let (clock, zero) = CLOCK.get_or_init(|| {
        let clock = quanta::Clock::new();
        let zero = clock.raw();
        (clock, zero)
    });
    Instant::from_nanos(clock.delta_as_nanos(*zero, clock.raw()))
}

/// The time of day, which the operator may set forwards and backwards.
pub fn wall_clock() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Bytes that nobody can guess: ids, nonces, salts. A system call.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if let Err(error) = getrandom::fill(&mut bytes) {
        panic!("the kernel gives no random bytes: {error}");
    }
    bytes
}

/// A number for jitter, sampling and hashing: quick, seeded from the kernel once per thread, and
/// guessable by who has seen others of it.
pub fn random_u64() -> u64 {
    thread_local! {
        static STATE: Cell<Option<u64>> = const { Cell::new(None) };
    }
    // SplitMix64 (Steele, Lea, Flood 2014): a counter in steps of the golden ratio, mixed.
    let state = STATE
        .get()
        .unwrap_or_else(|| u64::from_ne_bytes(random_bytes()));
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(Some(state));
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_clock_goes_forward_at_the_pace_of_the_systems_clock() {
        let (ours, theirs) = (now(), std::time::Instant::now());
        std::thread::sleep(Duration::from_millis(50));
        let (ours, theirs) = (now() - ours, theirs.elapsed());
        assert!(
            ours.abs_diff(theirs) < Duration::from_millis(2),
            "{ours:?} {theirs:?}"
        );
    }

    #[test]
    fn the_wall_clock_is_in_this_century() {
        let year_2025 = 1_735_689_600_000;
        assert!((year_2025..2 * year_2025).contains(&wall_clock().0));
    }

    #[test]
    fn random_numbers_differ_between_calls_and_threads() {
        let mut seen: Vec<u64> = (0..1000).map(|_| random_u64()).collect();
        seen.extend(
            std::thread::spawn(|| [random_u64(), random_u64()])
                .join()
                .unwrap(),
        );
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 1002);
        assert_ne!(random_bytes::<16>(), random_bytes::<16>());
    }
}
