//! A node that runs in this process.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use corelog::cli::node;
use corelog::client::{Client, ClientOptions};
use corelog::config::{self, Sources};
use corelog::io::CoreSpec;
use corelog::io::sync::watch;
use corelog::metrics::Board;

pub(crate) struct RunningNode {
    directory: Arc<tempfile::TempDir>,
    address: String,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<Result<(), node::NodeError>>>,
}

impl RunningNode {
    /// A node on a directory of its own.
    pub(crate) fn start_new(cores: u16) -> RunningNode {
        RunningNode::start(Arc::new(tempfile::tempdir().unwrap()), cores)
    }

    fn start(directory: Arc<tempfile::TempDir>, cores: u16) -> RunningNode {
        RunningNode::try_start(directory, cores).expect("the node starts")
    }

    /// A node on a directory that another one has left, or why it does not start.
    pub(crate) fn try_start(
        directory: Arc<tempfile::TempDir>,
        cores: u16,
    ) -> Result<RunningNode, String> {
        let sources = Sources {
            file: None,
            environment: Vec::new(),
            overrides: vec![
                format!("log.dirs={}", directory.path().join("data").display()),
                "listeners=PLAINTEXT://127.0.0.1:0".into(),
                "group.initial.rebalance.delay.ms=0".into(),
                "offsets.topic.num.partitions=4".into(),
            ],
        };
        let (values, _) = config::load(&sources).unwrap();
        let config = Arc::new(config::resolve(values).unwrap());
        let (stop, stopped) = watch::channel(false);
        let (sender, receiver) = mpsc::channel();
        let spawned = corelog::io::spawn_thread("node", move || {
            let cores = CoreSpec::unpinned(cores);
            let board = Board::new(cores.len());
            let ready = move |ready: &node::Ready| sender.send(ready.addresses[0]).unwrap();
            node::serve_until(config, board, &cores, stopped, ready)
        });
        let thread = spawned.unwrap();
        // Without an address the node has ended before it served.
        match receiver.recv() {
            Ok(address) => Ok(RunningNode {
                directory,
                address: address.to_string(),
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

    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.address, ClientOptions::default()).unwrap()
    }

    /// Stops the node and starts another one on the same directory.
    pub(crate) fn restart(mut self, cores: u16) -> RunningNode {
        self.end();
        RunningNode::start(self.directory.clone(), cores)
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
