//! Kafka's broker keys that have no effect here: each belongs to something that is missing, or
//! that this broker does not need. They are accepted so that an existing server.properties
//! starts, described so that tools find them, and one line at the start says so for each that is
//! set. Where silence would be dangerous (an authorizer that is not asked), only the default is
//! accepted.

use super::super::key::{Effect, Importance, Key, Kind, Update, Valid};

const AUTHORIZER: Effect = Effect::Ignored("there is no authentication or authorisation yet");
const AUTHORIZER_REFUSED: Effect = Effect::DefaultOnly(
    "there is no authorisation yet, so every client may do everything; remove the key to accept \
     that",
);
const CONSUMER_GROUPS: Effect =
    Effect::Ignored("the group protocol of KIP-848 is not served yet; classic groups are");
const METRICS: Effect = Effect::Informational(
    "metrics are served in Prometheus form by corelog.admin.listener; there is no JMX",
);
const OFFSETS_CODEC: Effect = Effect::Ignored("__consumer_offsets is written uncompressed");
const ONE_DIRECTORY_REFUSED: Effect = Effect::DefaultOnly("there is one data directory");
const ONE_NODE: Effect = Effect::Informational("a single node has no other brokers to talk to");
const ONE_VOTER: Effect = Effect::Informational("the metadata log has one voter: this node");
const PER_CORE: Effect =
    Effect::Informational("each core serves its own groups; there are no threads to count");
const PLUGINS_REFUSED: Effect = Effect::DefaultOnly(
    "plug-ins are Java classes and cannot run here; remove the key to go without",
);
const PURGATORY: Effect =
    Effect::Informational("a waiting request is parked in its partition; nothing is to be purged");
const QUOTAS: Effect = Effect::Ignored("client quotas are not served yet");
const SASL: Effect = Effect::Ignored("SASL is not served yet");
const SHARE_GROUPS: Effect = Effect::Ignored("share groups are not served yet");
const STREAMS_GROUPS: Effect =
    Effect::Ignored("the streams group protocol is not served yet; classic groups are");
const TIERED: Effect = Effect::Ignored("tiered storage is not served");
const TIERED_REFUSED: Effect = Effect::DefaultOnly("tiered storage is not served");
const TLS: Effect = Effect::Ignored("TLS is not served yet");
const TOKENS: Effect = Effect::Ignored("delegation tokens are not served");
const TRANSACTIONS: Effect = Effect::Ignored("transactions are not served yet");
const TRANSACTIONS_REFUSED: Effect = Effect::DefaultOnly("transactions are not served yet");

macro_rules! default_of {
    (unset) => {
        None
    };
    ($text:literal) => {
        Some($text)
    };
}

/// A row is: name, type, default, importance, where it may change, bounds.
macro_rules! keys {
    ($($effect:ident => { $(
        $name:literal $kind:ident $default:tt $importance:ident $update:ident $valid:expr;
    )* })*) => {
        &[$($(
            Key {
                name: $name,
                kind: Kind::$kind,
                default: default_of!($default),
                valid: $valid,
                update: Update::$update,
                effect: $effect,
                importance: Importance::$importance,
                synonyms: &[],
                internal: false,
                doc: "",
            },
        )*)*]
    };
}

