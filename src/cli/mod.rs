//! Subcommands for people; `start` wires everything.
//!
//! `main` reads the command line (`arguments`) and runs one subcommand: `start` (also without a
//! subcommand), `topic`, `produce`, `consume`, `group`, `config`, `bench`, `demo`, `doctor`,
//! `kafka-tools`, `completions`. Called by the name of one of Apache Kafka's tools
//! (`kafka-topics.sh`) it is that tool (`kafka`). A subcommand ends with `Ok` or a `Failure`, which
//! says what happened, the likely cause and what helps, and which is the exit code: 1 the operation
//! failed, 2 the command line is wrong, 3 no broker answers, 78 the configuration is wrong, 130 a
//! signal ended it. With `--output json` it is an object, too. `doctor` ends with 2 where a check
//! failed.
//! Results go through a `Screen`: text for people, as Apache Kafka's tools print it, or JSON.
//!
//! Everything but `start`, `demo` and `bench` talks to a cluster with `client`, blocks, and runs on
//! machines without io_uring.

mod arguments;
mod failure;

mod start;

pub mod node;
mod signals;

mod broker_config;
mod consume;
mod group;
mod input_lines;
mod produce;
mod reset;
mod topic;

mod bench;

mod demo;
mod records;

mod doctor;

mod kafka;

mod format;
mod position;
mod progress;
mod screen;

mod datetime;
mod logging;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use self::arguments::{
    Arguments, ClusterArguments, Command, KafkaToolsCommand, OutputFormat, StartArguments,
};
use self::screen::Screen;
use crate::client::{Client, ClientError, ClientOptions};
use crate::io::blocking;

pub use failure::{Exit, Failure};
pub use signals::Stop;
pub use start::{Ready, Settings};

/// The binary: reads the command line, runs it, reports what failed.
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    if let Some(tool) = kafka::Tool::of(words.first()) {
        return kafka::run(tool, words.into_iter().skip(1).collect());
    }
    let format = arguments::asked_format(&words);
    let words = arguments::without_topic_option(words);
    let arguments = match Arguments::try_parse_from(words) {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() && format == OutputFormat::Json => {
            let text = error.render().to_string();
            let text = text.trim_start_matches("error: ").trim_end();
            return Failure::usage(text).report(blocking::stderr(), format);
        }
        // clap prints help, versions and usage errors itself, with exit codes 0 and 2.
        Err(error) => error.exit(),
    };
    match run(arguments) {
        Ok(code) => code,
        Err(failure) => failure.report(blocking::stderr(), format),
    }
}

fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let ran = match arguments.command {
        None => start::run(&StartArguments::default()),
        Some(Command::Start(arguments)) => start::run(&arguments),
        Some(Command::Topic(command)) => topic::run(command),
        Some(Command::Produce(arguments)) => produce::run(&arguments),
        Some(Command::Consume(arguments)) => consume::run(&arguments),
        Some(Command::Group(command)) => group::run(command),
        Some(Command::Config(command)) => broker_config::run(command),
        Some(Command::Bench(command)) => bench::run(command),
        Some(Command::Demo(arguments)) => demo::run(&arguments),
        Some(Command::Doctor(arguments)) => return doctor::run(&arguments),
        Some(Command::KafkaTools(KafkaToolsCommand::Install { dir })) => kafka::install(&dir),
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "corelog", &mut script);
            let mut screen = Screen::new(blocking::stdout(), arguments::OutputFormat::Table);
            screen.bytes(&script)?;
            screen.flush()
        }
    };
    ran.map(|()| ExitCode::SUCCESS)
}

fn connect(cluster: &ClusterArguments) -> Result<Client, Failure> {
    Ok(Client::connect(
        &cluster.bootstrap_server,
        ClientOptions::default(),
    )?)
}

fn screen_of(cluster: &ClusterArguments) -> Screen {
    Screen::new(blocking::stdout(), cluster.output)
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        let text = error.to_string();
        let failure = match &error {
            ClientError::BadAddress { .. } => Failure::usage(text),
            ClientError::Connect { .. } => Failure::unreachable(text),
            ClientError::Disconnected { .. } => Failure::unreachable(text).coded("DISCONNECTED"),
            ClientError::TimedOut { .. } => Failure::unreachable(text).coded("REQUEST_TIMED_OUT"),
            ClientError::Unsupported { .. } => Failure::new(text).coded("UNSUPPORTED_VERSION"),
            ClientError::Protocol { .. } => Failure::unreachable(text).coded("NOT_KAFKA"),
            ClientError::Broker { code, .. } => Failure::new(text).coded(code.name()),
            ClientError::Batch { .. } => Failure::new(text).coded("CORRUPT_MESSAGE"),
        };
        match (&error, error.hint()) {
            (ClientError::Protocol { .. }, Some(hint)) => failure
                .because(hint)
                .try_this("-b with the HOST:PORT of one of the broker's PLAINTEXT listeners"),
            (_, Some(hint)) => failure.try_this(hint),
            (_, None) => failure,
        }
    }
}
