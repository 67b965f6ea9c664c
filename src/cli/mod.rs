//! Subcommands for people.

mod failure;
mod format;
mod position;

mod datetime;
mod logging;
pub mod node;
