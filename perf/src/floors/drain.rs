//! Readers of F1 the other way round: they take whatever comes, and look at none of it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use corelog::bench::Problem;
use corelog::io::{self, TcpStream};

use crate::limits::DRAIN_READ_BYTES;
use crate::loops::on_cores;
use crate::machine::own_cpu_seconds;

/// What a slice brought.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct DrainSlice {
    pub(crate) bytes_per_second: f64,
    /// All that came, the warm-up's too.
    pub(crate) bytes: f64,
    /// Processor time of the readers for all of it.
    pub(crate) client_cpu_seconds: f64,
}

/// What came on one connection, or on all.
#[derive(Clone, Copy, Debug, Default)]
struct Came {
    bytes_per_second: f64,
    bytes: f64,
}

/// Reads from so many connections, dealt to these CPUs and to the senders, for so long after the
/// warm-up.
pub(crate) fn slice(
    senders: &[SocketAddr],
    cpus: &[usize],
    connections: usize,
    warm_up: Duration,
    time: Duration,
) -> Result<DrainSlice, Problem> {
    let specs: Vec<Option<usize>> = cpus.iter().map(|&cpu| Some(cpu)).collect();
    let cores = cpus.len();
    let sum = Arc::new(Mutex::new(Ok(Came::default())));
    let cpu_before = own_cpu_seconds();
    let ran = on_cores(&specs, |core| {
        let (sum, senders) = (Arc::clone(&sum), senders.to_vec());
        async move {
            let own = (0..connections).filter(|at| at % cores == usize::from(core.0));
            let readers: Vec<_> = own
                .map(|at| io::spawn(read(senders[at % senders.len()], warm_up, time)))
                .collect();
            for reader in readers {
                let read = reader.await;
                let mut sum = sum.lock().expect("no core panicked");
                match (&mut *sum, read) {
                    (Ok(sum), Ok(came)) => {
                        sum.bytes_per_second += came.bytes_per_second;
                        sum.bytes += came.bytes;
                    }
                    (Ok(_), Err(error)) => *sum = Err(error),
                    (Err(_), _) => {}
                }
            }
            Some(Ok(()))
        }
    });
    let failed = |error: io::Error| Problem::new(format!("reading from the floor: {error}"));
    ran.map_err(failed)?;
    let sum = std::mem::replace(
        &mut *sum.lock().expect("no core panicked"),
        Ok(Came::default()),
    );
    let sum = sum.map_err(failed)?;
    Ok(DrainSlice {
        bytes_per_second: sum.bytes_per_second,
        bytes: sum.bytes,
        client_cpu_seconds: own_cpu_seconds() - cpu_before,
    })
}

/// One connection. Its memory is filled to its end before it is used again, as a consumer's is by
/// an answer.
async fn read(address: SocketAddr, warm_up: Duration, time: Duration) -> io::Result<Came> {
    let stream = TcpStream::connect(address).await?;
    let start = io::now();
    let mut begin = None;
    let mut room = BytesMut::with_capacity(DRAIN_READ_BYTES);
    let (mut total, mut before) = (0, 0);
    loop {
        let now = io::now();
        match begin {
            None if now - start >= warm_up => {
                begin = Some(now);
                before = total;
            }
            Some(begin) if now - begin >= time => {
                stream.shutdown();
                return Ok(Came {
                    bytes_per_second: (total - before) as f64 / (now - begin).as_secs_f64(),
                    bytes: total as f64,
                });
            }
            None | Some(_) => {}
        }
        let (result, back) = stream.read(room).await;
        room = back;
        match result? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => total += count,
        }
        if room.len() == room.capacity() {
            room.clear();
        }
    }
}
