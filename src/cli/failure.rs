//! Why a command failed: what happened, the likely cause, and the command that helps.

use std::fmt;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::arguments::OutputFormat;

/// A command's failure, as a person or a script is to read it.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// A word for scripts: Kafka's name of an error, or one of ours.
    code: &'static str,
    what: String,
    cause: Option<String>,
    remedy: Option<String>,
    exit: Exit,
    /// What failed after this, where a command goes on.
    more: Vec<Failure>,
}

/// The exit codes of the binary, beside 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Whoever read our output has stopped reading: there is nothing left to do.
    NobodyReads,
    /// 1: the operation failed, or was refused.
    Failed,
    /// 2: the command line is wrong.
    Usage,
    /// 3: no broker answers.
    Unreachable,
    /// 130: a signal ended it, as a shell tells SIGINT; of a broker the second one, as the first
    /// stops it gracefully.
    Interrupted,
    /// 78 (EX_CONFIG of sysexits.h): the configuration is wrong.
    Config,
}

impl Exit {
    /// The number that the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Exit::NobodyReads => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Unreachable => 3,
            Exit::Interrupted => 130,
            Exit::Config => 78,
        }
    }
}

impl Failure {
    /// An operation failed.
    pub fn new(what: impl Into<String>) -> Failure {
        Failure {
            code: "FAILED",
            what: what.into(),
            cause: None,
            remedy: None,
            exit: Exit::Failed,
            more: Vec::new(),
        }
    }

    /// No broker answers, or not in time.
    pub fn unreachable(what: impl Into<String>) -> Failure {
        Failure {
            code: "CANNOT_CONNECT",
            exit: Exit::Unreachable,
            ..Failure::new(what)
        }
    }

    /// A signal ended the command.
    pub fn interrupted(what: impl Into<String>) -> Failure {
        Failure {
            code: "INTERRUPTED",
            exit: Exit::Interrupted,
            ..Failure::new(what)
        }
    }

    /// All of what failed; `None` if nothing did. The first one decides the exit code.
    pub(super) fn all(failures: Vec<Failure>) -> Option<Failure> {
        let mut failures = failures.into_iter();
        let first = failures.next()?;
        Some(Failure {
            more: failures.collect(),
            ..first
        })
    }

    /// The command line asks for something that cannot be.
    pub fn usage(what: impl Into<String>) -> Failure {
        Failure {
            code: "USAGE",
            exit: Exit::Usage,
            ..Failure::new(what)
        }
    }

    /// The configuration cannot be used.
    pub fn config(what: impl Into<String>) -> Failure {
        Failure {
            code: "CONFIGURATION",
            exit: Exit::Config,
            ..Failure::new(what)
        }
    }

    /// Gives it another word for scripts.
    pub(super) fn coded(mut self, code: &'static str) -> Failure {
        self.code = code;
        self
    }

    /// Adds to what happened.
    pub(super) fn adding(mut self, more: &str) -> Failure {
        // A sentence that goes on has no full stop.
        if self.what.ends_with('.') {
            self.what.pop();
        }
        self.what.push_str(more);
        self
    }

    /// Adds the likely cause: a sentence.
    pub fn because(mut self, cause: impl Into<String>) -> Failure {
        self.cause = Some(cause.into());
        self
    }

    /// Adds what helps: a command where there is one.
    pub fn try_this(mut self, remedy: impl Into<String>) -> Failure {
        self.remedy = Some(remedy.into());
        self
    }

    /// How the process ends.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Prints the failure where a person or a script looks, and gives the process's exit code.
    pub(super) fn report(&self, mut to: impl std::io::Write, format: OutputFormat) -> ExitCode {
        if self.exit != Exit::NobodyReads {
            for failure in std::iter::once(self).chain(&self.more) {
                // Nothing can be done about a stderr that is closed.
                let _ = match format {
                    OutputFormat::Table => writeln!(to, "{failure}"),
                    OutputFormat::Json => writeln!(to, "{}", failure.to_json()),
                };
            }
        }
        ExitCode::from(self.exit.code())
    }

    fn to_json(&self) -> Value {
        let mut error = json!({ "code": self.code, "message": self.what });
        let hints = [("cause", &self.cause), ("hint", &self.remedy)];
        for (name, hint) in hints {
            if let Some(hint) = hint {
                error[name] = hint.as_str().into();
            }
        }
        json!({ "error": error })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "corelog: {}", self.what)?;
        if let Some(cause) = &self.cause {
            write!(f, "\n  likely cause: {cause}")?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, "\n  try: {remedy}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// Writing our own output failed.
impl From<crate::io::Error> for Failure {
    fn from(error: crate::io::Error) -> Failure {
        let failure = Failure::new(format!("cannot write the output: {error}"));
        match error.kind() {
            crate::io::ErrorKind::BrokenPipe => Failure {
                exit: Exit::NobodyReads,
                ..failure
            },
            _ => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(failure: Failure, text: &str, code: u8) {
        let mut shown = Vec::new();
        let exit = failure.report(&mut shown, OutputFormat::Table);
        assert_eq!(String::from_utf8(shown).expect("UTF-8"), text);
        assert_eq!(format!("{exit:?}"), format!("{:?}", ExitCode::from(code)));
    }

    #[test]
    fn a_failure_says_what_why_and_what_helps() {
        check(Failure::new("it broke"), "corelog: it broke\n", 1);
        check(
            Failure::usage("no such letter").try_this("corelog --help"),
            "corelog: no such letter\n  try: corelog --help\n",
            2,
        );
        check(
            Failure::config("num.partitions=0")
                .because("It must be at least 1.")
                .try_this("num.partitions=1"),
            "corelog: num.partitions=0\n  likely cause: It must be at least 1.\n  try: num.partitions=1\n",
            78,
        );
    }

    #[test]
    fn what_is_added_goes_on_with_the_sentence() {
        let refused = Failure::new("It was refused.").adding("; 2 lines were not");
        check(refused, "corelog: It was refused; 2 lines were not\n", 1);
    }

    #[test]
    fn scripts_get_one_object_a_failure() {
        let failures = vec![
            Failure::new("t exists")
                .coded("TOPIC_ALREADY_EXISTS")
                .try_this("another name"),
            Failure::unreachable("gone"),
        ];
        let all = Failure::all(failures).expect("two failures");
        let mut shown = Vec::new();
        let exit = all.report(&mut shown, OutputFormat::Json);
        let expected = r#"{"error":{"code":"TOPIC_ALREADY_EXISTS","hint":"another name","message":"t exists"}}
{"error":{"code":"CANNOT_CONNECT","message":"gone"}}
"#;
        assert_eq!(String::from_utf8(shown).expect("UTF-8"), expected);
        assert_eq!(format!("{exit:?}"), format!("{:?}", ExitCode::from(1)));
        assert_eq!(Failure::all(Vec::new()), None);
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let error = crate::io::Error::from(crate::io::ErrorKind::BrokenPipe);
        check(Failure::from(error), "", 0);
        let error = crate::io::Error::other("no space");
        check(
            Failure::from(error),
            "corelog: cannot write the output: no space\n",
            1,
        );
    }
}
