//! Per-core counters, written by their core without atomics on the path, published once a second.
