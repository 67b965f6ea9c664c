//! A broker made ready for a workload, and slices of load against it.

use std::sync::Arc;
use std::time::Duration;

use corelog::client::{Client, ClientOptions, NewTopic, Target};
use corelog::model::TopicName;
use corelog::protocol::ApiKey;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::book::Book;
use crate::broker::{Facts, resolve};
use crate::load::{self, Plan, Watcher};
use crate::machine::{cpu_seconds_of, own_cpu_seconds};
use crate::problem::Problem;
use crate::request::{PRODUCE_VERSION_MAX, templates};
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

/// Makes the workload's topic, and plans the load on it.
pub(crate) fn prepare(
    workload: &Workload,
    facts: &Facts,
    cpus: &[usize],
    dir: Option<&std::path::Path>,
) -> Result<Plan, Problem> {
    let mut client = Client::connect(&facts.address, ClientOptions::default())?;
    let suffix = corelog::io::random_u64();
    let name = format!("{TOPIC}-{suffix:016x}");
    let topic = TopicName::new(&name).expect("letters and digits");
    let partitions = workload.topic.partitions as i32;
    let sizes = [
        ("segment.bytes", workload.topic.segment_bytes),
        ("retention.bytes", workload.topic.retention_bytes),
    ];
    let configs = sizes
        .into_iter()
        .filter_map(|(key, bytes)| Some((key.to_owned(), bytes?.to_string())));
    client.create_topic(&NewTopic {
        partition_count: Some(partitions),
        configs: configs.collect(),
        ..NewTopic::new(topic.clone())
    })?;
    let described = client.topic(&topic)?;
    let mut leaders: Vec<_> = described.partitions.iter().map(|p| p.leader).collect();
    leaders.dedup();
    let [Some(leader)] = leaders[..] else {
        return Err(Problem::new(
            "the topic's partitions are led by several brokers; one broker is measured at a time",
        ));
    };
    let address = resolve(&client.address(leader)?)?;
    let version = client
        .connection(Target::Node(leader))?
        .version_at_most(ApiKey::Produce, PRODUCE_VERSION_MAX)?;
    Ok(Plan {
        templates: Arc::new(templates(workload, &name, version)),
        workload: workload.clone(),
        address,
        version,
        cpus: cpus.iter().map(|&cpu| Some(cpu)).collect(),
        warm_up: Duration::from_secs(workload.run.warm_up_seconds.into()),
        length: Duration::from_secs(workload.run.seconds.into()),
        dir: dir.map(std::path::Path::to_path_buf),
    })
}

/// Runs the plan's load once. The bar, if any, shows how far it is.
pub(crate) fn run_slice(
    plan: &Plan,
    broker_pid: Option<u32>,
    bar: &ProgressBar,
) -> Result<Slice, Problem> {
    let mut meter = Meter {
        broker_pid,
        readings: Vec::new(),
        bar,
        last: (0.0, 0),
        seconds: (plan.warm_up + plan.length).as_secs_f64(),
    };
    let book = load::run(plan, &mut meter)?;
    let [begin, end] = meter.readings[..] else {
        return Err(Problem::new("the load ended before it began"));
    };
    Ok(Slice {
        book,
        client_cpu_seconds: end.0 - begin.0,
        broker_cpu_seconds: end.1.zip(begin.1).map(|(end, begin)| end - begin),
    })
}

/// Reads the processor times at the edges, and moves the bar.
struct Meter<'a> {
    broker_pid: Option<u32>,
    /// The client's and the broker's processor time so far, in seconds.
    readings: Vec<(f64, Option<f64>)>,
    bar: &'a ProgressBar,
    /// The share and the records at the last tick.
    last: (f64, u64),
    seconds: f64,
}

impl Watcher for Meter<'_> {
    fn at_edge(&mut self) {
        let broker = self.broker_pid.and_then(cpu_seconds_of);
        self.readings.push((own_cpu_seconds(), broker));
    }

    fn tick(&mut self, share: f64, records: u64) {
        let seconds = (share - self.last.0) * self.seconds;
        let rate = (records - self.last.1) as f64 / seconds.max(1e-3);
        self.last = (share, records);
        self.bar.set_position((share.min(1.0) * 1000.0) as u64);
        self.bar.set_message(format!("{rate:.0} records/s"));
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
