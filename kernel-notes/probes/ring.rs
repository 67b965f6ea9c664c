//! Rings: modes, features, operations, what can be registered, messages between rings.

use std::io;
use std::os::fd::AsRawFd;

use io_uring::squeue::Entry;
use io_uring::{Builder, IoUring, Probe, opcode, types};

use super::{Row, row, told};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = modes();
    match IoUring::new(8) {
        Ok(ring) => {
            rows.extend(features(&ring));
            rows.push(operations(&ring));
            rows.extend(registered(&ring));
            rows.push(row(
                "msg-ring",
                "a message from one ring to another",
                message(),
            ));
        }
        Err(error) => rows.push(row("README", "a ring", format!("no: {error}"))),
    }
    rows
}

type Change = fn(&mut Builder);

fn modes() -> Vec<Row> {
    let modes: [(&str, &str, Change); 8] = [
        ("defer-taskrun", "DEFER_TASKRUN, SINGLE_ISSUER", |builder| {
            builder.setup_single_issuer().setup_defer_taskrun();
        }),
        ("single-issuer", "SINGLE_ISSUER", |builder| {
            builder.setup_single_issuer();
        }),
        ("coop-taskrun", "COOP_TASKRUN, TASKRUN_FLAG", |builder| {
            builder.setup_coop_taskrun().setup_taskrun_flag();
        }),
        ("ring-flags", "SUBMIT_ALL", |builder| {
            builder.setup_submit_all();
        }),
        ("ring-flags", "NO_SQARRAY", |builder| {
            builder.setup_no_sqarray();
        }),
        ("ring-flags", "R_DISABLED", |builder| {
            builder.setup_r_disabled();
        }),
        ("sqpoll-iopoll", "SQPOLL", |builder| {
            builder.setup_sqpoll(1);
        }),
        ("sqpoll-iopoll", "IOPOLL", |builder| {
            builder.setup_iopoll();
        }),
    ];
    let tried = modes.into_iter().map(|(note, what, change)| {
        let mut builder = IoUring::builder();
        change(&mut builder);
        row(note, what, told(builder.build(8), |_| "a ring".into()))
    });
    tried.collect()
}

fn features(ring: &IoUring) -> Vec<Row> {
    let params = ring.params();
    let features = [
        ("README", "NODROP", params.is_feature_nodrop()),
        ("README", "EXT_ARG", params.is_feature_ext_arg()),
        ("no-iowait", "NO_IOWAIT", params.is_feature_no_iowait()),
        (
            "zero-copy-send",
            "RECVSEND_BUNDLE",
            params.is_feature_recvsend_bundle(),
        ),
        ("ring-flags", "MIN_TIMEOUT", params.is_feature_min_timeout()),
        (
            "ring-flags",
            "CQE_SKIP",
            params.is_feature_skip_cqe_on_success(),
        ),
    ];
    let shown =
        features.map(|(note, what, there)| row(note, what, if there { "yes" } else { "no" }));
    shown.into_iter().collect()
}

fn operations(ring: &IoUring) -> Row {
    let mut probe = Probe::new();
    if let Err(error) = ring.submitter().register_probe(&mut probe) {
        return row("README", "REGISTER_PROBE", format!("no: {error}"));
    }
    let wanted = [
        (opcode::MkDirAt::CODE, "MKDIRAT"),
        (opcode::PollAdd::CODE, "POLL_ADD"),
        (opcode::Accept::CODE, "ACCEPT"),
        (opcode::Recv::CODE, "RECV"),
        (opcode::SendZc::CODE, "SEND_ZC"),
        (opcode::SendMsgZc::CODE, "SENDMSG_ZC"),
        (opcode::MsgRingData::CODE, "MSG_RING"),
        (opcode::ReadFixed::CODE, "READ_FIXED"),
        (opcode::WriteFixed::CODE, "WRITE_FIXED"),
        (opcode::Bind::CODE, "BIND"),
        (opcode::Listen::CODE, "LISTEN"),
    ];
    let of = |there: bool| -> Vec<&str> {
        let same = wanted
            .iter()
            .filter(|(code, _)| probe.is_supported(*code) == there);
        same.map(|(_, name)| *name).collect()
    };
    let missing = match of(false).as_slice() {
        [] => "none missing".to_string(),
        names => format!("missing: {}", names.join(" ")),
    };
    row(
        "README",
        "operations",
        format!("{}; {missing}", of(true).join(" ")),
    )
}

/// Bytes of a buffer that is registered: the usual limit of locked memory, and more than that.
const REGISTERED_BYTES: [(&str, usize); 2] = [
    ("register a buffer of 4 MiB", 4 << 20),
    ("register a buffer of 64 MiB", 64 << 20),
];

fn registered(ring: &IoUring) -> Vec<Row> {
    let note = "registered-files-and-buffers";
    let submitter = ring.submitter();
    let files = submitter.register_files_sparse(1024);
    let mut rows = vec![row(
        note,
        "a table of 1,024 files",
        told(files, |()| "yes".into()),
    )];
    for (what, bytes) in REGISTERED_BYTES {
        let mut buffer = vec![0u8; bytes];
        let slices = [libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: bytes,
        }];
        // SAFETY: the buffer lives until it is unregistered below, and nothing is submitted.
        let result = unsafe { submitter.register_buffers(&slices) };
        let is_registered = result.is_ok();
        rows.push(row(note, what, told(result, |()| "yes".into())));
        if is_registered {
            let _ = submitter.unregister_buffers();
        }
    }
    rows
}

/// Submits one entry and waits for one completion: its result and flags.
pub(super) fn submit(ring: &mut IoUring, entry: &Entry) -> io::Result<(i32, u32)> {
    // SAFETY: the callers keep what the entry points to until its completions have come.
    unsafe { ring.submission().push(entry) }.map_err(|_| io::ErrorKind::Other)?;
    ring.submit_and_wait(1)?;
    next(ring)
}

/// The next completion.
pub(super) fn next(ring: &mut IoUring) -> io::Result<(i32, u32)> {
    if ring.completion().is_empty() {
        ring.submit_and_wait(1)?;
    }
    let entry = ring.completion().next().ok_or(io::ErrorKind::WouldBlock)?;
    match entry.result() {
        result @ 0.. => Ok((result, entry.flags())),
        errno => Err(io::Error::from_raw_os_error(-errno)),
    }
}

fn message() -> String {
    let sent = IoUring::new(8).and_then(|mut from| {
        let mut to = IoUring::new(8)?;
        let entry = opcode::MsgRingData::new(types::Fd(to.as_raw_fd()), 17, 1, None).build();
        submit(&mut from, &entry)?;
        next(&mut to)
    });
    told(sent, |(result, _)| format!("it arrived with {result}"))
}
