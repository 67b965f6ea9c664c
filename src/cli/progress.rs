//! Progress for people who watch: drawn on stderr, and only if that is a terminal.

use std::fmt;
use std::io::{IsTerminal, Write};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::io::blocking::stderr;

/// A bar that grows to `length`. Without a terminal it draws nothing.
pub(super) fn bar(length: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
        bar.set_style(style.with_key("rate", rate));
    }
    bar.set_prefix(what.to_string());
    bar
}

/// The bar takes what a narrow terminal has left beside the figures.
const TEMPLATE: &str = "{prefix:8} {wide_bar} {human_pos}/{human_len} {rate}";

/// Records a second, whole ones.
fn rate(state: &ProgressState, to: &mut dyn fmt::Write) {
    // A line of a terminal that went away needs no figure.
    let _ = write!(to, "{}/s", HumanCount(state.per_sec() as u64));
}

/// A remark for a person at a terminal.
pub(super) fn note(text: &str) {
    let mut out = stderr();
    if out.is_terminal() {
        // A terminal that went away needs no remark.
        let _ = writeln!(out, "{text}");
    }
}
