//! Tables of what the disk does, and of what a crash may leave of it.

use std::collections::BTreeSet;

use super::content::BLOCK_BYTES;
use super::loss::Loss;
use super::*;

const S: u64 = content::SECTOR_BYTES;

fn disk() -> Disk {
    Disk::new(1, DiskOptions::default())
}

fn run(disk: &mut Disk, op: Op) -> Result<Done, Errno> {
    let (id, _) = disk.begin(op);
    disk.finish(id)
}

fn create(path: &str) -> Op {
    Op::Create { path: path.into() }
}

fn open(path: &str) -> Op {
    Op::Open { path: path.into() }
}

fn create_dir(path: &str) -> Op {
    Op::CreateDir { path: path.into() }
}

fn rename(from: &str, to: &str) -> Op {
    let (from, to) = (from.into(), to.into());
    Op::Rename { from, to }
}

fn remove(path: &str) -> Op {
    Op::Remove { path: path.into() }
}

fn sync_dir(path: &str) -> Op {
    Op::SyncDir {
        path: path.into(),
        through: 0,
    }
}

fn write(inode: InodeId, sector: u64, sectors: u64, byte: u8, sync: bool) -> Op {
    Op::Write {
        inode,
        offset: sector * S,
        data: Bytes::from(vec![byte; (sectors * S) as usize]),
        sync,
    }
}

fn read(inode: InodeId, sectors: u64) -> Op {
    let len = (sectors * S) as usize;
    Op::Read {
        inode,
        offset: 0,
        len,
    }
}

fn made(disk: &mut Disk, path: &str) -> InodeId {
    match run(disk, create(path)) {
        Ok(Done::Opened(inode)) => inode,
        other => panic!("{path}: {other:?}"),
    }
}

/// A file of so many durable sectors with this byte, open.
fn durable_file(disk: &mut Disk, path: &str, sectors: u64, byte: u8) -> InodeId {
    disk.put(Path::new(path), &vec![byte; (sectors * S) as usize]);
    match run(disk, open(path)) {
        Ok(Done::Opened(inode)) => inode,
        other => panic!("{path}: {other:?}"),
    }
}

/// The first byte of each sector.
fn sectors_of(disk: &Disk, path: &str) -> Vec<u8> {
    let content = disk.content(Path::new(path)).expect("the file is there");
    content.chunks(S as usize).map(|sector| sector[0]).collect()
}

#[test]
fn names_are_volatile_until_their_directory_is_synced() {
    fn check(what: &str, ops: &[Op], all_lost: &[&str], all_kept: &[&str]) {
        let mut disk = disk();
        disk.make_dirs(Path::new("/d"));
        disk.put(Path::new("/a"), b"a");
        disk.put(Path::new("/b"), b"b");
        for op in ops {
            run(&mut disk, op.clone()).unwrap();
        }
        let mut lost = disk.clone();
        lost.lose(Loss::all_lost());
        assert_eq!(lost.paths(), all_lost, "{what}: all lost");
        disk.lose(Loss::all_kept());
        assert_eq!(disk.paths(), all_kept, "{what}: all kept");
    }
    check(
        "created",
        &[create("/c")],
        &["/a", "/b"],
        &["/a", "/b", "/c"],
    );
    let synced = [create("/c"), sync_dir("/")];
    check(
        "created, synced",
        &synced,
        &["/a", "/b", "/c"],
        &["/a", "/b", "/c"],
    );
    check("removed", &[remove("/a")], &["/a", "/b"], &["/b"]);
    check(
        "removed, synced",
        &[remove("/a"), sync_dir("/")],
        &["/b"],
        &["/b"],
    );
    check(
        "renamed",
        &[rename("/a", "/c")],
        &["/a", "/b"],
        &["/b", "/c"],
    );
    check("replaced", &[rename("/a", "/b")], &["/a", "/b"], &["/b"]);
    check(
        "replaced, synced",
        &[rename("/a", "/b"), sync_dir("/")],
        &["/b"],
        &["/b"],
    );
    let elsewhere = [create("/c"), create("/d/x"), sync_dir("/d")];
    check(
        "another directory",
        &elsewhere,
        &["/a", "/b", "/d/x"],
        &["/a", "/b", "/c", "/d/x"],
    );
    let inside = [create_dir("/e"), create("/e/x"), sync_dir("/e")];
    check(
        "a directory that is lost",
        &inside,
        &["/a", "/b"],
        &["/a", "/b", "/e/x"],
    );
    let moved = [rename("/a", "/d/a"), sync_dir("/d")];
    check(
        "moved, either end synced",
        &moved,
        &["/b", "/d/a"],
        &["/b", "/d/a"],
    );
    let moved = [create("/c"), rename("/c", "/d/c"), sync_dir("/d")];
    let both = ["/a", "/b", "/d/c"];
    check(
        "a move drags along what came before it",
        &moved,
        &both,
        &both,
    );
}

