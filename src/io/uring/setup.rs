//! How a ring is set up: the flags that are tried, the least that is needed, and what an operator
//! is told when it is not there. `kernel-notes/README.md` has all features, with their fallbacks
//! and evidence.
//!
//! What is not asked for here has its page too, with what was tried and why it stayed out: other
//! flags (`kernel-notes/ring-flags.md`, `kernel-notes/sqpoll-iopoll.md`), tables of the ring
//! (`kernel-notes/registered-files-and-buffers.md`), operations (`kernel-notes/multishot.md`,
//! `kernel-notes/zero-copy-send.md`, `kernel-notes/msg-ring.md`), and what sockets and files could
//! do besides (`kernel-notes/busy-poll.md`, `kernel-notes/ktls.md`, `kernel-notes/write-flags.md`).

use std::fmt;

use io_uring::{Builder, IoUring, Probe, opcode, squeue};

use crate::io::ErrorKind;
use crate::limits::{RING_COMPLETIONS, RING_SUBMISSIONS};

/// One set of flags to try. The kernel refuses flags that it does not know with EINVAL, and then
/// the next step is tried. Every step works the same; the later ones only cost more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Linux 6.1: completions run in our own `io_uring_enter` only, and never interrupt a task
    /// (`kernel-notes/defer-taskrun.md`).
    DeferTaskrun,
    /// Linux 6.0: the kernel knows that one thread submits (`kernel-notes/single-issuer.md`).
    SingleIssuer,
    /// Linux 5.19: completions wait for our next system call of any kind, without an interrupt
    /// (`kernel-notes/coop-taskrun.md`).
    CoopTaskrun,
    /// Linux 5.15: none of the above.
    Plain,
}

/// In the order in which they are tried.
pub(super) const STEPS: [Step; 4] = [
    Step::DeferTaskrun,
    Step::SingleIssuer,
    Step::CoopTaskrun,
    Step::Plain,
];

impl Step {
    /// As it is shown to operators.
    pub(super) fn name(self) -> &'static str {
        match self {
            Step::DeferTaskrun => "defer-taskrun",
            Step::SingleIssuer => "single-issuer",
            Step::CoopTaskrun => "coop-taskrun",
            Step::Plain => "plain",
        }
    }

    /// TASKRUN_FLAG goes with whatever makes completions wait for a call of ours, and cannot go
    /// without (`kernel-notes/taskrun-flag.md`).
    fn apply<S: squeue::EntryMarker>(self, builder: &mut Builder<S>) {
        match self {
            Step::DeferTaskrun => {
                builder.setup_single_issuer().setup_defer_taskrun();
                builder.setup_coop_taskrun().setup_taskrun_flag();
            }
            Step::SingleIssuer => {
                builder
                    .setup_single_issuer()
                    .setup_coop_taskrun()
                    .setup_taskrun_flag();
            }
            Step::CoopTaskrun => {
                builder.setup_coop_taskrun().setup_taskrun_flag();
            }
            Step::Plain => {}
        }
    }
}

/// The operations that the backend uses; without one of them it does not start. MKDIRAT is the
/// youngest, from Linux 5.15.
const NEEDED: [(u8, &str); 10] = [
    (opcode::AsyncCancel::CODE, "ASYNC_CANCEL"),
    (opcode::PollAdd::CODE, "POLL_ADD"),
    (opcode::Read::CODE, "READ"),
    (opcode::Write::CODE, "WRITE"),
    (opcode::Fsync::CODE, "FSYNC"),
    (opcode::Fallocate::CODE, "FALLOCATE"),
    (opcode::OpenAt::CODE, "OPENAT"),
    (opcode::UnlinkAt::CODE, "UNLINKAT"),
    (opcode::RenameAt::CODE, "RENAMEAT"),
    (opcode::MkDirAt::CODE, "MKDIRAT"),
];

/// Why there is no ring. Each message says what happened, the likely cause and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RingError {
    /// ENOSYS: there is no such system call.
    Missing,
    /// EPERM while `kernel.io_uring_disabled` is 1 or 2.
    SwitchedOff,
    /// EPERM though the sysctl allows it: a seccomp filter or a security module.
    Filtered,
    /// ENOMEM: the rings' memory is not granted.
    Memory,
    /// EMFILE or ENFILE: no file descriptor left for the ring.
    Descriptors,
    /// The system call works, but something that the backend needs is not there.
    TooOld(&'static str),
    /// Any other error of `io_uring_setup`.
    Other(i32),
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RingError::Missing => f.write_str(
                "the kernel offers no io_uring: it is older than Linux 5.15, was built without \
                 CONFIG_IO_URING, or a container's seccomp filter hides the system call. Check \
                 with `uname -r`; in Docker run with `--security-opt seccomp=unconfined`, or with \
                 a profile that allows io_uring_setup, io_uring_enter and io_uring_register",
            ),
            RingError::SwitchedOff => f.write_str(
                "io_uring is switched off on this machine. Switch it on with \
                 `sysctl -w kernel.io_uring_disabled=0`, and keep it on with a file in \
                 /etc/sysctl.d",
            ),
            RingError::Filtered => f.write_str(
                "io_uring is not permitted: a seccomp filter or a security module of the \
                 container or service refuses it. In Docker run with \
                 `--security-opt seccomp=unconfined`, or with a profile that allows \
                 io_uring_setup, io_uring_enter and io_uring_register; under systemd look at \
                 SystemCallFilter=",
            ),
            RingError::Memory => f.write_str(
                "the memory of an io_uring ring is not granted: the limit of locked memory \
                 (before Linux 5.12) or of the control group is too low. Raise it with \
                 `ulimit -l unlimited`, LimitMEMLOCK=infinity under systemd, or a larger memory \
                 limit of the container",
            ),
            RingError::Descriptors => f.write_str(
                "no file descriptor is left for an io_uring ring. Raise the limit with \
                 `ulimit -n 100000`, or LimitNOFILE=100000 under systemd",
            ),
            RingError::TooOld(what) => write!(
                f,
                "the kernel's io_uring lacks {what}; Linux 5.15 or newer is needed, 6.1 or newer \
                 is recommended. Check with `uname -r`"
            ),
            RingError::Other(errno) => write!(
                f,
                "io_uring could not be set up: {}",
                std::io::Error::from_raw_os_error(*errno)
            ),
        }
    }
}

