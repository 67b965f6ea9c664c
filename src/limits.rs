//! Every bound of the broker, with its unit. Relations between bounds are asserted here.
//!
//! A bound that an operator may change has its key in `config`; what stands here is fixed.

/// Memory of every buffer that a file operation uses is aligned to this, in bytes.
pub const IO_ALIGNMENT_BYTES: usize = 4096;
/// The largest block that a thread's arena keeps for reuse, in bytes; longer buffers are
/// allocations of their own.
pub const ARENA_BLOCK_BYTES_MAX: usize = 2 << 20;
/// Bytes of address space that an arena takes from the system at a time; memory is used as it is
/// touched.
pub const ARENA_REGION_BYTES: usize = 64 << 20;
/// Blocks whose pages an arena gives back to the system at a time.
pub const ARENA_GIVE_BACK_BLOCKS_MAX: usize = 4096;
const _: () = assert!(ARENA_BLOCK_BYTES_MAX.is_power_of_two());
const _: () = assert!(ARENA_REGION_BYTES.is_multiple_of(ARENA_BLOCK_BYTES_MAX));
const _: () = assert!(LOG_GROUP_BYTES_MAX < ARENA_BLOCK_BYTES_MAX);
/// The largest sequence number, offset, incarnation, segment or generation that is believed of a
/// disk. No broker has counted so far: what says so is damaged, and counting on would wrap.
pub const COUNTED_ON_DISK_MAX: u64 = 1 << 62;
/// Slices of one vectored send; Linux's IOV_MAX.
pub const SEND_SLICES_MAX: usize = 1024;
/// Bytes of one send: while the kernel copies them, the core's other tasks wait.
pub const SEND_BYTES_MAX: usize = 1 << 20;
/// Slices of one vectored write to a file; Linux's IOV_MAX.
pub const WRITE_SLICES_MAX: usize = 1024;
/// Messages that wait in one core's mailbox.
pub const MAILBOX_MESSAGES_MAX: usize = 4096;
/// The longest file that `io::fs::read_small` and `write_small` handle, in bytes: checkpoints of
/// many partitions are the longest of them.
pub const SMALL_FILE_BYTES_MAX: u64 = 256 << 20;
/// A task polled for longer than this is counted as a stall of its core, in milliseconds.
pub const TASK_STALL_MS: u64 = 10;
/// Blocks of removed files that the simulated disk keeps, to hand them out as stale content.
pub const SIM_STALE_BLOCKS_MAX: usize = 1024;
/// Events of a simulation that are kept for the report of a failure; older ones are only hashed.
pub const SIM_TRACE_EVENTS_MAX: usize = 4096;
/// Connections that wait to be accepted by one simulated listener; more are refused.
pub const SIM_BACKLOG_MAX: usize = 1024;
/// Polls of one simulated run, before it is reported as one that never ends.
pub const SIM_POLLS_MAX: u64 = 200_000_000;
/// The longest frame that holds a group of batches, header and padding included, in bytes. A single
/// larger batch still gets a frame of its own.
pub const LOG_GROUP_BYTES_MAX: usize = 1 << 20;
/// A batch of at least this many bytes is a frame of its own.
pub const LOG_LARGE_BATCH_BYTES: usize = 256 << 10;
/// A batch of at least this many bytes that has its own memory is written from there, in bytes;
/// smaller ones are copied into their group. A request's batches from this size on are received
/// into memory of their own.
pub const LOG_PLACED_BATCH_BYTES_MIN: usize = 32 << 10;
const _: () = assert!(LOG_PLACED_BATCH_BYTES_MIN <= LOG_LARGE_BATCH_BYTES);
const _: () = assert!(LOG_GROUP_BYTES_MAX / FRAME_ALIGNMENT_BYTES <= WRITE_SLICES_MAX);
/// The first buffer of a group that has no history, in bytes.
pub const LOG_GROUP_BYTES_MIN: usize = 16 << 10;
/// Writes of one log in flight, each of one frame or of several that together are no longer than
/// the longest. Recovery scans as far past a hole as so many lost writes reach.
pub const LOG_WRITES_IN_FLIGHT_MAX: usize = 2;
/// A second write begins while the first is in flight only if this much waits, in bytes.
pub const LOG_SECOND_WRITE_BYTES: usize = 64 << 10;
/// Bytes of one log that wait; from this on they go straight to its chunk, not to the journal.
pub const JOURNAL_ENTRY_BYTES_MAX: usize = 12 << 10;
/// One write of a core's journal, in bytes.
pub const JOURNAL_ROUND_BYTES_MAX: usize = 1 << 20;
/// The least size of a journal's chunk, in bytes.
pub const JOURNAL_CHUNK_BYTES: u64 = 16 << 20;
/// Chunks of one core's journal. When they are used up, logs go straight to their chunks until the
/// oldest one is free again.
pub const JOURNAL_CHUNKS_MAX: usize = 4;
/// The largest buffer of a group that stays open because the journal has its batches, in bytes.
pub const JOURNAL_GROUP_BYTES_MAX: usize = 64 << 10;
/// Buffers of all such groups of one core, in bytes; further logs go straight to their chunks.
pub const JOURNAL_GROUPS_BYTES_MAX: usize = 64 << 20;
/// The longest that such a group stays open, in ms; it is looked at when idle logs are.
pub const JOURNAL_GROUP_AGE_MS_MAX: u64 = 10_000;
/// Logs that one core writes back at the same time to free a chunk of its journal.
pub const JOURNAL_WRITE_BACKS_MAX: usize = 16;
/// How often a core looks whether what a start found in the journals has reached the logs, in ms.
pub const JOURNAL_REPLAY_LOOK_MS: u64 = 500;
/// Frames start at multiples of this and are padded to it, in bytes: the physical sector of today's
/// devices, so that no write touches a sector with acknowledged bytes.
pub const FRAME_ALIGNMENT_BYTES: usize = 4096;
/// The size classes of chunk files, in bytes, ascending.
pub const CHUNK_BYTES: [u64; 6] = [256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20, 128 << 20];
/// The state of its owner that a move of a log's start carries at most, in bytes.
pub const OWNER_STATE_BYTES_MAX: usize = 16 << 20;
/// A segment of which less than this part is left begins no further chunk.
pub const SEGMENT_REST_SHARE: u64 = 8;
/// A chunk that filled faster than this is followed by one of the next larger class, in ms.
pub const CHUNK_FILL_FAST_MS: i64 = 10_000;
/// A chunk that took longer than this is followed by one of the next smaller class, in ms.
pub const CHUNK_FILL_SLOW_MS: i64 = 600_000;
/// Chunk files kept open by one core; the others are opened when they are needed.
pub const CHUNK_FILES_OPEN_MAX: usize = 1024;
/// Writes to chunks in flight on one core; further ones wait. With the reads in flight and the
/// files kept open it bounds the core's file descriptors.
pub const CHUNK_WRITES_MAX: usize = 512;
/// Logs that one core seals at the same time.
pub const SEALS_MAX: usize = 16;
/// Open files that a node keeps for itself, beside chunks and connections: its rings, listeners,
/// logs, threads.
pub const OPEN_FILES_RESERVED: u64 = 64;
/// The same, for each of its cores.
pub const OPEN_FILES_PER_CORE_RESERVED: u64 = 32;
/// Chunk files that one core creates at the same time.
pub const CHUNKS_CREATING_MAX: usize = 16;
/// Free chunks that one core keeps for reuse, in bytes of all together; more are removed, and all
/// of them while any core has no space.
pub const CHUNKS_FREE_BYTES_MAX: u64 = 1 << 30;
/// One write of zeros into a free chunk ahead of need, in bytes; one at a time in a data directory.
pub const PREWRITE_BYTES: usize = 256 << 10;
/// While more of a core's batches than this wait for the disk, it writes no zeros, in bytes.
pub const PREWRITE_PENDING_BYTES_MAX: usize = 64 << 10;
/// The pause between two writes of zeros, in ms; it doubles while batches wait for the disk.
pub const PREWRITE_PAUSE_MS: u64 = 4;
/// The longest pause between two looks at whether the disk is free for zeros, in ms.
pub const PREWRITE_PAUSE_MS_MAX: u64 = 64;
/// Written chunks of the smallest class that a core keeps ready.
pub const PREWRITTEN_SMALLEST_COUNT: usize = 4;
/// Written chunks of each other class that its logs have asked for.
pub const PREWRITTEN_COUNT: usize = 1;
/// Chunks that one core creates to be written ahead of need, in bytes of all together.
pub const PREWRITTEN_BYTES_MAX: u64 = 256 << 20;
/// A log asks for its next chunk when it will need it within this time, in ms.
pub const CHUNK_AHEAD_MS: u64 = 1_000;
/// The largest chunk that a log asks for so, in bytes. Of larger ones one is kept ready, and who
/// does not get that waits, once in so many bytes.
pub const CHUNK_AHEAD_SIZE_MAX: u64 = 4 << 20;
/// Free chunks of one core, in bytes of all together, up to which more of a size are created for
/// logs that will soon need them.
pub const CHUNKS_AHEAD_BYTES_MAX: u64 = 512 << 20;
/// Chunks of one size that one core creates at the same time before they are needed.
pub const CHUNKS_AHEAD_AT_ONCE: usize = 4;
/// The free chunks of one core up to which more are created, as a part of the free space: one in so
/// many bytes.
pub const CHUNKS_AHEAD_SPACE_SHARE: u64 = 8;
/// The same for what is created to be written with zeros.
pub const PREWRITTEN_SPACE_SHARE: u64 = 64;
/// Space left on the file system for the metadata log, in bytes: other logs get no new chunk below.
pub const STORAGE_RESERVE_BYTES: u64 = 64 << 20;
/// How often a core without space tries to create a chunk again, in ms.
pub const STORAGE_RETRY_MS: u64 = 1_000;
/// Entries of one chunk's sparse index.
pub const INDEX_ENTRIES_MAX: usize = 512;
/// The least distance between two entries of a sparse index, in bytes of the chunk.
pub const INDEX_INTERVAL_BYTES_MIN: u64 = 16 << 10;
/// Indexes of sealed chunks that one core keeps in memory, in bytes.
pub const INDEX_CACHE_BYTES_MAX: usize = 4 << 20;
/// Written buffers that one core keeps for readers of the tail, in bytes.
pub const HOT_TAIL_BYTES_MAX: usize = 64 << 20;
/// Batches appended by one core and not yet durable, in bytes; more are refused.
pub const LOG_PENDING_BYTES_MAX: usize = 64 << 20;
/// One direct read on behalf of a fetch, in bytes, unless a single batch is longer.
pub const COLD_READ_BYTES_MAX: usize = 1 << 20;
/// What such a read asks the disk for at once while its core writes, in bytes.
pub const COLD_READ_PIECE_BYTES: usize = 128 << 10;
/// Reads on behalf of fetches, or pieces of them, in flight on one core. What is written waits
/// behind them in the device.
pub const COLD_READS_MAX: usize = 2;
/// How long after a write its core is taken to write, for the size of such reads, in ms.
pub const WRITING_MS: u64 = 100;
/// One read of recovery, in bytes, unless a single frame is longer.
pub const RECOVERY_READ_BYTES: usize = 256 << 10;
/// Partitions that one core recovers at the same time.
pub const RECOVERIES_MAX: usize = 64;
/// Chunk headers read at the same time at start.
pub const SCAN_READS_MAX: usize = 128;
/// A log that got nothing for this long writes its seal and gives its buffers back, in ms.
pub const LOG_SEAL_IDLE_MS: u64 = 3_000;
/// An idle log's tail that nobody has read for this long is given back, in ms.
pub const LOG_TAIL_UNREAD_MS: u64 = 30_000;
const _: () = assert!(LOG_TAIL_UNREAD_MS >= LOG_SEAL_IDLE_MS);
/// Leader epochs remembered of one partition; the oldest are forgotten.
pub const EPOCHS_MAX: usize = 1024;
/// Entries of a core's submission queue: as many operations as one turn starts go to the kernel
/// in one system call.
pub const RING_SUBMISSIONS: u32 = 256;
/// Entries of a core's completion queue; more completions than that wait inside the kernel.
pub const RING_COMPLETIONS: u32 = 4096;
/// Operations of one core that wait for peers, such as an idle connection's next bytes; the next
/// one fails with `ResourceBusy`.
pub const IO_OPERATIONS_MAX: usize = 65_536;
/// Connections of one core, whatever `max.connections` says. Each may wait for its peer twice: for
/// bytes from it, and for room to send.
pub const CONNECTIONS_PER_CORE_MAX: usize = 30_000;
/// Connections that others have accepted for a core and it has not seen yet.
pub const GUESTS_WAITING_MAX: usize = 256;
/// Tasks that run between two looks at the completions.
pub const TASKS_PER_TURN: usize = 16;
/// Socket operations that one poll of a task completes without waiting before it makes way for
/// the core's other tasks.
pub const IMMEDIATE_OPERATIONS_PER_POLL: u32 = 32;
/// Messages that a receiver takes without waiting before it makes way for the core's other tasks.
pub const MESSAGES_PER_POLL: usize = 128;
/// Bytes of one operation on a file; longer ones are split.
pub const FILE_OPERATION_BYTES_MAX: usize = 1 << 30;
/// Request tags of a block device whose number the kernel does not tell.
pub const DEVICE_REQUESTS_ASSUMED: u32 = 32;
/// Bytes of one request to a block device whose limit the kernel does not tell.
pub const DEVICE_REQUEST_BYTES_ASSUMED: u32 = 128 << 10;
/// Connections that the kernel holds for a listener until they are accepted.
pub const LISTEN_BACKLOG: i32 = 1024;

