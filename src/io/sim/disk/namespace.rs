//! Directories: the names a process sees, the names that are durable, and the changes between.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use super::{Errno, InodeId};

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    File(InodeId),
    Dir(InodeId),
}

impl Node {
    fn inode(self) -> InodeId {
        match self {
            Node::File(inode) | Node::Dir(inode) => inode,
        }
    }
}

type Names = BTreeMap<String, Node>;

/// One directory: its names as seen, and as a power loss would leave them.
#[derive(Clone, Default)]
struct Dir {
    current: Names,
    durable: Names,
}

/// One change that no directory sync has covered yet.
#[derive(Clone, Debug)]
enum Change {
    Link {
        dir: InodeId,
        name: String,
        node: Node,
    },
    Unlink {
        dir: InodeId,
        name: String,
    },
    /// Atomic: after a crash the node has one of the two names, never both or none.
    Move {
        from: (InodeId, String),
        to: (InodeId, String),
        node: Node,
    },
}

/// A change, in the order of completion over the whole disk.
#[derive(Clone, Debug)]
struct Journaled {
    seq: u64,
    change: Change,
}

/// The tree of directories.
///
/// Invariant: `durable` with all of `journal` applied is `current`.
#[derive(Clone)]
pub(super) struct Namespace {
    dirs: BTreeMap<InodeId, Dir>,
    journal: Vec<Journaled>,
}

const ROOT: InodeId = InodeId(0);

impl Namespace {
    pub(super) fn new() -> Namespace {
        Namespace {
            dirs: BTreeMap::from([(ROOT, Dir::default())]),
            journal: Vec::new(),
        }
    }

    /// What `path` names. Paths are absolute; `.` and `..` are resolved by name.
    pub(super) fn find(&self, path: &Path) -> Result<Node, Errno> {
        let mut at = Node::Dir(ROOT);
        for name in names(path) {
            let Node::Dir(dir) = at else {
                return Err(Errno::NOT_A_DIRECTORY);
            };
            at = *self.dirs[&dir].current.get(&name).ok_or(Errno::NOT_FOUND)?;
        }
        Ok(at)
    }

    /// Gives `node` the name `path`, which must be free.
    pub(super) fn link(&mut self, seq: u64, path: &Path, node: Node) -> Result<(), Errno> {
        let (dir, name) = self.parent(path)?;
        if self.dirs[&dir].current.contains_key(&name) {
            return Err(Errno::EXISTS);
        }
        if let Node::Dir(inode) = node {
            self.dirs.insert(inode, Dir::default());
        }
        self.record(seq, Change::Link { dir, name, node });
        Ok(())
    }

    /// Takes the name of a file away; the file lives on while it is open.
    pub(super) fn unlink(&mut self, seq: u64, path: &Path) -> Result<InodeId, Errno> {
        let (dir, name) = self.parent(path)?;
        match self.dirs[&dir].current.get(&name) {
            None => Err(Errno::NOT_FOUND),
            Some(Node::Dir(_)) => Err(Errno::IS_A_DIRECTORY),
            Some(Node::File(inode)) => {
                let inode = *inode;
                self.record(seq, Change::Unlink { dir, name });
                Ok(inode)
            }
        }
    }

    /// Moves a name, taking the place of a file that has the new one.
    pub(super) fn rename(&mut self, seq: u64, from: &Path, to: &Path) -> Result<(), Errno> {
        let (from_dir, from_name) = self.parent(from)?;
        let (to_dir, to_name) = self.parent(to)?;
        let node = *self.dirs[&from_dir]
            .current
            .get(&from_name)
            .ok_or(Errno::NOT_FOUND)?;
        if (from_dir, &from_name) == (to_dir, &to_name) {
            return Ok(());
        }
        // Linux: a directory cannot move into itself.
        if let Node::Dir(dir) = node
            && self.is_within(to, dir)
        {
            return Err(Errno::INVALID);
        }
        match (node, self.dirs[&to_dir].current.get(&to_name)) {
            (_, None) | (Node::File(_), Some(Node::File(_))) => {}
            (Node::File(_), Some(Node::Dir(_))) => return Err(Errno::IS_A_DIRECTORY),
            (Node::Dir(_), Some(Node::File(_))) => return Err(Errno::NOT_A_DIRECTORY),
            (Node::Dir(_), Some(Node::Dir(_))) => return Err(Errno::EXISTS),
        }
        self.record(
            seq,
            Change::Move {
                from: (from_dir, from_name),
                to: (to_dir, to_name),
                node,
            },
        );
        Ok(())
    }

    /// The names in a directory, sorted.
    pub(super) fn list(&self, path: &Path) -> Result<Vec<(String, Node)>, Errno> {
        match self.find(path)? {
            Node::File(_) => Err(Errno::NOT_A_DIRECTORY),
            Node::Dir(dir) => {
                let names = &self.dirs[&dir].current;
                Ok(names
                    .iter()
                    .map(|(name, node)| (name.clone(), *node))
                    .collect())
            }
        }
    }

    /// Makes the changes of one directory up to `through` durable, and of the others what a move
    /// ties to them.
    pub(super) fn sync(&mut self, path: &Path, through: u64) -> Result<(), Errno> {
        let Node::Dir(dir) = self.find(path)? else {
            return Err(Errno::NOT_A_DIRECTORY);
        };
        let mut wanted = BTreeSet::from([dir]);
        let mut settled = BTreeSet::new();
        for Journaled { seq, change } in self.journal.iter().rev() {
            if *seq <= through && change.dirs().any(|dir| wanted.contains(&dir)) {
                wanted.extend(change.dirs());
                settled.insert(*seq);
            }
        }
        self.settle(|seq| settled.contains(&seq));
        Ok(())
    }

