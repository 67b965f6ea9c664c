//! Threads beside the cores: the housekeeping thread, and the blocking commands.

use std::future::Future;
use std::thread::JoinHandle;

/// Starts a named thread. It is no core: it may block, and it must not use the operations of this
/// room that belong to one (tasks, sleeps, files, sockets). Mail and `sync` work from it.
pub fn spawn_thread<F, T>(name: &str, body: F) -> super::Result<JoinHandle<T>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
}

/// Runs a future to its end on a tokio runtime of this thread: the housekeeping thread's HTTP
/// server lives there, away from the cores.
pub fn block_on_tokio<F: Future>(future: F) -> super::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = tokio::task::LocalSet::new();
    Ok(local.block_on(&runtime, future))
}

/// The CPUs that this process may run on, in the kernel's numbering: one core is started for each
/// unless the operator says otherwise. Empty if the kernel does not say.
pub fn available_cpus() -> Vec<usize> {
    let cpus = core_affinity::get_core_ids().unwrap_or_default();
    cpus.into_iter().map(|cpu| cpu.id).collect()
}

/// Keeps the calling thread on one CPU; false if the kernel does not let it.
pub fn pin_thread(cpu: usize) -> bool {
    core_affinity::set_for_current(core_affinity::CoreId { id: cpu })
}
