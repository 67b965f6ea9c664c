//! What ends a load without a result.

use std::fmt;

use crate::client::ClientError;

/// What went wrong, and what helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    what: String,
    hint: Option<String>,
    is_lost: bool,
}

impl Problem {
    pub fn new(what: impl Into<String>) -> Problem {
        Problem {
            what: what.into(),
            hint: None,
            is_lost: false,
        }
    }

    /// A broker that does not answer, or no longer.
    pub fn lost(what: impl Into<String>) -> Problem {
        Problem {
            is_lost: true,
            ..Problem::new(what)
        }
    }

    /// Adds what helps.
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }

    /// What went wrong, in words.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What helps, if that is known.
    pub fn remedy(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Whether it is that no broker answers.
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  {hint}"),
            None => Ok(()),
        }
    }
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Problem {
        let problem = match &error {
            ClientError::Connect { .. }
            | ClientError::Disconnected { .. }
            | ClientError::Protocol { .. }
            | ClientError::TimedOut { .. } => Problem::lost(error.to_string()),
            ClientError::BadAddress { .. }
            | ClientError::Unsupported { .. }
            | ClientError::Broker { .. }
            | ClientError::Batch { .. } => Problem::new(error.to_string()),
        };
        match error.hint() {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    }
}
