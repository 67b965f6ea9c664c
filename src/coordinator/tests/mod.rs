//! Scenarios, restarts and random interleavings against whole coordinators.

mod script;
mod world;

mod groups;
mod interleavings;
mod loading;
mod offsets;
mod static_members;