/// Kafka's broker keys that have no effect here, by what they belong to.
pub(in crate::config) const KEYS_WITHOUT_EFFECT: &[Key] = keys! {
    AUTHORIZER_REFUSED => {
        "authorizer.class.name" String "" Low ReadOnly Valid::Any;
    }
    AUTHORIZER => {
        "principal.builder.class" Class
            "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder"
            Medium PerBroker Valid::Any;
    }
    CONSUMER_GROUPS => {
        "group.consumer.assignment.interval.ms" Int "1000" Medium ClusterWide Valid::AtLeast(0);
        "group.consumer.assignors" List "uniform,range" Medium ReadOnly Valid::Any;
        "group.consumer.heartbeat.interval.ms" Int "5000" Medium ReadOnly Valid::AtLeast(1);
        "group.consumer.max.assignment.interval.ms" Int "15000" Medium ReadOnly Valid::AtLeast(0);
        "group.consumer.max.heartbeat.interval.ms" Int "15000" Medium ReadOnly Valid::AtLeast(1);
        "group.consumer.max.session.timeout.ms" Int "60000" Medium ReadOnly Valid::AtLeast(1);
        "group.consumer.max.size" Int "2147483647" Medium ReadOnly Valid::AtLeast(1);
        "group.consumer.migration.policy" String
            "bidirectional" Medium ReadOnly
            Valid::OneOfAnyCase(&["BIDIRECTIONAL", "DISABLED", "DOWNGRADE", "UPGRADE"]);
        "group.consumer.min.assignment.interval.ms" Int "0" Medium ReadOnly Valid::AtLeast(0);
        "group.consumer.min.heartbeat.interval.ms" Int "5000" Medium ReadOnly Valid::AtLeast(1);
        "group.consumer.min.session.timeout.ms" Int "45000" Medium ReadOnly Valid::AtLeast(1);
        "group.consumer.session.timeout.ms" Int "45000" Medium ReadOnly Valid::AtLeast(1);
    }
    METRICS => {
        "kafka.metrics.polling.interval.secs" Int "10" Low ReadOnly Valid::AtLeast(1);
        "kafka.metrics.reporters" List "" Low ReadOnly Valid::Any;
        "metric.reporters" List
            "org.apache.kafka.common.metrics.JmxReporter" Low ClusterWide Valid::Any;
        "metrics.num.samples" Int "2" Low ReadOnly Valid::AtLeast(1);
        "metrics.recording.level" String "INFO" Low ReadOnly Valid::Any;
        "metrics.sample.window.ms" Long "30000" Low ReadOnly Valid::AtLeast(1);
        "telemetry.max.bytes" Int "1048576" Low ReadOnly Valid::AtLeast(1);
    }
    OFFSETS_CODEC => {
        "offsets.topic.compression.codec" Int "0" High ReadOnly Valid::Any;
    }
    ONE_DIRECTORY_REFUSED => {
        "cordoned.log.dirs" List "" Medium ClusterWide Valid::Any;
    }
    ONE_NODE => {
        "alter.log.dirs.replication.quota.window.num" Int "11" Low ReadOnly Valid::AtLeast(1);
        "alter.log.dirs.replication.quota.window.size.seconds" Int
            "1" Low ReadOnly Valid::AtLeast(1);
        "auto.leader.rebalance.enable" Boolean "true" High ReadOnly Valid::Any;
        "broker.heartbeat.interval.ms" Int "2000" Medium ReadOnly Valid::Any;
        "broker.session.timeout.ms" Int "9000" Medium ReadOnly Valid::Any;
        "controller.socket.timeout.ms" Int "30000" Medium ReadOnly Valid::Any;
        "early.start.listeners" List unset High ReadOnly Valid::Any;
        "initial.broker.registration.timeout.ms" Int "60000" Medium ReadOnly Valid::Any;
        "leader.imbalance.check.interval.seconds" Long "300" High ReadOnly Valid::AtLeast(1);
        "num.replica.alter.log.dirs.threads" Int unset High ReadOnly Valid::Any;
        "replica.fetch.backoff.ms" Int "1000" Medium ReadOnly Valid::AtLeast(0);
        "replica.fetch.max.bytes" Int "1048576" Medium ReadOnly Valid::AtLeast(0);
        "replica.fetch.min.bytes" Int "1" High ReadOnly Valid::Any;
        "replica.fetch.response.max.bytes" Int "10485760" Medium ReadOnly Valid::AtLeast(0);
        "replica.fetch.wait.max.ms" Int "500" High ReadOnly Valid::Any;
        "replica.high.watermark.checkpoint.interval.ms" Long "5000" High ReadOnly Valid::Any;
        "replica.lag.time.max.ms" Long "30000" High ReadOnly Valid::Any;
        "replica.selector.class" String unset Medium ReadOnly Valid::Any;
        "replica.socket.receive.buffer.bytes" Int "65536" High ReadOnly Valid::Any;
        "replica.socket.timeout.ms" Int "30000" High ReadOnly Valid::Any;
        "replication.quota.window.num" Int "11" Low ReadOnly Valid::AtLeast(1);
        "replication.quota.window.size.seconds" Int "1" Low ReadOnly Valid::AtLeast(1);
        "request.timeout.ms" Int "30000" High ReadOnly Valid::Any;
        "socket.connection.setup.timeout.max.ms" Long "30000" Medium ReadOnly Valid::Any;
        "socket.connection.setup.timeout.ms" Long "10000" Medium ReadOnly Valid::Any;
    }
    ONE_VOTER => {
        "controller.quorum.append.linger.ms" Int "25" Medium ReadOnly Valid::AtLeast(0);
        "controller.quorum.auto.join.enable" Boolean "false" Low ReadOnly Valid::Any;
        "controller.quorum.election.backoff.max.ms" Int "1000" High ReadOnly Valid::AtLeast(0);
        "controller.quorum.fetch.max.bytes" Int "1048576" Low ReadOnly Valid::AtLeast(1);
        "controller.quorum.fetch.snapshot.max.bytes" Int "1048576" Low ReadOnly Valid::AtLeast(1);
        "controller.quorum.request.timeout.ms" Int "2000" Medium ReadOnly Valid::AtLeast(0);
        "controller.quorum.retry.backoff.ms" Int "20" Low ReadOnly Valid::AtLeast(0);
        "metadata.log.max.snapshot.interval.ms" Long "3600000" High ReadOnly Valid::AtLeast(0);
        "metadata.log.segment.bytes" Int "1073741824" High ReadOnly Valid::AtLeast(8388608);
        "metadata.log.segment.ms" Long "604800000" High ReadOnly Valid::Any;
        "metadata.max.idle.interval.ms" Int "500" Low ReadOnly Valid::AtLeast(0);
        "metadata.max.retention.bytes" Long "104857600" High ReadOnly Valid::Any;
        "metadata.max.retention.ms" Long "604800000" High ReadOnly Valid::Any;
    }
    PER_CORE => {
        "group.coordinator.append.linger.ms" Int "-1" Medium ReadOnly Valid::AtLeast(-1);
        "group.coordinator.background.threads" Int "2" High ReadOnly Valid::AtLeast(1);
        "group.coordinator.cached.buffer.max.bytes" Int
            "1048588" Medium ClusterWide Valid::AtLeast(524288);
        "group.coordinator.rebalance.protocols" List
            "classic,consumer,streams" Medium ReadOnly
            Valid::SomeOf(&["consumer", "classic", "share", "streams"]);
        "group.coordinator.threads" Int "4" High ReadOnly Valid::AtLeast(1);
        "offsets.load.buffer.size" Int "5242880" High ReadOnly Valid::AtLeast(1);
    }
    PLUGINS_REFUSED => {
        "alter.config.policy.class.name" Class unset Low ReadOnly Valid::Any;
        "config.providers" List "" Low ClusterWide Valid::Any;
        "create.topic.policy.class.name" Class unset Low ReadOnly Valid::Any;
        "security.providers" String unset Low ReadOnly Valid::Any;
    }
    PURGATORY => {
        "delete.records.purgatory.purge.interval.requests" Int "1" Medium ReadOnly Valid::Any;
        "fetch.purgatory.purge.interval.requests" Int "1000" Medium ReadOnly Valid::Any;
        "producer.purgatory.purge.interval.requests" Int "1000" Medium ReadOnly Valid::Any;
        "share.fetch.purgatory.purge.interval.requests" Int "1000" Medium ReadOnly Valid::Any;
    }
    QUOTAS => {
        "client.quota.callback.class" Class unset Low ReadOnly Valid::Any;
        "controller.quota.window.num" Int "11" Low ReadOnly Valid::AtLeast(1);
        "controller.quota.window.size.seconds" Int "1" Low ReadOnly Valid::AtLeast(1);
        "quota.window.num" Int "11" Low ReadOnly Valid::AtLeast(1);
        "quota.window.size.seconds" Int "1" Low ReadOnly Valid::AtLeast(1);
    }
    SASL => {
        "connection.failed.authentication.delay.ms" Int "100" Low ReadOnly Valid::AtLeast(0);
        "connections.max.reauth.ms" Long "0" Medium ReadOnly Valid::Any;
        "sasl.client.callback.handler.class" Class unset Medium ReadOnly Valid::Any;
        "sasl.enabled.mechanisms" List "GSSAPI" Medium PerBroker Valid::Any;
        "sasl.jaas.config" Password unset Medium PerBroker Valid::Any;
        "sasl.kerberos.kinit.cmd" String "/usr/bin/kinit" Medium PerBroker Valid::Any;
        "sasl.kerberos.min.time.before.relogin" Long "60000" Medium PerBroker Valid::Any;
        "sasl.kerberos.principal.to.local.rules" List "DEFAULT" Medium PerBroker Valid::Any;
        "sasl.kerberos.service.name" String unset Medium PerBroker Valid::Any;
        "sasl.kerberos.ticket.renew.jitter" Double "0.05" Medium PerBroker Valid::Any;
        "sasl.kerberos.ticket.renew.window.factor" Double "0.8" Medium PerBroker Valid::Any;
        "sasl.login.callback.handler.class" Class unset Medium ReadOnly Valid::Any;
        "sasl.login.class" Class unset Medium ReadOnly Valid::Any;
        "sasl.login.connect.timeout.ms" Int unset Low ReadOnly Valid::Any;
        "sasl.login.read.timeout.ms" Int unset Low ReadOnly Valid::Any;
        "sasl.login.refresh.buffer.seconds" Short "300" Medium PerBroker Valid::Any;
        "sasl.login.refresh.min.period.seconds" Short "60" Medium PerBroker Valid::Any;
        "sasl.login.refresh.window.factor" Double "0.8" Medium PerBroker Valid::Any;
        "sasl.login.refresh.window.jitter" Double "0.05" Medium PerBroker Valid::Any;
        "sasl.login.retry.backoff.max.ms" Long "10000" Low ReadOnly Valid::Any;
        "sasl.login.retry.backoff.ms" Long "100" Low ReadOnly Valid::Any;
        "sasl.mechanism.controller.protocol" String "GSSAPI" High ReadOnly Valid::Any;
        "sasl.mechanism.inter.broker.protocol" String "GSSAPI" Medium PerBroker Valid::Any;
        "sasl.oauthbearer.assertion.algorithm" String
            "RS256" Medium ReadOnly Valid::OneOfAnyCase(&["ES256", "RS256"]);
        "sasl.oauthbearer.assertion.claim.aud" String unset Medium ReadOnly Valid::Any;
        "sasl.oauthbearer.assertion.claim.exp.seconds" Int
            "300" Low ReadOnly Valid::Between(0, 86400);
        "sasl.oauthbearer.assertion.claim.iss" String unset Medium ReadOnly Valid::Any;
        "sasl.oauthbearer.assertion.claim.jti.include" Boolean "false" Medium ReadOnly Valid::Any;
        "sasl.oauthbearer.assertion.claim.nbf.seconds" Int
            "60" Low ReadOnly Valid::Between(0, 3600);
        "sasl.oauthbearer.assertion.claim.sub" String unset Medium ReadOnly Valid::Any;
        "sasl.oauthbearer.assertion.file" String unset Medium ReadOnly Valid::Any;
        "sasl.oauthbearer.assertion.private.key.file" String unset Medium ReadOnly Valid::Any;
        "sasl.oauthbearer.assertion.private.key.passphrase" Password
            unset Medium ReadOnly Valid::Any;
        "sasl.oauthbearer.assertion.template.file" String unset Medium ReadOnly Valid::Any;
        "sasl.oauthbearer.client.credentials.client.id" String unset Medium ReadOnly Valid::Any;
        "sasl.oauthbearer.client.credentials.client.secret" Password
            unset Medium ReadOnly Valid::Any;
        "sasl.oauthbearer.clock.skew.seconds" Int "30" Low ReadOnly Valid::Any;
        "sasl.oauthbearer.expected.audience" List "" High ReadOnly Valid::Any;
        "sasl.oauthbearer.expected.issuer" String unset High ReadOnly Valid::Any;
        "sasl.oauthbearer.jwks.endpoint.refresh.ms" Long "3600000" Low ReadOnly Valid::Any;
        "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms" Long "10000" Low ReadOnly Valid::Any;
        "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms" Long "100" Low ReadOnly Valid::Any;
        "sasl.oauthbearer.jwks.endpoint.url" String unset Medium ReadOnly Valid::Any;
        "sasl.oauthbearer.jwt.retriever.class" Class
            "org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever"
            Medium ReadOnly Valid::Any;
        "sasl.oauthbearer.jwt.validator.class" Class
            "org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator"
            Medium ReadOnly Valid::Any;
        "sasl.oauthbearer.scope" String unset Medium ReadOnly Valid::Any;
        "sasl.oauthbearer.scope.claim.name" String "scope" Low ReadOnly Valid::Any;
        "sasl.oauthbearer.sub.claim.name" String "sub" Low ReadOnly Valid::Any;
        "sasl.oauthbearer.token.endpoint.url" String unset Medium ReadOnly Valid::Any;
        "sasl.server.callback.handler.class" Class unset Medium ReadOnly Valid::Any;
        "sasl.server.max.receive.size" Int "524288" Medium ReadOnly Valid::Any;
    }
    SHARE_GROUPS => {
        "group.share.assignment.interval.ms" Int "1000" Medium ClusterWide Valid::AtLeast(0);
        "group.share.assignors" List "simple" Medium ReadOnly Valid::Any;
        "group.share.delivery.count.limit" Int "5" Medium ReadOnly Valid::Between(2, 10);
        "group.share.heartbeat.interval.ms" Int "5000" Medium ReadOnly Valid::AtLeast(1);
        "group.share.max.assignment.interval.ms" Int "15000" Medium ReadOnly Valid::AtLeast(0);
        "group.share.max.delivery.count.limit" Int "10" Medium ReadOnly Valid::Between(5, 25);
        "group.share.max.heartbeat.interval.ms" Int "15000" Medium ReadOnly Valid::AtLeast(1);
        "group.share.max.partition.max.record.locks" Int
            "4000" Medium ReadOnly Valid::Between(2000, 10000);
        "group.share.max.record.lock.duration.ms" Int
            "60000" Medium ReadOnly Valid::Between(30000, 3600000);
        "group.share.max.session.timeout.ms" Int "60000" Medium ReadOnly Valid::AtLeast(1);
        "group.share.max.share.sessions" Int "2000" Medium ReadOnly Valid::AtLeast(1);
        "group.share.max.size" Int "200" Medium ReadOnly Valid::Between(1, 1000);
        "group.share.min.assignment.interval.ms" Int "0" Medium ReadOnly Valid::AtLeast(0);
        "group.share.min.delivery.count.limit" Int "2" Medium ReadOnly Valid::Between(2, 5);
        "group.share.min.heartbeat.interval.ms" Int "5000" Medium ReadOnly Valid::AtLeast(1);
        "group.share.min.partition.max.record.locks" Int
            "100" Medium ReadOnly Valid::Between(100, 2000);
        "group.share.min.record.lock.duration.ms" Int
            "15000" Medium ReadOnly Valid::Between(1000, 30000);
        "group.share.min.session.timeout.ms" Int "45000" Medium ReadOnly Valid::AtLeast(1);
        "group.share.partition.max.record.locks" Int
            "2000" Medium ReadOnly Valid::Between(100, 10000);
        "group.share.record.lock.duration.ms" Int
            "30000" Medium ReadOnly Valid::Between(1000, 3600000);
        "group.share.session.timeout.ms" Int "45000" Medium ReadOnly Valid::AtLeast(1);
        "share.coordinator.append.linger.ms" Int "-1" Medium ReadOnly Valid::AtLeast(-1);
        "share.coordinator.cached.buffer.max.bytes" Int
            "1048588" Medium ClusterWide Valid::AtLeast(524288);
        "share.coordinator.load.buffer.size" Int "5242880" High ReadOnly Valid::AtLeast(1);
        "share.coordinator.snapshot.update.records.per.snapshot" Int
            "500" Medium ReadOnly Valid::Between(0, 500);
        "share.coordinator.state.topic.compression.codec" Int "0" High ReadOnly Valid::Any;
        "share.coordinator.state.topic.min.isr" Short "2" High ReadOnly Valid::AtLeast(1);
        "share.coordinator.state.topic.num.partitions" Int "50" High ReadOnly Valid::AtLeast(1);
        "share.coordinator.state.topic.replication.factor" Short
            "3" High ReadOnly Valid::AtLeast(1);
        "share.coordinator.state.topic.segment.bytes" Int
            "104857600" High ReadOnly Valid::AtLeast(1);
        "share.coordinator.threads" Int "1" Medium ReadOnly Valid::AtLeast(1);
        "share.coordinator.write.timeout.ms" Int "5000" High ReadOnly Valid::AtLeast(1);
    }
    STREAMS_GROUPS => {
        "group.streams.assignment.interval.ms" Int "1000" Medium ClusterWide Valid::AtLeast(0);
        "group.streams.heartbeat.interval.ms" Int "5000" Medium ReadOnly Valid::AtLeast(1);
        "group.streams.initial.rebalance.delay.ms" Int "3000" Medium ReadOnly Valid::AtLeast(0);
        "group.streams.max.assignment.interval.ms" Int "15000" Medium ReadOnly Valid::AtLeast(0);
        "group.streams.max.heartbeat.interval.ms" Int "15000" Medium ReadOnly Valid::AtLeast(1);
        "group.streams.max.session.timeout.ms" Int "60000" Medium ReadOnly Valid::AtLeast(1);
        "group.streams.max.size" Int "2147483647" Medium ReadOnly Valid::AtLeast(1);
        "group.streams.max.standby.replicas" Int "2" Medium ReadOnly Valid::AtLeast(0);
        "group.streams.min.assignment.interval.ms" Int "0" Medium ReadOnly Valid::AtLeast(0);
        "group.streams.min.heartbeat.interval.ms" Int "5000" Medium ReadOnly Valid::AtLeast(1);
        "group.streams.min.session.timeout.ms" Int "45000" Medium ReadOnly Valid::AtLeast(1);
        "group.streams.num.standby.replicas" Int "0" Medium ReadOnly Valid::AtLeast(0);
        "group.streams.session.timeout.ms" Int "45000" Medium ReadOnly Valid::AtLeast(1);
    }
    TIERED => {
        "follower.fetch.last.tiered.offset.enable" Boolean "false" Medium ClusterWide Valid::Any;
        "remote.fetch.max.wait.ms" Int "500" Medium ClusterWide Valid::AtLeast(1);
        "remote.list.offsets.request.timeout.ms" Long "30000" Medium ClusterWide Valid::AtLeast(1);
        "remote.log.index.file.cache.total.size.bytes" Long
            "1073741824" Low ClusterWide Valid::AtLeast(1);
        "remote.log.manager.copier.thread.pool.size" Int "10" Medium ClusterWide Valid::AtLeast(1);
        "remote.log.manager.copy.max.bytes.per.second" Long
            "9223372036854775807" Medium ClusterWide Valid::AtLeast(1);
        "remote.log.manager.copy.quota.window.num" Int "11" Medium ReadOnly Valid::AtLeast(1);
        "remote.log.manager.copy.quota.window.size.seconds" Int
            "1" Medium ReadOnly Valid::AtLeast(1);
        "remote.log.manager.expiration.thread.pool.size" Int
            "10" Medium ClusterWide Valid::AtLeast(1);
        "remote.log.manager.fetch.max.bytes.per.second" Long
            "9223372036854775807" Medium ClusterWide Valid::AtLeast(1);
        "remote.log.manager.fetch.quota.window.num" Int "11" Medium ReadOnly Valid::AtLeast(1);
        "remote.log.manager.fetch.quota.window.size.seconds" Int
            "1" Medium ReadOnly Valid::AtLeast(1);
        "remote.log.manager.follower.thread.pool.size" Int "2" Medium ClusterWide Valid::AtLeast(1);
        "remote.log.manager.task.interval.ms" Long "30000" Low ReadOnly Valid::AtLeast(1);
        "remote.log.manager.thread.pool.size" Int "2" Medium ReadOnly Valid::AtLeast(1);
        "remote.log.metadata.custom.metadata.max.bytes" Int "128" Low ReadOnly Valid::AtLeast(0);
        "remote.log.metadata.manager.class.name" String
            "org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager"
            Medium ReadOnly Valid::Any;
        "remote.log.metadata.manager.class.path" String unset Medium ReadOnly Valid::Any;
        "remote.log.metadata.manager.impl.prefix" String "rlmm.config." Medium ReadOnly Valid::Any;
        "remote.log.metadata.manager.listener.name" String unset Medium ReadOnly Valid::Any;
        "remote.log.reader.max.pending.tasks" Int "100" Medium ReadOnly Valid::AtLeast(1);
        "remote.log.reader.threads" Int "10" Medium ClusterWide Valid::AtLeast(1);
        "remote.log.storage.manager.class.name" String unset Medium ReadOnly Valid::Any;
        "remote.log.storage.manager.class.path" String unset Medium ReadOnly Valid::Any;
        "remote.log.storage.manager.impl.prefix" String "rsm.config." Medium ReadOnly Valid::Any;
    }
    TIERED_REFUSED => {
        "remote.log.storage.system.enable" Boolean "false" Medium ReadOnly Valid::Any;
    }
    TLS => {
        "ssl.allow.dn.changes" Boolean "false" Low ReadOnly Valid::Any;
        "ssl.allow.san.changes" Boolean "false" Low ReadOnly Valid::Any;
        "ssl.cipher.suites" List "" Medium PerBroker Valid::Any;
        "ssl.client.auth" String
            "none" Medium PerBroker Valid::OneOf(&["required", "requested", "none"]);
        "ssl.enabled.protocols" List "TLSv1.2,TLSv1.3" Medium PerBroker Valid::Any;
        "ssl.endpoint.identification.algorithm" String "https" Low PerBroker Valid::Any;
        "ssl.engine.factory.class" Class unset Low PerBroker Valid::Any;
        "ssl.key.password" Password unset Medium PerBroker Valid::Any;
        "ssl.keymanager.algorithm" String "SunX509" Medium PerBroker Valid::Any;
        "ssl.keystore.certificate.chain" Password unset Medium PerBroker Valid::Any;
        "ssl.keystore.key" Password unset Medium PerBroker Valid::Any;
        "ssl.keystore.location" String unset Medium PerBroker Valid::Any;
        "ssl.keystore.password" Password unset Medium PerBroker Valid::Any;
        "ssl.keystore.type" String "JKS" Medium PerBroker Valid::Any;
        "ssl.principal.mapping.rules" String "DEFAULT" Low ReadOnly Valid::Any;
        "ssl.protocol" String "TLSv1.3" Medium PerBroker Valid::Any;
        "ssl.provider" String unset Medium PerBroker Valid::Any;
        "ssl.secure.random.implementation" String unset Low PerBroker Valid::Any;
        "ssl.trustmanager.algorithm" String "PKIX" Medium PerBroker Valid::Any;
        "ssl.truststore.certificates" Password unset Medium PerBroker Valid::Any;
        "ssl.truststore.location" String unset Medium PerBroker Valid::Any;
        "ssl.truststore.password" Password unset Medium PerBroker Valid::Any;
        "ssl.truststore.type" String "JKS" Medium PerBroker Valid::Any;
    }
    TOKENS => {
        "delegation.token.expiry.check.interval.ms" Long "3600000" Low ReadOnly Valid::AtLeast(1);
        "delegation.token.expiry.time.ms" Long "86400000" Medium ReadOnly Valid::AtLeast(1);
        "delegation.token.max.lifetime.ms" Long "604800000" Medium ReadOnly Valid::AtLeast(1);
        "delegation.token.secret.key" Password unset Medium ReadOnly Valid::Any;
    }
    TRANSACTIONS => {
        "add.partitions.to.txn.retry.backoff.max.ms" Int "100" High ReadOnly Valid::AtLeast(0);
        "add.partitions.to.txn.retry.backoff.ms" Int "20" High ReadOnly Valid::AtLeast(1);
        "transaction.abort.timed.out.transaction.cleanup.interval.ms" Int
            "10000" Low ReadOnly Valid::AtLeast(1);
        "transaction.max.timeout.ms" Int "900000" High ReadOnly Valid::AtLeast(1);
        "transaction.partition.verification.enable" Boolean "true" Low ClusterWide Valid::Any;
        "transaction.remove.expired.transaction.cleanup.interval.ms" Int
            "3600000" Low ReadOnly Valid::AtLeast(1);
        "transaction.state.log.load.buffer.size" Int "5242880" High ReadOnly Valid::AtLeast(1);
        "transaction.state.log.min.isr" Int "2" High ReadOnly Valid::AtLeast(1);
        "transaction.state.log.num.partitions" Int "50" High ReadOnly Valid::AtLeast(1);
        "transaction.state.log.replication.factor" Short "3" High ReadOnly Valid::AtLeast(1);
        "transaction.state.log.segment.bytes" Int "104857600" High ReadOnly Valid::AtLeast(1);
        "transactional.id.expiration.ms" Int "604800000" High ReadOnly Valid::AtLeast(1);
    }
    TRANSACTIONS_REFUSED => {
        "transaction.two.phase.commit.enable" Boolean "false" Low ReadOnly Valid::Any;
    }
};
