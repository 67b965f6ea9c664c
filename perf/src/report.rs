//! What people and programs read of a result: a table, and JSON.

use std::fmt::Write as _;

use corelog::bench::limits::DRAIN_SECONDS;
use corelog::bench::{
    Acks, BatchCodec, Book, Keys, LoadPart, PERCENTILES, Rate, Start, Step, percentiles, spectrum,
    us_at,
};
use corelog::io::housekeeping;
use serde::Serialize;
use serde_json::{Value, json};

use crate::broker::Facts;
use crate::machine::{Machine, Seats, cpu_list};
use crate::session::Slice;
use crate::workload::Workload;

/// Everything that a run's figures must be read with.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Context {
    /// Milliseconds since the epoch, UTC.
    pub(crate) at_ms: i64,
    pub(crate) command_line: Vec<String>,
    pub(crate) machine: Machine,
    pub(crate) seats: Seats,
    pub(crate) broker: Facts,
}

impl Context {
    pub(crate) fn new(machine: Machine, seats: Seats, broker: Facts) -> Context {
        Context {
            at_ms: housekeeping::wall_clock().0,
            command_line: std::env::args().collect(),
            machine,
            seats,
            broker,
        }
    }
}

/// What casts doubt on a result, in words.
pub(crate) fn doubts(context: &Context, workload: &Workload, slice: &Slice) -> Vec<String> {
    let book = &slice.book;
    let mut doubts = Vec::new();
    if context.seats.shared {
        doubts.push("broker and client shared CPUs".to_owned());
    }
    let wished = (workload.broker.cores, workload.client.cores);
    let got = (context.broker.cpus.len(), context.seats.client.len());
    // Of a broker that runs somewhere the CPUs may not be known.
    if (1..usize::from(wished.0)).contains(&got.0) {
        doubts.push(format!("the broker has {} of {} cores", got.0, wished.0));
    }
    if got.0 == 0 {
        doubts.push("the broker's CPUs are not known: the client may use the same".to_owned());
    }
    if got.1 < usize::from(wished.1) {
        doubts.push(format!("the client has {} of {} cores", got.1, wished.1));
    }
    if context.broker.in_memory {
        doubts.push("the broker's data lies in memory, where a sync costs nothing".to_owned());
    }
    if !["unknown", workload.broker.durability.as_str()].contains(&&*context.broker.durability) {
        doubts.push(format!(
            "the durability in force is not the workload's: {} instead of {}",
            context.broker.durability,
            workload.broker.durability.as_str()
        ));
    }
    let busy = slice.client_cpu_seconds / (book.length_seconds() * got.1 as f64);
    if busy > CLIENT_BUSY_SHARE && workload.load.rate == Rate::Max {
        doubts.push(format!(
            "the client's cores were busy for {:.0} % of the time: it may be what was measured",
            busy * 100.0
        ));
    }
    if slice.book.lag_records().1 > 0 && workload.load.connections > 0 {
        let lag = slice.book.lag_records().1;
        doubts.push(format!("at the end {lag} records had not been fetched"));
    }
    let missing = book.counted_records.saturating_sub(book.end_to_end.len());
    if workload.traffic().is_stamped() && missing > 0 {
        doubts.push(format!(
            "{missing} acknowledged records had not come to a consumer {DRAIN_SECONDS} s after the \
             end and are not in its percentiles"
        ));
    }
    if workload.load.acks == Acks::None {
        doubts.push("acks=0: latencies end where the kernel took the request".to_owned());
    }
    if let Rate::RecordsPerSecond(rate) = workload.load.rate {
        let load = &workload.load;
        let requests = u64::from(load.connections) * u64::from(load.in_flight);
        let behind = book.behind_records(rate, requests * u64::from(load.batch_records));
        if load.connections > 0 && behind > 0 {
            // Without the figures of the slice: several slices have one doubt.
            doubts.push(format!(
                "the rate of {rate} records/s was not reached: the latencies are those of a queue \
                 that grew"
            ));
        }
    }
    if book.unanswered > 0 {
        doubts.push(format!(
            "{} requests were never answered and count with the age that they had reached",
            book.unanswered
        ));
    }
    for (name, count) in &book.refused {
        doubts.push(format!("{count} requests were refused: {name}"));
    }
    doubts
}

