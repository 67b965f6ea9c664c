//! One connection that consumes: one fetch on its way, the next one when its answer is there.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::connect::{open_stream, seat};
use super::core::{Core, LOOK, wait_until};
use crate::bench::answer::{answer_bytes, split_answer};
use crate::bench::fetch::{Fetcher, Position};
use crate::bench::plan::Plan;
use crate::bench::problem::Problem;
use crate::io::{self, TcpStream};

/// One connection's state.
pub(super) struct Tail {
    stream: TcpStream,
    fetcher: RefCell<Fetcher>,
    asked_count: Cell<u64>,
    /// What has arrived of answers. The same memory again for each of them.
    arrived: RefCell<BytesMut>,
    is_idle: Cell<bool>,
}

impl Tail {
    pub(super) async fn open(
        plan: &Plan,
        connection: u32,
        positions: &[Position],
    ) -> Result<Tail, Problem> {
        let consume = plan.traffic.consume.as_ref();
        let consume = consume.expect("traffic with consumers");
        let leaders = plan.leaders.len();
        let (leader, number, connections) = seat(connection, consume.connections, leaders);
        let own = positions
            .iter()
            .filter(|position| position.place.leader == leader)
            .skip(number as usize)
            .step_by(connections as usize)
            .cloned()
            .collect();
        let what = format!("consumer {connection}'s connection");
        Ok(Tail {
            stream: open_stream(plan.leaders[leader], &what).await?,
            fetcher: RefCell::new(Fetcher::new(consume.clone(), plan.fetch_version, own)),
            asked_count: Cell::new(0),
            arrived: RefCell::new(BytesMut::new()),
            is_idle: Cell::new(true),
        })
    }

    /// Waits until nobody has a fetch on its way; false if that takes longer.
    pub(super) async fn all_idle(tails: &[Rc<Tail>], patience: Duration) -> bool {
        let all_idle = async {
            while !tails.iter().all(|tail| tail.is_idle.get()) {
                io::sleep(LOOK).await;
            }
        };
        io::timeout(patience, all_idle).await.is_some()
    }
}

/// Fetches until the slice pauses, and leaves nothing on its way behind.
pub(super) async fn consume(tail: Rc<Tail>, core: Rc<Core>) {
    wait_until(core.start(), &core).await;
    tail.is_idle.set(false);
    let alone = core.plan.traffic.load.connections == 0;
    let is_done = || tail.fetcher.borrow().is_done();
    let is_over = || match alone {
        true => core.is_over(),
        false => core.is_stopped(),
    };
    while !core.is_pausing.get() && !is_over() && !is_done() {
        if let Err(problem) = fetch(&tail, &core).await {
            core.fail(problem);
        }
    }
    tail.is_idle.set(true);
    // Producers have an end of their own.
    if is_done() && core.gauges.reading.fetch_sub(1, Ordering::Relaxed) == 1 && alone {
        core.gauges.is_enough.store(true, Ordering::Relaxed);
    }
}

async fn fetch(tail: &Tail, core: &Core) -> Result<(), Problem> {
    let number = tail.asked_count.get();
    tail.asked_count.set(number + 1);
    let request = tail.fetcher.borrow_mut().request(number as i32);
    let asked = io::now();
    let broke = |error: io::Error| Problem::lost(format!("a consumer's connection broke: {error}"));
    tail.stream.write_all(vec![request]).await.map_err(broke)?;
    let most = tail.fetcher.borrow().answer_bytes_max();
    let answer = read_answer(tail, most).await?;
    let now = io::now();
    let mut fetcher = tail.fetcher.borrow_mut();
    let mut book = core.book.borrow_mut();
    let lag = fetcher.lag();
    let (mut fetched, mut arrived) = (0, 0);
    let correlation_id = fetcher.take(&answer, |arrival| {
        fetched += arrival.records;
        if book.arrived(arrival, now) {
            arrived += arrival.records;
        }
    })?;
    if correlation_id != number as i32 {
        return Err(Problem::new(format!(
            "the broker answered fetch {correlation_id} instead of {number}"
        )));
    }
    book.fetched(asked, now);
    let before = core.gauges.fetched.fetch_add(fetched, Ordering::Relaxed);
    let is_enough = before + fetched >= core.command.get().records_max;
    if is_enough && core.plan.traffic.load.connections == 0 {
        core.gauges.is_enough.store(true, Ordering::Relaxed);
    }
    core.gauges.arrived.fetch_add(arrived, Ordering::Relaxed);
    core.lag.set(core.lag.get() - lag + fetcher.lag());
    book.lagging(core.lag.get(), now);
    Ok(())
}

/// Reads one whole answer.
async fn read_answer(tail: &Tail, most: usize) -> Result<Bytes, Problem> {
    let mut arrived = tail.arrived.take();
    loop {
        let length = answer_bytes(&arrived, most)?;
        if let Some(answer) = length.and_then(|length| split_answer(&mut arrived, length)) {
            tail.arrived.replace(arrived);
            return Ok(answer);
        }
        let whole = length.map_or(FIRST_READ_BYTES, |length| length + size_of::<i32>());
        arrived.reserve(whole - arrived.len());
        let (result, back) = tail.stream.read(arrived).await;
        arrived = back;
        match result {
            Ok(0) => return Err(Problem::lost("the broker closed a consumer's connection")),
            Ok(_) => {}
            Err(error) => {
                return Err(Problem::lost(format!(
                    "a consumer's connection broke: {error}"
                )));
            }
        }
    }
}

/// Room for the begin of an answer, before its length is known.
const FIRST_READ_BYTES: usize = 64 << 10;
