//! One connection that produces: a task that sends, and one that reads the answers.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};

use super::Command;
use super::connect::{open_stream, seat};
use super::core::{Core, wait_until};
use crate::bench::answer::{read_answer, take_answer};
use crate::bench::plan::Plan;
use crate::bench::problem::Problem;
use crate::bench::request::{Identity, Template};
use crate::bench::schedule::Schedule;
use crate::bench::traffic::{Acks, Keys, Rate, Spread};
use crate::io::sync::Semaphore;
use crate::io::{self, Instant, TcpStream};
use crate::protocol::ErrorCode;

/// One connection's state, shared by its two tasks.
pub(super) struct Line {
    stream: TcpStream,
    /// Which one it is, of how many, and how many records it sends in a request.
    number: u32,
    connections: u32,
    batch_records: u32,
    /// Requests whose answer is to come, in their order.
    waiting: RefCell<VecDeque<Waiting>>,
    /// How many more may be sent.
    slots: Semaphore,
    in_flight: u32,
    /// How many were sent in this slice, and ever.
    slice_count: Cell<u64>,
    sent_count: Cell<u64>,
    /// How many it sends in this slice at most.
    quota: Cell<u64>,
    /// A request is being handed to the kernel; a slice that gives up may cut it off.
    is_sending: Cell<bool>,
    /// Nothing is read any more.
    is_closed: Cell<bool>,
    schedule: Option<Schedule>,
    /// The requests that it sends, in turn.
    templates: Vec<Template>,
    identity: Option<RefCell<Identity>>,
}

#[derive(Clone, Copy)]
struct Waiting {
    correlation_id: i32,
    intended: Instant,
    /// The slice ended without its answer, which counts no more.
    is_given_up: bool,
}

impl Line {
    pub(super) async fn open(
        plan: &Plan,
        connection: u32,
        identity: Option<Identity>,
    ) -> Result<Line, Problem> {
        let load = &plan.traffic.load;
        let (leader, number, connections) = seat(connection, load.connections, plan.leaders.len());
        let what = format!("connection {connection}");
        let stream = open_stream(plan.leaders[leader], &what).await?;
        let schedule = match load.rate {
            Rate::Max => None,
            Rate::RecordsPerSecond(records_per_second) => Some(Schedule {
                records_per_second,
                batch_records: load.batch_records,
                connection,
                connections: load.connections,
            }),
        };
        // A request with keys is for all partitions anyway.
        let spread = match load.keys {
            Keys::None => load.spread,
            Keys::Random | Keys::RoundRobin => Spread::All,
        };
        let templates = &plan.templates[leader];
        let templates = share(spread, number, connections, templates.len())
            .into_iter()
            .map(|at| templates[at].clone());
        Ok(Line {
            stream,
            number: connection,
            connections: load.connections,
            batch_records: load.batch_records,
            waiting: RefCell::new(VecDeque::new()),
            slots: Semaphore::new(load.in_flight as usize),
            in_flight: load.in_flight,
            slice_count: Cell::new(0),
            sent_count: Cell::new(0),
            quota: Cell::new(0),
            is_sending: Cell::new(false),
            is_closed: Cell::new(false),
            schedule,
            templates: templates.collect(),
            identity: identity.map(RefCell::new),
        })
    }

    pub(super) fn begin_slice(&self, command: &Command) {
        self.slice_count.set(0);
        self.quota.set(match command.records_max {
            u64::MAX => u64::MAX,
            records => {
                let requests = records.div_ceil(self.batch_records.into());
                quota(requests, self.number, self.connections)
            }
        });
    }

    /// Waits until all slots are free: every answer has come. Or the connection has failed.
    pub(super) async fn all_answered(&self) {
        let _ = self.slots.acquire_many(self.in_flight).await;
    }

