//! What can go wrong between a client and its brokers, in Kafka's names, with what helps.

use std::fmt;

use crate::frame::RecordsError;
use crate::io;
use crate::protocol::{ApiKey, ErrorCode, ProtocolError};

/// Why a client's operation failed.
#[derive(Debug)]
pub enum ClientError {
    /// An address is not HOST:PORT.
    BadAddress {
        /// What was given.
        address: String,
    },
    /// No connection came about.
    Connect {
        /// HOST:PORT.
        address: String,
        /// What the system said.
        cause: io::Error,
    },
    /// A connection broke.
    Disconnected {
        /// HOST:PORT.
        address: String,
        /// What the system said.
        cause: io::Error,
    },
    /// A broker did not answer in time.
    TimedOut {
        /// HOST:PORT.
        address: String,
        /// What it was asked.
        api: ApiKey,
    },
    /// A broker serves no version of an API that this client speaks.
    Unsupported {
        /// HOST:PORT.
        address: String,
        /// The API.
        api: ApiKey,
    },
    /// Bytes were not what they should be.
    Protocol {
        /// HOST:PORT.
        address: String,
        /// What is wrong.
        error: ProtocolError,
    },
    /// A broker answered with an error.
    Broker {
        /// What it was asked.
        api: ApiKey,
        /// About what: a topic, a partition, a group.
        subject: String,
        /// The error.
        code: ErrorCode,
        /// The broker's own words.
        message: Option<String>,
    },
    /// A broker sent a batch that cannot be read.
    Batch {
        /// The partition.
        subject: String,
        /// What is wrong.
        error: RecordsError,
    },
}

impl ClientError {
    /// `Ok` for a code of no error, else the error that a broker sent.
    pub(super) fn check(
        api: ApiKey,
        subject: impl fmt::Display,
        code: i16,
        message: Option<&str>,
    ) -> Result<(), ClientError> {
        match error_code(code) {
            ErrorCode::None => Ok(()),
            code => Err(ClientError::Broker {
                api,
                subject: subject.to_string(),
                code,
                message: message.map(str::to_owned),
            }),
        }
    }

    /// The broker's error code, where a broker answered with one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            ClientError::Broker { code, .. } => Some(*code),
            ClientError::BadAddress { .. }
            | ClientError::Connect { .. }
            | ClientError::Disconnected { .. }
            | ClientError::TimedOut { .. }
            | ClientError::Unsupported { .. }
            | ClientError::Protocol { .. }
            | ClientError::Batch { .. } => None,
        }
    }

    /// Whether the same operation may succeed a moment later.
    pub fn is_retriable(&self) -> bool {
        match self {
            ClientError::Connect { .. }
            | ClientError::Disconnected { .. }
            | ClientError::TimedOut { .. } => true,
            ClientError::Broker { code, .. } => code.is_retriable(),
            ClientError::BadAddress { .. }
            | ClientError::Unsupported { .. }
            | ClientError::Protocol { .. }
            | ClientError::Batch { .. } => false,
        }
    }

    /// What a person could do about it, in one sentence.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            ClientError::BadAddress { .. } => Some("Give HOST:PORT, as in 127.0.0.1:9092."),
            ClientError::Connect { .. } => {
                Some("Check that a broker listens there: `corelog` starts one on 127.0.0.1:9092.")
            }
            ClientError::Disconnected { .. } => Some(
                "The broker's log tells whether it stopped or refused the request; what closes \
                     every connection may expect TLS, or be no broker.",
            ),
            ClientError::TimedOut { .. } => {
                Some("The broker may be overloaded, or its advertised address may be wrong.")
            }
            ClientError::Unsupported { .. } => {
                Some("The broker is older or newer than this client, or lacks that function.")
            }
            ClientError::Protocol { .. } => {
                Some("Something other than a broker may listen on that port, or TLS is expected.")
            }
            ClientError::Broker { code, .. } => code_hint(*code),
            ClientError::Batch { .. } => {
                Some("The data was damaged on its way or on disk; the broker's log may say more.")
            }
        }
    }
}

