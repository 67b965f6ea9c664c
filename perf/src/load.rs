//! The load generator: connections on pinned cores with rings of their own, requests at their
//! intended times or as fast as answers come, and every latency counted from the intended time.
//!
//! A stall of the broker cannot hide here (no coordinated omission): at a fixed rate a request
//! that has to wait for the answers before it keeps the time at which it was meant to be sent.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bytes::BytesMut;
use corelog::io::sync::{Semaphore, watch};
use corelog::io::{self, CoreSpec, Instant, TcpStream};
use corelog::model::CoreId;
use corelog::protocol::ErrorCode;

use crate::book::Book;
use crate::limits::{DRAIN_SECONDS, SPACE_LEFT_BYTES_MIN, WATCH_CLOCK_NS};
use crate::problem::Problem;
use crate::request::{Template, read_answer, take_answer};
use crate::schedule::Schedule;
use crate::workload::{Acks, Rate, Spread, Workload};

/// Everything that one run of load needs.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) workload: Workload,
    pub(crate) address: SocketAddr,
    /// The version of produce requests.
    pub(crate) version: i16,
    /// One request for each partition.
    pub(crate) templates: Arc<Vec<Template>>,
    /// One core of the client each; the connections are dealt to them in turn.
    pub(crate) cpus: Vec<Option<usize>>,
    pub(crate) warm_up: Duration,
    pub(crate) length: Duration,
    /// A directory whose file system must not run full.
    pub(crate) dir: Option<std::path::PathBuf>,
}

/// What the thread that started a load sees of it while it runs.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    /// Records acknowledged so far, warm-up included.
    pub(crate) records: AtomicU64,
    /// Set when the run has no sense any more: everybody comes to an end.
    pub(crate) is_stopped: AtomicBool,
}

/// What happens on the thread that started a load, at the times that matter.
pub(crate) trait Watcher {
    /// The part that counts begins, or has just ended.
    fn at_edge(&mut self);
    /// Now and then while the load runs; `share` of it is over.
    fn tick(&mut self, share: f64, records: u64);
}

/// Runs the load, and returns what was written down about it.
pub(crate) fn run(plan: &Plan, watcher: &mut impl Watcher) -> Result<Book, Problem> {
    let gauges = Arc::new(Gauges::default());
    let (start, started) = watch::channel(None);
    let (ready, all_ready) = mpsc::channel();
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    let thread = {
        let (plan, gauges, outcomes) = (plan.clone(), Arc::clone(&gauges), Arc::clone(&outcomes));
        io::spawn_thread("perf load", move || {
            let core_count = plan.cpus.len();
            let cores: Vec<CoreSpec> = (0..core_count)
                .map(|core| CoreSpec {
                    id: CoreId(core as u16),
                    cpu: plan.cpus[core],
                })
                .collect();
            io::run(&cores, |core| {
                let (plan, gauges) = (plan.clone(), Arc::clone(&gauges));
                let (started, ready) = (started.clone(), ready.clone());
                let outcomes = Arc::clone(&outcomes);
                async move {
                    let outcome = run_core(&plan, core, &gauges, started, ready).await;
                    outcomes.lock().expect("no core panicked").push(outcome);
                }
            })
        })
        .map_err(|error| Problem::new(format!("cannot start the load's thread: {error}")))?
    };
    let is_ready = (0..plan.cpus.len()).all(|_| matches!(all_ready.recv(), Ok(true)));
    if is_ready {
        let begin = io::now() + Duration::from_millis(20);
        start.send_replace(Some(begin));
        watch_over(plan, begin, &gauges, watcher);
    }
    // Cores that wait for the start see that there will be none.
    drop(start);
    let ended = thread.join().expect("the load's thread does not panic");
    ended.map_err(|error| Problem::new(format!("cannot start the client's cores: {error}")))?;
    let outcomes = std::mem::take(&mut *outcomes.lock().expect("no core panicked"));
    let mut sum: Option<Book> = None;
    for outcome in outcomes {
        let book = outcome?;
        match &mut sum {
            Some(sum) => sum.add(&book),
            None => sum = Some(book),
        }
    }
    sum.ok_or_else(|| Problem::new("no core of the client did anything"))
}

/// Sleeps through the run, at most a tick at a time.
fn watch_over(plan: &Plan, start: Instant, gauges: &Gauges, watcher: &mut impl Watcher) {
    let tick = Duration::from_millis(200);
    let whole = (plan.warm_up + plan.length).as_secs_f64();
    for edge in [start + plan.warm_up, start + plan.warm_up + plan.length] {
        loop {
            let now = io::now();
            if now >= edge || gauges.is_stopped.load(Ordering::Relaxed) {
                break;
            }
            io::blocking::sleep((edge - now).min(tick));
            let share = (io::now() - start).as_secs_f64() / whole;
            watcher.tick(share, gauges.records.load(Ordering::Relaxed));
        }
        watcher.at_edge();
    }
}