/// From here on the client itself is likely to be the limit.
const CLIENT_BUSY_SHARE: f64 = 0.9;

/// The result of one run for people.
pub(crate) fn table(context: &Context, workload: &Workload, slice: &Slice) -> String {
    let book = &slice.book;
    let load = &workload.load;
    let mut text = format!(
        "{name}: {question}\n\
         machine     {model}, {cpus} CPUs, Linux {kernel}, load before {load_before}\n\
         broker      {product} {version} on CPUs {broker_cpus}, durability {durability}, {spin}\n\
         client      CPUs {client_cpus}\n\
         load        {load}\n",
        name = workload.name,
        question = workload.question,
        model = context.machine.cpu_model,
        cpus = context.machine.cpus.len(),
        kernel = context.machine.kernel,
        load_before = context.machine.load_before,
        product = context.broker.product,
        version = context.broker.version.as_deref().unwrap_or("-"),
        broker_cpus = or_dash(cpu_list(&context.broker.cpus)),
        durability = context.broker.durability,
        spin = context.broker.spin_words(),
        client_cpus = cpu_list(&context.seats.client),
        load = load_words(workload),
    );
    if let Some(words) = consume_words(workload) {
        writeln!(text, "consumers   {words}").expect("a string grows");
    }
    for doubt in doubts(context, workload, slice) {
        writeln!(text, "note        {doubt}").expect("a string grows");
    }
    let broker_cpu = match slice.broker_cpu_seconds {
        Some(seconds) => format!("{seconds:.2}"),
        None => "-".to_owned(),
    };
    if load.connections > 0 {
        write!(
            text,
            "\n\
         | records/s | MB/s | requests/s | broker CPU s | client CPU s | seconds |\n\
         |---|---|---|---|---|---|\n\
         | {:.0} | {:.1} | {:.0} | {broker_cpu} | {:.2} | {:.0} |\n",
            book.records_per_second(),
            megabytes_per_second(&workload.load, slice),
            book.requests() as f64 / book.length_seconds(),
            slice.client_cpu_seconds,
            book.length_seconds(),
        )
        .expect("a string grows");
    }
    if workload.consume.is_some() {
        let (most, last) = lag_words(workload, book);
        write!(
            text,
            "\n\
             | fetched records/s | fetched MB/s | lag, most | lag, at the end |\n\
             |---|---|---|---|\n\
             | {:.0} | {:.1} | {most} | {last} |\n",
            book.fetched_records_per_second(),
            fetched_megabytes_per_second(&workload.load, slice),
        )
        .expect("a string grows");
    }
    let heads: Vec<&str> = PERCENTILES.iter().map(|(_, head, _)| *head).collect();
    let mut rows = Vec::new();
    if load.connections > 0 {
        rows.push(("to the answer", &book.latency));
        if load.rate != Rate::Max {
            rows.push(("to the hand-over to the kernel", &book.send_delay));
        }
    }
    if workload.traffic().is_stamped() {
        rows.push(("to the consumer", &book.end_to_end));
    }
    if !rows.is_empty() {
        let heads = heads.join(" | ");
        let rule = "---|".repeat(PERCENTILES.len());
        write!(
            text,
            "\n| us from the intended send | {heads} |\n|---|{rule}\n"
        )
        .expect("a string grows");
    }
    for (what, times) in rows {
        let cells: Vec<String> = PERCENTILES
            .iter()
            .map(|(quantile, ..)| format!("{:.0}", us_at(times, *quantile)))
            .collect();
        writeln!(text, "| {what} | {} |", cells.join(" | ")).expect("a string grows");
    }
    text
}

fn or_dash(text: String) -> String {
    match text.is_empty() {
        true => "-".to_owned(),
        false => text,
    }
}

/// Payload, the values of acknowledged records, in 10^6 bytes a second.
pub(crate) fn megabytes_per_second(load: &LoadPart, slice: &Slice) -> f64 {
    slice.book.records_per_second() * f64::from(load.record_bytes) / 1e6
}

/// The same of what consumers got.
pub(crate) fn fetched_megabytes_per_second(load: &LoadPart, slice: &Slice) -> f64 {
    slice.book.fetched_records_per_second() * f64::from(load.record_bytes) / 1e6
}