#[test]
fn of_a_directorys_changes_a_prefix_survives() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..300 {
        let mut disk = disk();
        for name in ["/a", "/b", "/c"] {
            made(&mut disk, name);
        }
        disk.lose_power(seed);
        outcomes.insert(disk.paths().concat());
    }
    assert_eq!(
        outcomes,
        ["", "/a", "/a/b", "/a/b/c"].map(str::to_owned).into()
    );
}

#[test]
fn a_move_leaves_exactly_one_name() {
    for seed in 0..200 {
        let mut disk = disk();
        disk.make_dirs(Path::new("/d"));
        disk.put(Path::new("/a"), b"a");
        run(&mut disk, rename("/a", "/d/a")).unwrap();
        disk.lose_power(seed);
        assert!(
            disk.paths() == ["/a"] || disk.paths() == ["/d/a"],
            "{:?}",
            disk.paths()
        );
    }
}

#[test]
fn wrong_names_are_refused_as_linux_refuses_them() {
    let mut disk = disk();
    disk.make_dirs(Path::new("/d/e"));
    disk.put(Path::new("/f"), b"x");
    let table = [
        (create("/f"), Errno::EXISTS),
        (create("/d"), Errno::EXISTS),
        (create("/none/x"), Errno::NOT_FOUND),
        (create("/f/x"), Errno::NOT_A_DIRECTORY),
        (create_dir("/d"), Errno::EXISTS),
        (open("/none"), Errno::NOT_FOUND),
        (open("/d"), Errno::IS_A_DIRECTORY),
        (open("/f/x"), Errno::NOT_A_DIRECTORY),
        (remove("/none"), Errno::NOT_FOUND),
        (remove("/d"), Errno::IS_A_DIRECTORY),
        (rename("/none", "/x"), Errno::NOT_FOUND),
        (rename("/f", "/d"), Errno::IS_A_DIRECTORY),
        (rename("/d", "/f"), Errno::NOT_A_DIRECTORY),
        (rename("/d", "/d/e/x"), Errno::INVALID),
        (sync_dir("/none"), Errno::NOT_FOUND),
        (sync_dir("/f"), Errno::NOT_A_DIRECTORY),
        (Op::List { path: "/f".into() }, Errno::NOT_A_DIRECTORY),
    ];
    for (op, errno) in table {
        let what = format!("{:?} {:?}", op.kind(), op.path());
        assert_eq!(run(&mut disk, op), Err(errno), "{what}");
    }
    assert_eq!(disk.paths(), ["/f"]);
}

#[test]
fn space_is_given_and_comes_back() {
    let mut disk = disk();
    disk.options_mut().capacity_bytes = 10 * BLOCK_BYTES;
    let file = made(&mut disk, "/a");
    let other = made(&mut disk, "/b");
    let grow = |inode, blocks: u64| {
        let len = blocks * BLOCK_BYTES;
        Op::Allocate { inode, len }
    };
    assert_eq!(run(&mut disk, grow(file, 8)), Ok(Done::Unit));
    assert_eq!(run(&mut disk, grow(other, 3)), Err(Errno::NO_SPACE));
    assert_eq!(disk.len(other), 0, "a failed allocation gives nothing");
    assert_eq!(run(&mut disk, grow(other, 2)), Ok(Done::Unit));
    assert_eq!(disk.free_bytes(), 0);
    assert_eq!(
        run(&mut disk, write(other, 0, 16, 1, true)),
        Ok(Done::Unit),
        "an overwrite"
    );
    assert_eq!(
        run(&mut disk, write(other, 16, 1, 1, true)),
        Err(Errno::NO_SPACE)
    );
    run(&mut disk, remove("/a")).unwrap();
    assert_eq!(disk.free_bytes(), 0, "it is still open");
    assert_eq!(
        run(&mut disk, read(file, 1)),
        Ok(Done::Data(vec![0; S as usize]))
    );
    disk.close(file);
    assert_eq!(disk.free_bytes(), 8 * BLOCK_BYTES);
    assert_eq!(run(&mut disk, grow(other, 10)), Ok(Done::Unit));
}

