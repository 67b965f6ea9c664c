//! What is written down about the requests of a run. Pure: times come from the caller.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::bench::limits::{LATENCY_NS_MAX, STEP, STEPS_COUNT_MAX};
use crate::io::Instant;
use crate::protocol::ErrorCode;

/// The part of a run that counts, and the requests in it. One per core; they add up.
#[derive(Clone, Debug)]
pub struct Book {
    begin: Instant,
    end: Instant,
    /// When something was acknowledged or came to a consumer last.
    last: Instant,
    batch_records: u32,
    /// How long a step of the time series is.
    pub step: Duration,
    /// From the intended send time to the answer, of all requests that were meant to be sent in
    /// the part that counts, in nanoseconds.
    pub latency: Histogram<u64>,
    /// From the intended send time to the hand-over to the kernel, of the same requests.
    pub send_delay: Histogram<u64>,
    /// From the intended send time to the arrival at a consumer, of every record whose batch was
    /// meant to be sent in the part that counts.
    pub end_to_end: Histogram<u64>,
    /// From a consumer's request to its answer, in nanoseconds.
    pub fetch_latency: Histogram<u64>,
    /// Step by step, counted from the begin of what counts, by when it happened.
    pub steps: Vec<Step>,
    /// Records whose answer came before the part that counts.
    pub warm_up_records: u64,
    /// Records acknowledged, whenever, that were meant to be sent in the part that counts.
    pub counted_records: u64,
    /// Requests whose answer never came, or that were not even sent: the broker was too far
    /// behind. They are in `latency` with the age that they had reached.
    pub unanswered: u64,
    /// Requests that were refused, by the error's name. They are not in `latency`.
    pub refused: BTreeMap<&'static str, u64>,
}

/// What happened in one step of the time series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Records and requests that were acknowledged.
    pub records: u64,
    pub requests: u64,
    pub latency_max_ns: u64,
    /// Records that consumers got, and the bytes of their batches as they came.
    pub fetched_records: u64,
    pub fetched_bytes: u64,
    /// Records that were there for a consumer and that it had not got, at most.
    pub lag_records_max: u64,
}

impl Step {
    fn add(&mut self, other: &Step) {
        self.records += other.records;
        self.requests += other.requests;
        self.latency_max_ns = self.latency_max_ns.max(other.latency_max_ns);
        self.fetched_records += other.fetched_records;
        self.fetched_bytes += other.fetched_bytes;
        // Of the consumers of several cores together, at different times within the step: the sum
        // is what it may have been at most.
        self.lag_records_max += other.lag_records_max;
    }
}

/// A batch that a consumer got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    pub records: u64,
    pub bytes: u64,
    /// When it was meant to be sent, if it says so.
    pub intended: Option<Instant>,
}

impl Book {
    /// An empty book of what is meant to be sent from `begin` and before `begin` + `length`.
    pub fn new(begin: Instant, length: Duration, batch_records: u32) -> Book {
        let longest = length.div_duration_f64(STEP) / f64::from(STEPS_COUNT_MAX);
        let step = STEP * longest.ceil().max(1.0) as u32;
        let steps = length.div_duration_f64(step).ceil() as usize;
        Book {
            begin,
            end: begin + length,
            last: begin,
            batch_records,
            step,
            latency: histogram(),
            send_delay: histogram(),
            end_to_end: histogram(),
            fetch_latency: histogram(),
            steps: vec![Step::default(); steps],
            warm_up_records: 0,
            counted_records: 0,
            unanswered: 0,
            refused: BTreeMap::new(),
        }
    }

    /// A request was handed to the kernel.
    pub fn sent(&mut self, intended: Instant, now: Instant) {
        if self.counts(intended) {
            record(&mut self.send_delay, now - intended, 1);
        }
    }

    /// A request was acknowledged. Throughput belongs to the step of the answer, latency to the
    /// request: so what is acknowledged late is counted late, and is not forgotten.
    pub fn acknowledged(&mut self, intended: Instant, now: Instant) {
        let records = u64::from(self.batch_records);
        self.last = self.last.max(now);
        if self.counts(intended) {
            record(&mut self.latency, now - intended, 1);
            self.counted_records += records;
        }
        if now < self.begin {
            self.warm_up_records += records;
        } else if let Some(step) = self.step_at(now) {
            step.records += records;
            step.requests += 1;
            let latency_ns = u64::try_from((now - intended).as_nanos()).unwrap_or(u64::MAX);
            step.latency_max_ns = step.latency_max_ns.max(latency_ns);
        }
    }

