//! Does glommio still park with runnable tasks, and for ever?
//!
//! `timeout 300 cargo test --features glommio --test glommio_hang`
//!
//! glommio's executor runs its task queues until its preempt timer fires. If that fires before the
//! first task of a round has run, the round counts as "nothing to do", and the executor parks
//! although tasks are runnable; if nothing else happens it sleeps for ever. The shorter the timer,
//! the more often. `src/io/glommio` lets the timer never fire and runs its tasks in another way;
//! this program says whether that is still needed with the release that `Cargo.toml` names.
//!
//! Each case runs in a process of its own, which is killed when it has not ended in time. The last
//! case has glommio's default, to see that the cases themselves work. Exit code 0: nothing hung,
//! the release is fit for a short timer. Exit code 1: it hung. Not part of `cargo test`, because a
//! known defect of a dependency is no news; a hang needs chance, so one run without is weak
//! evidence, and ten are better.

#![allow(
    clippy::disallowed_methods,
    reason = "the program is about another runtime: its clock and processes are the system's"
)]

use std::future::Future;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use futures_util::future::join;
use glommio::channels::shared_channel;
use glommio::timer::sleep;
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};

/// How long a case works.
const WORK: Duration = Duration::from_secs(2);
/// How long it may take, on a machine that is busy.
const LIMIT: Duration = Duration::from_secs(8);
/// Microseconds of the preempt timer, the default last.
const PREEMPT_US: [u64; 4] = [50, 100, 200, 100_000];
const RUNS: usize = 3;

/// What the executors do.
const SHAPES: [&str; 2] = ["messages", "timers"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, shape, preempt_us] = &arguments[..]
        && flag == "--case"
    {
        let preempt = Duration::from_micros(preempt_us.parse().expect("microseconds"));
        match shape.as_str() {
            "messages" => messages(preempt),
            _ => timers(preempt),
        }
        return ExitCode::SUCCESS;
    }
    println!("| executors exchange | preempt timer, us | hung | runs |\n|---|---|---|---|");
    let mut hung_in_all = 0;
    for shape in SHAPES {
        for preempt_us in PREEMPT_US {
            let hung = (0..RUNS).filter(|_| !ends(shape, preempt_us)).count();
            println!("| {shape} | {preempt_us} | {hung} | {RUNS} |");
            hung_in_all += hung;
        }
    }
    if hung_in_all > 0 {
        println!("\nglommio hangs: a short preempt timer is not fit for use");
        return ExitCode::FAILURE;
    }
    println!("\nnothing hung: this release may be fit for a short preempt timer");
    ExitCode::SUCCESS
}

/// Runs one case in a process of its own; false if it had to be killed.
fn ends(shape: &str, preempt_us: u64) -> bool {
    let this = std::env::current_exe().expect("this program");
    let mut case = Command::new(this)
        .args(["--case", shape, &preempt_us.to_string()])
        .stdin(Stdio::null())
        .spawn()
        .expect("a process");
    let begin = Instant::now();
    while begin.elapsed() < LIMIT {
        if let Some(status) = case.try_wait().expect("the process is ours") {
            assert!(status.success(), "{shape} at {preempt_us} us: {status}");
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    case.kill().expect("the process is ours");
    case.wait().expect("the process is ours");
    false
}

/// Two executors send one message back and forth.
fn messages(preempt: Duration) {
    let (ask, asked) = shared_channel::new_bounded::<bool>(16);
    let (answer, answered) = shared_channel::new_bounded::<bool>(16);
    let asking = executor(preempt, move || async move {
        let (ask, answered) = join(ask.connect(), answered.connect()).await;
        let begin = Instant::now();
        while begin.elapsed() < WORK {
            ask.send(true).await.expect("the other executor receives");
            answered.recv().await.expect("the other executor answers");
        }
        ask.send(false).await.expect("the other executor receives");
    });
    let answering = executor(preempt, move || async move {
        let (asked, answer) = join(asked.connect(), answer.connect()).await;
        while asked.recv().await == Some(true) {
            answer.send(true).await.expect("the other executor waits");
        }
    });
    asking.join().expect("it ends");
    answering.join().expect("it ends");
}

/// Executors that only sleep, a little at a time.
fn timers(preempt: Duration) {
    let sleeping = [(); 4].map(|()| {
        executor(preempt, || async {
            let begin = Instant::now();
            while begin.elapsed() < WORK {
                sleep(Duration::from_micros(200)).await;
            }
        })
    });
    for one in sleeping {
        one.join().expect("it ends");
    }
}

fn executor<F>(
    preempt: Duration,
    main: impl FnOnce() -> F + Send + 'static,
) -> ExecutorJoinHandle<()>
where
    F: Future<Output = ()> + 'static,
{
    LocalExecutorBuilder::new(Placement::Unbound)
        .preempt_timer(preempt)
        .spawn(main)
        .expect("glommio starts")
}