#[test]
fn stale_allocation_hands_out_what_was_there() {
    let mut disk = disk();
    disk.options_mut().stale_allocation = true;
    let old = durable_file(&mut disk, "/old", 8, 0x5a);
    run(&mut disk, remove("/old")).unwrap();
    run(&mut disk, sync_dir("/")).unwrap();
    disk.close(old);
    let file = made(&mut disk, "/new");
    let len = 2 * BLOCK_BYTES;
    run(&mut disk, Op::Allocate { inode: file, len }).unwrap();
    let content = disk.content(Path::new("/new")).unwrap();
    assert!(
        content[..BLOCK_BYTES as usize]
            .iter()
            .all(|byte| *byte == 0x5a)
    );
    assert!(
        content[BLOCK_BYTES as usize..]
            .iter()
            .any(|byte| *byte != 0)
    );
}

#[test]
fn a_sync_covers_what_had_completed_when_it_began() {
    let mut disk = disk();
    let file = durable_file(&mut disk, "/f", 3, 0);
    run(&mut disk, write(file, 0, 1, 1, false)).unwrap();
    let (in_flight, _) = disk.begin(write(file, 1, 1, 2, false));
    let (sync, _) = disk.begin(Op::Sync {
        inode: file,
        through: 0,
    });
    run(&mut disk, write(file, 2, 1, 3, false)).unwrap();
    disk.finish(in_flight).unwrap();
    disk.finish(sync).unwrap();
    assert_eq!(sectors_of(&disk, "/f"), [1, 2, 3]);
    disk.lose_all_volatile();
    assert_eq!(sectors_of(&disk, "/f"), [1, 0, 0]);
}

#[test]
fn a_sync_of_names_covers_what_had_completed_when_it_began() {
    let everything = Op::SyncFileSystem {
        path: "/".into(),
        through: 0,
    };
    for sync in [sync_dir("/"), everything] {
        let mut disk = disk();
        made(&mut disk, "/before");
        let (in_flight, _) = disk.begin(sync);
        made(&mut disk, "/after");
        disk.finish(in_flight).unwrap();
        assert_eq!(disk.paths(), ["/after", "/before"]);
        disk.lose_all_volatile();
        assert_eq!(disk.paths(), ["/before"]);
    }
}

#[test]
fn what_is_in_flight_is_cut_at_sectors() {
    let cut = |sync: bool, crash: fn(&mut Disk, u64)| {
        let mut outcomes = BTreeSet::new();
        for seed in 0..600 {
            let mut disk = disk();
            let file = durable_file(&mut disk, "/f", 3, 1);
            disk.begin(write(file, 0, 3, 2, sync));
            crash(&mut disk, seed);
            let content = disk.content(Path::new("/f")).unwrap();
            let whole = |sector: &[u8]| sector.iter().all(|byte| *byte == sector[0]);
            assert!(content.chunks(S as usize).all(whole));
            outcomes.insert(sectors_of(&disk, "/f"));
        }
        outcomes.len()
    };
    for sync in [false, true] {
        assert_eq!(cut(sync, Disk::lose_power), 8);
        assert_eq!(cut(sync, Disk::kill_process), 8);
    }
}

#[test]
fn a_kill_keeps_what_had_completed_and_leaves_it_volatile() {
    let mut disk = disk();
    let file = durable_file(&mut disk, "/f", 2, 1);
    run(&mut disk, write(file, 0, 1, 2, false)).unwrap();
    run(&mut disk, create("/g")).unwrap();
    disk.kill_process(3);
    assert_eq!(sectors_of(&disk, "/f"), [2, 1]);
    assert_eq!(disk.paths(), ["/f", "/g"]);
    assert!(disk.has_volatile());
    disk.lose_all_volatile();
    assert_eq!(sectors_of(&disk, "/f"), [1, 1]);
    assert_eq!(disk.paths(), ["/f"]);
}

