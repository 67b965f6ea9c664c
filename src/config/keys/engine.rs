//! Keys of our own, under `corelog.`.

use super::super::key::{Key, Valid, boolean, int, list, long, string};

/// Keys of our own.
pub(in crate::config) const ENGINE_KEYS: &[Key] = &[
    string("corelog.admin.listener")
        .default("127.0.0.1:9644")
        .doc(
            "Where /metrics, /healthz and /readyz are served, as address:port. Empty serves \
              them nowhere.",
        ),
    long("corelog.checkpoint.interval.ms")
        .default("60000")
        .valid(Valid::AtLeast(100))
        .doc(
            "How often each core writes its checkpoint: log positions, leader epochs and \
              producer state, which bound what a start must replay.",
        ),
    int("corelog.chunk.min.bytes")
        .default("262144")
        .valid(Valid::Between(1 << 18, 1 << 24))
        .doc(
            "The size of a partition's first chunk of disk; each next one is larger. A smaller \
              number wastes less where there are many small partitions.",
        ),
    boolean("corelog.chunk.prewrite.enable")
        .default("true")
        .doc(
            "Whether free chunks are filled with zeros ahead of need, while the disk has nothing \
              better to do: a small durable write to them takes a third less time. Turn it off \
              where space that was never written costs nothing, as on a thin volume.",
        ),
    int("corelog.cores")
        .default("0")
        .valid(Valid::Between(0, 1024))
        .high()
        .doc(
            "Shards, each with one thread on one CPU; 0 is one for every CPU that the process \
              may use. It may change from start to start.",
        ),
    list("corelog.cpus").default("").doc(
        "The CPUs to pin shards to, in order: numbers and ranges such as 0-3,8. Empty \
              takes those that the process may use, in order.",
    ),
    string("corelog.durability")
        .default("sync")
        .valid(Valid::OneOf(&["sync", "written"]))
        .high()
        .doc(
            "When a produce may be acknowledged: sync waits for the data sync and survives a \
              power cut; written waits for the write's completion and survives a killed \
              process. What is in force is printed at the start.",
        ),
    list("corelog.listener.core.ports").default("").doc(
        "The ports of the cores where corelog.listener.mode is core: first..last, or for \
              several listeners NAME:first..last,NAME:first..last. Core 0 has the first, and \
              there must be one for each core; 0 instead of a range lets the system choose. \
              Empty is the ports behind the listener's own. \
              Clients are told the same ports, or, where advertised.listeners has another port \
              than listeners, ports as far from that as these are from the listener's.",
    ),
    string("corelog.listener.mode")
        .default("broker")
        .valid(Valid::OneOf(&["broker", "core"]))
        .high()
        .doc(
            "Whom clients are told of. broker: one broker, the node; a request that comes to \
              another core than the partition's takes a hop. core: a virtual broker for each \
              core, with a port and an id of its own, so that clients send each request to the \
              core that owns the partition. The ports of listeners then are for bootstrap.",
        ),
    string("corelog.log.format")
        .default("text")
        .valid(Valid::OneOf(&["text", "json"]))
        .doc("How log lines look: Kafka's one-line form, or one JSON object a line."),
    string("corelog.log.level").default("info").doc(
        "Which log lines are written: error, warn, info, debug, trace, or a list such as \
              info,corelog::log=debug.",
    ),
    boolean("corelog.pin.cores").default("true").doc(
        "Whether each shard's thread stays on its CPU. Turn it off where other programs \
              compete for the CPUs.",
    ),
    long("corelog.request.memory.bytes")
        .default("134217728")
        .valid(Valid::AtLeast(1 << 20))
        .doc(
            "Bytes of requests that one core holds, read and not yet answered. When they are \
              used up, the core stops reading from its connections until some are answered.",
        ),
    long("corelog.reserve.bytes")
        .default("67108864")
        .valid(Valid::AtLeast(0))
        .doc(
            "Disk space that only metadata, checkpoints, and what makes room may use. When less is \
              free, produces are answered with KAFKA_STORAGE_ERROR and reads go on.",
        ),
    long("corelog.response.memory.bytes")
        .default("134217728")
        .valid(Valid::AtLeast(1 << 20))
        .doc(
            "Bytes of answers to fetches that one core holds, made and not yet sent. One answer \
              takes a sixteenth of them at most, but for its first batch. When they are used up, \
              fetches wait for room, and are answered empty when their max wait is over.",
        ),
    int("corelog.spin.us")
        .default("0")
        .valid(Valid::Between(0, 1_000_000))
        .doc(
            "Microseconds for which a core that has run out of work looks for more before it \
              sleeps; 0 sleeps at once. Work that comes meanwhile is spared the wake-up, tens of \
              microseconds for each message between cores and for each answer of the network or \
              the disk. The price is a whole CPU for each core for as long as it looks: of use \
              only where every core has a CPU that nothing else needs, no client, no other \
              broker, no container's quota. At 1000000 cores never sleep, because each has \
              something to do every second.",
        ),
    long("corelog.tail.cache.bytes")
        .default("134217728")
        .valid(Valid::AtLeast(0))
        .doc(
            "Bytes of freshly written frames that one core keeps in memory, so that consumers \
              at the end of a log are served without a read.",
        ),
];
