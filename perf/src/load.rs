//! The load generator: connections on pinned cores with rings of their own, requests at their
//! intended times or as fast as answers come, and every latency counted from the intended time.
//!
//! A stall of the broker cannot hide here (no coordinated omission): at a fixed rate a request
//! that has to wait for the answers before it keeps the time at which it was meant to be sent.
//!
//! `Load::open` connects everybody; `Load::slice` puts load on the broker for a while and returns
//! what was written down, as often as one likes: between slices the connections stay open and
//! nothing happens on them. `producer` and `consumer` are the two ends of one connection each.

mod consumer;
mod producer;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use corelog::client::{Client, ClientOptions, OffsetSpec, Target};
use corelog::io::sync::watch;
use corelog::io::{self, CoreSpec, Instant, TcpStream};
use corelog::model::{CoreId, Offset, ProducerEpoch, ProducerId, TopicName, TopicPartition};
use corelog::protocol::ErrorCode;
use corelog::protocol::messages::InitProducerIdRequest;

use self::consumer::Tail;
use self::producer::Line;
use crate::book::Book;
use crate::fetch::Position;
use crate::limits::{
    DRAIN_SECONDS, PRODUCER_ID_SECONDS, SECONDS_MAX, SPACE_LEFT_BYTES_MIN, WATCH_CLOCK_NS,
};
use crate::problem::Problem;
use crate::request::{Identity, Place, Template};
use crate::workload::{Start, Workload};

/// Everything that one run of load needs.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) workload: Workload,
    /// HOST:PORT of the broker.
    pub(crate) bootstrap: String,
    /// The addresses that lead partitions.
    pub(crate) leaders: Vec<SocketAddr>,
    /// The partitions, those of one topic in a row.
    pub(crate) places: Arc<Vec<Place>>,
    /// The versions of produce and of fetch requests.
    pub(crate) version: i16,
    pub(crate) fetch_version: i16,
    /// The requests for each leader.
    pub(crate) templates: Arc<Vec<Vec<Template>>>,
    /// One core of the client each; the connections are dealt to them in turn.
    pub(crate) cpus: Vec<Option<usize>>,
    pub(crate) warm_up: Duration,
    pub(crate) length: Duration,
    /// A directory whose file system must not run full.
    pub(crate) dir: Option<PathBuf>,
}

/// What happens on the thread that started a load, at the times that matter.
pub(crate) trait Watcher {
    /// The part that counts begins, or has just ended.
    fn at_edge(&mut self);
    /// Now and then while the load runs; `share` of it is over.
    fn tick(&mut self, share: f64, records: u64);
}

/// A load whose connections are open. They close with it.
#[derive(Debug)]
pub(crate) struct Load {
    plan: Plan,
    gauges: Arc<Gauges>,
    commands: Option<watch::Sender<Option<Command>>>,
    books: mpsc::Receiver<Result<Book, Problem>>,
    thread: Option<std::thread::JoinHandle<io::Result<()>>>,
    /// A slice went wrong: there will be no other one.
    is_broken: bool,
}

/// What the cores are to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Command {
    start: Instant,
    begin: Instant,
    length: Duration,
    /// Enough, whatever the time.
    records_max: u64,
}

/// What the threads of a load see of each other while a slice runs.
#[derive(Debug, Default)]
struct Gauges {
    /// Records acknowledged, and records fetched, so far, warm-up included.
    records: AtomicU64,
    fetched: AtomicU64,
    /// Records that were meant to be sent while it counts: acknowledged, and come to a consumer.
    counted: AtomicU64,
    arrived: AtomicU64,
    /// Set when `records_max` is reached: no more requests.
    is_enough: AtomicBool,
    /// Set when the run has no sense any more: everybody comes to an end.
    is_stopped: AtomicBool,
}

impl Gauges {
    fn is_over(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed) || self.is_enough.load(Ordering::Relaxed)
    }
}

