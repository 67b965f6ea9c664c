//! Where the batches of a Produce request lie, found while it arrives.
//!
//! A large batch is to be received at the place from which it is written to the disk, so its place
//! in the request must be known before its bytes are there. What is read here is only what stands
//! between the batches; whether the request is a good one is `ProduceRequest::decode`'s to say.

use crate::limits::REQUEST_ELEMENTS_MAX;

use super::api::ApiKey;
use super::wire::{Reader, WireError};

/// A batch that was taken out of a request: the request's bytes go on at `at` as if it had none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Apart {
    /// Where its first byte would stand, in bytes from the start of what is left.
    pub at: usize,
    /// Its length in bytes.
    pub length: usize,
}

/// What comes next in a request that is arriving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// At least so many bytes are missing to tell.
    Missing(usize),
    /// A batch begins, or its partition's bytes of whatever kind. Then `Finder::taken` or
    /// `Finder::left` is called.
    Batch(Apart),
    /// No further batch, or nothing that could have one.
    End,
}

/// Reads a request from its header on, in steps.
#[derive(Debug)]
pub struct Finder {
    /// What comes at `at`.
    stage: Stage,
    /// Everything before is read, in bytes of what is left of the request.
    at: usize,
    version: i16,
    topics_left: usize,
    partitions_left: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Head,
    Topic,
    Partition,
    /// The bytes of a partition were told of.
    Told(Apart),
    /// What follows a partition's bytes.
    PartitionEnd,
    TopicEnd,
    End,
}

/// The first version of which the layout is known, and the last.
const VERSIONS: std::ops::RangeInclusive<i16> = 3..=13;

impl Default for Finder {
    fn default() -> Finder {
        Finder {
            stage: Stage::Head,
            at: 0,
            version: 0,
            topics_left: 0,
            partitions_left: 0,
        }
    }
}

impl Finder {
    /// Looks as far as `request`, what is left of it so far, reaches.
    pub fn next(&mut self, request: &[u8]) -> Next {
        loop {
            if self.at > request.len() {
                return Next::Missing(self.at - request.len());
            }
            match self.stage {
                Stage::End => return Next::End,
                Stage::Told(batch) => return Next::Batch(batch),
                Stage::Head
                | Stage::Topic
                | Stage::Partition
                | Stage::PartitionEnd
                | Stage::TopicEnd => {}
            }
            match self.step(&request[self.at..]) {
                Ok((stage, read)) => {
                    self.stage = stage;
                    self.at += read;
                }
                Err(WireError::Truncated) => return Next::Missing(1),
                // Decoding will say so.
                Err(_) => self.stage = Stage::End,
            }
        }
    }

    /// The batch that was told of is not among the bytes: what follows it stands in its place.
    pub fn taken(&mut self) {
        self.stage = Stage::PartitionEnd;
    }

    /// The batch that was told of stays where it is.
    pub fn left(&mut self) {
        if let Stage::Told(batch) = self.stage {
            self.at += batch.length;
        }
        self.stage = Stage::PartitionEnd;
    }

    /// Reads one piece at the start of `bytes`: what comes then, and how long the piece was.
    fn step(&mut self, bytes: &[u8]) -> Result<(Stage, usize), WireError> {
        let flexible = ApiKey::Produce.is_flexible(self.version);
        let mut reader = Reader::over(bytes, flexible, REQUEST_ELEMENTS_MAX);
        let stage = match self.stage {
            Stage::Head => return self.head(bytes),
            Stage::Topic => {
                match self.version >= 13 {
                    true => drop(reader.topic_id()?),
                    false => reader.skip_string()?,
                }
                self.partitions_left = reader.count()?;
                self.topics_left -= 1;
                self.in_topic()
            }
            Stage::Partition => {
                reader.i32()?;
                let length = reader.nullable_length()?;
                self.partitions_left -= 1;
                match length {
                    None => Stage::PartitionEnd,
                    Some(length) => Stage::Told(Apart {
                        at: self.at + reader.position(),
                        length,
                    }),
                }
            }
            Stage::PartitionEnd => {
                reader.skip_tagged_fields()?;
                self.in_topic()
            }
            Stage::TopicEnd => {
                reader.skip_tagged_fields()?;
                self.in_request()
            }
            Stage::Told(_) | Stage::End => self.stage,
        };
        Ok((stage, reader.position()))
    }

    /// The header and the fields in front of the topics.
    fn head(&mut self, bytes: &[u8]) -> Result<(Stage, usize), WireError> {
        let mut reader = Reader::over(bytes, false, 0);
        let (key, version) = (reader.i16()?, reader.i16()?);
        if ApiKey::from_code(key) != Some(ApiKey::Produce) || !VERSIONS.contains(&version) {
            return Ok((Stage::End, 0));
        }
        reader.i32()?;
        reader.skip_string()?;
        let header_bytes = reader.position();
        let flexible = ApiKey::Produce.is_flexible(version);
        let mut reader = Reader::over(&bytes[header_bytes..], flexible, REQUEST_ELEMENTS_MAX);
        reader.skip_tagged_fields()?;
        reader.skip_string()?;
        reader.i16()?;
        reader.i32()?;
        self.version = version;
        self.topics_left = reader.count()?;
        Ok((self.in_request(), header_bytes + reader.position()))
    }

    fn in_topic(&self) -> Stage {
        match self.partitions_left {
            0 => Stage::TopicEnd,
            _ => Stage::Partition,
        }
    }

    fn in_request(&self) -> Stage {
        match self.topics_left {
            0 => Stage::End,
            _ => Stage::Topic,
        }
    }
}
