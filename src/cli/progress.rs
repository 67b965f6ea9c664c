//! Progress for people who watch: drawn on stderr, and only if that is a terminal.

use std::io::{IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::io::blocking::stderr;

/// A bar that grows to `length`. Without a terminal it draws nothing.
pub(super) fn bar(length: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    let template = "{prefix:8} {bar:40} {human_pos}/{human_len} {per_sec}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(what.to_string());
    bar
}

/// A remark for a person at a terminal.
pub(super) fn note(text: &str) {
    let mut out = stderr();
    if out.is_terminal() {
        // A terminal that went away needs no remark.
        let _ = writeln!(out, "{text}");
    }
}