/// Decompressed bytes that a gzip or Zstandard stream yields at a time while it is read.
pub const DECOMPRESSED_CHUNK_BYTES: usize = 32 * 1024;
/// What the records of one batch may decompress to, in bytes; Kafka has no bound of its own.
pub const DECOMPRESSED_BATCH_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Refused records of one batch that a Produce response names.
pub const RECORD_ERRORS_MAX: usize = 1024;
/// API keys that are counted one by one; the last counts all keys beyond.
pub const METRICS_API_KEYS_MAX: usize = 128;
/// Kafka error codes that are counted one by one; the last counts all codes beyond.
pub const METRICS_ERROR_CODES_MAX: usize = 160;
/// The longest latency that is told from longer ones, in seconds.
pub const METRICS_LATENCY_MAX_S: u64 = 60;
/// HTTP connections that the housekeeping thread serves at once.
pub const ADMIN_CONNECTIONS_MAX: usize = 32;
/// How long an HTTP client may take to send a request's head, in seconds.
pub const ADMIN_REQUEST_SECONDS_MAX: u64 = 10;
/// How long a core may go without publishing its figures before it is reported as stalled, in
/// seconds.
pub const CORE_SILENCE_SECONDS_MAX: u64 = 10;
/// Log lines that wait for the writing thread; further ones are dropped and counted.
pub const LOG_LINES_WAITING_MAX: usize = 16_384;

