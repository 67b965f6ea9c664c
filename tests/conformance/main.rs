//! What every backend of `io` must do, tested through the room's door only.
//!
//! The same files run with each backend: `cargo test --test conformance`, and again with
//! `--features sim`. Nothing here names a backend.

mod files;
mod mail;
mod races;
mod spinning;
mod streams;
mod tasks;
mod timers;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use corelog::io::{self, CoreSpec};
use corelog::model::CoreId;

/// No test needs as long as this; one that does hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs `main` on each of `count` cores.
fn on_cores<F>(count: u16, main: impl Fn(CoreId) -> F + Send + Sync)
where
    F: Future<Output = ()> + 'static,
{
    let limited = |core| {
        let future = main(core);
        async move {
            let ended = io::timeout(LIMIT, future).await;
            assert!(ended.is_some(), "{core:?} did not end within {LIMIT:?}");
        }
    };
    io::run(&CoreSpec::unpinned(count), limited).expect("the cores start");
}

/// Runs `main` on one core.
fn on_one_core<F>(main: impl Fn() -> F + Send + Sync)
where
    F: Future<Output = ()> + 'static,
{
    on_cores(1, |_| main());
}

/// Runs `main` on one core, with an empty directory that is removed afterwards.
fn with_directory<F>(main: impl Fn(PathBuf) -> F + Send + Sync)
where
    F: Future<Output = ()> + 'static,
{
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let path = directory.path().join("test");
    on_one_core(|| {
        let path = path.clone();
        let body = main(path.clone());
        async move {
            make_directory(&path).await;
            body.await;
        }
    });
}

/// Makes a directory and those above it: a simulated disk begins empty.
async fn make_directory(path: &Path) {
    let mut above: Vec<&Path> = path.ancestors().collect();
    above.reverse();
    for directory in above {
        // What is there already is refused in more than one way ("/" for instance).
        let _ = io::fs::create_dir(directory).await;
    }
    io::fs::list_dir(path)
        .await
        .expect("the directory is there now");
}

/// Numbers that look random and are the same in each run, from xorshift64*.
struct Sequence(u64);

impl Sequence {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit
    }
}