impl std::error::Error for RingError {}

impl RingError {
    /// The kind under which `io::run` reports it.
    pub(super) fn kind(&self) -> ErrorKind {
        match self {
            RingError::Missing | RingError::TooOld(_) => ErrorKind::Unsupported,
            RingError::SwitchedOff | RingError::Filtered => ErrorKind::PermissionDenied,
            RingError::Memory => ErrorKind::OutOfMemory,
            RingError::Descriptors | RingError::Other(_) => ErrorKind::Other,
        }
    }
}

/// Sets up a ring with the first of `steps` that the kernel takes, and checks that it can do all
/// that is needed.
pub(super) fn open_ring(steps: &[Step]) -> Result<(IoUring, Step), RingError> {
    for step in steps {
        let mut builder = IoUring::builder();
        builder.dontfork().setup_cqsize(RING_COMPLETIONS);
        step.apply(&mut builder);
        match builder.build(RING_SUBMISSIONS) {
            Ok(ring) => {
                check_needs(&ring)?;
                return Ok((ring, *step));
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::EINVAL) => continue,
                errno => return Err(explain(errno.unwrap_or(0), io_uring_disabled())),
            },
        }
    }
    Err(RingError::TooOld("the flags of any step"))
}

fn check_needs(ring: &IoUring) -> Result<(), RingError> {
    let features = ring.params();
    let needed_features = [
        (features.is_feature_nodrop(), "NODROP"),
        (features.is_feature_ext_arg(), "EXT_ARG"),
    ];
    let mut probe = Probe::new();
    if ring.submitter().register_probe(&mut probe).is_err() {
        return Err(RingError::TooOld("REGISTER_PROBE"));
    }
    let needed_codes = NEEDED
        .iter()
        .map(|(code, name)| (probe.is_supported(*code), *name));
    match needed_features
        .into_iter()
        .chain(needed_codes)
        .find(|(there, _)| !there)
    {
        Some((_, name)) => Err(RingError::TooOld(name)),
        None => Ok(()),
    }
}

/// What an errno of `io_uring_setup` means, given the sysctl's value if there is one.
fn explain(errno: i32, io_uring_disabled: Option<u8>) -> RingError {
    match errno {
        libc::ENOSYS => RingError::Missing,
        libc::EPERM | libc::EACCES => match io_uring_disabled {
            Some(1 | 2) => RingError::SwitchedOff,
            Some(_) | None => RingError::Filtered,
        },
        libc::ENOMEM => RingError::Memory,
        libc::EMFILE | libc::ENFILE => RingError::Descriptors,
        errno => RingError::Other(errno),
    }
}

/// `kernel.io_uring_disabled`, from Linux 6.6 on: 0 all may, 1 a group may, 2 nobody may.
fn io_uring_disabled() -> Option<u8> {
    let text = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_is_told_apart_and_says_what_to_do() {
        let check = |errno, disabled, expected: RingError, command: &str| {
            let error = explain(errno, disabled);
            assert_eq!(error, expected);
            let message = error.to_string();
            assert!(message.contains(command), "{message}");
        };
        check(libc::ENOSYS, None, RingError::Missing, "uname -r");
        check(
            libc::EPERM,
            Some(2),
            RingError::SwitchedOff,
            "kernel.io_uring_disabled=0",
        );
        check(libc::EPERM, Some(1), RingError::SwitchedOff, "sysctl");
        check(libc::EPERM, Some(0), RingError::Filtered, "seccomp");
        check(libc::EPERM, None, RingError::Filtered, "seccomp");
        check(libc::EACCES, None, RingError::Filtered, "seccomp");
        check(libc::ENOMEM, Some(0), RingError::Memory, "ulimit -l");
        check(libc::EMFILE, Some(0), RingError::Descriptors, "ulimit -n");
        check(libc::ENFILE, Some(0), RingError::Descriptors, "ulimit -n");
        check(
            libc::EFAULT,
            Some(0),
            RingError::Other(libc::EFAULT),
            "Bad address",
        );
        let old = RingError::TooOld("MKDIRAT").to_string();
        assert!(old.contains("MKDIRAT") && old.contains("5.15"), "{old}");
    }

    #[test]
    fn the_first_step_that_works_is_taken() {
        let (_, step) = open_ring(&STEPS).expect("this machine has io_uring");
        let place = STEPS.iter().position(|one| *one == step).unwrap();
        for earlier in &STEPS[..place] {
            assert!(
                open_ring(&[*earlier]).is_err(),
                "{earlier:?} was passed over"
            );
        }
        for later in &STEPS[place..] {
            assert_eq!(
                open_ring(&[*later]).expect("a later step asks for less").1,
                *later
            );
        }
    }
}
