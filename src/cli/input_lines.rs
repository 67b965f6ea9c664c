//! Which lines of the input are on their way, and which were given up: for whoever has to send
//! them again. Pure.

use std::collections::{BTreeMap, VecDeque};

/// Where lines come from, and which ones: `count` of them from `first` on, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lines {
    /// The number of the file.
    pub(super) input: usize,
    pub(super) first: u64,
    pub(super) count: u64,
}

/// The lines that were sent and not acknowledged.
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    partitions: BTreeMap<i32, OnTheirWay>,
    given_up: Vec<Lines>,
}

/// The lines of one partition, in the order of its records.
#[derive(Debug, Default)]
struct OnTheirWay {
    /// Each with the number of its first record.
    runs: VecDeque<(u64, Lines)>,
    /// Records that were sent.
    sent: u64,
    /// Records that may be too large for a broker: their number, their line, their bytes.
    large: VecDeque<(u64, u64, usize)>,
}

/// A record smaller than this is not why a batch is too large. So few lines are remembered one by
/// one that what is remembered is small beside what the producer keeps.
const LARGE_BYTES: usize = 1024;

impl Outstanding {
    /// A line was sent to a partition.
    pub(super) fn sent(&mut self, partition: i32, input: usize, line: u64, bytes: usize) {
        let there = self.partitions.entry(partition).or_default();
        let record = there.sent;
        there.sent += 1;
        if bytes >= LARGE_BYTES {
            there.large.push_back((record, line, bytes));
        }
        match there.runs.back_mut() {
            Some((_, run)) if run.input == input && run.first + run.count == line => run.count += 1,
            _ => {
                let (first, count) = (line, 1);
                let run = Lines {
                    input,
                    first,
                    count,
                };
                there.runs.push_back((record, run));
            }
        }
    }

    /// A batch was answered; returns its lines, and of the largest of them the number and the
    /// bytes, if it is large.
    pub(super) fn answered(
        &mut self,
        partition: i32,
        first_record: u64,
        records: u64,
        is_acknowledged: bool,
    ) -> (Vec<Lines>, Option<(u64, usize)>) {
        let there = self.partitions.entry(partition).or_default();
        let end = first_record + records;
        let (mut taken, mut left) = (Vec::new(), VecDeque::new());
        for (record, run) in there.runs.drain(..) {
            for (from, to, is_taken) in [
                (record, first_record, false),
                (first_record, end, true),
                (end, record + run.count, false),
            ] {
                let (from, to) = (from.max(record), to.min(record + run.count));
                if from >= to {
                    continue;
                }
                let part = Lines {
                    first: run.first + (from - record),
                    count: to - from,
                    ..run
                };
                match is_taken {
                    true => taken.push(part),
                    false => left.push_back((from, part)),
                }
            }
        }
        there.runs = left;
        let in_batch = |record: u64| (first_record..end).contains(&record);
        let large = there.large.iter().filter(|(record, ..)| in_batch(*record));
        let largest = large.max_by_key(|(.., bytes)| *bytes);
        let largest = largest.map(|&(_, line, bytes)| (line, bytes));
        there.large.retain(|(record, ..)| !in_batch(*record));
        if !is_acknowledged {
            self.given_up.extend(&taken);
        }
        (taken, largest)
    }

    /// All that were sent and not acknowledged, in order.
    pub(super) fn all(&self) -> Vec<Lines> {
        let runs = self.partitions.values().flat_map(|there| &there.runs);
        let mut all: Vec<Lines> = runs.map(|(_, run)| *run).collect();
        all.extend(&self.given_up);
        in_order(all)
    }
}

/// Sorted, and what follows each other put together.
fn in_order(mut lines: Vec<Lines>) -> Vec<Lines> {
    lines.sort();
    let mut whole: Vec<Lines> = Vec::new();
    for run in lines {
        match whole.last_mut() {
            Some(last) if last.input == run.input && last.first + last.count == run.first => {
                last.count += run.count;
            }
            _ => whole.push(run),
        }
    }
    whole
}

