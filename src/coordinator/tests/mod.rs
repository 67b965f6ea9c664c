//! Scenarios, restarts and random interleavings against whole coordinators.

mod script;
mod world;

mod groups;
mod offsets;
mod static_members;
