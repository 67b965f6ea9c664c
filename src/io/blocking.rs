//! Blocking I/O, for the command line and the load harness: they run where io_uring may be missing
//! and have nothing else to do while they wait. Never called on a core.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use std::io::{stderr, stdin, stdout};

use super::{ErrorKind, Result};

/// A connection whose calls block the thread.
#[derive(Debug)]
pub struct TcpStream(std::net::TcpStream);

impl TcpStream {
    /// Connects, giving up after `limit`. Small writes are sent at once (TCP_NODELAY).
    pub fn connect(addr: SocketAddr, limit: Duration) -> Result<TcpStream> {
        let stream = std::net::TcpStream::connect_timeout(&addr, limit)?;
        stream.set_nodelay(true)?;
        Ok(TcpStream(stream))
    }

    /// Reads and writes that take longer fail with `WouldBlock` or `TimedOut`; `None` waits for
    /// ever.
    pub fn set_timeout(&self, limit: Option<Duration>) -> Result<()> {
        self.0.set_read_timeout(limit)?;
        self.0.set_write_timeout(limit)
    }

    /// Another handle of the same connection, for reading and writing from two threads.
    pub fn try_clone(&self) -> Result<TcpStream> {
        Ok(TcpStream(self.0.try_clone()?))
    }

    /// The other end.
    pub fn peer_addr(&self) -> Result<SocketAddr> {
        self.0.peer_addr()
    }

    /// Whether a read would return at once: with bytes, the end of the stream, or an error.
    pub fn has_input(&self) -> Result<bool> {
        self.0.set_nonblocking(true)?;
        let peeked = self.0.peek(&mut [0]);
        self.0.set_nonblocking(false)?;
        match peeked {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            _ => Ok(true),
        }
    }

    /// Ends both directions, and wakes a thread that reads from another handle.
    pub fn shutdown(&self) -> Result<()> {
        self.0.shutdown(Shutdown::Both)
    }
}

impl Read for TcpStream {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for TcpStream {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.0.write(bytes)
    }

    fn write_vectored(&mut self, slices: &[std::io::IoSlice<'_>]) -> Result<usize> {
        self.0.write_vectored(slices)
    }

    fn flush(&mut self) -> Result<()> {
        self.0.flush()
    }
}

/// A whole file, such as the configuration, through the page cache.
pub fn read_file(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    std::fs::read(path)
}

/// A file to be read from its beginning, through the page cache.
pub fn open_file(path: impl AsRef<Path>) -> Result<impl Read> {
    std::fs::File::open(path)
}

/// A new, empty file that a child process may be given to write to.
pub fn create_file(path: impl AsRef<Path>) -> Result<std::fs::File> {
    std::fs::File::create(path)
}

/// Writes a whole file through the page cache, without promising that it survives a crash.
pub fn write_file(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes)
}

/// Sleeps this thread.
pub fn sleep(duration: Duration) {
    std::thread::sleep(duration);
}

/// What this machine calls itself; `localhost` if it does not say.
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" | "(none)" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

/// The addresses of a host name, or of an address in text, in the resolver's order.
pub fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>> {
    use std::net::ToSocketAddrs;
    Ok((host, port).to_socket_addrs()?.collect())
}

/// Puts a whole file in place at once, so that a reader never sees half of it. It need not survive
/// a power cut.
pub fn replace_file(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let mut written = path.as_ref().as_os_str().to_owned();
    written.push(".new");
    std::fs::write(&written, bytes)?;
    std::fs::rename(&written, path)
}

/// A path from the root, whether it exists or not.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// Names in a directory, sorted; none if it cannot be read.
pub fn names_in(dir: impl AsRef<Path>) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let name = |entry: Result<std::fs::DirEntry>| entry.ok()?.file_name().into_string().ok();
    let mut names: Vec<String> = entries.filter_map(name).collect();
    names.sort();
    names
}

/// Makes a name that leads to another file, in place of a link that has the name already.
pub fn link_file(to: &Path, name: &Path) -> Result<()> {
    if std::fs::symlink_metadata(name).is_ok_and(|found| found.is_symlink()) {
        std::fs::remove_file(name)?;
    }
    std::os::unix::fs::symlink(to, name)
}

/// Whether what lies at a path is lost at power off, because its file system is memory. False
/// where the system does not say.
pub fn lies_in_memory(path: &Path) -> bool {
    let kind = mount_of(path).map(|mount| mount.file_system);
    matches!(kind.as_deref(), Some("tmpfs" | "ramfs"))
}

/// Where a path lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The type of the file system.
    pub file_system: String,
    /// The major and minor number of its device, as `/sys/dev/block` names it: `8:1`.
    pub device: String,
}

/// Where an existing path lies. `None` where the system does not say.
pub fn mount_of(path: &Path) -> Option<Mount> {
    let path = std::fs::canonicalize(path).ok()?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    mount_in(&path, &mounts)
}

/// The mount that a path lies on, by proc(5)'s list of mounts. Of those at one place the last one
/// counts.
fn mount_in(path: &Path, mounts: &str) -> Option<Mount> {
    let mut deepest: Option<(usize, Mount)> = None;
    for line in mounts.lines() {
        let Some((before, after)) = line.split_once(" - ") else {
            continue;
        };
        let field = |number| before.split(' ').nth(number).unwrap_or_default();
        // The list writes blanks and backslashes in octal.
        let place = field(4)
            .replace("\\040", " ")
            .replace("\\011", "\t")
            .replace("\\134", "\\");
        let depth = Path::new(&place).components().count();
        if path.starts_with(&place) && deepest.as_ref().is_none_or(|(most, _)| depth >= *most) {
            let mount = Mount {
                file_system: after.split(' ').next().unwrap_or_default().to_owned(),
                device: field(2).to_owned(),
            };
            deepest = Some((depth, mount));
        }
    }
    deepest.map(|(_, mount)| mount)
}

/// A new directory that only this process uses, removed with all that is in it when dropped.
#[derive(Debug)]
pub struct ScratchDir(PathBuf);

impl ScratchDir {
    /// Makes one in `parent`, or where the system keeps such.
    pub fn new(parent: Option<&Path>) -> Result<ScratchDir> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let process = std::process::id();
        for number in 0..1000 {
            let path = parent.join(format!("corelog-{process}-{number}"));
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(ScratchDir(path)),
                Err(error) if error.kind() == super::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(super::ErrorKind::AlreadyExists.into())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's own cleaning.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_lies_on_the_deepest_mount_above_it() {
        let mounts = "\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
22 21 0:20 / /dev/shm rw,nosuid - tmpfs tmpfs rw
23 21 8:2 / /a\\040b rw - xfs /dev/sdb rw
24 23 0:21 / /a\\040b/c rw master:2 - ramfs none rw
25 21 0:22 / /tmp rw - tmpfs tmpfs rw
26 25 8:3 / /tmp rw - ext4 /dev/sdc rw
";
        let check = |path: &str, file_system: &str, device: &str| {
            let expected = Mount {
                file_system: file_system.into(),
                device: device.into(),
            };
            assert_eq!(mount_in(Path::new(path), mounts), Some(expected), "{path}");
        };
        check("/var/lib/corelog", "ext4", "8:1");
        check("/dev/shm/corelog", "tmpfs", "0:20");
        check("/dev/shmother", "ext4", "8:1");
        check("/a b/x", "xfs", "8:2");
        check("/a b/c", "ramfs", "0:21");
        check("/tmp/x", "ext4", "8:3");
        assert_eq!(mount_in(Path::new("/x"), "nonsense"), None);
    }
}
