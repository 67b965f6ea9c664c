//! What does this machine's kernel do of what the notes beside this directory claim?
//!
//! `ci/probe` runs it: a row for each claim, with what was tried and what came of it. It asserts
//! nothing and measures no time: a kernel that lacks something is a fact, and the broker has its
//! fallback or says why it does not start. It needs no root; what a limit forbids is shown as such.

// The kernel is asked here as src/io asks it, outside of the broker.
#![allow(unsafe_code, clippy::disallowed_methods)]

mod files;
mod memory;
mod ring;
mod sockets;

/// One claim, tried.
struct Row {
    /// The page of kernel-notes.
    note: &'static str,
    what: &'static str,
    seen: String,
}

fn row(note: &'static str, what: &'static str, seen: impl Into<String>) -> Row {
    let seen = seen.into();
    Row { note, what, seen }
}

/// What a call gave: `yes` with its detail, or the system's error.
fn told<T>(result: std::io::Result<T>, detail: impl FnOnce(T) -> String) -> String {
    match result {
        Ok(value) => detail(value),
        Err(error) => format!("no: {error}"),
    }
}

fn main() {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    println!("Linux {}, {}\n", release.trim(), std::env::consts::ARCH);
    let dir = std::env::args().nth(1).unwrap_or_else(|| ".".into());
    let mut rows = ring::rows();
    rows.extend(sockets::rows());
    rows.extend(files::rows(std::path::Path::new(&dir)));
    rows.extend(memory::rows());
    println!("| note | what was tried | what came of it |\n|---|---|---|");
    for row in rows {
        println!("| {} | {} | {} |", row.note, row.what, row.seen);
    }
}