impl Load {
    /// Opens all connections. Consumers that begin at the end do so at the end as it is now.
    pub(crate) fn open(plan: &Plan) -> Result<Load, Problem> {
        let identities = identities(plan)?;
        let positions = positions(plan)?;
        let gauges = Arc::new(Gauges::default());
        let (commands, commanded) = watch::channel(None);
        let (ready, all_ready) = mpsc::channel();
        let (tell, books) = mpsc::channel();
        let thread = {
            let (plan, gauges) = (plan.clone(), Arc::clone(&gauges));
            io::spawn_thread("perf load", move || {
                let cores: Vec<CoreSpec> = (0..)
                    .zip(&plan.cpus)
                    .map(|(core, &cpu)| CoreSpec {
                        id: CoreId(core),
                        cpu,
                    })
                    .collect();
                // Each core takes its own parts of what was asked for before.
                let parts = Mutex::new((identities, positions));
                io::run(&cores, |core| {
                    let (plan, gauges) = (plan.clone(), Arc::clone(&gauges));
                    let commanded = commanded.clone();
                    let (ready, tell) = (ready.clone(), tell.clone());
                    let parts = parts.lock().expect("no core panicked").clone();
                    async move {
                        let connected = connect(&plan, core, parts).await;
                        // The thread that listens does so until every core has told.
                        match connected {
                            Ok((lines, tails)) => {
                                let _ = ready.send(Ok(()));
                                let core = Core::new(&plan, core, gauges);
                                run_core(core, lines, tails, commanded, tell).await;
                            }
                            Err(problem) => {
                                let _ = ready.send(Err(problem));
                            }
                        }
                    }
                })
            })
            .map_err(|error| Problem::new(format!("cannot start the load's thread: {error}")))?
        };
        let mut load = Load {
            plan: plan.clone(),
            gauges,
            commands: Some(commands),
            books,
            thread: Some(thread),
            is_broken: false,
        };
        for _ in 0..plan.cpus.len() {
            match all_ready.recv() {
                Ok(outcome) => outcome?,
                Err(_) => return Err(load.why_it_ended()),
            }
        }
        Ok(load)
    }

    /// Puts load on the broker, and returns what was written down about it. What counts begins
    /// after the warm-up. Where nothing comes any more, consumers end with their last fetch's
    /// `max_wait_ms`: short ones make short slices.
    pub(crate) fn slice(
        &mut self,
        warm_up: Duration,
        length: Duration,
        watcher: &mut impl Watcher,
    ) -> Result<Book, Problem> {
        self.run(warm_up, length, u64::MAX, watcher)
    }

    /// Produces until so many records are acknowledged.
    pub(crate) fn fill(&mut self, records: u64, watcher: &mut impl Watcher) -> Result<(), Problem> {
        let length = Duration::from_secs(SECONDS_MAX.into());
        let book = self.run(Duration::ZERO, length, records, watcher)?;
        match book.refused.iter().next() {
            None => Ok(()),
            Some((name, count)) => Err(Problem::new(format!(
                "{count} requests for the backlog were refused: {name}"
            ))),
        }
    }

    fn run(
        &mut self,
        warm_up: Duration,
        length: Duration,
        records_max: u64,
        watcher: &mut impl Watcher,
    ) -> Result<Book, Problem> {
        if std::mem::replace(&mut self.is_broken, true) {
            return Err(Problem::new("the load has failed before"));
        }
        let gauges = &self.gauges;
        for gauge in [
            &gauges.records,
            &gauges.fetched,
            &gauges.counted,
            &gauges.arrived,
        ] {
            gauge.store(0, Ordering::Relaxed);
        }
        gauges.is_enough.store(false, Ordering::Relaxed);
        gauges.is_stopped.store(false, Ordering::Relaxed);
        let start = io::now() + Duration::from_millis(20);
        let command = Command {
            start,
            begin: start + warm_up,
            length,
            records_max,
        };
        let commands = self.commands.as_ref().expect("it goes with the load");
        commands.send_replace(Some(command));
        self.watch_over(&command, watcher);
        let mut sum: Option<Book> = None;
        let mut first_problem = None;
        for _ in 0..self.plan.cpus.len() {
            match self.books.recv() {
                Ok(Ok(book)) => match &mut sum {
                    Some(sum) => sum.add(&book),
                    None => sum = Some(book),
                },
                Ok(Err(problem)) => first_problem = first_problem.or(Some(problem)),
                Err(_) => return Err(self.why_it_ended()),
            }
        }
        if let Some(problem) = first_problem {
            return Err(problem);
        }
        self.is_broken = false;
        sum.ok_or_else(|| Problem::new("no core of the client did anything"))
    }

