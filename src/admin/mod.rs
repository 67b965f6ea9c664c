//! The housekeeping thread: metrics and health over HTTP; reads snapshots only.
//!
//! | path | answer |
//! |---|---|
//! | `/metrics`, `/public_metrics` | Prometheus' text format: [`exposition`] |
//! | `/healthz` | 200 while every core publishes its figures; 503 and the cores that do not |
//! | `/readyz` | 200 after recovery, once the listeners accept; 503 before, and while stopping |
//!
//! The thread is no core and owns no partition. Cores put their figures on the
//! [`Board`](crate::metrics::Board) once a second and never wait for this thread; what it shows
//! is at most a second old. Nobody needs it: a client that hammers it slows this thread only.

mod exposition;
mod health;
mod http;
mod text;

pub use http::{Admin, Housekeeping, start};