/// Lines in words: `line 3`, `lines 3-5, 9 of a.txt`; `names` are those of the inputs.
pub(super) fn words(lines: &[Lines], names: &[String]) -> String {
    let lines = in_order(lines.to_vec());
    let mut text = String::new();
    let mut before = None;
    for run in lines.iter().take(RUNS_SHOWN) {
        if before.is_some() {
            text.push_str(", ");
        }
        if before != Some(run.input) {
            let of_input = lines.iter().filter(|other| other.input == run.input);
            let plural = if of_input.map(|run| run.count).sum::<u64>() == 1 {
                ""
            } else {
                "s"
            };
            let name = names.get(run.input).map_or("the input", String::as_str);
            text.push_str(&format!("{name} line{plural} "));
        }
        before = Some(run.input);
        match run.count {
            1 => text.push_str(&run.first.to_string()),
            count => text.push_str(&format!("{}-{}", run.first, run.first + count - 1)),
        }
    }
    let more: u64 = lines.iter().skip(RUNS_SHOWN).map(|run| run.count).sum();
    if more > 0 {
        text.push_str(&format!(" and {more} more up to {}", last_line(&lines)));
    }
    text
}

fn last_line(lines: &[Lines]) -> u64 {
    lines.last().map_or(0, |run| run.first + run.count - 1)
}

/// With keys, lines of many partitions are on their way at once.
const RUNS_SHOWN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        vec!["a".to_owned(), "b".to_owned()]
    }

    fn check(outstanding: &Outstanding, expected: &str) {
        assert_eq!(words(&outstanding.all(), &names()), expected);
    }

    #[test]
    fn what_is_acknowledged_is_not_on_its_way_any_more() {
        let mut lines = Outstanding::default();
        for line in 1..=6 {
            lines.sent((line % 2) as i32, 0, line, 10);
        }
        lines.sent(1, 1, 1, 10);
        check(&lines, "a lines 1-6, b line 1");
        lines.answered(1, 0, 2, true);
        check(&lines, "a lines 2, 4-6, b line 1");
        // Lines 4 and 6.
        let (refused, _) = lines.answered(0, 1, 2, false);
        assert_eq!(words(&refused, &names()), "a lines 4, 6");
        check(&lines, "a lines 2, 4-6, b line 1");
        lines.answered(0, 0, 1, true);
        lines.answered(1, 2, 2, true);
        check(&lines, "a lines 4, 6");
    }

    #[test]
    fn a_run_is_cut_where_its_batches_end() {
        let mut lines = Outstanding::default();
        for line in 1..=9 {
            lines.sent(0, 0, line, 10);
        }
        lines.answered(0, 3, 3, true);
        check(&lines, "a lines 1-3, 7-9");
        lines.answered(0, 0, 3, true);
        lines.sent(0, 0, 10, 10);
        check(&lines, "a lines 7-10");
        lines.answered(0, 6, 4, true);
        check(&lines, "");
    }

    #[test]
    fn the_largest_line_of_a_batch_is_known() {
        let mut lines = Outstanding::default();
        for (line, bytes) in [(1, 5000), (2, 10), (3, 2000), (4, 3000), (5, 9000)] {
            lines.sent(0, 0, line, bytes);
        }
        assert_eq!(lines.answered(0, 1, 1, false).1, None);
        assert_eq!(lines.answered(0, 2, 2, false).1, Some((4, 3000)));
        assert_eq!(lines.answered(0, 0, 1, false).1, Some((1, 5000)));
    }

    #[test]
    fn many_pieces_are_counted() {
        let mut lines = Outstanding::default();
        for line in 0..20 {
            lines.sent(0, 0, 1 + 2 * line, 10);
        }
        check(
            &lines,
            "a lines 1, 3, 5, 7, 9, 11, 13, 15 and 12 more up to 39",
        );
    }
}
