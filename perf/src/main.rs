//! `perf`: load for a broker, the machine's floors, and brokers compared. `perf help` says how to
//! run it, `perf/README.md` how to read what it prints.
//!
//! The load generator itself is `corelog::bench`; `session` is a slice of its load against a
//! broker; `floors` needs no broker; `paired` compares slices that were measured in turns;
//! `goals` holds brokers against floors.

mod limits;

mod arguments;
mod workload;

mod broker;
mod machine;

mod session;

mod report;

mod plot;

mod floors;
mod loops;
mod scrape;

mod goals;

mod compare;
mod paired;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use corelog::bench::{Problem, hgrm};
use corelog::io::{blocking, raise_open_files_limit};

use self::arguments::{
    Arguments, Command, CompareArguments, FloorServerArguments, FloorsArguments, GoalsArguments,
    PlotArguments, RunArguments,
};
use self::broker::{Corelog, Facts, Settings};
use self::compare::{Course, Peer};
use self::limits::{FLOOR_FILE_BYTES, RESULT_FILE_BYTES_MAX};
use self::machine::{Machine, Seats};
use self::plot::{Heading, Source};
use self::report::Context;
use self::workload::Workload;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A workload may have more connections than a shell allows files.
    let _ = raise_open_files_limit();
    let result = match &arguments.command {
        Command::Run(arguments) => run(arguments),
        Command::Floors(arguments) => run_floors(arguments),
        Command::Compare(arguments) => run_compare(arguments),
        Command::Goals(arguments) => run_goals(arguments),
        Command::FloorServer(arguments) => serve_floors(arguments),
        Command::Plot(arguments) => run_plot(arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("perf: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// `perf run`.
fn run(arguments: &RunArguments) -> Result<(), Problem> {
    let mut workload = Workload::read(&arguments.workload, &arguments.set)?;
    if let Some(seconds) = arguments.seconds {
        workload.run.seconds = seconds;
    }
    let machine = Machine::look();
    let (own, facts, seats) = match &arguments.bootstrap {
        Some(address) => {
            let facts = Facts::of_running(address, arguments.ready_file.as_deref())?;
            let cores = workload.client.cores;
            let seats = Seats::beside(&machine.cpus, &facts.cpus, cores);
            (None, facts, seats)
        }
        None => {
            let cores = (workload.broker.cores, workload.client.cores);
            let seats = Seats::share_out(&machine.cpus, cores.0, cores.1);
            let settings = Settings {
                durability: workload.broker.durability,
                cpus: &seats.broker,
                parent: &parent_dir(arguments.dir.as_deref(), &workload)?,
                overrides: &workload.broker.settings,
            };
            let broker = Corelog::start(&binary(arguments.broker.as_deref())?, &settings)?;
            let facts = broker.facts.clone();
            (Some(broker), facts, seats)
        }
    };
    let dir = own.as_ref().map(|broker| broker.dir.path());
    let plan = session::prepare(&workload, &facts, &seats.client, dir)?;
    let bar = session::progress(&workload.name);
    let slice = session::run_slice(&plan, facts.pid, &bar)?;
    bar.finish_and_clear();
    if let Some(broker) = own {
        broker.stop()?;
    }
    let context = Context::new(machine, seats, facts);
    print(&report::table(&context, &workload, &slice))?;
    let object = report::to_json(&context, &workload, &slice);
    if let Some(path) = &arguments.json {
        write(path, &format!("{object}\n"))?;
    }
    if let Some(dir) = &arguments.svg {
        draw(&[Source::Result(None, object)], &Heading::default(), dir)?;
    }
    if let Some(path) = &arguments.hdr {
        write(path, &hgrm(&slice.book.latency))?;
    }
    match slice.book.refused.is_empty() {
        true => Ok(()),
        false => Err(Problem::new(
            "requests were refused; the figures are not those of the workload",
        )),
    }
}

/// `perf floors`.
fn run_floors(arguments: &FloorsArguments) -> Result<(), Problem> {
    let dir = match &arguments.dir {
        Some(dir) => dir.clone(),
        None => build_dir()?.join("perf"),
    };
    let spinner = session::progress("floors");
    let time = Duration::from_secs(arguments.seconds.into());
    let floors = floors::survey::measure(&dir, FLOOR_FILE_BYTES, time, |what| {
        spinner.set_message(what.to_owned())
    })?;
    spinner.finish_and_clear();
    print(&floors::survey::table(&floors))?;
    match &arguments.json {
        Some(path) => write(path, &format!("{:#}\n", floors::survey::to_json(&floors))),
        None => Ok(()),
    }
}

/// `perf compare`.
fn run_compare(arguments: &CompareArguments) -> Result<(), Problem> {
    let workload = Workload::read(&arguments.workload, &arguments.set)?;
    let peer = match arguments.peer.as_str() {
        // Where this was built: the harness is run from a checkout.
        "kafka" => Peer::Kafka(Path::new(env!("CARGO_MANIFEST_DIR")).join("../ci/kafka")),
        address => Peer::Running(address.to_owned()),
    };
    let outcome = compare::run(&Course {
        workload: &workload,
        peer: &peer,
        binary: &binary(arguments.broker.as_deref())?,
        parent: &parent_dir(arguments.dir.as_deref(), &workload)?,
        pairs: arguments.pairs,
        slice: Duration::from_secs(arguments.slice_seconds.into()),
    })?;
    print(&outcome.table(&workload))?;
    let object = outcome.to_json(&workload);
    if let Some(path) = &arguments.json {
        write(path, &format!("{object:#}\n"))?;
    }
    match &arguments.svg {
        Some(dir) => draw(&[Source::Result(None, object)], &Heading::default(), dir),
        None => Ok(()),
    }
}

/// `perf goals`.
fn run_goals(arguments: &GoalsArguments) -> Result<(), Problem> {
    let target = build_dir()?.join("perf");
    let parent = arguments.dir.as_deref().unwrap_or(&target);
    let stage = goals::stage::Stage::new(
        Machine::look(),
        goals::stage::Effort::new(arguments.quick),
        &binary(arguments.broker.as_deref())?,
        parent,
    );
    let out = arguments.out.as_deref().unwrap_or(&target);
    goals::run(&stage, &arguments.only, out, print)
}

/// `perf floor-server`.
fn serve_floors(arguments: &FloorServerArguments) -> Result<(), Problem> {
    floors::sink::serve(floors::sink::Settings {
        // It was started on the CPUs that it shall have.
        cpus: corelog::io::available_cpus(),
        dir: arguments.dir.clone(),
        files: arguments.files,
        file_bytes: arguments.file_bytes,
    })
}

/// `perf plot`.
fn run_plot(arguments: &PlotArguments) -> Result<(), Problem> {
    let sources = arguments.results.iter().map(|argument| source(argument));
    let sources = sources.collect::<Result<Vec<_>, _>>()?;
    let heading = Heading {
        title: arguments.title.clone(),
        subtitle: arguments.subtitle.clone(),
    };
    if arguments.out.extension().is_none_or(|end| end != "svg") {
        return draw(&sources, &heading, &arguments.out);
    }
    let svg = plot::spectrum_of(&sources, &heading)?;
    write(&arguments.out, &svg)?;
    print(&format!("{}\n", arguments.out.display()))
}

/// What an argument of `perf plot` names.
fn source(argument: &str) -> Result<Source, Problem> {
    let (label, path) = match argument.split_once('=') {
        Some((label, path)) => (Some(label.to_owned()), path),
        None => (None, argument),
    };
    let failed = |what: String| Problem::new(format!("{path}: {what}"));
    let bytes = blocking::read_file(path).map_err(|error| failed(error.to_string()))?;
    if bytes.len() > RESULT_FILE_BYTES_MAX {
        return Err(failed(format!(
            "{} bytes; a result has at most {RESULT_FILE_BYTES_MAX}",
            bytes.len()
        )));
    }
    if path.ends_with(".hgrm") {
        let text = String::from_utf8(bytes).map_err(|error| failed(error.to_string()))?;
        let stem = Path::new(path).file_stem().unwrap_or_default();
        let name = label.unwrap_or_else(|| stem.to_string_lossy().into_owned());
        return Ok(Source::Percentiles(name, text));
    }
    let result = serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?;
    Ok(Source::Result(label, result))
}

/// Draws results that belong together, and says where the pictures are.
fn draw(sources: &[Source], heading: &Heading, dir: &Path) -> Result<(), Problem> {
    let pictures = plot::pictures(sources, heading)?;
    std::fs::create_dir_all(dir)
        .map_err(|error| Problem::new(format!("cannot make {}: {error}", dir.display())))?;
    for picture in pictures {
        let path = dir.join(&picture.file_name);
        write(&path, &picture.svg)?;
        print(&format!("{}\n", path.display()))?;
    }
    Ok(())
}

/// The broker's binary: as told, or the release build beside this one's.
fn binary(told: Option<&Path>) -> Result<PathBuf, Problem> {
    match told {
        Some(path) => Ok(path.to_owned()),
        None => Ok(build_dir()?.join("release").join("corelog")),
    }
}

/// Where temporary directories are made: as told, as the workload says, or beside the builds.
fn parent_dir(told: Option<&Path>, workload: &Workload) -> Result<PathBuf, Problem> {
    match told.or(workload.broker.dir.as_deref()) {
        Some(dir) => Ok(dir.to_owned()),
        None => Ok(build_dir()?.join("perf")),
    }
}

/// The directory that cargo builds in: this binary lies in one of its profiles' directories.
fn build_dir() -> Result<PathBuf, Problem> {
    let own = std::env::current_exe()
        .map_err(|error| Problem::new(format!("cannot find this binary: {error}")))?;
    let dir = own.parent().and_then(Path::parent);
    dir.map(Path::to_owned)
        .ok_or_else(|| Problem::new("this binary lies in no build directory"))
}

fn print(text: &str) -> Result<(), Problem> {
    blocking::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Problem::new(format!("cannot print the result: {error}")))
}

fn write(path: &Path, text: &str) -> Result<(), Problem> {
    blocking::write_file(path, text.as_bytes())
        .map_err(|error| Problem::new(format!("cannot write {}: {error}", path.display())))
}
