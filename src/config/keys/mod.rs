//! The tables of the registry, one file per subject.

pub(in crate::config) mod engine;
pub(in crate::config) mod log;
pub(in crate::config) mod network;
pub(in crate::config) mod topics;
pub(in crate::config) mod without_effect;