    /// Sleeps through the slice, at most a tick at a time.
    fn watch_over(&self, command: &Command, watcher: &mut impl Watcher) {
        let tick = Duration::from_millis(200);
        let end = command.begin + command.length;
        let whole = (end - command.start).as_secs_f64();
        let gauges = &self.gauges;
        let records = match self.plan.workload.load.connections {
            0 => &gauges.fetched,
            _ => &gauges.records,
        };
        for edge in [command.begin, end] {
            loop {
                let now = io::now();
                if now >= edge || gauges.is_over() {
                    break;
                }
                io::blocking::sleep((edge - now).min(tick));
                let done = records.load(Ordering::Relaxed);
                let share = match command.records_max {
                    u64::MAX => (io::now() - command.start).as_secs_f64() / whole,
                    most => done as f64 / most as f64,
                };
                watcher.tick(share, done);
            }
            watcher.at_edge();
        }
    }

    /// The problem of cores that are gone.
    fn why_it_ended(&mut self) -> Problem {
        self.commands = None;
        let thread = self.thread.take().expect("it is joined once");
        match thread.join().expect("the load's thread does not panic") {
            Ok(()) => Problem::new("the client's cores ended"),
            Err(error) => Problem::new(format!("cannot start the client's cores: {error}")),
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // Cores that wait for a command see that there will be none.
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A producer id for each connection of an idempotent load.
fn identities(plan: &Plan) -> Result<Vec<Identity>, Problem> {
    let load = &plan.workload.load;
    if !load.idempotent {
        return Ok(Vec::new());
    }
    let mut client = Client::connect(&plan.bootstrap, ClientOptions::default())?;
    let mut request = InitProducerIdRequest::default();
    request.transactional_id = None;
    request.transaction_timeout_ms = i32::MAX;
    let give_up = io::now() + Duration::from_secs(PRODUCER_ID_SECONDS);
    (0..load.connections)
        .map(|_| {
            loop {
                let response = client.call(Target::Any, &request)?;
                match ErrorCode::from_code(response.error_code) {
                    Some(ErrorCode::None) => {
                        let id = ProducerId(response.producer_id);
                        let epoch = ProducerEpoch(response.producer_epoch);
                        return Ok(Identity::new(id, epoch));
                    }
                    // Kafka gives none until it has read its transaction log.
                    Some(code) if code.is_retriable() && io::now() < give_up => {
                        io::blocking::sleep(Duration::from_millis(100));
                    }
                    code => {
                        let name = code.map_or("an unknown error", ErrorCode::name);
                        return Err(Problem::new(format!("no producer id: {name}")));
                    }
                }
            }
        })
        .collect()
}

/// Where consumers begin, place by place.
fn positions(plan: &Plan) -> Result<Vec<Position>, Problem> {
    let Some(consume) = &plan.workload.consume else {
        return Ok(Vec::new());
    };
    let mut client = Client::connect(&plan.bootstrap, ClientOptions::default())?;
    let mut list = |spec| -> Result<Vec<Offset>, Problem> {
        let wanted = plan.places.iter().map(|place| {
            let partition = TopicPartition {
                topic: TopicName::new(&place.topic).expect("a topic that was made"),
                index: place.index,
            };
            (partition, spec)
        });
        let listed = client.list_offsets(&wanted.collect::<Vec<_>>())?;
        let offsets = listed.iter();
        Ok(offsets
            .map(|listed| listed.offset.unwrap_or(Offset::ZERO))
            .collect())
    };
    let starts = list(OffsetSpec::Earliest)?;
    let nexts = match consume.start {
        Start::Earliest => starts.clone(),
        Start::Latest => list(OffsetSpec::Latest)?,
    };
    let places = plan.places.iter().zip(starts.into_iter().zip(nexts));
    Ok(places
        .map(|(place, (start, next))| Position::new(place.clone(), start, next))
        .collect())
}

type Ends = (Vec<Rc<Line>>, Vec<Rc<Tail>>);

/// Opens the connections that are this core's.
async fn connect(
    plan: &Plan,
    core: CoreId,
    (identities, positions): (Vec<Identity>, Vec<Position>),
) -> Result<Ends, Problem> {
    let is_own = |connection: u32| connection as usize % plan.cpus.len() == usize::from(core.0);
    let mut lines = Vec::new();
    let connections = plan.workload.load.connections;
    for connection in (0..connections).filter(|&connection| is_own(connection)) {
        let identity = identities.get(connection as usize).cloned();
        lines.push(Rc::new(Line::open(plan, connection, identity).await?));
    }
    let mut tails = Vec::new();
    if let Some(consume) = &plan.workload.consume {
        for connection in (0..consume.connections).filter(|&connection| is_own(connection)) {
            tails.push(Rc::new(Tail::open(plan, connection, &positions).await?));
        }
    }
    Ok((lines, tails))
}

/// Which leader a connection is for, which number it has among that leader's connections, and how
/// many these are.
fn seat(connection: u32, connections: u32, leaders: usize) -> (usize, u32, u32) {
    let leaders = leaders as u32;
    let leader = connection % leaders;
    let number = connection / leaders;
    (
        leader as usize,
        number,
        (connections - leader).div_ceil(leaders),
    )
}

async fn open_stream(address: SocketAddr, what: &str) -> Result<TcpStream, Problem> {
    let limit = Duration::from_secs(10);
    let stream = io::timeout(limit, TcpStream::connect(address)).await;
    let stream = stream.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()));
    stream.map_err(|error| Problem::new(format!("cannot open {what} to {address}: {error}")))
}

/// What the tasks of one core share.
struct Core {
    id: CoreId,
    plan: Plan,
    gauges: Arc<Gauges>,
    problem: RefCell<Option<Problem>>,
    /// Of the slice that runs, or of the last one.
    command: Cell<Command>,
    book: RefCell<Book>,
    /// Consumers stop when they have the answer that they wait for.
    is_pausing: Cell<bool>,
    /// Records that wait for this core's consumers.
    lag: Cell<u64>,
}

impl Core {
    fn new(plan: &Plan, id: CoreId, gauges: Arc<Gauges>) -> Rc<Core> {
        let command = Command {
            start: Instant::from_nanos(0),
            begin: Instant::from_nanos(0),
            length: Duration::ZERO,
            records_max: u64::MAX,
        };
        Rc::new(Core {
            id,
            plan: plan.clone(),
            gauges,
            problem: RefCell::new(None),
            command: Cell::new(command),
            book: RefCell::new(Book::new(command.begin, Duration::ZERO, 0)),
            is_pausing: Cell::new(true),
            lag: Cell::new(0),
        })
    }

