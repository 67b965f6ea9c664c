//! The names of Apache Kafka's own tools, for the scripts that call them: a link to the binary
//! with such a name takes that tool's flags, and prints what it prints, without the wait for a
//! Java machine. `corelog kafka-tools install DIR` makes the links.
//!
//! A flag is accepted only if it does something here. Of one that Kafka has and this does not, the
//! error says what to use; of any other it is Kafka's own. `tests/clients/tools` has a session of
//! commands with the answers of Kafka's tools, which these must repeat.

mod flags;
mod pattern;

mod console_consumer;

mod console_producer;

mod consumer_groups;

mod producer_perf;

mod topics;

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use self::flags::Refusal;
use super::arguments::OutputFormat;
use super::failure::Failure;
use super::screen::Screen;
use crate::client::{Client, ClientError, ClientOptions};
use crate::io::{ErrorKind, blocking};

/// A tool whose name the binary may be called by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tool {
    Topics,
    ConsoleProducer,
    ConsoleConsumer,
    ConsumerGroups,
    ProducerPerf,
}

const TOOLS: [Tool; 5] = [
    Tool::Topics,
    Tool::ConsoleProducer,
    Tool::ConsoleConsumer,
    Tool::ConsumerGroups,
    Tool::ProducerPerf,
];

impl Tool {
    fn name(self) -> &'static str {
        match self {
            Tool::Topics => "kafka-topics",
            Tool::ConsoleProducer => "kafka-console-producer",
            Tool::ConsoleConsumer => "kafka-console-consumer",
            Tool::ConsumerGroups => "kafka-consumer-groups",
            Tool::ProducerPerf => "kafka-producer-perf-test",
        }
    }

    /// The tool that a program's own name asks for, with or without `.sh`.
    pub(super) fn of(program: Option<&OsString>) -> Option<Tool> {
        let name = Path::new(program?).file_name().and_then(OsStr::to_str)?;
        let name = name.strip_suffix(".sh").unwrap_or(name);
        TOOLS.into_iter().find(|tool| tool.name() == name)
    }

    fn flags(self) -> &'static [flags::Flag] {
        match self {
            Tool::Topics => topics::FLAGS,
            Tool::ConsoleProducer => console_producer::FLAGS,
            Tool::ConsoleConsumer => console_consumer::FLAGS,
            Tool::ConsumerGroups => consumer_groups::FLAGS,
            Tool::ProducerPerf => producer_perf::FLAGS,
        }
    }
}

/// Why a tool ends with exit code 1, and what it says on which stream.
#[derive(Debug, Default, PartialEq, Eq)]
struct Failed {
    out: String,
    err: String,
}

impl Failed {
    fn on_stdout(text: impl Into<String>) -> Failed {
        Failed {
            out: text.into(),
            ..Failed::default()
        }
    }

    fn on_stderr(text: impl Into<String>) -> Failed {
        Failed {
            err: text.into(),
            ..Failed::default()
        }
    }
}

/// Runs a tool with the words after its name.
pub(super) fn run(tool: Tool, words: Vec<OsString>) -> ExitCode {
    let words: Vec<String> = words
        .into_iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let mut screen = Screen::new(blocking::stdout(), OutputFormat::Table);
    if words.iter().any(|word| word == "--version") {
        let version = concat!(env!("CARGO_PKG_VERSION"), " (corelog)\n");
        return ended(
            screen
                .bytes(version.as_bytes())
                .and_then(|()| screen.flush()),
        );
    }
    if words.iter().any(|word| word == "--help" || word == "-h") {
        let help = flags::help(tool.name(), tool.flags());
        return ended(screen.bytes(help.as_bytes()).and_then(|()| screen.flush()));
    }
    let ran = match tool {
        Tool::Topics => topics::run(&words, &mut screen),
        Tool::ConsoleProducer => console_producer::run(&words, &mut screen),
        Tool::ConsoleConsumer => console_consumer::run(&words, &mut screen),
        Tool::ConsumerGroups => consumer_groups::run(&words, &mut screen),
        Tool::ProducerPerf => producer_perf::run(&words, &mut screen),
    };
    match ran {
        Ok(()) => ended(screen.flush()),
        Err(Stop::Screen(failure)) => ended(Err(failure)),
        Err(Stop::Failed(failed)) => {
            let said = screen.bytes(failed.out.as_bytes());
            let _ = said.and_then(|()| screen.flush());
            // Nothing can be done about a stderr that is closed.
            let _ = blocking::stderr().write_all(failed.err.as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn ended(written: Result<(), Failure>) -> ExitCode {
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(blocking::stderr(), OutputFormat::Table),
    }
}

/// How a tool ends early.
#[derive(Debug)]
enum Stop {
    Failed(Failed),
    /// The output could not be written.
    Screen(Failure),
}

impl From<Failed> for Stop {
    fn from(failed: Failed) -> Stop {
        Stop::Failed(failed)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Screen(failure)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        Stop::Failed(Failed::on_stderr(refusal.to_string()))
    }
}

/// What a broker says in its own words, or else what happened.
fn words_of(error: &ClientError) -> String {
    match error {
        ClientError::Broker {
            message: Some(message),
            ..
        } => message.clone(),
        error => error.to_string(),
    }
}

fn connect(bootstrap: &str) -> Result<Client, ClientError> {
    Client::connect(bootstrap, ClientOptions::default())
}

/// Makes links to this binary in a directory, and says which.
pub(super) fn install(dir: &Path) -> Result<(), Failure> {
    let failed = |what: &str, error| Failure::new(format!("{what}: {error}"));
    let binary =
        std::env::current_exe().map_err(|error| failed("cannot find this binary", error))?;
    let mut screen = Screen::new(blocking::stdout(), OutputFormat::Table);
    for tool in TOOLS {
        let link = dir.join(format!("{}.sh", tool.name()));
        blocking::link_file(&binary, &link).map_err(|error| {
            let kind = error.kind();
            let failure = failed(&format!("cannot make {}", link.display()), error);
            explained(failure, kind, dir)
        })?;
        screen.bytes(format!("{} -> {}\n", link.display(), binary.display()).as_bytes())?;
    }
    screen.flush()
}

/// Adds why a link could not be made, as far as that is known.
fn explained(failure: Failure, kind: ErrorKind, dir: &Path) -> Failure {
    let dir = dir.display();
    match kind {
        ErrorKind::AlreadyExists => failure
            .because("only links are replaced, never a file that is something else")
            .try_this("corelog kafka-tools install DIR, with a directory that is empty"),
        ErrorKind::NotFound => failure
            .because(format!("there is no directory {dir}"))
            .try_this(format!("mkdir -p {dir}")),
        ErrorKind::NotADirectory => failure
            .because(format!("{dir} is no directory"))
            .try_this("corelog kafka-tools install DIR, with a directory"),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => failure
            .because(format!("{dir} may not be written by this user"))
            .try_this("a directory of your own, such as ~/.local/bin"),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_name_decides() {
        let check = |name: &str, expected| {
            assert_eq!(Tool::of(Some(&OsString::from(name))), expected, "{name}");
        };
        check("kafka-topics.sh", Some(Tool::Topics));
        check("/opt/bin/kafka-topics", Some(Tool::Topics));
        check("./kafka-producer-perf-test.sh", Some(Tool::ProducerPerf));
        check("corelog", None);
        check("/kafka-topics.sh/corelog", None);
        check("kafka-configs.sh", None);
        assert_eq!(Tool::of(None), None);
    }
}
