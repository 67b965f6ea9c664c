//! Broker keys of identity, listeners, connections and requests.

use super::super::key::{Effect, Key, Valid, boolean, int, list, long, string};

const PER_CORE: Effect =
    Effect::Informational("one thread per core does this work; corelog.cores sets how many");
const SIZED_BY_LINUX: Effect =
    Effect::Informational("the kernel sizes socket buffers as connections need them");
const ONE_NODE: Effect = Effect::Informational("a single node has no other brokers to talk to");
const ONE_VOTER: Effect = Effect::Informational("the metadata log has one voter: this node");
const ONE_DIRECTORY: Effect =
    Effect::DefaultOnly("the metadata log lives in the data directory that log.dirs names");

/// Broker keys of identity, listeners, connections and requests.
pub(in crate::config) const NETWORK_KEYS: &[Key] = &[
    list("advertised.listeners").high().doc(
        "What clients are told to connect to: NAME://host:port for each listener that \
              clients reach by another address than the one it binds. When unset, listeners \
              counts, with this machine's name for an empty host.",
    ),
    int("background.threads")
        .default("10")
        .valid(Valid::AtLeast(1))
        .cluster_wide()
        .high()
        .effect(PER_CORE)
        .doc("Threads of background work."),
    int("broker.id")
        .default("-1")
        .high()
        .doc("The older name of node.id; used when node.id is not set."),
    string("broker.rack").doc("Where the node stands, as clients and tools are told it."),
    string("cluster.id").doc(
        "The cluster's id for a new data directory, 22 characters of URL-safe base64. When \
         unset, a new directory gets a random one; a directory that has an id keeps it.",
    ),
    long("connections.max.idle.ms")
        .default("600000")
        .doc("A connection without a request for this long is closed; negative is never."),
    list("controller.listener.names")
        .high()
        .effect(ONE_VOTER)
        .doc(
            "Listeners that only controllers use. They are not opened: a single node has no other \
         controllers.",
        ),
    list("controller.quorum.bootstrap.servers")
        .default("")
        .high()
        .effect(ONE_VOTER)
        .doc("Where controllers find each other."),
    int("controller.quorum.election.timeout.ms")
        .default("1000")
        .valid(Valid::AtLeast(0))
        .high()
        .effect(ONE_VOTER)
        .doc("How long a voter waits for a leader before it starts an election."),
    int("controller.quorum.fetch.timeout.ms")
        .default("2000")
        .valid(Valid::AtLeast(0))
        .high()
        .effect(ONE_VOTER)
        .doc("How long a leader or voter lives without successful fetches."),
    list("controller.quorum.voters").default("").high().doc(
        "The voters of the metadata log as id@host:port. One voter is served: this node. More \
         are refused at the start.",
    ),
    int("fetch.max.bytes")
        .default("57671680")
        .valid(Valid::AtLeast(1024))
        .doc(
            "The most that one Fetch is answered with, whatever the client asks for; one whole \
              batch may exceed it. More than 1 GiB counts as 1 GiB.",
        ),
    string("inter.broker.listener.name")
        .effect(ONE_NODE)
        .doc("The listener that brokers use among themselves. It must be one of listeners."),
    string("listener.security.protocol.map")
        .default("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT")
        .low()
        .doc(
            "The security protocol of each listener name. PLAINTEXT is served; a listener with \
              another protocol is refused at the start.",
        ),
    list("listeners")
        .default("PLAINTEXT://:9092")
        .high()
        .valid(Valid::NotEmpty)
        .doc(
            "What the broker binds: NAME://host:port, separated by commas. An empty host is \
              every interface; port 0 lets the operating system choose. A broker that is \
              started without a configuration file binds PLAINTEXT://127.0.0.1:9092.",
        ),
    int("max.connection.creation.rate")
        .default("2147483647")
        .valid(Valid::AtLeast(0))
        .cluster_wide()
        .effect(Effect::DefaultOnly(
            "the rate of new connections is not limited yet",
        ))
        .doc("New connections that the broker accepts a second."),
    int("max.connections")
        .default("2147483647")
        .valid(Valid::AtLeast(0))
        .cluster_wide()
        .doc("Connections that the broker holds; above it new ones are closed."),
    int("max.connections.per.ip")
        .default("2147483647")
        .valid(Valid::AtLeast(0))
        .cluster_wide()
        .doc("Connections that the broker holds from one address; above it new ones are closed."),
    string("max.connections.per.ip.overrides")
        .default("")
        .cluster_wide()
        .doc(
            "Addresses with their own max.connections.per.ip, as address:number, separated by \
              commas. Host names are not resolved: give addresses.",
        ),
    int("max.incremental.fetch.session.cache.slots")
        .default("1000")
        .valid(Valid::AtLeast(0))
        .doc(
            "Incremental fetch sessions that the broker keeps; when all are in use, clients \
              get whole fetches.",
        ),
    int("max.request.partition.size.limit")
        .default("2000")
        .valid(Valid::AtLeast(1))
        .doc(
            "Partitions of one answer to DescribeTopicPartitions; the client asks again for \
              the rest.",
        ),
    string("metadata.log.dir")
        .high()
        .effect(ONE_DIRECTORY)
        .doc("A directory of its own for the metadata log."),
    long("metadata.log.max.record.bytes.between.snapshots")
        .default("20971520")
        .valid(Valid::AtLeast(1))
        .high()
        .effect(Effect::Informational(
            "a start replaces the metadata log by a snapshot after 10,000 records",
        ))
        .doc("Bytes of the metadata log between two of its snapshots."),
    int("node.id")
        .default("1")
        .valid(Valid::AtLeast(0))
        .high()
        .doc(
            "This node's id. A data directory remembers the id that it was made with and \
              refuses another. Kafka has no default; a node that stands alone is 1.",
        ),
    int("num.io.threads")
        .default("8")
        .valid(Valid::AtLeast(1))
        .cluster_wide()
        .high()
        .effect(PER_CORE)
        .doc("Threads that serve requests."),
    int("num.network.threads")
        .default("3")
        .valid(Valid::AtLeast(1))
        .cluster_wide()
        .high()
        .effect(PER_CORE)
        .doc("Threads that read requests and write responses."),
    int("num.replica.fetchers")
        .default("1")
        .valid(Valid::AtLeast(1))
        .cluster_wide()
        .high()
        .effect(ONE_NODE)
        .doc("Threads that fetch from each other broker."),
    list("process.roles")
        .default("broker,controller")
        .valid(Valid::SomeOf(&["broker", "controller"]))
        .high()
        .doc(
            "What the process is. A single node is both; either one alone is refused at the \
              start.",
        ),
    long("queued.max.request.bytes")
        .default("-1")
        .effect(Effect::Informational(
            "corelog.request.memory.bytes bounds requests, for each core",
        ))
        .doc("Bytes of requests that the broker holds before it stops reading."),
    int("queued.max.requests")
        .default("500")
        .valid(Valid::AtLeast(1))
        .high()
        .effect(Effect::Informational(
            "at most 128 requests of one connection are read and not yet answered",
        ))
        .doc("Requests that wait to be served before the broker stops reading."),
    string("security.inter.broker.protocol")
        .default("PLAINTEXT")
        .valid(Valid::OneOf(&[
            "PLAINTEXT",
            "SSL",
            "SASL_PLAINTEXT",
            "SASL_SSL",
        ]))
        .effect(Effect::DefaultOnly(
            "only PLAINTEXT listeners are served yet",
        ))
        .doc("The security protocol that brokers use among themselves."),
    int("socket.listen.backlog.size")
        .default("50")
        .valid(Valid::AtLeast(1))
        .effect(Effect::Informational(
            "1,024 connections may wait for each core",
        ))
        .doc("Connections that wait to be accepted."),
    int("socket.receive.buffer.bytes")
        .default("102400")
        .valid(Valid::AtLeast(-1))
        .high()
        .effect(SIZED_BY_LINUX)
        .doc("SO_RCVBUF of a connection; -1 leaves it to the operating system."),
    int("socket.request.max.bytes")
        .default("104857600")
        .valid(Valid::AtLeast(1))
        .high()
        .doc("The largest request; a client that announces a larger one is disconnected."),
    int("socket.send.buffer.bytes")
        .default("102400")
        .valid(Valid::AtLeast(-1))
        .high()
        .effect(SIZED_BY_LINUX)
        .doc("SO_SNDBUF of a connection; -1 leaves it to the operating system."),
    boolean("controlled.shutdown.enable")
        .default("true")
        .effect(Effect::Informational(
            "a stop is always orderly, and there is no leader to hand on",
        ))
        .doc("Whether a stopping broker hands its leaderships on first."),
];
