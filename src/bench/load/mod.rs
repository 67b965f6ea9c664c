//! Connections on cores with rings of their own, requests at their intended times or as fast as
//! answers come, and every latency counted from the intended time.
//!
//! A stall of the broker cannot hide here (no coordinated omission): at a fixed rate a request
//! that has to wait for the answers before it keeps the time at which it was meant to be sent.
//!
//! `Load::open` connects everybody; `Load::slice` puts load on the broker for a while and returns
//! what was written down, as often as one likes: between slices the connections stay open and
//! nothing happens on them. `core` is what one core does in a slice; `producer` and `consumer` are
//! one connection each.

mod connect;
mod core;

mod consumer;
mod producer;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use self::connect::{connect, identities, positions};
use self::core::{Core, run_core};
use crate::bench::book::Book;
use crate::bench::limits::SECONDS_MAX;
use crate::bench::plan::Plan;
use crate::bench::problem::Problem;
use crate::io::sync::watch;
use crate::io::{self, CoreSpec, Instant};
use crate::model::CoreId;

/// What happens on the thread that started a load, at the times that matter.
pub trait Watcher {
    /// The part that counts begins, or has just ended.
    fn at_edge(&mut self);
    /// Now and then while the load runs; `share` of it is over.
    fn tick(&mut self, share: f64, records: u64);
    /// Whether the load shall end now; looked at with every tick.
    fn is_interrupted(&self) -> bool {
        false
    }
}

/// A load whose connections are open. They close with it.
#[derive(Debug)]
pub struct Load {
    plan: Plan,
    gauges: Arc<Gauges>,
    commands: Option<watch::Sender<Option<Command>>>,
    books: mpsc::Receiver<(Book, Option<Problem>)>,
    /// What was written down in the slice that went wrong.
    cut_short: Option<Book>,
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
    /// Records of requests that were answered, whatever the answer.
    answered: AtomicU64,
    /// Cores whose requests are not all answered: `counted` may still grow.
    sending: AtomicU32,
    /// Consumers that have not come to their end.
    reading: AtomicU32,
    /// Set when there is no more to do, or it shall end: no more requests.
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
    pub fn open(plan: &Plan) -> Result<Load, Problem> {
        let identities = identities(plan)?;
        let positions = positions(plan)?;
        let gauges = Arc::new(Gauges::default());
        let (commands, commanded) = watch::channel(None);
        let (ready, all_ready) = mpsc::channel();
        let (tell, books) = mpsc::channel();
        let thread = {
            let (plan, gauges) = (plan.clone(), Arc::clone(&gauges));
            io::spawn_thread("bench load", move || {
                let cores: Vec<CoreSpec> = (0..)
                    .zip(&plan.cpus)
                    .map(|(core, &cpu)| CoreSpec {
                        id: CoreId(core),
                        cpu,
                        spin: plan.spin,
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
            cut_short: None,
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
    pub fn slice(
        &mut self,
        warm_up: Duration,
        length: Duration,
        watcher: &mut impl Watcher,
    ) -> Result<Book, Problem> {
        self.run(warm_up, length, u64::MAX, watcher)
    }

    /// Produces so many records, rounded up to whole requests; or, where nobody produces, consumes
    /// about so many, up to the end if there are fewer and consumers stop there. What counts ends
    /// with the last answer, or after `longest`.
    pub fn run_to(
        &mut self,
        records: u64,
        longest: Duration,
        watcher: &mut impl Watcher,
    ) -> Result<Book, Problem> {
        self.run(Duration::ZERO, longest, records, watcher)
    }

    /// Produces so many records; that one is refused is a problem.
    pub fn fill(&mut self, records: u64, watcher: &mut impl Watcher) -> Result<(), Problem> {
        let book = self.run_to(records, Duration::from_secs(SECONDS_MAX.into()), watcher)?;
        match book.refused.iter().next() {
            None => Ok(()),
            Some((name, count)) => Err(Problem::new(format!(
                "{count} requests for the backlog were refused: {name}"
            ))),
        }
    }

    /// After a slice that went wrong while it ran: what was written down until then. It ends with
    /// the last answer.
    pub fn take_cut_short(&mut self) -> Option<Book> {
        self.cut_short.take()
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
            &gauges.answered,
        ] {
            gauge.store(0, Ordering::Relaxed);
        }
        let cores = self.plan.cpus.len() as u32;
        gauges.sending.store(cores, Ordering::Relaxed);
        let consume = self.plan.traffic.consume.as_ref();
        let consumers = consume.map_or(0, |consume| consume.connections);
        gauges.reading.store(consumers, Ordering::Relaxed);
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
                Ok((book, problem)) => {
                    first_problem = first_problem.or(problem);
                    match &mut sum {
                        Some(sum) => sum.add(&book),
                        None => sum = Some(book),
                    }
                }
                Err(_) => return Err(self.why_it_ended()),
            }
        }
        if let Some(problem) = first_problem {
            self.cut_short = sum.map(|mut sum| {
                sum.end_with_the_last();
                sum
            });
            return Err(problem);
        }
        self.is_broken = false;
        let mut sum = sum.ok_or_else(|| Problem::new("no core of the client did anything"))?;
        if self.gauges.is_enough.load(Ordering::Relaxed) {
            sum.end_with_the_last();
        }
        Ok(sum)
    }

    /// Sleeps through the slice, at most a tick at a time.
    fn watch_over(&self, command: &Command, watcher: &mut impl Watcher) {
        let tick = Duration::from_millis(200);
        let end = command.begin + command.length;
        let whole = (end - command.start).as_secs_f64();
        let gauges = &self.gauges;
        let records = match self.plan.traffic.load.connections {
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
                if watcher.is_interrupted() {
                    gauges.is_enough.store(true, Ordering::Relaxed);
                }
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
            Err(error) => Problem::new(format!("cannot start the client's cores: {error}"))
                .hint("corelog doctor --only kernel: each core of the client needs io_uring"),
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
