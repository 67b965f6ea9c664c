//! Does a broker that is killed, or whose disk loses power, keep what it acknowledged?
//!
//!     kill [ROUNDS] [--seed N] [--binary PATH] [--dir DIR] [--bytes N] [--override K=V]...
//!     kill --volatile-disk PROGRAM ...     power cuts, on the disk of tests/powercut
//!     kill --small-disk ...                a disk that is full now and then
//!     kill --many-partitions COUNT ...     start and memory with many partitions; no rounds
//!
//! Each round starts the real binary on the same data, reads everything back, holds it against what
//! is known, puts it under load and ends it with SIGKILL at a random moment. `history` says what is
//! checked. Run it by `ci/kill`, which builds what it needs.
//!
//! An example and not a test for cargo: it takes minutes, and wants the binary built as people run
//! it.

mod arguments;
mod broker;
mod chance;
mod churn;
mod content;
mod disk;
mod groups;
mod history;
mod load;
mod loop_device;
mod many_partitions;
mod produce;
mod rounds;
mod verdict;
mod watch;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(what) => {
            eprintln!("kill: {what}");
            return ExitCode::from(64);
        }
    };
    let outcome = match arguments.many_partitions {
        Some(count) => many_partitions::run(&arguments, count),
        None => rounds::run(&arguments),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(what) => {
            eprintln!("kill: {what}");
            ExitCode::FAILURE
        }
    }
}