/// The largest lag and the last one; nothing where a consumer goes back to the start at the end.
fn lag_words(workload: &Workload, book: &Book) -> (String, String) {
    if workload
        .consume
        .as_ref()
        .is_some_and(|consume| consume.again)
    {
        return ("-".to_owned(), "-".to_owned());
    }
    let (most, last) = book.lag_records();
    (most.to_string(), last.to_string())
}

/// Who produces what, in words.
pub(crate) fn load_words(workload: &Workload) -> String {
    let load = &workload.load;
    let rate = match load.rate {
        _ if load.connections == 0 => "nobody produces".to_owned(),
        Rate::Max => format!("as fast as it can, {} in flight each", load.in_flight),
        Rate::RecordsPerSecond(rate) => format!("{rate} records/s at intended times"),
    };
    let keys = match load.keys {
        Keys::None => "no keys".to_owned(),
        Keys::Random => format!("random keys of {} bytes", load.key_bytes),
        Keys::RoundRobin => format!("keys of {} bytes in turn", load.key_bytes),
    };
    let idempotent = if load.idempotent { ", idempotent" } else { "" };
    let codec = match load.codec {
        BatchCodec::None => "not compressed",
        codec => codec.as_str(),
    };
    format!(
        "connections {}, topics {}, partitions {}, records of {} bytes, in a request {}, {keys}, \
         {codec}{idempotent}; {rate}",
        load.connections,
        workload.topic.count,
        workload.partitions(),
        load.record_bytes,
        load.batch_records,
    )
}

/// Who consumes what, in words.
pub(crate) fn consume_words(workload: &Workload) -> Option<String> {
    let consume = workload.consume.as_ref()?;
    let start = match consume.start {
        Start::Latest => "from the tail",
        Start::Earliest => "from the first record",
    };
    let again = match consume.again {
        true => ", again and again",
        false => "",
    };
    let backlog = match &workload.backlog {
        Some(backlog) => format!(", a backlog of {:.0} MB", backlog.bytes as f64 / 1e6),
        None => String::new(),
    };
    Some(format!(
        "connections {}, {start}{again}{backlog}, fetches of {:.1} MB at most, at least {} bytes, \
         or {} ms",
        consume.connections,
        f64::from(consume.max_bytes) / 1e6,
        consume.min_bytes,
        consume.max_wait_ms
    ))
}

/// The result of one run for programs.
pub(crate) fn to_json(context: &Context, workload: &Workload, slice: &Slice) -> Value {
    let book = &slice.book;
    json!({
        "context": context,
        "workload": workload,
        "seconds": book.length_seconds(),
        "warm_up_records": book.warm_up_records,
        "records": book.records(),
        "requests": book.requests(),
        "records_per_second": book.records_per_second(),
        "megabytes_per_second": megabytes_per_second(&workload.load, slice),
        "client_cpu_seconds": slice.client_cpu_seconds,
        "broker_cpu_seconds": slice.broker_cpu_seconds,
        "fetched_records": book.fetched_records(),
        "fetched_bytes": book.fetched_bytes(),
        "fetched_records_per_second": book.fetched_records_per_second(),
        "fetched_megabytes_per_second": fetched_megabytes_per_second(&workload.load, slice),
        "lag_records_max": book.lag_records().0,
        "lag_records_last": book.lag_records().1,
        "latency": percentiles(&book.latency),
        "send_delay": percentiles(&book.send_delay),
        "end_to_end": percentiles(&book.end_to_end),
        "spectrum": {
            "latency": spectrum(&book.latency),
            "end_to_end": spectrum(&book.end_to_end),
        },
        "unanswered": book.unanswered,
        "refused": book.refused,
        "series": series(book),
        "doubts": doubts(context, workload, slice),
    })
}