    /// A batch came to a consumer; true if its records' latency counts.
    pub fn arrived(&mut self, arrival: Arrival, now: Instant) -> bool {
        self.last = self.last.max(now);
        if let Some(step) = self.step_at(now) {
            step.fetched_records += arrival.records;
            step.fetched_bytes += arrival.bytes;
        }
        let counted = arrival.intended.filter(|&intended| self.counts(intended));
        if let Some(intended) = counted {
            record(&mut self.end_to_end, now - intended, arrival.records);
        }
        counted.is_some()
    }

    /// A fetch was answered.
    pub fn fetched(&mut self, asked: Instant, now: Instant) {
        if self.counts(asked) {
            record(&mut self.fetch_latency, now - asked, 1);
        }
    }

    /// So many records wait for this core's consumers.
    pub fn lagging(&mut self, records: u64, now: Instant) {
        if let Some(step) = self.step_at(now) {
            step.lag_records_max = step.lag_records_max.max(records);
        }
    }

    /// A request was refused.
    pub fn refused(&mut self, code: ErrorCode) {
        *self.refused.entry(code.name()).or_default() += 1;
    }

    /// A request was given up, without an answer or even before it was sent.
    pub fn given_up(&mut self, intended: Instant, now: Instant) {
        if self.counts(intended) {
            record(&mut self.latency, now - intended, 1);
            self.unanswered += 1;
        }
    }

    /// Adds what another core wrote down about the same run.
    pub fn add(&mut self, other: &Book) {
        assert_eq!((self.begin, self.end), (other.begin, other.end), "one run");
        let added = self
            .latency
            .add(&other.latency)
            .and(self.send_delay.add(&other.send_delay))
            .and(self.end_to_end.add(&other.end_to_end))
            .and(self.fetch_latency.add(&other.fetch_latency));
        self.last = self.last.max(other.last);
        added.expect("histograms have the same bounds");
        for (step, other) in self.steps.iter_mut().zip(&other.steps) {
            step.add(other);
        }
        self.warm_up_records += other.warm_up_records;
        self.counted_records += other.counted_records;
        self.unanswered += other.unanswered;
        for (name, count) in &other.refused {
            *self.refused.entry(name).or_default() += count;
        }
    }

    /// There was no more to do: what counts ends with the last thing that happened.
    pub fn end_with_the_last(&mut self) {
        let least = self.begin + Duration::from_nanos(1);
        self.end = self.last.max(least).min(self.end);
        let steps = (self.end - self.begin).div_duration_f64(self.step).ceil() as usize;
        self.steps.truncate(steps);
    }

    /// Records acknowledged within the part that counts.
    pub fn records(&self) -> u64 {
        self.steps.iter().map(|step| step.records).sum()
    }

    /// Requests acknowledged within the part that counts.
    pub fn requests(&self) -> u64 {
        self.steps.iter().map(|step| step.requests).sum()
    }

    /// By how many records the queue has grown while it counted: those that were meant to be sent
    /// at this rate without those that were acknowledged. 0 where the rate was held: what is
    /// missing is little, or may be in flight.
    pub fn behind_records(&self, records_per_second: u64, in_flight_records: u64) -> u64 {
        let meant = records_per_second as f64 * self.length_seconds();
        let behind = meant - self.records() as f64;
        let hiccup = records_per_second as f64 * HICCUP.as_secs_f64();
        let least = (meant * BEHIND_SHARE)
            .max(hiccup)
            .max(in_flight_records as f64);
        if behind > least { behind as u64 } else { 0 }
    }

    /// Records that consumers got within the part that counts.
    pub fn fetched_records(&self) -> u64 {
        self.steps.iter().map(|step| step.fetched_records).sum()
    }

    /// Bytes of their batches.
    pub fn fetched_bytes(&self) -> u64 {
        self.steps.iter().map(|step| step.fetched_bytes).sum()
    }

    pub fn fetched_records_per_second(&self) -> f64 {
        self.fetched_records() as f64 / self.length_seconds()
    }

    /// The largest lag, and the last one.
    pub fn lag_records(&self) -> (u64, u64) {
        let mut lags = self.steps.iter().map(|step| step.lag_records_max);
        let last = lags.next_back().unwrap_or(0);
        (lags.max().unwrap_or(0).max(last), last)
    }

    /// How long the part that counts is, in seconds.
    pub fn length_seconds(&self) -> f64 {
        (self.end - self.begin).as_secs_f64()
    }

