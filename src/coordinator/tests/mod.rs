//! Scenarios, restarts and random interleavings against whole coordinators.

mod script;
mod world;

mod groups;
mod interleavings;
mod offsets;
mod static_members;
