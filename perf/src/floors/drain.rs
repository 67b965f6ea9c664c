//! Readers of F1 the other way round: they take whatever comes, and look at none of it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use corelog::io::{self, TcpStream};

use crate::limits::DRAIN_READ_BYTES;
use crate::loops::on_cores;
use crate::machine::own_cpu_seconds;
use crate::problem::Problem;

/// What a slice brought.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct DrainSlice {
    pub(crate) bytes_per_second: f64,
    /// Processor time of the readers.
    pub(crate) client_cpu_seconds: f64,
}

/// Reads from so many connections, dealt to these CPUs, for so long.
pub(crate) fn slice(
    address: SocketAddr,
    cpus: &[usize],
    connections: usize,
    time: Duration,
) -> Result<DrainSlice, Problem> {
    let specs: Vec<Option<usize>> = cpus.iter().map(|&cpu| Some(cpu)).collect();
    let cores = cpus.len();
    let sum = Arc::new(Mutex::new(Ok(0.0)));
    let cpu_before = own_cpu_seconds();
    let ran = on_cores(&specs, |core| {
        let sum = Arc::clone(&sum);
        async move {
            let own = (0..connections).filter(|at| at % cores == usize::from(core.0));
            let readers: Vec<_> = own.map(|_| io::spawn(read(address, time))).collect();
            for reader in readers {
                let read = reader.await;
                let mut sum = sum.lock().expect("no core panicked");
                match (&mut *sum, read) {
                    (Ok(sum), Ok(rate)) => *sum += rate,
                    (Ok(_), Err(error)) => *sum = Err(error),
                    (Err(_), _) => {}
                }
            }
            Some(Ok(()))
        }
    });
    let failed = |error: io::Error| Problem::new(format!("reading from the floor: {error}"));
    ran.map_err(failed)?;
    let sum = std::mem::replace(&mut *sum.lock().expect("no core panicked"), Ok(0.0));
    Ok(DrainSlice {
        bytes_per_second: sum.map_err(failed)?,
        client_cpu_seconds: own_cpu_seconds() - cpu_before,
    })
}

/// Bytes a second of one connection.
async fn read(address: SocketAddr, time: Duration) -> io::Result<f64> {
    let stream = TcpStream::connect(address).await?;
    let begin = io::now();
    let mut room = BytesMut::with_capacity(DRAIN_READ_BYTES);
    let mut total = 0;
    while io::now() - begin < time {
        let (result, back) = stream.read(room).await;
        room = back;
        match result? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => total += count,
        }
        room.clear();
    }
    let rate = total as f64 / (io::now() - begin).as_secs_f64();
    stream.shutdown();
    Ok(rate)
}