    pub fn records_per_second(&self) -> f64 {
        self.records() as f64 / self.length_seconds()
    }

    fn counts(&self, intended: Instant) -> bool {
        (self.begin..self.end).contains(&intended)
    }

    /// The step of a time within the part that counts.
    fn step_at(&mut self, now: Instant) -> Option<&mut Step> {
        if !self.counts(now) {
            return None;
        }
        let at = (now - self.begin).as_nanos() / self.step.as_nanos();
        self.steps.get_mut(at as usize)
    }
}

/// A rate that is missed by less than this share, or by what came in so short a time, was held.
const BEHIND_SHARE: f64 = 0.02;
const HICCUP: Duration = Duration::from_millis(100);

/// A histogram of nanoseconds with three digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("bounds are in order")
}

fn record(histogram: &mut Histogram<u64>, time: Duration, count: u64) {
    let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    histogram.saturating_record_n(ns, count);
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
    fn a_run_that_is_over_early_ends_with_its_last_answer() {
        let mut book = book();
        book.acknowledged(at(1000), at(1250));
        book.fetched(at(1000), at(1007));
        book.end_with_the_last();
        assert_eq!((book.length_seconds(), book.steps.len()), (0.25, 3));
        assert_eq!(book.records_per_second(), 40.0);
        assert_eq!(book.fetch_latency.max() / 1_000_000, 7);
        let mut idle = super::tests::book();
        idle.end_with_the_last();
        assert_eq!(idle.records_per_second(), 0.0);
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
    fn a_rate_was_held_unless_the_queue_has_grown() {
        let check = |acknowledged: u64, rate, in_flight, expected| {
            let mut book = book();
            for _ in 0..acknowledged {
                book.acknowledged(at(1100), at(1101));
            }
            let behind = book.behind_records(rate, in_flight);
            assert_eq!(behind, expected, "{acknowledged} {rate} {in_flight}");
        };
        // 10 records each, within 2 s.
        check(200, 1000, 100, 0);
        check(199, 1000, 0, 0);
        check(190, 1000, 0, 0);
        check(180, 1000, 200, 0);
        check(180, 1000, 199, 200);
        check(50, 1000, 100, 1500);
        check(0, 1000, 100, 2000);
    }

    #[test]
    fn cores_add_up() {
        let (mut one, mut other) = (book(), book());
        one.acknowledged(at(1100), at(1101));
        other.acknowledged(at(2100), at(2103));
        other.refused(ErrorCode::NotLeaderOrFollower);
        one.add(&other);
        let latency_max_ms = |step: usize| one.steps[step].latency_max_ns / 1_000_000;
        assert_eq!((latency_max_ms(1), latency_max_ms(11)), (1, 3));
        assert_eq!(one.steps.len(), 20);
        assert_eq!(one.latency.len(), 2);
        assert_eq!(one.refused["NOT_LEADER_OR_FOLLOWER"], 1);
    }

    #[test]
    fn what_consumers_get_is_counted_by_record_and_by_when_it_came() {
        let (mut one, mut other) = (book(), book());
        let mut arrive = |intended: Option<u64>, now, expected| {
            let arrival = Arrival {
                records: 10,
                bytes: 1000,
                intended: intended.map(at),
            };
            assert_eq!(
                one.arrived(arrival, at(now)),
                expected,
                "{intended:?} {now}"
            );
        };
        arrive(Some(1000), 1004, true);
        arrive(Some(2999), 3010, true);
        arrive(Some(999), 1001, false);
        arrive(None, 1500, false);
        other.lagging(7, at(1001));
        one.lagging(3, at(1099));
        one.lagging(2, at(2999));
        one.add(&other);
        // What came at 3010 came after the end.
        assert_eq!((one.fetched_records(), one.fetched_bytes()), (30, 3000));
        assert_eq!(one.end_to_end.len(), 20);
        assert_eq!(one.end_to_end.max() / 1_000_000, 11);
        assert_eq!(one.lag_records(), (10, 2));
    }

    #[test]
    fn a_long_run_has_longer_steps() {
        let check = |seconds, step_ms| {
            let book = Book::new(at(0), Duration::from_secs(seconds), 1);
            assert_eq!(book.step.as_millis(), step_ms, "{seconds}");
            assert!(book.steps.len() <= STEPS_COUNT_MAX as usize);
        };
        check(1, 100);
        check(3600, 100);
        check(3601, 200);
        check(24 * 3600, 2400);
    }
}
