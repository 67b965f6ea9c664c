//! The journal of one core: one synced write for the small groups of many logs.
//!
//! A redo log beside the segments' frames, drawn in `docs/formats/journal.md`. A log whose group is
//! small has its batches copied into the core's next *round*; when that is durable, so are they.
//! The group stays open, grows, and goes to its chunk later as one frame like any other. Until then
//! the journal is what a restart has of it, and the group's buffer what readers are served from.
//!
//! What holds:
//!
//! - An entry begins where the log's durable offset stands. So everything above a log's frames and
//!   below its durable offset is in rounds, without a gap.
//! - One round is in flight at a time; what queues meanwhile goes out as the next one.
//! - A chunk of the journal is given back when every log has frames, released and synced, through
//!   all that the chunk holds of it.
//! - Nobody must use the journal: where it has no chunk, or its bounds are reached, logs write
//!   their groups to their own chunks, as a log does that nobody shares a round with.

mod replay;
mod round;
mod writer;

pub(super) use replay::{Debt, Journaled, Owed, read_journals};
pub(super) use round::RoundHeader;
pub(super) use writer::{HeldOpen, Journal};
