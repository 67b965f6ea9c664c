//! What a test holds: a machine that starts, crashes and starts again on what its disk kept.

use std::cell::RefMut;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use super::chance::Chance;
use super::disk::{Disk, DiskCounts, DiskOptions, OpInfo};
use super::executor;
use super::machine::{Machine, enter, machine};
use super::net::{Net, NetOptions};
use super::trace::Event;
use crate::io::{CoreSpec, Result};
use crate::model::CoreId;

/// A machine in one thread, whose whole behaviour follows from its seed.
pub struct Simulation {
    machine: Rc<Machine>,
}

/// How a start of the machine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a run that crashed has not done what it was asked"]
pub enum Outcome {
    /// Every core's main returned; operations in flight have completed.
    Finished,
    /// The machine stopped as the test asked; the disk has lost what that takes.
    Crashed(Crash),
}

/// How a machine stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The power goes: what was not synced is kept or lost, sector by sector.
    PowerLoss,
    /// The process goes: what had completed stays, operations in flight are cut.
    Kill,
}

impl Crash {
    pub(super) fn name(self) -> &'static str {
        match self {
            Crash::PowerLoss => "power loss",
            Crash::Kill => "kill",
        }
    }
}

/// When a machine stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPoint {
    /// When this disk operation, counted as [`DiskCounts::ops`], would complete: it has happened
    /// and nobody is told, or it is cut, as drawn.
    DiskOp(u64),
    /// The same, at this sync point, counted as [`DiskCounts::syncs`].
    Sync(u64),
    /// So long after the machine was made.
    Time(Duration),
}

impl CrashPoint {
    pub(super) fn is(self, op: &OpInfo) -> bool {
        match self {
            CrashPoint::DiskOp(number) => op.number >= number,
            CrashPoint::Sync(number) => op.sync_number.is_some_and(|sync| sync >= number),
            CrashPoint::Time(_) => false,
        }
    }
}

/// How the cores behave.
#[derive(Clone, Debug)]
pub struct ScheduleOptions {
    /// The longest that one poll of a task takes.
    pub poll_max: Duration,
    /// The longest that a wake-up takes from one core to another: the delay of cross-core mail.
    pub mail_delay_max: Duration,
    /// How often a core stops for a while between two polls, in a million: the kernel runs
    /// something else there.
    pub pause_ppm: u32,
    /// How long it stops at most.
    pub pause_max: Duration,
    /// A run that takes longer, in virtual time, is reported as one that does not end.
    pub time_limit: Duration,
}

impl Default for ScheduleOptions {
    fn default() -> ScheduleOptions {
        ScheduleOptions {
            poll_max: Duration::from_micros(2),
            mail_delay_max: Duration::from_micros(50),
            pause_ppm: 100,
            pause_max: Duration::from_millis(2),
            time_limit: Duration::from_secs(30 * 24 * 3600),
        }
    }
}

/// Everything about a simulation that can be chosen before it starts.
pub struct Builder {
    seed: u64,
    disk: Disk,
    schedule: ScheduleOptions,
    net: NetOptions,
}

impl Builder {
    /// The disk's properties.
    pub fn disk(mut self, options: DiskOptions) -> Builder {
        *self.disk.options_mut() = options;
        self
    }

    /// The disk itself: a snapshot of another run's.
    pub fn disk_from(mut self, disk: Disk) -> Builder {
        self.disk = disk;
        self
    }

    /// How the cores behave.
    pub fn schedule(mut self, options: ScheduleOptions) -> Builder {
        self.schedule = options;
        self
    }

    /// How the network behaves.
    pub fn net(mut self, options: NetOptions) -> Builder {
        self.net = options;
        self
    }

    /// The machine, not started yet.
    pub fn build(self) -> Simulation {
        let mut machine = Machine::new(self.seed, self.disk);
        machine.options = self.schedule;
        *machine.net.get_mut() = Net::new(self.seed, self.net);
        Simulation {
            machine: Rc::new(machine),
        }
    }
}

