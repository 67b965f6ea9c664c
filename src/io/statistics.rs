//! What one core's executor has done since it started.

use std::time::Duration;

/// Counters of the running core; each only grows, except where it says "now".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// How the core waits for the machine: for a ring, the best of its modes that the kernel has.
    pub ring: &'static str,
    /// Rounds of the loop: run some tasks, reap completions, fire timers.
    pub turns: u64,
    /// Times that a task was polled.
    pub tasks_run: u64,
    /// Times that the core slept because it had nothing to do.
    pub parks: u64,
    /// Times that the core looked for work instead of sleeping, and some came.
    pub spins_with_work: u64,
    /// Times that it did so in vain, and slept after all.
    pub spins_in_vain: u64,
    /// System calls into the ring.
    pub enters: u64,
    /// Operations given to the ring.
    pub submissions: u64,
    /// Completions taken from the ring.
    pub completions: u64,
    /// Polls that ran longer than `limits::TASK_STALL_MS`.
    pub stalls: u64,
    /// The longest poll so far.
    pub longest_poll: Duration,
    /// Wake-ups that came from other threads.
    pub foreign_wakes: u64,
    /// Operations whose future was dropped before they completed.
    pub orphans: u64,
    /// Operations in flight now.
    pub in_flight: u64,
    /// Tasks alive now.
    pub tasks: u64,
}
