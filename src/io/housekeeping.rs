//! What the housekeeping thread needs of the outside world: sockets, timers and tasks of tokio's
//! runtime on that thread ([`super::block_on_tokio`]), and what the kernel says of this process.
//! Never used on a core.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use super::Instant;
use crate::model::Timestamp;

/// A listening socket, bound before the thread starts so that a taken port stops the start.
#[derive(Debug)]
pub struct Listener(std::net::TcpListener);

/// A client's connection, as hyper reads and writes it.
pub type Connection = hyper_util::rt::TokioIo<tokio::net::TcpStream>;

/// Gives hyper its timeouts.
pub type Timer = hyper_util::rt::TokioTimer;

impl Listener {
    /// Binds the address. Blocks no longer than the system call.
    pub fn bind(address: SocketAddr) -> super::Result<Listener> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Listener(listener))
    }

    /// The bound address, with the port that the operating system chose.
    pub fn local_addr(&self) -> super::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Accepts for as long as the future lives, and hands each connection to `serve`. An error of
    /// one accept (no file left, a client that has gone) costs a pause, not the listener.
    pub async fn accept_all(self, mut serve: impl FnMut(Connection)) -> super::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.0)?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => serve(Connection::new(stream)),
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

/// Runs a future beside the others of this thread, to its end or the runtime's.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    tokio::task::spawn_local(future);
}

/// Waits, without holding up the thread's other futures.
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// The monotonic clock of threads that are no core; its zero is not that of a core's clock.
pub fn now() -> Instant {
    static ZERO: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
    let since_zero = ZERO.elapsed().as_nanos();
    Instant::from_nanos(u64::try_from(since_zero).unwrap_or(u64::MAX))
}

/// The wall clock of threads that are no core: the machine's, in a simulation too.
pub fn wall_clock() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let since_epoch_ms = since_epoch.map_or(0, |since| since.as_millis());
    Timestamp(i64::try_from(since_epoch_ms).unwrap_or(i64::MAX))
}

/// What the kernel knows of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessFigures {
    /// Processor time of all threads, user and system.
    pub cpu_seconds: f64,
    /// Memory that is resident.
    pub resident_bytes: u64,
    /// Open file descriptors.
    pub open_files: u64,
}

/// Clock ticks a second of /proc: USER_HZ, which is 100 on x86-64 and on 64-bit ARM (proc(5)).
const TICKS_PER_SECOND: u64 = 100;

/// Reads them from /proc; zeros where it says nothing.
pub fn process_figures() -> ProcessFigures {
    // The fields after the process's name, which may hold spaces and ends with the last ')'.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let field = |number: usize| -> u64 {
        // proc(5) counts from 1 and the state, field 3, is the first one here.
        let text = after_name.split_ascii_whitespace().nth(number - 3);
        text.and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident_kb = resident.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok());
    let open_files = std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    ProcessFigures {
        cpu_seconds: (field(14) + field(15)) as f64 / TICKS_PER_SECOND as f64,
        resident_bytes: resident_kb.map_or(0, |kb: u64| kb * 1024),
        // The directory that was read is itself open while it is read.
        open_files: open_files.saturating_sub(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_knows_this_process() {
        let figures = process_figures();
        assert!(figures.resident_bytes > 100_000, "{figures:?}");
        assert!(figures.open_files >= 3, "{figures:?}");
        assert!(
            figures.cpu_seconds >= 0.0 && figures.cpu_seconds < 1e6,
            "{figures:?}"
        );
    }
}
