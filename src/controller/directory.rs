//! Whose a data directory is: the lock, the format's version, `meta.properties`, the incarnation.
//!
//! `meta.properties` has Kafka's keys (version 1), so that people and tools find what they know.
//! The order of creation makes every crash in between harmless: the format's file comes first,
//! and a directory with that file and nothing else is one that is still being made.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;

use crate::config::BrokerConfig;
use crate::frame::Incarnation;
use crate::io::{self, DirLock, fs};

/// The version of everything that lies in the directory.
const FORMAT: &str = "1";
const FORMAT_FILE: &str = "corelog.format";
const META_FILE: &str = "meta.properties";
const INCARNATION_FILE: &str = "incarnation";
/// What a directory may hold before it is ours.
const HARMLESS: [&str; 2] = ["lost+found", ".lock"];

/// What the directory says of itself, and the lock that keeps others out.
pub struct DirectoryIdentity {
    /// `cluster.id`.
    pub cluster_id: String,
    /// Raised and durable: no earlier start had it.
    pub incarnation: Incarnation,
    /// Whether the directory was made by this call.
    pub is_new: bool,
    /// Held as long as the node runs.
    pub lock: DirLock,
}

/// Why a data directory cannot be used.
#[derive(Debug)]
pub enum DirectoryError {
    /// Another process has it.
    Locked(PathBuf),
    /// It holds something else.
    Foreign {
        /// The directory.
        directory: PathBuf,
        /// One of the entries that are not ours.
        entry: String,
    },
    /// It was made by Apache Kafka.
    Kafka(PathBuf),
    /// It has another version.
    Format {
        /// The directory.
        directory: PathBuf,
        /// The version found.
        found: String,
    },
    /// It belongs to another node or cluster.
    Identity {
        /// The directory.
        directory: PathBuf,
        /// The key that differs.
        key: &'static str,
        /// What the directory has.
        found: String,
        /// What the configuration has.
        configured: String,
    },
    /// A file of it cannot be read.
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The system refused.
    Io {
        /// What was tried.
        what: String,
        /// What it said.
        error: io::Error,
    },
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DirectoryError::Locked(directory) => write!(
                f,
                "the data directory {0} is in use by another process.\n  likely cause: a broker \
                 already runs on it\n  to see which: fuser -v {0}/.lock; to use another one: \
                 corelog start --override log.dirs=/other/path",
                directory.display()
            ),
            DirectoryError::Foreign { directory, entry } => write!(
                f,
                "the directory {0} is not empty and not corelog's: it holds '{entry}'.\n  likely \
                 cause: log.dirs names the wrong directory\n  to use a new one: corelog start \
                 --override log.dirs={0}/corelog-data",
                directory.display()
            ),
            DirectoryError::Kafka(directory) => write!(
                f,
                "the directory {0} was made by Apache Kafka, whose files corelog does not read.\n  \
                 to move data over: start corelog on an empty directory and copy the topics with \
                 MirrorMaker 2\n  to use a new one: corelog start --override \
                 log.dirs=/other/path",
                directory.display()
            ),
            DirectoryError::Format { directory, found } => write!(
                f,
                "the data directory {} has format '{found}', this corelog has format {FORMAT}.\n  \
                 likely cause: it was written by a newer version; start that version instead",
                directory.display()
            ),
            DirectoryError::Identity {
                directory,
                key,
                found,
                configured,
            } => write!(
                f,
                "the data directory {} has {key}={found}, the configuration has \
                 {key}={configured}.\n  likely cause: the configuration or the disk of another \
                 node\n  to go on with the directory's: corelog start --override {key}={found}",
                directory.display()
            ),
            DirectoryError::Damaged { file, what } => write!(
                f,
                "{} cannot be used: {what}.\n  likely cause: it was edited or damaged; restore it \
                 from a copy",
                file.display()
            ),
            DirectoryError::Io { what, error } => {
                write!(f, "{what}: {error}.{}", hint(error.kind()))
            }
        }
    }
}

impl std::error::Error for DirectoryError {}

fn hint(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::PermissionDenied => {
            "\n  likely cause: the directory belongs to another user\n  to change that: chown -R \
             $(id -u) DIRECTORY"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "\n  likely cause: the file system is mounted read-only\n  to see why: dmesg | tail; \
             to change it: mount -o remount,rw MOUNTPOINT"
        }
        io::ErrorKind::StorageFull => {
            "\n  likely cause: the disk is full\n  to see: df -h DIRECTORY"
        }
        _ => "",
    }
}

/// Makes the directory if it is not there, takes its lock, checks that it is this node's, and
/// raises its incarnation.
pub async fn claim(config: &BrokerConfig) -> Result<DirectoryIdentity, DirectoryError> {
    let directory = config.data_dir.as_path();
    match fs::create_dir(directory).await {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => {
            return Err(failed(
                format!("cannot make {}", directory.display()),
                error,
            ));
        }
    }
    let lock = fs::lock_dir(directory)
        .await
        .map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => DirectoryError::Locked(directory.to_path_buf()),
            _ => failed(format!("cannot lock {}", directory.display()), error),
        })?;
    let entries = fs::list_dir(directory)
        .await
        .map_err(|error| failed(format!("cannot list {}", directory.display()), error))?;
    check_format(directory, &entries).await?;
    let (cluster_id, is_new) = check_meta(directory, config).await?;
    let incarnation = raise_incarnation(directory, is_new).await?;
    Ok(DirectoryIdentity {
        cluster_id,
        incarnation,
        is_new,
        lock,
    })
}

