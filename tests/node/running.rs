//! A node that runs in this process.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use corelog::cli::node;
use corelog::client::{Client, ClientOptions};
use corelog::config::{self, Sources};
use corelog::io::sync::watch;
use corelog::io::{CoreSpec, blocking};
use corelog::metrics::{Board, Counter};

pub(crate) struct RunningNode {
    directory: Arc<tempfile::TempDir>,
    ready: node::Ready,
    address: String,
    board: Board,
    overrides: Vec<String>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<Result<(), node::NodeError>>>,
}

impl RunningNode {
    /// A node on a directory of its own.
    pub(crate) fn start_new(cores: u16) -> RunningNode {
        RunningNode::start_new_with(cores, &[])
    }

    /// The same with other settings.
    pub(crate) fn start_new_with(cores: u16, overrides: &[&str]) -> RunningNode {
        let overrides = overrides.iter().map(|text| text.to_string()).collect();
        let directory = Arc::new(tempfile::tempdir().unwrap());
        RunningNode::try_start_with(directory, cores, overrides).expect("the node starts")
    }

    /// A node on a directory that another one has left, or why it does not start.
    pub(crate) fn try_start(
        directory: Arc<tempfile::TempDir>,
        cores: u16,
    ) -> Result<RunningNode, String> {
        RunningNode::try_start_with(directory, cores, Vec::new())
    }

    fn try_start_with(
        directory: Arc<tempfile::TempDir>,
        cores: u16,
        overrides: Vec<String>,
    ) -> Result<RunningNode, String> {
        let sources = Sources {
            file: None,
            environment: Vec::new(),
            overrides: [
                format!("log.dirs={}", directory.path().join("data").display()),
                "listeners=PLAINTEXT://127.0.0.1:0".into(),
                "group.initial.rebalance.delay.ms=0".into(),
                "offsets.topic.num.partitions=4".into(),
            ]
            .into_iter()
            .chain(overrides.clone())
            .collect(),
        };
        let (values, _) = config::load(&sources).unwrap();
        let config = Arc::new(config::resolve(values).unwrap());
        let (stop, stopped) = watch::channel(false);
        let (sender, receiver) = mpsc::channel();
        let board = Board::new(usize::from(cores));
        let shared = board.clone();
        let spawned = corelog::io::spawn_thread("node", move || {
            let cores = CoreSpec::unpinned(cores);
            let ready = move |ready: &node::Ready| sender.send(ready.clone()).unwrap();
            node::serve_until(config, shared, &cores, stopped, ready)
        });
        let thread = spawned.unwrap();
        // Without an address the node has ended before it served.
        match receiver.recv() {
            Ok(ready) => Ok(RunningNode {
                directory,
                address: ready.addresses[0].to_string(),
                ready,
                board,
                overrides,
                stop,
                thread: Some(thread),
            }),
            Err(_) => {
                let ended = thread.join().expect("a start that fails is no panic");
                Err(ended.expect_err("it has not been told to stop").to_string())
            }
        }
    }

    /// Stops the node; gives its directory, in which `data` is the data directory.
    pub(crate) fn stop(mut self) -> Arc<tempfile::TempDir> {
        self.end();
        self.directory.clone()
    }

    /// Where it listens, as host and port.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// What it said when it was ready.
    pub(crate) fn ready(&self) -> &node::Ready {
        &self.ready
    }

    /// A counter of all cores, after all that was counted up to now is published.
    pub(crate) fn counter(&self, counter: Counter) -> u64 {
        let before = self.board.heartbeats();
        // One publication may be under way.
        while self
            .board
            .heartbeats()
            .iter()
            .zip(&before)
            .any(|(now, before)| *now < before + 2)
        {
            blocking::sleep(Duration::from_millis(20));
        }
        let cores = self.board.read();
        cores.iter().map(|core| core.counter(counter)).sum()
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.address, ClientOptions::default()).unwrap()
    }

    /// Stops the node and starts another one on the same directory.
    pub(crate) fn restart(mut self, cores: u16) -> RunningNode {
        self.end();
        let overrides = std::mem::take(&mut self.overrides);
        RunningNode::try_start_with(self.directory.clone(), cores, overrides).expect("it starts")
    }

    /// The same at the address that its clients know.
    pub(crate) fn restart_in_place(mut self, cores: u16) -> RunningNode {
        self.end();
        let mut overrides = std::mem::take(&mut self.overrides);
        overrides.push(format!("listeners=PLAINTEXT://{}", self.address));
        RunningNode::try_start_with(self.directory.clone(), cores, overrides).expect("it starts")
    }

    fn end(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join().expect("the node does not panic");
            ended.expect("the node stops in order");
        }
    }
}

impl Drop for RunningNode {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.end();
        }
    }
}