/// One connection's state, shared by the task that sends and the task that reads.
struct Line {
    stream: TcpStream,
    /// Requests whose answer is to come, in their order.
    waiting: RefCell<VecDeque<Waiting>>,
    /// How many more may be sent.
    slots: Semaphore,
    /// How many were sent.
    sent_count: Cell<u64>,
    /// Answers that still come are too late: they were given up.
    is_over: Cell<bool>,
    schedule: Option<Schedule>,
    /// The partitions' requests that it sends, in turn.
    templates: Vec<Template>,
}

#[derive(Clone, Copy)]
struct Waiting {
    correlation_id: i32,
    intended: Instant,
}

/// What the tasks of one core share.
struct Core {
    book: RefCell<Book>,
    problem: RefCell<Option<Problem>>,
    gauges: Arc<Gauges>,
    batch_records: u64,
    version: i16,
    acks: Acks,
    start: Instant,
    end: Instant,
}

impl Core {
    /// Keeps the first problem and brings everybody to an end.
    fn fail(&self, problem: Problem) {
        self.problem.borrow_mut().get_or_insert(problem);
        self.gauges.is_stopped.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.gauges.is_stopped.load(Ordering::Relaxed)
    }
}

async fn run_core(
    plan: &Plan,
    core: CoreId,
    gauges: &Arc<Gauges>,
    mut started: watch::Receiver<Option<Instant>>,
    ready: mpsc::Sender<bool>,
) -> Result<Book, Problem> {
    let connected = connect_all(plan, core).await;
    // The thread that listens does so until every core has told.
    let _ = ready.send(connected.is_ok());
    let lines = connected?;
    let Ok(start) = started.wait_for(Option::is_some).await.map(|start| *start) else {
        return Err(Problem::new("another core of the client could not connect"));
    };
    let start = start.expect("it was waited for");
    let begin = start + plan.warm_up;
    let batch_records = plan.workload.load.batch_records;
    let shared = Rc::new(Core {
        book: RefCell::new(Book::new(begin, plan.length, batch_records)),
        problem: RefCell::new(None),
        gauges: Arc::clone(gauges),
        batch_records: u64::from(batch_records),
        version: plan.version,
        acks: plan.workload.load.acks,
        start,
        end: begin + plan.length,
    });
    let _space = plan.dir.clone().filter(|_| core == CoreId(0)).map(|dir| {
        let shared = Rc::clone(&shared);
        io::spawn(async move { watch_space(&dir, &shared).await })
    });
    let readers: Vec<_> = lines
        .iter()
        .map(|line| io::spawn(read_answers(Rc::clone(line), Rc::clone(&shared))))
        .collect();
    let writers: Vec<_> = lines
        .iter()
        .map(|line| io::spawn(send_requests(Rc::clone(line), Rc::clone(&shared))))
        .collect();
    let in_flight = plan.workload.load.in_flight;
    let give_up = shared.end + Duration::from_secs(DRAIN_SECONDS);
    let all_answered = async {
        for writer in writers {
            writer.await;
        }
        for line in &lines {
            // All slots are free: every answer has come. Closed: the connection has failed.
            let _ = line.slots.acquire_many(in_flight).await;
        }
    };
    let mut all_answered = std::pin::pin!(all_answered);
    let look = Duration::from_millis(100);
    while io::timeout(look, all_answered.as_mut()).await.is_none() {
        if io::now() >= give_up || shared.is_stopped() {
            break;
        }
    }
    for line in &lines {
        give_up_rest(line, &shared);
        line.stream.shutdown();
    }
    for reader in readers {
        reader.await;
    }
    if let Some(problem) = shared.problem.borrow_mut().take() {
        return Err(problem);
    }
    let book = shared.book.borrow().clone();
    Ok(book)
}

/// Opens the connections that are this core's.
async fn connect_all(plan: &Plan, core: CoreId) -> Result<Vec<Rc<Line>>, Problem> {
    let load = &plan.workload.load;
    let mut lines = Vec::new();
    for connection in 0..load.connections {
        if connection as usize % plan.cpus.len() != usize::from(core.0) {
            continue;
        }
        let limit = Duration::from_secs(10);
        let stream = io::timeout(limit, TcpStream::connect(plan.address)).await;
        let stream = stream.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()));
        let stream = stream.map_err(|error| {
            Problem::new(format!(
                "cannot open connection {connection} to {}: {error}",
                plan.address
            ))
        })?;
        let schedule = match load.rate {
            Rate::Max => None,
            Rate::RecordsPerSecond(records_per_second) => Some(Schedule {
                records_per_second,
                batch_records: load.batch_records,
                connection,
                connections: load.connections,
            }),
        };
        let templates = share(
            load.spread,
            connection,
            load.connections,
            plan.templates.len(),
        )
        .into_iter()
        .map(|partition| plan.templates[partition].clone())
        .collect();
        lines.push(Rc::new(Line {
            stream,
            waiting: RefCell::new(VecDeque::new()),
            slots: Semaphore::new(load.in_flight as usize),
            sent_count: Cell::new(0),
            is_over: Cell::new(false),
            schedule,
            templates,
        }));
    }
    Ok(lines)
}

