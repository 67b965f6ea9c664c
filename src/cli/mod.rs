//! Subcommands for people; `start` wires everything.
//!
//! `main` reads the command line (`arguments`) and runs one subcommand: `start` (also without a
//! subcommand), `topic`, `produce`, `consume`, `group`, `demo`, `completions`. A subcommand ends
//! with `Ok` or a `Failure`, which says what happened, the likely cause and what helps, and which
//! is the exit code: 1 the operation failed, 2 the command line is wrong, 78 the configuration is.
//! Results go through a `Screen`: text for people, as Apache Kafka's tools print it, or JSON.
//!
//! Everything but `start` talks to a cluster with `client`, blocks, and runs on machines without
//! io_uring.

mod arguments;
mod failure;

mod start;

pub mod node;
mod signals;

mod consume;
mod group;
mod produce;
mod reset;
mod topic;

mod demo;
mod records;

mod format;
mod position;
mod progress;
mod screen;

mod datetime;
mod logging;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use self::arguments::{Arguments, ClusterArguments, Command, StartArguments};
use self::screen::Screen;
use crate::client::{Client, ClientError, ClientOptions};
use crate::io::blocking;

pub use failure::{Exit, Failure};
pub use signals::Stop;
pub use start::{Ready, Settings};

/// The binary: reads the command line, runs it, reports what failed.
pub fn main() -> ExitCode {
    // clap prints help, versions and usage errors itself, with exit codes 0 and 2.
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(blocking::stderr()),
    }
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        None => start::run(&StartArguments::default()),
        Some(Command::Start(arguments)) => start::run(&arguments),
        Some(Command::Topic(command)) => topic::run(command),
        Some(Command::Produce(arguments)) => produce::run(&arguments),
        Some(Command::Consume(arguments)) => consume::run(&arguments),
        Some(Command::Group(command)) => group::run(command),
        Some(Command::Demo(arguments)) => demo::run(&arguments),
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "corelog", &mut script);
            let mut screen = Screen::new(blocking::stdout(), arguments::OutputFormat::Table);
            screen.bytes(&script)?;
            screen.flush()
        }
    }
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
        let failure = Failure::new(error.to_string());
        match error.hint() {
            Some(hint) => failure.try_this(hint),
            None => failure,
        }
    }
}
