//! Deadlines on a hierarchical wheel: insert, remove and expire in constant time, however many
//! there are. Pure: it knows numbers, not clocks.

use slab::Slab;

/// log2 of a tick in nanoseconds: 65.5 us. A deadline is late by less than one tick, never early.
const TICK_SHIFT: u32 = 16;
/// log2 of the slots of a level.
const SLOT_SHIFT: u32 = 6;
const SLOTS: usize = 1 << SLOT_SHIFT;
/// Together the levels span every tick that 64 bits of nanoseconds can name, so nothing overflows.
const LEVELS: usize = ((u64::BITS - TICK_SHIFT) / SLOT_SHIFT) as usize;
const TICK_MAX: u64 = u64::MAX >> TICK_SHIFT;

const _: () = assert!(LEVELS as u32 * SLOT_SHIFT + TICK_SHIFT == u64::BITS);

/// Values of `T`, each due at a time in nanoseconds.
///
/// Level 0 has one slot per tick; a slot of level n spans 64 slots of level n-1. An entry lies on
/// the lowest level on which its tick and the current tick are in the same 64 slots. So every
/// entry of a level is due before all of the levels above, and the earliest is found by the first
/// occupied slot of the first occupied level. When the current tick enters a slot of a level above
/// 0, that slot's entries are put in again, which lands them lower.
///
/// Entries with the same tick come out in the order in which they were put in, as long as they
/// were put in at the same level.
pub(super) struct Wheel<T> {
    entries: Slab<Entry<T>>,
    slots: [[Slot; SLOTS]; LEVELS],
    /// One bit per slot that has entries.
    occupied: [u64; LEVELS],
    /// Everything due at or before this tick has been handed out.
    now_tick: u64,
    /// Makes the key of a removed entry useless even when its place is used again.
    next_serial: u64,
}

/// Names one entry for as long as it is in the wheel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimerKey {
    index: usize,
    serial: u64,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    first: Option<usize>,
    last: Option<usize>,
}

struct Entry<T> {
    serial: u64,
    tick: u64,
    level: usize,
    previous: Option<usize>,
    next: Option<usize>,
    value: T,
}

impl<T> Wheel<T> {
    /// An empty wheel whose clock stands at `now_ns`.
    pub(super) fn new(now_ns: u64) -> Wheel<T> {
        Wheel {
            entries: Slab::new(),
            slots: [[Slot::default(); SLOTS]; LEVELS],
            occupied: [0; LEVELS],
            now_tick: now_ns >> TICK_SHIFT,
            next_serial: 0,
        }
    }

    /// Puts a value in; `advance` hands it out once the clock has reached `deadline_ns`.
    pub(super) fn insert(&mut self, deadline_ns: u64, value: T) -> TimerKey {
        let tick = deadline_ns.div_ceil(1 << TICK_SHIFT).min(TICK_MAX);
        let serial = self.next_serial;
        self.next_serial += 1;
        // What is due already comes out at the next tick; its caller had better not wait at all.
        let tick = tick.max(self.now_tick + 1);
        let entry = Entry {
            serial,
            tick,
            level: 0,
            previous: None,
            next: None,
            value,
        };
        let index = self.entries.insert(entry);
        self.link(index);
        TimerKey { index, serial }
    }