/// The time series: a list for each figure, one entry a step.
fn series(book: &Book) -> Value {
    let list = |of: fn(&Step) -> u64| -> Vec<u64> { book.steps.iter().map(of).collect() };
    json!({
        "step_ms": book.step.as_millis() as u64,
        "records": list(|step| step.records),
        "requests": list(|step| step.requests),
        "latency_max_us": list(|step| step.latency_max_ns / 1000),
        "fetched_records": list(|step| step.fetched_records),
        "fetched_bytes": list(|step| step.fetched_bytes),
        "lag_records_max": list(|step| step.lag_records_max),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use corelog::io::Instant;

    use super::*;
    use crate::workload::tests::w1 as workload;

    pub(crate) fn context() -> Context {
        Context {
            at_ms: 0,
            command_line: vec!["perf".to_owned()],
            machine: Machine {
                cpu_model: "X".to_owned(),
                cpus: vec![0, 1, 2, 3],
                kernel: "6.18".to_owned(),
                memory_bytes: 1 << 34,
                load_before: "0.1 0.1 0.1".to_owned(),
            },
            seats: Seats::share_out(&[0, 1, 2, 3], 2, 2),
            broker: Facts {
                product: "corelog".to_owned(),
                version: Some("0.1.0".to_owned()),
                address: "127.0.0.1:1".to_owned(),
                admin: None,
                durability: "sync".to_owned(),
                in_memory: false,
                cores: Some(2),
                spin_us: Some(0),
                cpus: vec![0, 1],
                pid: Some(1),
            },
        }
    }

    fn slice() -> Slice {
        let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        let mut book = Book::new(at(0), Duration::from_secs(1), 5);
        for ms in 0..100 {
            book.sent(at(ms), at(ms));
            book.acknowledged(at(ms), at(ms + 1 + ms / 99 * 9));
        }
        Slice {
            book,
            client_cpu_seconds: 0.5,
            broker_cpu_seconds: Some(0.25),
        }
    }

    /// A whole result, as it is written.
    pub(crate) fn result() -> Value {
        to_json(&context(), &workload(), &slice())
    }

    #[test]
    fn a_result_says_what_it_must_be_read_with() {
        let text = table(&context(), &workload(), &slice());
        for expected in [
            "X, 4 CPUs, Linux 6.18",
            "corelog 0.1.0 on CPUs 0,1, durability sync",
            "client      CPUs 2,3",
            "connections 4, topics 1, partitions 3, records of 100 bytes, in a request 5, no keys",
            "not compressed; as fast as it can, 16 in flight each",
            "| 500 | 0.1 | 100 | 0.25 | 0.50 | 1 |",
            "| p50 | p90 | p99 | p99.9 | p99.99 | max |",
            "| to the answer | 1000 | 1000 | 1000 | 10002 | 10002 | 10002 |",
        ] {
            assert!(text.contains(expected), "{expected} is not in:\n{text}");
        }
        assert!(!text.contains("note"), "{text}");
        let object = to_json(&context(), &workload(), &slice());
        assert_eq!(object["latency"]["count"], 100);
        assert_eq!(object["context"]["broker"]["durability"], "sync");
        assert_eq!(object["series"]["records"][0], 495);
        assert_eq!(object["workload"]["load"]["rate"], "max");
    }

    #[test]
    fn doubts_are_named() {
        let check = |change: fn(&mut Context, &mut Workload, &mut Slice), word: &str| {
            let (mut context, mut workload, mut slice) = (context(), workload(), slice());
            change(&mut context, &mut workload, &mut slice);
            let doubts = doubts(&context, &workload, &slice);
            assert!(
                doubts.len() == 1 && doubts[0].contains(word),
                "{word}: {doubts:?}"
            );
        };
        check(|context, _, _| context.broker.in_memory = true, "memory");
        check(
            |context, _, _| context.broker.durability = "written".to_owned(),
            "durability",
        );
        check(
            |context, _, _| context.broker.cpus = vec![0],
            "1 of 2 cores",
        );
        check(|context, _, _| context.seats.shared = true, "shared");
        check(|context, _, _| context.broker.cpus.clear(), "not known");
        check(|_, _, slice| slice.client_cpu_seconds = 1.9, "95 %");
        check(|_, workload, _| workload.load.acks = Acks::None, "acks=0");
        check(|_, _, slice| slice.book.unanswered = 3, "3 requests");
        check(
            |_, workload, _| workload.load.rate = Rate::RecordsPerSecond(1000),
            "rate of 1000 records/s was not reached",
        );
        let refuse = |_: &mut Context, _: &mut Workload, slice: &mut Slice| {
            slice
                .book
                .refused(corelog::protocol::ErrorCode::NotLeaderOrFollower);
        };
        check(refuse, "NOT_LEADER_OR_FOLLOWER");
    }
}