    /// Makes all changes up to `through` durable.
    pub(super) fn sync_all(&mut self, through: u64) {
        self.settle(|seq| seq <= through);
    }

    fn settle(&mut self, mut settles: impl FnMut(u64) -> bool) {
        for journaled in std::mem::take(&mut self.journal) {
            match settles(journaled.seq) {
                true => journaled
                    .change
                    .apply(&mut self.dirs, |dir| &mut dir.durable),
                false => self.journal.push(journaled),
            }
        }
    }

    /// Power is lost: of each directory's changes a prefix survives.
    pub(super) fn lose_power(&mut self, keep: &mut dyn FnMut() -> bool) {
        let mut closed = BTreeSet::new();
        for Journaled { change, .. } in std::mem::take(&mut self.journal) {
            let open = change.dirs().all(|dir| !closed.contains(&dir));
            if open && keep() {
                change.apply(&mut self.dirs, |dir| &mut dir.durable);
            } else {
                closed.extend(change.dirs());
            }
        }
        for dir in self.dirs.values_mut() {
            dir.current = dir.durable.clone();
        }
        let reachable = self.reachable();
        self.dirs.retain(|inode, _| reachable.contains(inode));
    }

    /// The files that a path leads to now.
    pub(super) fn named_files(&self) -> BTreeSet<InodeId> {
        let mut files = BTreeSet::new();
        let mut queue = vec![ROOT];
        while let Some(dir) = queue.pop() {
            for node in self.dirs[&dir].current.values() {
                match node {
                    Node::File(inode) => drop(files.insert(*inode)),
                    Node::Dir(inode) => queue.push(*inode),
                }
            }
        }
        files
    }

    /// Every inode that has a name now or could have one after a crash.
    pub(super) fn reachable(&self) -> BTreeSet<InodeId> {
        let mut found = BTreeSet::from([ROOT]);
        let mut queue = vec![ROOT];
        let journaled = self
            .journal
            .iter()
            .filter_map(|journaled| journaled.change.node())
            .collect::<Vec<_>>();
        let mut visit = |node: Node, queue: &mut Vec<InodeId>| {
            if found.insert(node.inode())
                && let Node::Dir(dir) = node
            {
                queue.push(dir);
            }
        };
        journaled
            .into_iter()
            .for_each(|node| visit(node, &mut queue));
        while let Some(dir) = queue.pop() {
            let dir = &self.dirs[&dir];
            for node in dir.current.values().chain(dir.durable.values()) {
                visit(*node, &mut queue);
            }
        }
        found
    }

    /// Whether a power loss now could change what a process sees.
    pub(super) fn has_pending(&self) -> bool {
        !self.journal.is_empty()
    }

    /// Whether the way to `path` leads through the directory.
    fn is_within(&self, path: &Path, dir: InodeId) -> bool {
        let on_the_way = path.ancestors().filter_map(|path| self.find(path).ok());
        on_the_way.into_iter().any(|node| node == Node::Dir(dir))
    }

    fn parent(&self, path: &Path) -> Result<(InodeId, String), Errno> {
        let mut names = names(path);
        let name = names.pop().ok_or(Errno::INVALID)?;
        let mut dir = ROOT;
        for step in names {
            dir = match self.dirs[&dir].current.get(&step) {
                None => return Err(Errno::NOT_FOUND),
                Some(Node::File(_)) => return Err(Errno::NOT_A_DIRECTORY),
                Some(Node::Dir(dir)) => *dir,
            };
        }
        Ok((dir, name))
    }

    fn record(&mut self, seq: u64, change: Change) {
        change.clone().apply(&mut self.dirs, |dir| &mut dir.current);
        self.journal.push(Journaled { seq, change });
    }
}

impl Change {
    fn dirs(&self) -> impl Iterator<Item = InodeId> {
        let (first, second) = match self {
            Change::Link { dir, .. } | Change::Unlink { dir, .. } => (*dir, None),
            Change::Move { from, to, .. } => (from.0, Some(to.0)),
        };
        std::iter::once(first).chain(second)
    }

    fn node(&self) -> Option<Node> {
        match self {
            Change::Link { node, .. } | Change::Move { node, .. } => Some(*node),
            Change::Unlink { .. } => None,
        }
    }

    /// Carries the change out in one of the two views of the directories.
    fn apply(self, dirs: &mut BTreeMap<InodeId, Dir>, view: fn(&mut Dir) -> &mut Names) {
        let mut change = |dir, name: String, node: Option<Node>| {
            let dir = dirs
                .get_mut(&dir)
                .expect("a directory with a change exists");
            match node {
                Some(node) => view(dir).insert(name, node),
                None => view(dir).remove(&name),
            }
        };
        match self {
            Change::Link { dir, name, node } => change(dir, name, Some(node)),
            Change::Unlink { dir, name } => change(dir, name, None),
            Change::Move { from, to, node } => {
                change(from.0, from.1, None);
                change(to.0, to.1, Some(node))
            }
        };
    }
}

/// The components of a path, from the root.
fn names(path: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.to_string_lossy().into_owned()),
            Component::ParentDir => {
                names.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    names
}