/// The partitions that a connection sends to, in their order.
fn share(spread: Spread, connection: u32, connections: u32, partitions: usize) -> Vec<usize> {
    let (connection, connections) = (connection as usize, connections as usize);
    match spread {
        Spread::Own if connections >= partitions => vec![connection % partitions],
        Spread::Own => (connection..partitions).step_by(connections).collect(),
        Spread::All => {
            let first = connection * partitions / connections;
            (0..partitions)
                .map(|at| (first + at) % partitions)
                .collect()
        }
    }
}

/// Sends one connection's requests until what counts is over.
async fn send_requests(line: Rc<Line>, core: Rc<Core>) {
    wait_until(core.start).await;
    while !core.is_stopped() {
        let number = line.sent_count.get();
        let due = line
            .schedule
            .map(|schedule| core.start + schedule.intended(number));
        if let Some(due) = due {
            if due >= core.end {
                return;
            }
            wait_until(due).await;
        }
        let Ok(slot) = line.slots.acquire().await else {
            return;
        };
        // Its answer gives it back.
        slot.forget();
        let now = io::now();
        let intended = due.unwrap_or(now);
        if intended >= core.end || core.is_stopped() {
            line.slots.add_permits(1);
            return;
        }
        let template = &line.templates[(number % line.templates.len() as u64) as usize];
        let correlation_id = number as i32;
        if core.acks != Acks::None {
            line.waiting.borrow_mut().push_back(Waiting {
                correlation_id,
                intended,
            });
        }
        line.sent_count.set(number + 1);
        core.book.borrow_mut().sent(intended, now);
        let written = line
            .stream
            .write_all(template.request(correlation_id))
            .await;
        if let Err(error) = written {
            core.fail(Problem::new(format!("the broker takes no more: {error}")));
            line.slots.close();
            return;
        }
        if core.acks == Acks::None {
            acknowledge(&line, &core, intended, io::now());
        }
    }
}

/// Waits for a time, the end of it with an eye on the clock.
async fn wait_until(due: Instant) {
    let watch = Duration::from_nanos(WATCH_CLOCK_NS);
    if due - io::now() > watch {
        io::sleep_until(Instant::from_nanos(due.as_nanos() - WATCH_CLOCK_NS)).await;
    }
    while io::now() < due {
        io::yield_now().await;
    }
}

/// Reads one connection's answers until it is shut down.
async fn read_answers(line: Rc<Line>, core: Rc<Core>) {
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
            _ if line.is_over.get() => return Ok(()),
            Ok(0) if line.waiting.borrow().is_empty() => return Ok(()),
            Ok(0) => return Err(Problem::new("the broker closed a connection")),
            Ok(_) => {}
            Err(error) => return Err(Problem::new(format!("a connection broke: {error}"))),
        }
        while let Some(answer) = take_answer(&mut arrived)? {
            let (correlation_id, code) = read_answer(&answer, core.version)?;
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
                ErrorCode::None => acknowledge(line, core, waiting.intended, now),
                code => {
                    core.book.borrow_mut().refused(code);
                    line.slots.add_permits(1);
                }
            }
        }
    }
}

fn acknowledge(line: &Line, core: &Core, intended: Instant, now: Instant) {
    core.book.borrow_mut().acknowledged(intended, now);
    core.gauges
        .records
        .fetch_add(core.batch_records, Ordering::Relaxed);
    line.slots.add_permits(1);
}

/// Writes down what was never answered, and what was meant to be sent and never was.
fn give_up_rest(line: &Line, core: &Core) {
    line.is_over.set(true);
    let now = io::now();
    let mut book = core.book.borrow_mut();
    for waiting in line.waiting.borrow_mut().drain(..) {
        book.given_up(waiting.intended, now);
    }
    if let Some(schedule) = line.schedule.filter(|_| !core.is_stopped()) {
        for number in line.sent_count.get()..schedule.count_before(core.end - core.start) {
            book.given_up(core.start + schedule.intended(number), now);
        }
    }
}

/// Ends the run before the disk is full.
async fn watch_space(dir: &std::path::Path, core: &Core) {
    loop {
        match io::fs::space(dir).await {
            Ok(space) if space.available_bytes < SPACE_LEFT_BYTES_MIN => {
                let left = space.available_bytes >> 20;
                let problem = Problem::new(format!("only {left} MiB are left for the broker"));
                core.fail(problem.hint("a smaller topic.retention_bytes, or another --dir"));
            }
            // A directory that cannot be asked about is no reason to end.
            Ok(_) | Err(_) => {}
        }
        io::sleep(Duration::from_millis(500)).await;
    }
}

#[cfg(test)]
mod tests;
