//! What one core of the client does: slice after slice of sending and fetching.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::consumer::{self, Tail};
use super::producer::{self, Line};
use super::{Command, Gauges};
use crate::bench::book::Book;
use crate::bench::limits::{DRAIN_SECONDS, SPACE_LEFT_BYTES_MIN, WATCH_CLOCK_NS};
use crate::bench::plan::Plan;
use crate::bench::problem::Problem;
use crate::bench::traffic::Start;
use crate::io::sync::watch;
use crate::io::{self, Instant};
use crate::model::CoreId;

/// What the tasks of one core share.
pub(super) struct Core {
    id: CoreId,
    pub(super) plan: Plan,
    pub(super) gauges: Arc<Gauges>,
    problem: RefCell<Option<Problem>>,
    /// Of the slice that runs, or of the last one.
    pub(super) command: Cell<Command>,
    pub(super) book: RefCell<Book>,
    /// Consumers stop when they have the answer that they wait for.
    pub(super) is_pausing: Cell<bool>,
    /// Records that wait for this core's consumers.
    pub(super) lag: Cell<u64>,
}

impl Core {
    pub(super) fn new(plan: &Plan, id: CoreId, gauges: Arc<Gauges>) -> Rc<Core> {
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

    pub(super) fn start(&self) -> Instant {
        self.command.get().start
    }

    pub(super) fn end(&self) -> Instant {
        self.command.get().begin + self.command.get().length
    }

    /// Keeps the first problem and brings everybody to an end.
    pub(super) fn fail(&self, problem: Problem) {
        self.problem.borrow_mut().get_or_insert(problem);
        self.gauges.is_stopped.store(true, Ordering::Relaxed);
    }

    /// Whether nobody should begin anything any more, be it the end or not.
    pub(super) fn is_over(&self) -> bool {
        self.gauges.is_over()
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.gauges.is_stopped.load(Ordering::Relaxed)
    }

    pub(super) fn begin_slice(&self, command: Command) {
        let batch_records = self.plan.traffic.load.batch_records;
        let book = Book::new(command.begin, command.length, batch_records);
        self.book.replace(book);
        self.command.set(command);
        self.is_pausing.set(false);
    }

    /// Whether every record that was acknowledged has come to a consumer, as far as that can be
    /// waited for.
    pub(super) fn is_all_consumed(&self) -> bool {
        let traffic = &self.plan.traffic;
        let consume = traffic.consume.as_ref();
        let is_tail = consume.is_some_and(|consume| consume.start == Start::Latest);
        if !(is_tail && traffic.is_stamped()) {
            return true;
        }
        // What other cores send comes to this one's consumers as well.
        let all_answered = self.gauges.sending.load(Ordering::Acquire) == 0;
        let (counted, arrived) = (&self.gauges.counted, &self.gauges.arrived);
        all_answered && arrived.load(Ordering::Relaxed) >= counted.load(Ordering::Relaxed)
    }
}

/// One core: slice after slice, until there will be none.
pub(super) async fn run_core(
    core: Rc<Core>,
    lines: Vec<Rc<Line>>,
    tails: Vec<Rc<Tail>>,
    mut commanded: watch::Receiver<Option<Command>>,
    tell: mpsc::Sender<(Book, Option<Problem>)>,
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
        let problem = core.problem.borrow_mut().take();
        let book = core.book.borrow().clone();
        // Whoever does not listen any more needs no book.
        let _ = tell.send((book, problem));
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
            line.begin_slice(&core.command.get());
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
        core.gauges.sending.fetch_sub(1, Ordering::AcqRel);
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
    let mut give_up = core.end() + patience;
    while io::timeout(LOOK, everything.as_mut()).await.is_none() {
        // It may be over before its time.
        if core.is_over() {
            give_up = give_up.min(io::now() + patience);
        }
        // A broker that gives no more answers does not keep the consumers either.
        if io::now() >= give_up || core.is_stopped() {
            core.is_pausing.set(true);
            let wait_ms = core
                .plan
                .traffic
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
pub(super) const LOOK: Duration = Duration::from_millis(5);

/// Waits for a time, the end of it with an eye on the clock; shorter if the slice is over.
pub(super) async fn wait_until(due: Instant, core: &Core) {
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