    /// The value of an entry that has not been handed out yet.
    pub(super) fn get_mut(&mut self, key: TimerKey) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.index)?;
        (entry.serial == key.serial).then_some(&mut entry.value)
    }

    /// Takes an entry out before it is due.
    pub(super) fn remove(&mut self, key: TimerKey) -> Option<T> {
        self.get_mut(key)?;
        self.unlink(key.index);
        Some(self.entries.remove(key.index).value)
    }

    /// Hands out everything that is due at `now_ns`, earliest first.
    pub(super) fn advance(&mut self, now_ns: u64, due: &mut Vec<T>) {
        let target = now_ns >> TICK_SHIFT;
        while let Some((level, slot, tick)) = self.earliest_slot() {
            if tick > target {
                break;
            }
            self.now_tick = tick;
            self.empty_slot(level, slot, due);
        }
        self.now_tick = self.now_tick.max(target);
    }

    /// When `advance` should next be called, or `None` if the wheel is empty. An entry due far
    /// ahead gives an earlier time than its own, at which it moves down a level.
    pub(super) fn next_wake_ns(&self) -> Option<u64> {
        self.earliest_slot().map(|(_, _, tick)| tick << TICK_SHIFT)
    }

    /// The first occupied slot of the first occupied level, and the tick at which it begins.
    fn earliest_slot(&self) -> Option<(usize, usize, u64)> {
        let level = self.occupied.iter().position(|bits| *bits != 0)?;
        let slot = self.occupied[level].trailing_zeros() as usize;
        let shift = level as u32 * SLOT_SHIFT;
        let above = (self.now_tick >> shift) & !(SLOTS as u64 - 1);
        Some((level, slot, (above | slot as u64) << shift))
    }

    /// Hands out the entries of a slot that the current tick has entered, or moves them lower.
    fn empty_slot(&mut self, level: usize, slot: usize, due: &mut Vec<T>) {
        self.occupied[level] &= !(1 << slot);
        let mut next = std::mem::take(&mut self.slots[level][slot]).first;
        while let Some(index) = next {
            let entry = &mut self.entries[index];
            next = entry.next.take();
            entry.previous = None;
            if entry.tick <= self.now_tick {
                due.push(self.entries.remove(index).value);
            } else {
                self.link(index);
            }
        }
    }

    /// Appends an entry to the slot that its tick belongs to, seen from the current tick.
    fn link(&mut self, index: usize) {
        let tick = self.entries[index].tick;
        let differing_bits = u64::BITS - (self.now_tick ^ tick).leading_zeros();
        let level = (differing_bits.saturating_sub(1) / SLOT_SHIFT) as usize;
        let slot_index = slot_of(tick, level);
        let slot = &mut self.slots[level][slot_index];
        let last = slot.last.replace(index);
        if last.is_none() {
            slot.first = Some(index);
        }
        self.occupied[level] |= 1 << slot_index;
        if let Some(last) = last {
            self.entries[last].next = Some(index);
        }
        let entry = &mut self.entries[index];
        entry.level = level;
        entry.previous = last;
        entry.next = None;
    }

    fn unlink(&mut self, index: usize) {
        let entry = &self.entries[index];
        let (level, slot_index) = (entry.level, slot_of(entry.tick, entry.level));
        let (previous, next) = (entry.previous, entry.next);
        match previous {
            Some(previous) => self.entries[previous].next = next,
            None => self.slots[level][slot_index].first = next,
        }
        match next {
            Some(next) => self.entries[next].previous = previous,
            None => self.slots[level][slot_index].last = previous,
        }
        if self.slots[level][slot_index].first.is_none() {
            self.occupied[level] &= !(1 << slot_index);
        }
    }
}

