//! What is written down about the requests of a run. Pure: times come from the caller.

use std::collections::BTreeMap;
use std::time::Duration;

use corelog::io::Instant;
use corelog::protocol::ErrorCode;
use hdrhistogram::Histogram;

use crate::limits::LATENCY_NS_MAX;

/// The part of a run that counts, and the requests in it. One per core; they add up.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    begin: Instant,
    end: Instant,
    batch_records: u32,
    /// From the intended send time to the answer, of all requests that were meant to be sent in
    /// the part that counts, in nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// From the intended send time to the hand-over to the kernel, of the same requests.
    pub(crate) send_delay: Histogram<u64>,
    /// By the second in which the answer came, counted from the begin of what counts.
    pub(crate) seconds: Vec<Second>,
    /// Records whose answer came before the part that counts.
    pub(crate) warm_up_records: u64,
    /// Requests whose answer never came, or that were not even sent: the broker was too far
    /// behind. They are in `latency` with the age that they had reached.
    pub(crate) unanswered: u64,
    /// Requests that were refused, by the error's name. They are not in `latency`.
    pub(crate) refused: BTreeMap<&'static str, u64>,
}

/// What happened in one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Second {
    pub(crate) records: u64,
    pub(crate) requests: u64,
    pub(crate) latency_max_ns: u64,
}

impl Book {
    /// An empty book of what is meant to be sent from `begin` and before `begin` + `length`.
    pub(crate) fn new(begin: Instant, length: Duration, batch_records: u32) -> Book {
        let seconds = length.as_secs_f64().ceil() as usize;
        Book {
            begin,
            end: begin + length,
            batch_records,
            latency: histogram(),
            send_delay: histogram(),
            seconds: vec![Second::default(); seconds],
            warm_up_records: 0,
            unanswered: 0,
            refused: BTreeMap::new(),
        }
    }

    /// A request was handed to the kernel.
    pub(crate) fn sent(&mut self, intended: Instant, now: Instant) {
        if self.counts(intended) {
            record(&mut self.send_delay, now - intended);
        }
    }

    /// A request was acknowledged. Throughput belongs to the second of the answer, latency to the
    /// request: so what is acknowledged late is counted late, and is not forgotten.
    pub(crate) fn acknowledged(&mut self, intended: Instant, now: Instant) {
        if self.counts(intended) {
            record(&mut self.latency, now - intended);
        }
        if now < self.begin {
            self.warm_up_records += u64::from(self.batch_records);
        } else if now < self.end {
            let second = (now - self.begin).as_secs() as usize;
            let second = &mut self.seconds[second];
            second.records += u64::from(self.batch_records);
            second.requests += 1;
            let latency_ns = u64::try_from((now - intended).as_nanos()).unwrap_or(u64::MAX);
            second.latency_max_ns = second.latency_max_ns.max(latency_ns);
        }
    }

    /// A request was refused.
    pub(crate) fn refused(&mut self, code: ErrorCode) {
        *self.refused.entry(code.name()).or_default() += 1;
    }

    /// A request was given up, without an answer or even before it was sent.
    pub(crate) fn given_up(&mut self, intended: Instant, now: Instant) {
        if self.counts(intended) {
            record(&mut self.latency, now - intended);
            self.unanswered += 1;
        }
    }

    /// Adds what another core wrote down about the same run.
    pub(crate) fn add(&mut self, other: &Book) {
        assert_eq!((self.begin, self.end), (other.begin, other.end), "one run");
        let added = self
            .latency
            .add(&other.latency)
            .and(self.send_delay.add(&other.send_delay));
        added.expect("histograms have the same bounds");
        for (second, other) in self.seconds.iter_mut().zip(&other.seconds) {
            second.records += other.records;
            second.requests += other.requests;
            second.latency_max_ns = second.latency_max_ns.max(other.latency_max_ns);
        }
        self.warm_up_records += other.warm_up_records;
        self.unanswered += other.unanswered;
        for (name, count) in &other.refused {
            *self.refused.entry(name).or_default() += count;
        }
    }

    /// Records acknowledged within the part that counts.
    pub(crate) fn records(&self) -> u64 {
        self.seconds.iter().map(|second| second.records).sum()
    }

    /// Requests acknowledged within the part that counts.
    pub(crate) fn requests(&self) -> u64 {
        self.seconds.iter().map(|second| second.requests).sum()
    }

    /// How long the part that counts is, in seconds.
    pub(crate) fn length_seconds(&self) -> f64 {
        (self.end - self.begin).as_secs_f64()
    }

    pub(crate) fn records_per_second(&self) -> f64 {
        self.records() as f64 / self.length_seconds()
    }

    fn counts(&self, intended: Instant) -> bool {
        (self.begin..self.end).contains(&intended)
    }
}

/// A histogram of nanoseconds with three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("bounds are in order")
}

fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn book() -> Book {
        Book::new(at(1000), Duration::from_secs(2), 10)
    }

    #[test]
    fn latency_belongs_to_what_was_meant_to_be_sent_while_it_counts() {
        let mut book = book();
        for (intended, now) in [
            (998, 999),
            (999, 1001),
            (1000, 1003),
            (2999, 3500),
            (3000, 3001),
        ] {
            book.sent(at(intended), at(intended));
            book.acknowledged(at(intended), at(now));
        }
        assert_eq!(book.latency.len(), 2);
        assert_eq!(book.latency.max() / 1_000_000, 501);
        assert_eq!(book.send_delay.len(), 2);
        assert_eq!(book.warm_up_records, 10);
        // Answers at 1001 and 1003; those at 3001 and 3500 came after the end.
        assert_eq!((book.records(), book.requests()), (20, 2));
        assert_eq!(book.records_per_second(), 10.0);
    }

    #[test]
    fn what_is_given_up_has_the_latency_that_it_had_reached() {
        let mut book = book();
        book.acknowledged(at(1100), at(1101));
        book.given_up(at(1100), at(9100));
        book.given_up(at(500), at(9100));
        assert_eq!(book.unanswered, 1);
        assert_eq!(book.latency.max() / 100_000_000, 80);
        assert_eq!(book.records(), 10);
    }

    #[test]
    fn cores_add_up() {
        let (mut one, mut other) = (book(), book());
        one.acknowledged(at(1100), at(1101));
        other.acknowledged(at(2100), at(2103));
        other.refused(ErrorCode::NotLeaderOrFollower);
        one.add(&other);
        let latency_max_ns = |second: &Second| second.latency_max_ns / 1_000_000;
        let latencies: Vec<u64> = one.seconds.iter().map(latency_max_ns).collect();
        assert_eq!(latencies, [1, 3]);
        assert_eq!(one.latency.len(), 2);
        assert_eq!(one.refused["NOT_LEADER_OR_FOLLOWER"], 1);
    }
}