    /// Writes down what was not answered, and what was meant to be sent and was not.
    pub(super) fn give_up_rest(&self, core: &Core) {
        let now = io::now();
        let mut book = core.book.borrow_mut();
        let mut waiting = self.waiting.borrow_mut();
        for waiting in waiting.iter_mut().filter(|waiting| !waiting.is_given_up) {
            waiting.is_given_up = true;
            book.given_up(waiting.intended, now);
        }
        if let Some(schedule) = self.schedule.filter(|_| !core.is_over()) {
            let due = schedule.count_before(core.end() - core.start());
            for number in self.slice_count.get()..due.min(self.quota.get()) {
                book.given_up(core.start() + schedule.intended(number), now);
            }
        }
    }

    pub(super) fn close(&self) {
        self.is_closed.set(true);
        self.stream.shutdown();
    }

    /// The next request of this connection.
    fn next_request(&self, intended: Instant, core: &Core) -> Vec<Bytes> {
        let number = self.sent_count.get();
        let template = &self.templates[(number % self.templates.len() as u64) as usize];
        let correlation_id = number as i32;
        let stamp = core.plan.traffic.is_stamped().then_some(intended);
        match &self.identity {
            None if stamp.is_none() => template.request(correlation_id),
            None => template.marked(correlation_id, stamp, None),
            Some(identity) => {
                let mut identity = identity.borrow_mut();
                template.marked(correlation_id, stamp, Some(&mut identity))
            }
        }
    }
}

/// The requests that a connection sends of so many, in their order.
fn share(spread: Spread, connection: u32, connections: u32, count: usize) -> Vec<usize> {
    let (connection, connections) = (connection as usize, connections as usize);
    match spread {
        Spread::Own if connections >= count => vec![connection % count],
        Spread::Own => (connection..count).step_by(connections).collect(),
        Spread::All => {
            let first = connection * count / connections;
            (0..count).map(|at| (first + at) % count).collect()
        }
        Spread::Hot if count == 1 => vec![0],
        Spread::Hot => {
            let others = count - 1;
            let first = connection * others / connections;
            let others = (0..others).map(|at| 1 + (first + at) % others);
            others.flat_map(|other| [0, 0, other, 0, 0]).collect()
        }
    }
}

/// How many of so many requests a connection sends.
fn quota(requests: u64, connection: u32, connections: u32) -> u64 {
    let (connection, connections) = (u64::from(connection), u64::from(connections));
    requests / connections + u64::from(connection < requests % connections)
}

/// Sends one connection's requests until what counts is over.
pub(super) async fn send_requests(line: Rc<Line>, core: Rc<Core>) {
    wait_until(core.start(), &core).await;
    if line.is_sending.get() {
        core.fail(Problem::new("a request of the slice before was cut off"));
        return;
    }
    while !core.is_over() && line.slice_count.get() < line.quota.get() {
        let due = line
            .schedule
            .map(|schedule| core.start() + schedule.intended(line.slice_count.get()));
        if let Some(due) = due {
            if due >= core.end() {
                return;
            }
            wait_until(due, &core).await;
        }
        let Ok(slot) = line.slots.acquire().await else {
            return;
        };
        // Its answer gives it back.
        slot.forget();
        let now = io::now();
        let intended = due.unwrap_or(now);
        if intended >= core.end() || core.is_over() {
            line.slots.add_permits(1);
            return;
        }
        let request = line.next_request(intended, &core);
        let acks = core.plan.traffic.load.acks;
        if acks != Acks::None {
            line.waiting.borrow_mut().push_back(Waiting {
                correlation_id: line.sent_count.get() as i32,
                intended,
                is_given_up: false,
            });
        }
        line.slice_count.set(line.slice_count.get() + 1);
        line.sent_count.set(line.sent_count.get() + 1);
        core.book.borrow_mut().sent(intended, now);
        line.is_sending.set(true);
        if let Err(error) = line.stream.write_all(request).await {
            core.fail(Problem::lost(format!("the broker takes no more: {error}")));
            line.slots.close();
            return;
        }
        line.is_sending.set(false);
        if acks == Acks::None {
            acknowledge(&line, &core, intended, io::now());
        }
    }
}