/// The error of a number; those that Kafka may add later read as `UnknownServerError`.
pub(super) fn error_code(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError)
}

fn code_hint(code: ErrorCode) -> Option<&'static str> {
    let hint = match code {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId => {
            "`corelog topic list` shows the topics; `corelog topic create` makes one."
        }
        ErrorCode::TopicAlreadyExists => "`corelog topic describe` shows it.",
        ErrorCode::InvalidReplicationFactor => {
            "The replication factor cannot exceed the number of brokers."
        }
        ErrorCode::InvalidTopicException => {
            "A topic's name has 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-'."
        }
        ErrorCode::InvalidPartitions => {
            "A topic has at least one partition, and the number can only grow."
        }
        ErrorCode::MessageTooLarge => {
            "Send smaller batches, or raise the topic's max.message.bytes."
        }
        ErrorCode::OffsetOutOfRange => {
            "The records may have been deleted; start from the beginning or the end."
        }
        ErrorCode::GroupIdNotFound => "`corelog group list` shows the groups.",
        ErrorCode::NonEmptyGroup => "Stop the group's members first.",
        ErrorCode::GroupSubscribedToTopic => "Stop the members that consume the topic first.",
        ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration => {
            "The group has active members; stop them first."
        }
        ErrorCode::TopicAuthorizationFailed
        | ErrorCode::ClusterAuthorizationFailed
        | ErrorCode::GroupAuthorizationFailed => {
            "The cluster's ACLs do not allow this client that; `kafka-acls.sh --list` shows them."
        }
        ErrorCode::KafkaStorageError => "The broker's disk failed or is full; see its log.",
        ErrorCode::TopicDeletionDisabled => "The broker runs with delete.topic.enable=false.",
        ErrorCode::NotEnoughReplicas => "Fewer replicas are in sync than min.insync.replicas.",
        _ => return None,
    };
    Some(hint)
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::BadAddress { address } => write!(f, "{address:?} is not HOST:PORT"),
            ClientError::Connect { address, cause } => {
                write!(f, "cannot connect to {address}: {cause}")
            }
            ClientError::Disconnected { address, cause } => {
                write!(f, "the connection to {address} broke: {cause}")
            }
            ClientError::TimedOut { address, api } => {
                write!(f, "{address} did not answer {api} in time")
            }
            ClientError::Unsupported { address, api } => {
                write!(
                    f,
                    "{address} serves no version of {api} that this client speaks"
                )
            }
            ClientError::Protocol { address, error } => {
                write!(
                    f,
                    "{address} and this client do not understand each other: {error}"
                )
            }
            ClientError::Broker {
                api,
                subject,
                code,
                message,
            } => {
                let message = message.as_deref().unwrap_or(code.message());
                write!(f, "{api} of {subject}: {code}: {message}")
            }
            ClientError::Batch { subject, error } => {
                write!(f, "{subject}: a batch cannot be read: {error:?}")
            }
        }
    }
}

impl std::error::Error for ClientError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brokers_error_shows_kafkas_name_its_words_and_what_helps() {
        let check = |code: i16, message: Option<&str>, text: &str, has_hint: bool| {
            let result = ClientError::check(ApiKey::CreateTopics, "t", code, message);
            let error = result.unwrap_err();
            assert_eq!(error.to_string(), text);
            assert_eq!(error.hint().is_some(), has_hint);
        };
        check(
            36,
            Some("Topic 't' already exists."),
            "CreateTopics of t: TOPIC_ALREADY_EXISTS: Topic 't' already exists.",
            true,
        );
        let own_words = ErrorCode::PolicyViolation.message();
        check(
            44,
            None,
            &format!("CreateTopics of t: POLICY_VIOLATION: {own_words}"),
            false,
        );
        let unknown = ErrorCode::UnknownServerError.message();
        check(
            999,
            None,
            &format!("CreateTopics of t: UNKNOWN_SERVER_ERROR: {unknown}"),
            false,
        );
        assert!(ClientError::check(ApiKey::CreateTopics, "t", 0, None).is_ok());
    }
}