impl Simulation {
    /// A healthy machine with an empty disk.
    pub fn new(seed: u64) -> Simulation {
        Simulation::builder(seed).build()
    }

    /// A machine to be.
    pub fn builder(seed: u64) -> Builder {
        Builder {
            seed,
            disk: Disk::new(seed, DiskOptions::default()),
            schedule: ScheduleOptions::default(),
            net: NetOptions::default(),
        }
    }

    /// A healthy machine on a disk that another run left, or a snapshot of it.
    pub fn with_disk(seed: u64, disk: Disk) -> Simulation {
        Simulation::builder(seed).disk_from(disk).build()
    }

    /// Starts the machine with `count` cores, runs `main` on each, and returns when all have
    /// returned or the machine has crashed. May be called again: that is a restart, on what the
    /// disk holds, with a schedule of its own drawn from the seed.
    ///
    /// Panics, with the seed, on a deadlock, on a run that does not end, and with any panic of a
    /// task.
    pub fn run_cores<M, F>(&self, count: u16, main: M) -> Outcome
    where
        M: Fn(CoreId) -> F,
        F: Future<Output = ()> + 'static,
    {
        let ids: Vec<CoreId> = (0..count).map(CoreId).collect();
        start(&self.machine, &ids, &main)
    }

    /// Runs `program`, which calls `io::run` (once or several times) as the broker's own main
    /// does, on this machine. `None` if the machine crashed: the program ends inside `io::run`.
    pub fn run_program<T>(&self, program: impl FnOnce() -> T) -> Option<T> {
        let _entered = enter(self.machine.clone());
        match catch_unwind(AssertUnwindSafe(program)) {
            Ok(output) => Some(output),
            Err(panic) if panic.is::<MachineStopped>() => None,
            Err(panic) => resume_unwind(panic),
        }
    }

    /// The machine will crash at this point of a later run; the plan is spent when it has.
    pub fn crash_at(&self, point: CrashPoint, crash: Crash) {
        self.machine.planned_crash.set(Some((point, crash)));
    }

    /// Runs `workload` once to its end, and then once per disk operation of it, each time on a
    /// new machine of the same seed that crashes at that operation; `verify` sees the machine
    /// after each crash, with what the workload returned, and may start it again, or crash it
    /// again. Returns the number of crashes.
    ///
    /// The runs are the same up to the crash, because a crash is drawn from a stream of its own.
    pub fn crash_everywhere<T>(
        make: impl Fn() -> Simulation,
        crash: Crash,
        workload: impl Fn(&Simulation) -> (Outcome, T),
        verify: impl Fn(&Simulation, T),
    ) -> u64 {
        let whole = make();
        let before = whole.counts().ops;
        let (outcome, output) = workload(&whole);
        assert_eq!(
            outcome,
            Outcome::Finished,
            "the workload ends when nothing stops it"
        );
        let after = whole.counts().ops;
        verify(&whole, output);
        for number in before + 1..=after {
            let sim = make();
            sim.crash_at(CrashPoint::DiskOp(number), crash);
            let (outcome, output) = workload(&sim);
            assert_eq!(
                outcome,
                Outcome::Crashed(crash),
                "operation {number} comes again"
            );
            verify(&sim, output);
        }
        after - before
    }

    /// Forgets a planned crash that has not come.
    pub fn cancel_crash(&self) {
        self.machine.planned_crash.set(None);
    }

    /// The power goes while the machine is not running: a clean end was no sync.
    pub fn lose_power(&self) {
        crash(&self.machine, Crash::PowerLoss);
    }

