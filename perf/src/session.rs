//! A broker made ready for a workload, and slices of load against it.

use std::sync::Arc;
use std::time::Duration;

use corelog::bench::{
    Acks, Book, Found, Keys, Load, Plan, Problem, Rate, Spread, Watcher, templates,
};
use corelog::client::{Client, ClientOptions, NewTopic};
use corelog::io::{self, Instant};
use corelog::model::TopicName;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::broker::Facts;
use crate::machine::{cpu_seconds_of, own_cpu_seconds};
use crate::workload::Workload;

/// What one slice of load brought.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    pub(crate) book: Book,
    /// Processor time of the client while it counted, in seconds.
    pub(crate) client_cpu_seconds: f64,
    /// Of the broker; `None` if its process is not known.
    pub(crate) broker_cpu_seconds: Option<f64>,
}

/// The topic of every run; its broker is new, or is asked to make another one.
const TOPIC: &str = "perf";

/// Makes the workload's topics and its backlog, and plans the load on them.
pub(crate) fn prepare(
    workload: &Workload,
    facts: &Facts,
    cpus: &[usize],
    dir: Option<&std::path::Path>,
) -> Result<Plan, Problem> {
    let mut client = Client::connect(&facts.address, ClientOptions::default())?;
    let topics = make_topics(workload, &mut client)?;
    let found = Found::ask(&mut client, &topics)?;
    let plan = Plan {
        cpus: cpus.iter().map(|&cpu| Some(cpu)).collect(),
        warm_up: Duration::from_secs(workload.run.warm_up_seconds.into()),
        length: Duration::from_secs(workload.run.seconds.into()),
        dir: dir.map(std::path::Path::to_path_buf),
        ..Plan::new(workload.traffic(), &facts.address, &mut client, found)?
    };
    if let Some(backlog) = &workload.backlog {
        let bar = progress(&workload.name);
        fill(&plan, backlog.bytes, &bar)?;
        bar.finish_and_clear();
    }
    Ok(plan)
}

/// Makes the topics.
fn make_topics(workload: &Workload, client: &mut Client) -> Result<Vec<TopicName>, Problem> {
    let suffix = corelog::io::random_u64();
    let sizes = [
        ("segment.bytes", workload.topic.segment_bytes),
        ("retention.bytes", workload.topic.retention_bytes),
    ];
    let configs: Vec<(String, String)> = sizes
        .into_iter()
        .filter_map(|(key, bytes)| Some((key.to_owned(), bytes?.to_string())))
        .collect();
    let make = |number| {
        let name = format!("{TOPIC}-{suffix:016x}-{number}");
        let topic = TopicName::new(&name).expect("letters and digits");
        client.create_topic(&NewTopic {
            partition_count: Some(workload.topic.partitions as i32),
            configs: configs.clone(),
            ..NewTopic::new(topic.clone())
        })?;
        Ok(topic)
    };
    (0..workload.topic.count).map(make).collect()
}

/// Connections that produce a backlog, and the requests in flight of each.
const FILL_CONNECTIONS: u32 = 4;
const FILL_IN_FLIGHT: u32 = 4;

/// Produces the backlog, in the load's batches but without keys, as fast as it can.
fn fill(plan: &Plan, bytes: u64, bar: &ProgressBar) -> Result<(), Problem> {
    let mut plan = plan.clone();
    let leaders = plan.leaders.len();
    let load = &mut plan.traffic.load;
    load.connections = FILL_CONNECTIONS.max(leaders as u32);
    load.spread = Spread::Own;
    load.keys = Keys::None;
    load.idempotent = false;
    load.acks = Acks::All;
    load.rate = Rate::Max;
    load.in_flight = FILL_IN_FLIGHT;
    let records = bytes.div_ceil(load.record_bytes.into());
    plan.traffic.consume = None;
    let made = templates(&plan.traffic.load, &plan.places, leaders, plan.version);
    plan.templates = Arc::new(made);
    let mut meter = Meter::new(None, bar, "backlog ");
    Load::open(&plan)?.fill(records, &mut meter)
}

/// A load that is measured slice by slice, with the same connections.
#[derive(Debug)]
pub(crate) struct Session {
    load: Load,
    broker_pid: Option<u32>,
}

impl Session {
    /// Opens the plan's connections.
    pub(crate) fn open(plan: &Plan, broker_pid: Option<u32>) -> Result<Session, Problem> {
        let load = Load::open(plan)?;
        Ok(Session { load, broker_pid })
    }

    /// Load for so long, of which the warm-up does not count. The bar shows how far it is.
    pub(crate) fn slice(
        &mut self,
        warm_up: Duration,
        length: Duration,
        bar: &ProgressBar,
    ) -> Result<Slice, Problem> {
        let mut meter = Meter::new(self.broker_pid, bar, "");
        let book = self.load.slice(warm_up, length, &mut meter)?;
        let [begin, end] = meter.readings[..] else {
            return Err(Problem::new("the load ended before it began"));
        };
        Ok(Slice {
            book,
            client_cpu_seconds: end.0 - begin.0,
            broker_cpu_seconds: end.1.zip(begin.1).map(|(end, begin)| end - begin),
        })
    }
}

/// Runs the plan's load once, on connections of its own.
pub(crate) fn run_slice(
    plan: &Plan,
    broker_pid: Option<u32>,
    bar: &ProgressBar,
) -> Result<Slice, Problem> {
    Session::open(plan, broker_pid)?.slice(plan.warm_up, plan.length, bar)
}

/// Reads the processor times at the edges, and moves the bar.
struct Meter<'a> {
    broker_pid: Option<u32>,
    /// The client's and the broker's processor time so far, in seconds.
    readings: Vec<(f64, Option<f64>)>,
    bar: &'a ProgressBar,
    what: &'static str,
    /// The records at the last tick, and when that was.
    last: (u64, Instant),
}

impl Meter<'_> {
    fn new<'a>(broker_pid: Option<u32>, bar: &'a ProgressBar, what: &'static str) -> Meter<'a> {
        Meter {
            broker_pid,
            readings: Vec::new(),
            bar,
            what,
            last: (0, io::now()),
        }
    }
}

impl Watcher for Meter<'_> {
    fn at_edge(&mut self) {
        let broker = self.broker_pid.and_then(cpu_seconds_of);
        self.readings.push((own_cpu_seconds(), broker));
    }

    fn tick(&mut self, share: f64, records: u64) {
        let now = io::now();
        let seconds = (now - self.last.1).as_secs_f64();
        let rate = (records - self.last.0) as f64 / seconds.max(1e-3);
        self.last = (records, now);
        self.bar.set_position((share.min(1.0) * 1000.0) as u64);
        self.bar
            .set_message(format!("{}{rate:.0} records/s", self.what));
    }
}

/// A bar for people who watch: drawn on stderr, and only if that is a terminal.
pub(crate) fn progress(what: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr());
    let template = "{prefix} {bar:40} {percent:>3} % {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(what.to_owned());
    bar
}