/// Reads one connection's answers until it is shut down.
pub(super) async fn read_answers(line: Rc<Line>, core: Rc<Core>) {
    if let Err(problem) = read_all(&line, &core).await {
        core.fail(problem);
    }
    line.slots.close();
}

async fn read_all(line: &Line, core: &Core) -> Result<(), Problem> {
    let mut arrived = BytesMut::with_capacity(64 << 10);
    loop {
        arrived.reserve(4096);
        let (result, back) = line.stream.read(arrived).await;
        arrived = back;
        let now = io::now();
        match result {
            _ if line.is_closed.get() => return Ok(()),
            Ok(0) => return Err(Problem::lost("the broker closed a connection")),
            Ok(_) => {}
            Err(error) => return Err(Problem::lost(format!("a connection broke: {error}"))),
        }
        while let Some(answer) = take_answer(&mut arrived)? {
            let (correlation_id, code) = read_answer(&answer, core.plan.version)?;
            let Some(waiting) = line.waiting.borrow_mut().pop_front() else {
                return Err(Problem::new("the broker answered what nobody asked"));
            };
            if waiting.correlation_id != correlation_id {
                return Err(Problem::new(format!(
                    "the broker answered request {correlation_id} instead of {}",
                    waiting.correlation_id
                )));
            }
            match code {
                _ if waiting.is_given_up => line.slots.add_permits(1),
                ErrorCode::None => acknowledge(line, core, waiting.intended, now),
                // A duplicate, too: what is in the log already was counted already.
                code => {
                    core.book.borrow_mut().refused(code);
                    answered(line, core);
                }
            }
        }
    }
}

fn acknowledge(line: &Line, core: &Core, intended: Instant, now: Instant) {
    let records = u64::from(core.plan.traffic.load.batch_records);
    let mut book = core.book.borrow_mut();
    let counted = book.counted_records;
    book.acknowledged(intended, now);
    let counted = book.counted_records - counted;
    let gauges = &core.gauges;
    gauges.counted.fetch_add(counted, Ordering::Relaxed);
    gauges.records.fetch_add(records, Ordering::Relaxed);
    answered(line, core);
}

/// A request of this slice has its answer; the last of those that were asked for ends it.
fn answered(line: &Line, core: &Core) {
    let records = u64::from(line.batch_records);
    let before = core.gauges.answered.fetch_add(records, Ordering::Relaxed);
    if before + records >= core.command.get().records_max {
        core.gauges.is_enough.store(true, Ordering::Relaxed);
    }
    line.slots.add_permits(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_some_connections() {
        for (requests, connections) in [(0, 3), (2, 3), (3, 3), (100, 7)] {
            let quotas = (0..connections).map(|number| quota(requests, number, connections));
            let quotas: Vec<u64> = quotas.collect();
            assert_eq!(quotas.iter().sum::<u64>(), requests, "{quotas:?}");
            assert!(
                quotas[0] - quotas[connections as usize - 1] <= 1,
                "{quotas:?}"
            );
        }
    }

    #[test]
    fn requests_are_dealt_to_connections() {
        let check = |spread, connection, connections, count, expected: &[usize]| {
            let got = share(spread, connection, connections, count);
            assert_eq!(
                got, expected,
                "{spread:?} {connection} of {connections}, {count}"
            );
        };
        check(Spread::Own, 1, 4, 16, &[1, 5, 9, 13]);
        check(Spread::Own, 2, 3, 4, &[2]);
        check(Spread::Own, 5, 16, 4, &[1]);
        check(Spread::All, 0, 2, 4, &[0, 1, 2, 3]);
        check(Spread::All, 1, 2, 4, &[2, 3, 0, 1]);
        check(Spread::Hot, 0, 2, 3, &[0, 0, 1, 0, 0, 0, 0, 2, 0, 0]);
        check(Spread::Hot, 1, 2, 3, &[0, 0, 2, 0, 0, 0, 0, 1, 0, 0]);
        check(Spread::Hot, 1, 2, 1, &[0]);
    }
}
