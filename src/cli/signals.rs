//! SIGTERM and SIGINT: the first stops gracefully, the second at once.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::arguments::OutputFormat;
use super::failure::{Exit, Failure};
use crate::io::sync::watch;
use crate::io::{blocking, spawn_thread};

/// How long the line about a second signal may take.
const LAST_WORDS_MAX: Duration = Duration::from_millis(200);

/// Turns to true when the node is to stop. Any number of tasks, on any core, may wait for it.
pub type Stop = watch::Receiver<bool>;

/// Starts watching for signals, and for the end of the standard input if asked to.
pub(super) fn stop(at_end_of_input: bool) -> Result<Stop, Failure> {
    let (sender, stop) = watch::channel(false);
    let sender = Arc::new(sender);
    let failed = |error| Failure::new(format!("cannot watch for signals: {error}"));
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(failed)?;
    let for_signals = sender.clone();
    spawn_thread("signals", move || {
        for signal in signals.forever() {
            let name = if signal == SIGTERM {
                "SIGTERM"
            } else {
                "SIGINT"
            };
            if for_signals.send_replace(true) {
                end_at_once(name);
            }
            tracing::info!("{name}: stopping");
        }
    })
    .map_err(failed)?;
    if at_end_of_input {
        spawn_thread("input", move || {
            // Whatever comes is thrown away; an error ends the input as well.
            let _ = std::io::copy(&mut blocking::stdin().lock(), &mut std::io::sink());
            tracing::info!("the standard input ended: stopping");
            sender.send_replace(true);
        })
        .map_err(failed)?;
    }
    Ok(stop)
}

/// Ends the process and leaves the rest to the next start. The line goes around the logger, whose
/// thread would end before it has written; nobody waits long for whoever should read it.
fn end_at_once(name: &str) -> ! {
    let failure = Failure::interrupted(format!(
        "{name} again: the graceful stop was cut short; nothing that was acknowledged is lost, the \
         log recovers at the next start"
    ));
    let (said, is_said) = sync_channel(1);
    let told = spawn_thread("last words", move || {
        failure.report(blocking::stderr(), OutputFormat::Table);
        let _ = said.send(());
    });
    if told.is_ok() {
        let _ = is_said.recv_timeout(LAST_WORDS_MAX);
    }
    std::process::exit(i32::from(Exit::Interrupted.code()));
}

/// Calls `then` for every SIGTERM and SIGINT, on a thread of its own: also while the command waits
/// for input, which a flag would not end.
pub(super) fn each(mut then: impl FnMut() + Send + 'static) -> Result<(), Failure> {
    let failed = |error| Failure::new(format!("cannot watch for signals: {error}"));
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(failed)?;
    spawn_thread("signals", move || signals.forever().for_each(|_| then())).map_err(failed)?;
    Ok(())
}

/// A flag that the first signal sets; the second one ends the process.
pub(super) fn interrupt_flag() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        let code = i32::from(Exit::Interrupted.code());
        // In this order: the flag that the first signal sets is what the second one meets.
        signal_hook::flag::register_conditional_shutdown(signal, code, flag.clone())
            .and_then(|_| signal_hook::flag::register(signal, flag.clone()))
            .map_err(|error| Failure::new(format!("cannot watch for signals: {error}")))?;
    }
    Ok(flag)
}