const _: () = assert!(RING_SUBMISSIONS.is_power_of_two() && RING_COMPLETIONS.is_power_of_two());
const _: () = assert!(RING_SUBMISSIONS <= RING_COMPLETIONS);
const _: () = assert!(CONNECTIONS_PER_CORE_MAX < IO_OPERATIONS_MAX / 2);
const _: () = assert!(FILE_OPERATION_BYTES_MAX.is_multiple_of(IO_ALIGNMENT_BYTES));

/// The longest string of Kafka's protocol, in bytes: its length is an int16.
pub const KAFKA_STRING_BYTES_MAX: usize = i16::MAX as usize;
/// Members of one group, whatever `group.max.size` says.
pub const GROUP_MEMBERS_MAX: usize = 100_000;
/// Member ids of one group that were given out and not used to join yet.
pub const GROUP_PENDING_JOINS_MAX: usize = 10_000;
/// Bytes of a client id or instance id that a member id starts with.
pub const MEMBER_ID_PREFIX_BYTES_MAX: usize = 1024;
/// How long a new member may wait in a join, in milliseconds; Kafka's, not configurable.
pub const NEW_MEMBER_JOIN_MS_MAX: i64 = 5 * 60 * 1000;
/// How long a group whose static members are all away waits at least before it looks again, in
/// milliseconds.
pub const ABSENT_MEMBERS_WAIT_MS_MIN: i64 = 1000;
/// Groups of one partition of the offsets topic.
pub const COORDINATOR_GROUPS_MAX: usize = 1 << 17;
/// Live records of one partition of the offsets topic: committed offsets and groups.
pub const COORDINATOR_RECORDS_MAX: usize = 1 << 22;
/// Appends of one coordinator that are not durable yet.
pub const COORDINATOR_APPENDS_MAX: usize = 1 << 16;
/// Records of one append to the offsets topic, in bytes, about.
pub const OFFSETS_APPEND_BYTES_MAX: usize = 1024 * 1024;
/// Groups that one look for expired offsets passes before others get their turn.
pub const EXPIRY_GROUPS_PER_STEP: usize = 1000;
/// Dead records of an offsets partition below which it is not trimmed.
pub const TRIM_DEAD_RECORDS_MIN: usize = 4096;
/// Live records that one step of trimming appends again.
pub const TRIM_STEP_RECORDS: usize = 4096;
/// How long a step of trimming that failed waits to be tried again, in milliseconds.
pub const TRIM_RETRY_MS: i64 = 10_000;