#[test]
fn faults_do_what_they_say() {
    let check = |what: &str, fault: Fault, seen: &[u8], durable: &[u8]| {
        let mut disk = disk();
        let file = durable_file(&mut disk, "/f", 2, 0);
        disk.inject(fault);
        let results = [
            run(&mut disk, write(file, 0, 1, 0xff, false)).is_ok(),
            run(
                &mut disk,
                Op::Sync {
                    inode: file,
                    through: 0,
                },
            )
            .is_ok(),
            run(&mut disk, write(file, 1, 1, 0xff, true)).is_ok(),
            run(
                &mut disk,
                Op::Sync {
                    inode: file,
                    through: 0,
                },
            )
            .is_ok(),
        ];
        let errors = results.iter().filter(|ok| !**ok).count();
        assert_eq!(sectors_of(&disk, "/f"), seen, "{what}: seen");
        disk.lose_all_volatile();
        assert_eq!(sectors_of(&disk, "/f"), durable, "{what}: durable");
        (errors, disk.counts().faults)
    };
    let (w, s) = (OpKind::Write, OpKind::Sync);
    assert_eq!(
        check("lost write", Fault::lost(w), &[0, 0xff], &[0, 0xff]),
        (0, 1)
    );
    assert_eq!(
        check(
            "lying sync",
            Fault::lost(s).lasting(),
            &[0xff, 0xff],
            &[0, 0xff]
        ),
        (0, 2)
    );
    assert_eq!(
        check("failed sync", Fault::error(s), &[0xff, 0xff], &[0, 0xff]),
        (1, 1)
    );
    assert_eq!(
        check(
            "elsewhere",
            Fault::error(w).on("/g"),
            &[0xff, 0xff],
            &[0xff, 0xff]
        ),
        (0, 0)
    );
}

#[test]
fn a_flip_strikes_the_reader_or_the_medium() {
    let ones = |data: Done| match data {
        Done::Data(data) => data.iter().map(|byte| byte.count_ones()).sum::<u32>(),
        other => panic!("{other:?}"),
    };
    let mut disk = disk();
    let file = durable_file(&mut disk, "/f", 2, 0);
    disk.inject(Fault::flip(OpKind::Read));
    assert_eq!(ones(run(&mut disk, read(file, 2)).unwrap()), 1);
    assert_eq!(
        ones(run(&mut disk, read(file, 2)).unwrap()),
        0,
        "for that reader only"
    );
    disk.inject(Fault::flip(OpKind::Write));
    run(&mut disk, write(file, 0, 2, 0, true)).unwrap();
    assert_eq!(ones(run(&mut disk, read(file, 2)).unwrap()), 1);
    disk.lose_all_volatile();
    let (offset, bit) = (S + 5, 3);
    disk.flip_bit(Path::new("/f"), offset, bit);
    let content = disk.content(Path::new("/f")).unwrap();
    assert_eq!(content.iter().map(|byte| byte.count_ones()).sum::<u32>(), 2);
}

#[test]
fn a_reader_may_overtake_a_write_but_never_goes_back() {
    let mut mixed = 0;
    for seed in 0..100 {
        let mut disk = Disk::new(seed, DiskOptions::default());
        let file = durable_file(&mut disk, "/f", 4, 1);
        let (in_flight, _) = disk.begin(write(file, 0, 4, 2, true));
        run(&mut disk, read(file, 4)).unwrap();
        let first = sectors_of(&disk, "/f");
        run(&mut disk, read(file, 4)).unwrap();
        let second = sectors_of(&disk, "/f");
        assert!(
            first
                .iter()
                .zip(&second)
                .all(|(first, second)| first <= second)
        );
        mixed += u32::from(first.contains(&1) && first.contains(&2));
        disk.finish(in_flight).unwrap();
        disk.lose_all_volatile();
        assert_eq!(sectors_of(&disk, "/f"), [2; 4]);
    }
    assert!(mixed > 10, "{mixed}");
}