async fn check_format(directory: &Path, entries: &[String]) -> Result<(), DirectoryError> {
    let file = directory.join(FORMAT_FILE);
    if !entries.iter().any(|entry| entry == FORMAT_FILE) {
        if entries.iter().any(|entry| entry == META_FILE) {
            return Err(DirectoryError::Kafka(directory.to_path_buf()));
        }
        let ours = |entry: &str| HARMLESS.contains(&entry) || entry.starts_with(FORMAT_FILE);
        if let Some(entry) = entries.iter().find(|entry| !ours(entry)) {
            return Err(DirectoryError::Foreign {
                directory: directory.to_path_buf(),
                entry: entry.clone(),
            });
        }
        return write(&file, format!("{FORMAT}\n")).await;
    }
    let found = read(&file).await?;
    if found.trim() != FORMAT {
        return Err(DirectoryError::Format {
            directory: directory.to_path_buf(),
            found: found.trim().to_owned(),
        });
    }
    Ok(())
}

/// The cluster's id, and whether it was made up just now.
async fn check_meta(
    directory: &Path,
    config: &BrokerConfig,
) -> Result<(String, bool), DirectoryError> {
    let file = directory.join(META_FILE);
    let text = match fs::read_small(&file).await {
        Ok(bytes) => text(&file, &bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let cluster_id = match &config.cluster_id {
                Some(id) => id.to_string(),
                None => random_id(),
            };
            let meta = format!(
                "#\ncluster.id={cluster_id}\ndirectory.id={}\nnode.id={}\nversion=1\n",
                random_id(),
                config.node_id.0
            );
            write(&file, meta).await?;
            return Ok((cluster_id, true));
        }
        Err(error) => return Err(failed(format!("cannot read {}", file.display()), error)),
    };
    let value = |key: &'static str| {
        let lines = text.lines().filter_map(|line| line.split_once('='));
        let mut found = lines.filter(|(name, _)| name.trim() == key);
        let value = found.next().map(|(_, value)| value.trim().to_owned());
        value.ok_or(DirectoryError::Damaged {
            file: file.clone(),
            what: format!("it has no '{key}'"),
        })
    };
    let check = |key: &'static str, configured: Option<String>| {
        let found = value(key)?;
        match configured {
            Some(configured) if configured != found => Err(DirectoryError::Identity {
                directory: directory.to_path_buf(),
                key,
                found,
                configured,
            }),
            Some(_) | None => Ok(found),
        }
    };
    check("node.id", Some(config.node_id.0.to_string()))?;
    let cluster_id = check(
        "cluster.id",
        config.cluster_id.as_deref().map(str::to_owned),
    )?;
    Ok((cluster_id, false))
}

/// Raises the incarnation, durably, before anything is appended under it.
async fn raise_incarnation(directory: &Path, is_new: bool) -> Result<Incarnation, DirectoryError> {
    let file = directory.join(INCARNATION_FILE);
    let last: u64 = match fs::read_small(&file).await {
        Ok(bytes) => {
            let text = text(&file, &bytes)?;
            text.trim().parse().map_err(|_| DirectoryError::Damaged {
                file: file.clone(),
                what: format!("'{}' is not a number", text.trim()),
            })?
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let chunks = fs::list_dir(directory.join("chunks"))
                .await
                .unwrap_or_default();
            if !is_new && !chunks.is_empty() {
                return Err(DirectoryError::Damaged {
                    file,
                    what: "it is missing although there is data".into(),
                });
            }
            0
        }
        Err(error) => return Err(failed(format!("cannot read {}", file.display()), error)),
    };
    write(&file, format!("{}\n", last + 1)).await?;
    Ok(Incarnation(last + 1))
}

fn text(file: &Path, bytes: &Bytes) -> Result<String, DirectoryError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| DirectoryError::Damaged {
        file: file.to_path_buf(),
        what: "it is not text".into(),
    })
}

async fn read(file: &Path) -> Result<String, DirectoryError> {
    let read = fs::read_small(file).await;
    let bytes = read.map_err(|error| failed(format!("cannot read {}", file.display()), error))?;
    text(file, &bytes)
}

async fn write(file: &Path, text: String) -> Result<(), DirectoryError> {
    let written = fs::write_small(file, Bytes::from(text)).await;
    written.map_err(|error| failed(format!("cannot write {}", file.display()), error))
}

fn failed(what: String, error: io::Error) -> DirectoryError {
    DirectoryError::Io { what, error }
}

/// A random id in Kafka's form: 16 bytes in URL-safe base64.
fn random_id() -> String {
    URL_SAFE_NO_PAD.encode(io::random_bytes::<16>())
}