const _: () = assert!(IO_ALIGNMENT_BYTES.is_power_of_two());
const _: () = assert!(MAILBOX_MESSAGES_MAX.is_power_of_two());
const _: () = assert!(FRAME_ALIGNMENT_BYTES == IO_ALIGNMENT_BYTES);
const _: () = assert!(LOG_GROUP_BYTES_MAX.is_multiple_of(FRAME_ALIGNMENT_BYTES));
const _: () = assert!(LOG_GROUP_BYTES_MIN.is_multiple_of(FRAME_ALIGNMENT_BYTES));
const _: () = assert!(LOG_LARGE_BATCH_BYTES < LOG_GROUP_BYTES_MAX);
const _: () = assert!(CHUNK_BYTES[1] >= LOG_GROUP_BYTES_MAX as u64);
const _: () = assert!(OWNER_STATE_BYTES_MAX as u64 <= CHUNK_BYTES[5] / 2);
const _: () = assert!(JOURNAL_ENTRY_BYTES_MAX < JOURNAL_ROUND_BYTES_MAX);
const _: () = assert!(JOURNAL_ROUND_BYTES_MAX.is_multiple_of(FRAME_ALIGNMENT_BYTES));
const _: () = assert!((JOURNAL_ROUND_BYTES_MAX as u64) < JOURNAL_CHUNK_BYTES);
const _: () = assert!(JOURNAL_GROUP_BYTES_MAX.is_multiple_of(FRAME_ALIGNMENT_BYTES));
const _: () = assert!(RECOVERY_READ_BYTES.is_multiple_of(FRAME_ALIGNMENT_BYTES));
/// Batches that wait to be durable for which a partition without any keeps room.
pub const WAITERS_ROOM_KEPT: usize = 64;
/// Batches that a partition remembers of each idempotent producer; Kafka keeps five.
pub const PRODUCER_BATCHES_MAX: usize = 5;
/// The buffer that small requests are read into, and the least one of a large request, in bytes.
pub const RECEIVE_BUFFER_BYTES: usize = 16 * 1024;
/// What a new connection is expected to send, in bytes: a batch or two.
pub const RECEIVE_EXPECTED_BYTES: usize = 64 * 1024;
/// If a connection's requests of late reach this size, each is received into a buffer of its own.
/// Smaller ones share one: a connection that waits holds no more than that.
pub const RECEIVE_EXACT_BYTES: usize = 4 * 1024;
const _: () = assert!(RECEIVE_EXACT_BYTES < RECEIVE_BUFFER_BYTES);
/// The fields in front of a request's first batch, and between two, about, in bytes: so much is
/// read to find where a large batch begins.
pub const RECEIVE_FIELDS_BYTES: usize = 256;
/// How much a receive buffer grows when a request's bytes have filled it.
pub const RECEIVE_GROWTH_FACTOR: usize = 4;
/// What a request takes of its core's memory for requests before it arrives, in bytes, unless it
/// needs less; and the factor by which that grows with what has arrived.
pub const REQUEST_CLAIM_BYTES: usize = 256 << 10;
/// See `REQUEST_CLAIM_BYTES`.
pub const REQUEST_CLAIM_GROWTH_FACTOR: usize = 4;
/// How long a request may take from its size to its last byte, in milliseconds.
pub const REQUEST_ARRIVAL_MS_MAX: u64 = 60_000;
/// Ready responses of one connection that go out in one vectored send.
pub const RESPONSES_GATHERED_MAX: usize = 64;
/// How long one send may take before its client counts as stalled, in milliseconds.
pub const SEND_STALL_MS_MAX: u64 = 60_000;
/// Partitions that a fetch reads before it lets other tasks of its core run.
pub const FETCH_READS_PER_TURN_MAX: usize = 32;
/// Partitions of one fetch session; a client with more goes on without a session.
pub const FETCH_SESSION_PARTITIONS_MAX: usize = 50_000;
/// How long a fetch session is kept unused when others want its place, in milliseconds; Kafka's,
/// not configurable.
pub const FETCH_SESSION_IDLE_MS: u64 = 120_000;
/// Fetch sessions of one core, at least, unless the node is to keep fewer; Kafka divides its 1000
/// slots among eight shards.
pub const FETCH_SESSIONS_PER_CORE_MIN: usize = 128;
/// Elements of all arrays of one Produce or Fetch request together: topics plus partitions.
pub const REQUEST_ELEMENTS_MAX: usize = 1 << 17;
/// Elements of one array of a response that a client reads.
pub const RESPONSE_ELEMENTS_MAX: usize = 1 << 20;
/// A request that carries a handful of ids, in bytes.
pub const REQUEST_SMALL_BYTES_MAX: usize = 256 << 10;
/// A request that names topics, each with a few numbers, in bytes.
pub const REQUEST_MEDIUM_BYTES_MAX: usize = 4 << 20;
/// A request whose arrays hold arrays of elements of few bytes, such as settings of topics, in
/// bytes: decoded they may take 40 times as much.
pub const REQUEST_NESTED_BYTES_MAX: usize = 2 << 20;
/// A request that carries what a consumer group holds, in bytes.
pub const REQUEST_LARGE_BYTES_MAX: usize = 16 << 20;
/// A response that a client reads, in bytes.
pub const RESPONSE_BYTES_MAX: usize = 256 << 20;
/// One string of a request or response, in bytes; the fixed-width encoding has no longer ones.
pub const REQUEST_STRING_BYTES_MAX: usize = i16::MAX as usize;
/// All unknown tagged fields of one structure that comes from the network, in bytes.
pub const TAGGED_FIELD_BYTES_MAX: usize = 64 << 10;
/// Tagged fields of one structure that comes from the network.
pub const TAGGED_FIELDS_MAX: usize = 16;
const _: () = assert!(DECOMPRESSED_CHUNK_BYTES <= DECOMPRESSED_BATCH_BYTES_MAX);
/// Bytes of the records of one batch of the metadata log, decompressed.
pub const METADATA_BATCH_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Partitions that one request may make, as in Kafka.
pub const PARTITIONS_MADE_AT_ONCE_MAX: i64 = 10_000;
/// What one DescribeGroups or OffsetFetch is answered with, in bytes, about: a few ids may ask for
/// far more than they take.
pub const GROUPS_TOLD_BYTES_MAX: usize = 64 << 20;
/// What one Fetch is answered with, whatever `fetch.max.bytes` says, in bytes; one whole batch may
/// exceed it. A response's size is an int32.
pub const FETCH_BYTES_MAX: i32 = 1 << 30;
/// Configurations of all resources that one DescribeConfigs is answered with.
pub const CONFIGS_DESCRIBED_MAX: usize = 1 << 19;
/// Partitions of one node.
pub const PARTITIONS_MAX: usize = 200_000;
/// Producer ids that a shard gets at a time; Kafka's block is as large.
pub const PRODUCER_IDS_PER_BLOCK: i64 = 1000;
/// Bytes that a replay of the metadata log reads at a time.
pub const METADATA_READ_BYTES: usize = 1024 * 1024;
/// Records of the metadata log after which a start writes the image and drops what came before.
pub const METADATA_RECORDS_BEFORE_SNAPSHOT: usize = 10_000;
/// Logs that one core opens or closes at the same time.
pub const PARTITIONS_OPENED_AT_ONCE_MAX: usize = 64;
/// First batches of idempotent producers that were refused while their logs are being opened, of
/// which one core keeps the headers so that they are awaited. Those beyond are refused as well, and
/// not awaited: if a later batch of such a producer is taken in before its first one comes again,
/// that is never appended, and the producer is told OUT_OF_ORDER_SEQUENCE_NUMBER.
pub const OPENING_REFUSED_MAX: usize = 1 << 14;
/// What the produce backlogs of all cores may hold, in times of what their requests may.
pub const BACKLOG_REQUEST_BUDGETS_MAX: usize = 2;
/// What one answer to a fetch takes of the core's budget for answers, at most: this part of it.
pub const FETCH_BUDGET_SHARE: usize = 16;
/// The shortest that a fetch waits for room in that budget before it is answered empty, in
/// milliseconds.
pub const FETCH_ROOM_WAIT_MS_MIN: u64 = 1000;
/// The shortest that an acks=all produce waits for the disk before it is told that it timed out,
/// in milliseconds.
pub const PRODUCE_WAIT_MS_MIN: u64 = 1000;
/// Partitions whose retention one core enforces at the same time.
pub const RETENTIONS_AT_ONCE_MAX: usize = 16;
/// How long retention waits for one partition's log start to become durable before it goes on with
/// the next, in milliseconds.
pub const RETENTION_WAIT_MS_MAX: u64 = 2_000;
/// How often a shard publishes its figures and looks for idle logs, in milliseconds.
pub const UPKEEP_TICK_MS: u64 = 1000;
/// How often a shard gives the pages back of buffers that it has not needed since it did before, in
/// milliseconds.
pub const BUFFERS_GIVE_BACK_MS: u64 = 2_000;
/// Committed offsets of one core that `/metrics` shows, each with its lag.
pub const METRICS_COMMITTED_MAX: usize = 50_000;
/// Figures of single partitions are published with every so many of the others.
pub const METRICS_PARTITIONS_EVERY: u64 = 5;
/// Cores of one node.
pub const CORES_MAX: usize = 1024;
/// The ids of virtual brokers begin here; a node that has some has a smaller id.
pub const VIRTUAL_BROKERS_FROM: i32 = 1_000_000;
/// The ids of virtual brokers that each node may use, one a core.
pub const VIRTUAL_BROKERS_PER_NODE: i32 = 10_000;
/// How long a stopping node waits for requests that are being served, in milliseconds.
pub const GRACEFUL_STOP_MS_MAX: u64 = 3_000;
/// How long a starting node waits for a port that a killed one may still hold, in milliseconds.
pub const PORT_RELEASE_MS_MAX: u64 = 2_000;
/// Requests of one connection between read and answered.
pub const CONNECTION_REQUESTS_MAX: usize = 128;
/// Bytes that loading a coordinator reads at a time.
pub const OFFSETS_LOAD_READ_BYTES: usize = 1024 * 1024;
/// One value of a configuration that a client sets, in bytes.
pub const CONFIG_VALUE_BYTES_MAX: usize = 8192;
const _: () = assert!(MEMBER_ID_PREFIX_BYTES_MAX + 64 <= KAFKA_STRING_BYTES_MAX);