    /// The disk, to be looked at and damaged. From within a run, use [`with_disk`].
    pub fn disk(&self) -> RefMut<'_, Disk> {
        self.machine.disk.borrow_mut()
    }

    /// The network, to be looked at and damaged. From within a run, use [`with_net`].
    pub fn net(&self) -> RefMut<'_, Net> {
        self.machine.net.borrow_mut()
    }

    /// A copy of the disk with everything that is volatile or in flight, cheap.
    pub fn snapshot(&self) -> Disk {
        self.machine.disk.borrow().clone()
    }

    /// What the disk has done so far.
    pub fn counts(&self) -> DiskCounts {
        self.machine.disk.borrow().counts()
    }

    /// Calls `observer` before each disk operation takes effect, with the disk as it is then. It
    /// may clone the disk: all crash states of one run come from one run.
    pub fn observe_disk(&self, observer: impl FnMut(&OpInfo, &Disk) + 'static) {
        self.machine.observer.replace(Some(Box::new(observer)));
    }

    /// Shifts the wall clock, forward or back; the monotonic clock does not notice.
    pub fn shift_wall_clock(&self, by_ms: i64) {
        let offset = &self.machine.wall_offset_ms;
        offset.set(offset.get() + by_ms);
    }

    /// Virtual time since the machine was made.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.machine.now_ns())
    }

    /// A hash of everything that happened: equal for equal seeds and programs.
    pub fn digest(&self) -> u64 {
        self.machine.trace.borrow().digest()
    }

    /// The last events, at most `limits::SIM_TRACE_EVENTS_MAX`.
    pub fn trace(&self) -> Vec<Event> {
        self.machine.trace.borrow().events().cloned().collect()
    }
}

/// What unwinds a program whose machine has stopped; no panic of its own.
struct MachineStopped;

/// The door's `run`, on the machine of [`Simulation::run_program`]; where there is none, on a
/// machine that lasts as long as the thread. If the machine crashes, this never returns: the
/// program is gone.
pub fn run<M, F>(cores: &[CoreSpec], main: M) -> Result<()>
where
    M: Fn(CoreId) -> F + Send + Sync,
    F: Future<Output = ()> + 'static,
{
    let ids: Vec<CoreId> = cores.iter().map(|core| core.id).collect();
    match start(&machine(), &ids, &main) {
        Outcome::Finished => Ok(()),
        Outcome::Crashed(_) => resume_unwind(Box::new(MachineStopped)),
    }
}

/// The disk of the running machine, for a test's own tasks.
pub fn with_disk<T>(look: impl FnOnce(&mut Disk) -> T) -> T {
    look(&mut machine().disk.borrow_mut())
}

/// The network of the running machine, for a test's own tasks.
pub fn with_net<T>(look: impl FnOnce(&mut Net) -> T) -> T {
    look(&mut machine().net.borrow_mut())
}

/// Crashes the running machine at this very place; never returns.
pub async fn crash_now(crash: Crash) {
    machine().stopped.set(Some(crash));
    std::future::pending().await
}

fn start<M, F>(machine: &Rc<Machine>, ids: &[CoreId], main: &M) -> Outcome
where
    M: Fn(CoreId) -> F,
    F: Future<Output = ()> + 'static,
{
    let boot = machine.boot.get() + 1;
    machine.boot.set(boot);
    let seed = Chance::new(machine.seed, &format!("start {boot}")).next_u64();
    machine.schedule.replace(Chance::new(seed, "schedule"));
    machine.program.replace(Chance::new(seed, "program"));
    machine.crash_chance.replace(Chance::new(seed, "crash"));
    machine.locks.take();
    machine.net.borrow_mut().restart(seed);
    if let Some((CrashPoint::Time(at), crash)) = machine.planned_crash.get() {
        let stop = move |machine: &Machine| {
            machine.planned_crash.set(None);
            machine.stopped.set(Some(crash));
        };
        machine.at(at.as_nanos() as u64, Box::new(stop));
    }
    let outcome = executor::run(machine, ids, main);
    match outcome {
        Outcome::Crashed(how) => crash(machine, how),
        Outcome::Finished => {}
    }
    outcome
}

fn crash(machine: &Machine, crash: Crash) {
    let (seed, downtime_ms) = {
        let mut chance = machine.crash_chance.borrow_mut();
        (chance.next_u64(), chance.between(10, 10_000))
    };
    match crash {
        Crash::PowerLoss => machine.disk.borrow_mut().lose_power(seed),
        Crash::Kill => machine.disk.borrow_mut().kill_process(seed),
    }
    machine.advance(downtime_ms * 1_000_000);
}