    fn start(&self) -> Instant {
        self.command.get().start
    }

    fn end(&self) -> Instant {
        self.command.get().begin + self.command.get().length
    }

    /// Keeps the first problem and brings everybody to an end.
    fn fail(&self, problem: Problem) {
        self.problem.borrow_mut().get_or_insert(problem);
        self.gauges.is_stopped.store(true, Ordering::Relaxed);
    }

    /// Whether nobody should begin anything any more, be it the end or not.
    fn is_over(&self) -> bool {
        self.gauges.is_over()
    }

    fn is_stopped(&self) -> bool {
        self.gauges.is_stopped.load(Ordering::Relaxed)
    }

    fn begin_slice(&self, command: Command) {
        let batch_records = self.plan.workload.load.batch_records;
        let book = Book::new(command.begin, command.length, batch_records);
        self.book.replace(book);
        self.command.set(command);
        self.is_pausing.set(false);
    }

    /// Whether every record that was acknowledged has come to a consumer, as far as that can be
    /// waited for.
    fn is_all_consumed(&self) -> bool {
        let workload = &self.plan.workload;
        let consume = workload.consume.as_ref();
        let is_tail = consume.is_some_and(|consume| consume.start == Start::Latest);
        let (counted, arrived) = (&self.gauges.counted, &self.gauges.arrived);
        !(is_tail && workload.is_stamped())
            || arrived.load(Ordering::Relaxed) >= counted.load(Ordering::Relaxed)
    }
}

/// One core: slice after slice, until there will be none.
async fn run_core(
    core: Rc<Core>,
    lines: Vec<Rc<Line>>,
    tails: Vec<Rc<Tail>>,
    mut commanded: watch::Receiver<Option<Command>>,
    tell: mpsc::Sender<Result<Book, Problem>>,
) {
    let _space = core
        .plan
        .dir
        .clone()
        .filter(|_| core.id == CoreId(0))
        .map(|dir| {
            let core = Rc::clone(&core);
            io::spawn(async move { watch_space(&dir, &core).await })
        });
    let readers: Vec<_> = lines
        .iter()
        .map(|line| io::spawn(producer::read_answers(Rc::clone(line), Rc::clone(&core))))
        .collect();
    while commanded.changed().await.is_ok() {
        let command = *commanded.borrow_and_update();
        let command = command.expect("only commands are sent");
        core.begin_slice(command);
        run_slice(&core, &lines, &tails).await;
        let outcome = match core.problem.borrow_mut().take() {
            Some(problem) => Err(problem),
            None => Ok(core.book.borrow().clone()),
        };
        // Whoever does not listen any more needs no book.
        let _ = tell.send(outcome);
    }
    for line in &lines {
        line.close();
    }
    for reader in readers {
        reader.await;
    }
}

async fn run_slice(core: &Rc<Core>, lines: &[Rc<Line>], tails: &[Rc<Tail>]) {
    let senders: Vec<_> = lines
        .iter()
        .map(|line| {
            line.begin_slice();
            io::spawn(producer::send_requests(Rc::clone(line), Rc::clone(core)))
        })
        .collect();
    let consumers: Vec<_> = tails
        .iter()
        .map(|tail| io::spawn(consumer::consume(Rc::clone(tail), Rc::clone(core))))
        .collect();
    let everything = async {
        for sender in senders {
            sender.await;
        }
        for line in lines {
            line.all_answered().await;
        }
        wait_until(core.end(), core).await;
        while !core.is_all_consumed() {
            io::sleep(LOOK).await;
        }
        core.is_pausing.set(true);
        for consumer in consumers {
            consumer.await;
        }
    };
    let mut everything = std::pin::pin!(everything);
    let patience = Duration::from_secs(DRAIN_SECONDS);
    let give_up = core.end() + patience;
    while io::timeout(LOOK, everything.as_mut()).await.is_none() {
        // A broker that gives no more answers does not keep the consumers either.
        if io::now() >= give_up || core.is_stopped() {
            core.is_pausing.set(true);
            let wait_ms = core
                .plan
                .workload
                .consume
                .as_ref()
                .map_or(0, |c| c.max_wait_ms);
            let wait = Duration::from_millis(wait_ms.into()) + patience;
            let is_failed = core.problem.borrow().is_some();
            if !is_failed && !Tail::all_idle(tails, wait).await {
                core.fail(Problem::new("the broker does not answer a fetch"));
            }
            break;
        }
    }
    for line in lines {
        line.give_up_rest(core);
    }
}

/// How often something that nobody tells is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Waits for a time, the end of it with an eye on the clock; shorter if the slice is over.
async fn wait_until(due: Instant, core: &Core) {
    let watch = Duration::from_nanos(WATCH_CLOCK_NS);
    // A wait may be as long as a run: whoever waits looks whether it still has a sense.
    let look = Duration::from_millis(50);
    while due - io::now() > watch {
        if core.is_over() {
            return;
        }
        let wake = Instant::from_nanos(due.as_nanos() - WATCH_CLOCK_NS);
        io::sleep_until(wake.min(io::now() + look)).await;
    }
    while io::now() < due {
        io::yield_now().await;
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
mod broker_tests;
#[cfg(test)]
mod tests;