fn slot_of(tick: u64, level: usize) -> usize {
    ((tick >> (level as u32 * SLOT_SHIFT)) & (SLOTS as u64 - 1)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: u64 = 1 << TICK_SHIFT;

    /// Puts the deadlines in at `start_ns`, follows `next_wake_ns` as the executor does, and
    /// returns when each came out, in order.
    fn check(start_ns: u64, deadlines: &[u64]) {
        let mut wheel = Wheel::new(start_ns);
        for deadline in deadlines {
            wheel.insert(*deadline, *deadline);
        }
        let mut expected = deadlines.to_vec();
        expected.sort_by_key(|deadline| deadline.div_ceil(TICK).max((start_ns >> TICK_SHIFT) + 1));
        let mut wakes = 0;
        let mut seen = Vec::new();
        while let Some(now) = wheel.next_wake_ns() {
            let mut due = Vec::new();
            wheel.advance(now, &mut due);
            for deadline in due {
                assert!(deadline <= now, "{deadline} came out early, at {now}");
                let late = now - deadline.max(start_ns);
                assert!(late <= TICK, "{deadline} came out {late} ns late");
                seen.push(deadline);
            }
            wakes += 1;
        }
        assert_eq!(seen, expected);
        assert!(wakes <= LEVELS * deadlines.len(), "{wakes} wake-ups");
    }

    #[test]
    fn deadlines_come_out_in_order_never_early_late_by_a_tick_at_most() {
        let second = 1_000_000_000;
        check(0, &[]);
        check(0, &[1]);
        check(0, &[TICK, TICK + 1, 2 * TICK, TICK - 1]);
        check(
            0,
            &[63 * TICK, 64 * TICK, 65 * TICK, 4095 * TICK, 4096 * TICK],
        );
        check(
            12_345_678,
            &[12_345_679, 30 * second, 5 * second, 3_600 * second],
        );
        // The start lies just below the border of every level.
        let border = TICK << 36;
        check(
            border - 1,
            &[border, border + 1, border + 70 * TICK, border + 9 * second],
        );
        // Due before the start: at the next tick.
        check(9 * TICK, &[9 * TICK]);
    }

    #[test]
    fn a_deadline_at_the_end_of_time_waits_there() {
        let mut wheel = Wheel::new(0);
        wheel.insert(u64::MAX, ());
        let mut due = Vec::new();
        wheel.advance(u64::MAX / 2, &mut due);
        assert!(due.is_empty());
        wheel.advance(u64::MAX, &mut due);
        assert_eq!(due.len(), 1);
    }

    #[test]
    fn a_key_is_useless_after_its_entry_went() {
        let mut wheel = Wheel::new(0);
        let first = wheel.insert(TICK, 'a');
        assert_eq!(wheel.remove(first), Some('a'));
        let second = wheel.insert(TICK, 'b');
        assert_eq!(first.index, second.index, "the place is used again");
        assert_eq!(wheel.remove(first), None);
        assert_eq!(wheel.get_mut(second), Some(&mut 'b'));
        wheel.advance(TICK, &mut Vec::new());
        assert_eq!(wheel.get_mut(second), None);
        assert_eq!(wheel.next_wake_ns(), None);
    }

    #[test]
    fn a_late_clock_gets_all_that_is_due_in_order() {
        let mut wheel = Wheel::new(0);
        for n in (1..=1000_u64).rev() {
            wheel.insert(n * 7 * TICK, n);
        }
        let mut due = Vec::new();
        wheel.advance(3500 * TICK, &mut due);
        assert_eq!(due, (1..=500).collect::<Vec<_>>());
        wheel.advance(u64::MAX / 2, &mut due);
        assert_eq!(due, (1..=1000).collect::<Vec<_>>());
    }

    #[test]
    fn random_inserts_and_removes_agree_with_a_sorted_list() {
        let rounds = if cfg!(miri) { 200 } else { 20_000 };
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut wheel = Wheel::new(0);
        let mut model: Vec<(u64, u64, TimerKey)> = Vec::new();
        let mut now = 0;
        for id in 0..rounds {
            match random() % 4 {
                0 | 1 => {
                    let deadline = now + (random() >> (20 + random() % 40));
                    model.push((deadline, id, wheel.insert(deadline, id)));
                }
                2 if !model.is_empty() => {
                    let at = random() as usize % model.len();
                    let (_, id, key) = model.swap_remove(at);
                    assert_eq!(wheel.remove(key), Some(id));
                }
                _ => {
                    let before = now >> TICK_SHIFT;
                    now += random() >> (30 + random() % 20);
                    let mut due = Vec::new();
                    wheel.advance(now, &mut due);
                    let tick = |deadline: u64| deadline.div_ceil(TICK).max(before + 1);
                    let is_due = |deadline: u64| tick(deadline) <= now >> TICK_SHIFT;
                    let mut expected: Vec<_> =
                        model.iter().filter(|e| is_due(e.0)).map(|e| e.1).collect();
                    model.retain(|e| !is_due(e.0));
                    expected.sort_unstable();
                    due.sort_unstable();
                    assert_eq!(due, expected);
                }
            }
        }
    }
}
