//! What a shard does on its own: retention, checkpoints, expiry, figures.

use std::rc::Rc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};

use super::Shard;
use crate::io;
use crate::limits::{
    BUFFERS_GIVE_BACK_MS, METRICS_PARTITIONS_EVERY, RETENTION_WAIT_MS_MAX, RETENTIONS_AT_ONCE_MAX,
    UPKEEP_TICK_MS,
};
use crate::log::checkpoint;
use crate::metrics::{self, Gauge, PartitionFigures};
use crate::model::TopicPartition;
use crate::partition::Partition;

impl Shard {
    /// Starts to publish the shard's figures.
    pub(super) fn start_figures(self: &Rc<Self>) {
        self.every(UPKEEP_TICK_MS, |shard| async move {
            shard.publish_figures().await
        });
    }

    /// Starts the tasks that keep the shard's house in order, when all partitions are open. They
    /// end when the shard closes.
    pub(super) fn start_upkeep(self: &Rc<Self>) {
        let config = self.config();
        self.every(BUFFERS_GIVE_BACK_MS, |_| async { io::give_back_buffers() });
        let retention_ms = config.topics.retention_check_interval_ms;
        self.every(interval(retention_ms), |shard| async move {
            shard.enforce_retention().await
        });
        let expiry_ms = i64::from(config.producers.id_expiration_check_interval_ms);
        self.every(interval(expiry_ms), |shard| async move {
            shard.expire_producers()
        });
        let checkpoint_ms = config.engine.checkpoint_interval_ms;
        self.every(interval(checkpoint_ms), |shard| async move {
            shard.write_checkpoint().await
        });
    }

    fn every<F>(self: &Rc<Self>, interval_ms: u64, work: impl Fn(Rc<Shard>) -> F + 'static)
    where
        F: Future<Output = ()> + 'static,
    {
        let shard = self.clone();
        io::spawn(async move {
            loop {
                io::sleep(Duration::from_millis(interval_ms)).await;
                if shard.stopping.get() {
                    return;
                }
                work(shard.clone()).await;
            }
        })
        .detach();
    }

    fn all_partitions(&self) -> Vec<Rc<Partition>> {
        self.partitions.borrow().values().cloned().collect()
    }

    async fn enforce_retention(self: &Rc<Self>) {
        stream::iter(self.all_partitions())
            .for_each_concurrent(RETENTIONS_AT_ONCE_MAX, async |partition| {
                // A data directory that has stopped has said why.
                if self.stopping.get() || self.store.is_stopped() {
                    return;
                }
                io::yield_now().await;
                let enforced = partition.enforce_retention(io::wall_clock());
                // Without space it may take until another partition has given some back: what was
                // begun goes on.
                io::timeout(Duration::from_millis(RETENTION_WAIT_MS_MAX), enforced).await;
            })
            .await;
    }

    fn expire_producers(&self) {
        let now = io::wall_clock();
        let expiration_ms = i64::from(self.config().producers.id_expiration_ms);
        for partition in self.partitions.borrow().values() {
            partition.expire_producers(now, expiration_ms);
        }
    }

    /// Writes where each log stands, so that a restart replays little.
    pub(super) async fn write_checkpoint(self: &Rc<Self>) {
        let entries = self.all_partitions().into_iter().map(|partition| {
            let state = partition.producers_snapshot();
            partition.log().checkpoint(state)
        });
        let entries = entries.collect();
        if let Err(error) = checkpoint::write(&self.store, entries).await {
            tracing::warn!("checkpoint not written, the next start replays more: {error:?}");
        }
    }

    async fn publish_figures(self: &Rc<Self>) {
        metrics::set(Gauge::Partitions, self.partitions.borrow().len() as u64);
        metrics::set(Gauge::OfflinePartitions, self.offline.borrow().len() as u64);
        metrics::set(Gauge::Groups, self.groups_count() as u64);
        metrics::set(Gauge::OpenFiles, self.store.open_files() as u64);
        let board = self.launch.board();
        board.publish(self.core, &executor_figures());
        let tick = self.figures_published.get();
        self.figures_published.set(tick + 1);
        if !tick.is_multiple_of(METRICS_PARTITIONS_EVERY) {
            return;
        }
        let figures = self
            .all_partitions()
            .iter()
            .map(|partition| figures(partition))
            .collect();
        board.publish_partitions(self.core, figures);
        board.publish_committed(self.core, self.committed_figures());
    }
}

fn figures(partition: &Partition) -> PartitionFigures {
    let log = partition.log();
    PartitionFigures {
        partition: TopicPartition {
            topic: partition.topic().clone(),
            index: partition.id().index,
        },
        log_start_offset: log.start_offset(),
        log_end_offset: log.end_offset(),
        high_watermark: partition.high_watermark(),
        size_bytes: log.size_bytes(),
    }
}

fn executor_figures() -> [(&'static str, u64); 10] {
    let stats = io::stats();
    [
        ("turns", stats.turns),
        ("tasks_run", stats.tasks_run),
        ("parks", stats.parks),
        ("spins_with_work", stats.spins_with_work),
        ("spins_in_vain", stats.spins_in_vain),
        ("ring_enters", stats.enters),
        ("ring_submissions", stats.submissions),
        ("ring_completions", stats.completions),
        ("stalls", stats.stalls),
        ("foreign_wakes", stats.foreign_wakes),
    ]
}

/// A configured interval; below one millisecond there is none.
fn interval(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(1).max(1)
}
