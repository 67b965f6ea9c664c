//! Does the client keep its promises when a broker fails it? Nothing acknowledged is lost, an
//! idempotent producer stores nothing twice, order stays, errors are told.

// A broker of a test listens on a socket of its own and has threads.
#![allow(clippy::disallowed_methods)]

mod broker;
mod consuming;
mod coordinator;
mod grouping;
mod producing;