#[test]
fn a_snapshot_goes_its_own_way() {
    let mut disk = disk();
    let file = durable_file(&mut disk, "/f", 1, 1);
    let mut snapshot = disk.clone();
    run(&mut disk, write(file, 0, 1, 2, true)).unwrap();
    run(&mut snapshot, remove("/f")).unwrap();
    assert_eq!(sectors_of(&disk, "/f"), [2]);
    assert!(snapshot.paths().is_empty());
}

#[test]
fn counts_tell_operations_and_sync_points() {
    let mut disk = disk();
    let file = made(&mut disk, "/f");
    run(&mut disk, write(file, 0, 2, 1, true)).unwrap();
    run(&mut disk, write(file, 0, 1, 1, false)).unwrap();
    run(
        &mut disk,
        Op::Sync {
            inode: file,
            through: 0,
        },
    )
    .unwrap();
    run(&mut disk, sync_dir("/")).unwrap();
    run(&mut disk, read(file, 2)).unwrap();
    let expected = DiskCounts {
        ops: 6,
        syncs: 3,
        reads: 1,
        writes: 2,
        read_bytes: 2 * S,
        written_bytes: 3 * S,
        faults: 0,
    };
    assert_eq!(disk.counts(), expected);
}

/// What a sector may hold after a power loss, kept apart from the disk's own bookkeeping.
#[derive(Clone)]
struct Allowed {
    values: BTreeSet<u8>,
    latest: u8,
    /// The latest version was covered by a sync that failed.
    poisoned: bool,
}

const MODEL_SECTORS: u64 = 12;

/// One drawn operation, on the disk and on the model.
fn step(disk: &mut Disk, file: InodeId, model: &mut [Allowed], value: u8, chance: &mut Chance) {
    let from = chance.below(MODEL_SECTORS);
    let count = 1 + chance.below(MODEL_SECTORS - from);
    let range = from as usize..(from + count) as usize;
    let sync = Op::Sync {
        inode: file,
        through: 0,
    };
    let settle = |sector: &mut Allowed| {
        if !sector.poisoned {
            sector.values = BTreeSet::from([sector.latest]);
        }
    };
    match chance.below(8) {
        0..=3 => {
            run(disk, write(file, from, count, value, false)).unwrap();
            for sector in &mut model[range] {
                sector.values.insert(value);
                (sector.latest, sector.poisoned) = (value, false);
            }
        }
        4 | 5 => {
            run(disk, write(file, from, count, value, true)).unwrap();
            for sector in &mut model[range] {
                (sector.latest, sector.poisoned) = (value, false);
                settle(sector);
            }
        }
        6 => {
            run(disk, sync).unwrap();
            model.iter_mut().for_each(settle);
        }
        _ => {
            disk.inject(Fault::error(OpKind::Sync));
            run(disk, sync).unwrap_err();
            for sector in model {
                sector.poisoned |= sector.values.len() > 1;
            }
        }
    }
}

#[test]
fn a_power_loss_leaves_nothing_that_the_rules_do_not_allow() {
    let mut surprises = BTreeSet::new();
    for seed in 0..2000 {
        let mut chance = Chance::new(seed, "rules");
        let mut disk = Disk::new(seed, DiskOptions::default());
        let file = durable_file(&mut disk, "/f", MODEL_SECTORS, 0);
        let fresh = Allowed {
            values: BTreeSet::from([0]),
            latest: 0,
            poisoned: false,
        };
        let mut model = vec![fresh; MODEL_SECTORS as usize];
        for value in 1..=chance.between(1, 25) as u8 {
            step(&mut disk, file, &mut model, value, &mut chance);
        }
        let latest: Vec<u8> = model.iter().map(|sector| sector.latest).collect();
        assert_eq!(
            sectors_of(&disk, "/f"),
            latest,
            "seed {seed}: before the crash"
        );
        disk.lose_power(seed);
        for (sector, value) in model.iter().zip(sectors_of(&disk, "/f")) {
            let Allowed { values, latest, .. } = sector;
            assert!(
                values.contains(&value),
                "seed {seed}: {value} is none of {values:?}"
            );
            surprises.insert(value != *latest);
        }
    }
    assert_eq!(surprises.len(), 2, "something is lost, something is kept");
}
