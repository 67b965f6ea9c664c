//! Files and directories.

use std::path::Path;

use bytes::Bytes;
use corelog::io::{self, AlignedBuf, ErrorKind, File, Open, Sync};

use crate::{Sequence, with_directory};

/// A block whose every byte tells the block's number.
fn block(length: usize, number: u64) -> Bytes {
    let mut buffer = AlignedBuf::zeroed(length);
    for (place, word) in buffer.chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&(number << 32 | place as u64).to_le_bytes());
    }
    buffer.freeze()
}

async fn read(file: &File, length: usize, offset: u64) -> AlignedBuf {
    let (result, buffer) = file.read_at(AlignedBuf::zeroed(length), offset).await;
    assert_eq!(result.expect("a read"), length);
    buffer
}

#[test]
fn what_is_written_is_read_back() {
    with_directory(|dir| async move {
        let path = dir.join("file");
        let file = File::open(&path, Open::CreateNew).await.unwrap();
        assert!(file.alignment().is_power_of_two() && file.alignment() <= 4096);
        file.write_at(block(4096, 1), 0, Sync::None).await.unwrap();
        file.write_at(block(65_536, 2), 4096, Sync::Data)
            .await
            .unwrap();
        file.write_at(block(1 << 20, 3), 1 << 20, Sync::Data)
            .await
            .unwrap();
        file.sync().await.unwrap();
        assert_eq!(file.len().await.unwrap(), 2 << 20);
        drop(file);

        let file = File::open(&path, Open::Read).await.unwrap();
        assert_eq!(*read(&file, 4096, 0).await, *block(4096, 1));
        assert_eq!(*read(&file, 65_536, 4096).await, *block(65_536, 2));
        assert_eq!(*read(&file, 1 << 20, 1 << 20).await, *block(1 << 20, 3));
        assert!(
            read(&file, 65_536, 128 << 10)
                .await
                .iter()
                .all(|byte| *byte == 0),
            "a hole"
        );
    });
}

#[test]
fn slices_are_written_one_behind_the_other() {
    with_directory(|dir| async move {
        let file = File::open(dir.join("file"), Open::CreateNew).await.unwrap();
        let sizes = [4096, 65_536, 8192];
        let slices = sizes.iter().zip(1..).map(|(size, n)| block(*size, n));
        let slices: Vec<Bytes> = slices.collect();
        let written = file.write_all_at(slices.clone(), 4096, Sync::Data);
        written.await.unwrap();
        let length = sizes.iter().sum();
        assert_eq!(*read(&file, length, 4096).await, *slices.concat());
        file.write_all_at(Vec::new(), 0, Sync::None).await.unwrap();

        let odd = slices[0].slice(..100);
        let refused = file.write_all_at(vec![slices[0].clone(), odd], 0, Sync::None);
        assert_eq!(refused.await.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(file.len().await.unwrap(), 4096 + length as u64);
    });
}

#[test]
fn a_slice_of_a_larger_buffer_may_be_written() {
    with_directory(|dir| async move {
        let file = File::open(dir.join("file"), Open::CreateNew).await.unwrap();
        let whole = block(64 << 10, 9);
        let part = whole.slice(8192..16_384);
        file.write_at(part, 4096, Sync::Data).await.unwrap();
        assert_eq!(*read(&file, 8192, 4096).await, whole[8192..16_384]);
        // An overwrite, and an empty write that changes nothing.
        file.write_at(block(4096, 5), 4096, Sync::Data)
            .await
            .unwrap();
        file.write_at(Bytes::new(), 8192, Sync::Data).await.unwrap();
        assert_eq!(*read(&file, 4096, 4096).await, *block(4096, 5));
        assert_eq!(file.len().await.unwrap(), 12_288);
    });
}

#[test]
fn allocate_sets_the_size_and_keeps_what_is_there() {
    with_directory(|dir| async move {
        let file = File::open(dir.join("file"), Open::CreateNew).await.unwrap();
        assert_eq!(file.len().await.unwrap(), 0);
        file.write_at(block(4096, 1), 0, Sync::Data).await.unwrap();
        file.allocate(1 << 20).await.unwrap();
        assert_eq!(file.len().await.unwrap(), 1 << 20);
        assert_eq!(*read(&file, 4096, 0).await, *block(4096, 1));
        assert!(
            read(&file, 4096, 1 << 19)
                .await
                .iter()
                .all(|byte| *byte == 0)
        );
        file.allocate(4096).await.unwrap();
        assert_eq!(
            file.len().await.unwrap(),
            1 << 20,
            "allocating less takes nothing away"
        );
    });
}

#[test]
fn zeroes_are_read_where_they_were_written_and_nowhere_else() {
    with_directory(|dir| async move {
        let file = File::open(dir.join("file"), Open::CreateNew).await.unwrap();
        file.allocate(64 << 10).await.unwrap();
        file.write_at(block(16_384, 7), 0, Sync::Data)
            .await
            .unwrap();
        let zeroed = match file.write_zeroes(4096, 8192).await {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
                false
            }
        };
        file.sync().await.unwrap();
        let mut expected = block(16_384, 7).to_vec();
        if zeroed {
            expected[4096..12_288].fill(0);
        }
        assert_eq!(*read(&file, 16_384, 0).await, *expected);
        assert_eq!(file.len().await.unwrap(), 64 << 10);
    });
}

#[test]
fn a_read_is_short_only_at_the_end_of_the_file() {
    with_directory(|dir| async move {
        let path = dir.join("file");
        let content: Vec<u8> = (0..10_000_u32).map(|n| n as u8).collect();
        io::fs::write_small(&path, Bytes::from(content.clone()))
            .await
            .unwrap();
        let file = File::open(&path, Open::Read).await.unwrap();
        assert_eq!(file.len().await.unwrap(), 10_000);
        for (offset, length, expected) in [
            (0, 4096, 4096),
            (4096, 4096, 4096),
            (8192, 4096, 1808),
            (0, 16_384, 10_000),
            (12_288, 4096, 0),
            (1 << 30, 4096, 0),
            (0, 0, 0),
        ] {
            let (result, buffer) = file.read_at(AlignedBuf::zeroed(length), offset).await;
            let count = result.unwrap();
            assert_eq!(count, expected, "{length} bytes at {offset}");
            assert_eq!(buffer.len(), length);
            let from = (offset as usize).min(content.len());
            assert_eq!(buffer[..count], content[from..from + count]);
        }
    });
}

#[test]
fn a_place_of_a_buffer_is_read_and_the_rest_left_alone() {
    with_directory(|dir| async move {
        let path = dir.join("file");
        let content: Vec<u8> = (0..10_000).map(|n| n as u8).collect();
        io::fs::write_small(&path, content.clone().into())
            .await
            .unwrap();
        let file = File::open(&path, Open::Read).await.unwrap();
        for (place, offset, expected) in [
            (0..4096, 4096, 4096),
            (4096..8192, 0, 4096),
            (8192..16_384, 4096, 5904),
            (4096..4096, 0, 0),
            (12_288..16_384, 12_288, 0),
        ] {
            let mut buffer = AlignedBuf::zeroed(16_384);
            buffer.fill(0xa5);
            let (result, buffer) = file.read_into(buffer, place.clone(), offset).await;
            assert_eq!(result.unwrap(), expected, "{place:?} from {offset}");
            let from = offset as usize;
            let filled = place.start..place.start + expected;
            assert_eq!(
                buffer[filled.clone()],
                content[from.min(10_000)..][..expected]
            );
            let others = [&buffer[..filled.start], &buffer[place.end..]];
            assert!(others.concat().iter().all(|byte| *byte == 0xa5));
        }
        let place = file.alignment() / 2..8192;
        let (result, buffer) = file.read_into(AlignedBuf::zeroed(8192), place, 0).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(buffer.len(), 8192, "the buffer comes back");
    });
}

#[test]
fn what_is_not_aligned_is_refused_and_nothing_is_written() {
    with_directory(|dir| async move {
        let file = File::open(dir.join("file"), Open::CreateNew).await.unwrap();
        file.write_at(block(8192, 1), 0, Sync::Data).await.unwrap();
        let (odd, block_size) = (file.alignment() / 2, file.alignment());
        let whole = block(8192, 2);
        for (bytes, offset) in [
            (whole.clone(), odd as u64),
            (whole.slice(..block_size + odd), 0),
            (whole.slice(odd..odd + block_size), 0),
            (whole.slice(..1), 0),
        ] {
            let error = file.write_at(bytes, offset, Sync::Data).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
        for (length, offset) in [(4096, odd as u64), (block_size + odd, 0)] {
            let (result, buffer) = file.read_at(AlignedBuf::zeroed(length), offset).await;
            assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
            assert_eq!(buffer.len(), length, "the buffer comes back");
        }
        assert_eq!(*read(&file, 8192, 0).await, *block(8192, 1));
    });
}

#[test]
fn opening_fails_as_it_should() {
    with_directory(|dir| async move {
        let check = async |path: &Path, mode, expected| {
            let kind = File::open(path, mode).await.err().map(|error| error.kind());
            assert_eq!(kind, expected, "{} {mode:?}", path.display());
        };
        let (path, missing) = (dir.join("file"), dir.join("missing"));
        check(&missing, Open::Read, Some(ErrorKind::NotFound)).await;
        check(&missing, Open::ReadWrite, Some(ErrorKind::NotFound)).await;
        check(
            &missing.join("below"),
            Open::CreateNew,
            Some(ErrorKind::NotFound),
        )
        .await;
        check(&path, Open::CreateNew, None).await;
        check(&path, Open::CreateNew, Some(ErrorKind::AlreadyExists)).await;
        check(&path, Open::ReadWrite, None).await;

        let file = File::open(&path, Open::Read).await.unwrap();
        assert!(
            file.write_at(block(4096, 1), 0, Sync::None).await.is_err(),
            "read only"
        );
        assert_eq!(file.len().await.unwrap(), 0);
    });
}

#[test]
fn more_operations_than_the_device_takes_at_once_all_end() {
    with_directory(|dir| async move {
        const BLOCKS: u64 = 512;
        let file = File::open(dir.join("file"), Open::CreateNew).await.unwrap();
        file.allocate(BLOCKS * 4096).await.unwrap();
        let mut order: Vec<u64> = (0..BLOCKS).collect();
        let mut sequence = Sequence(3);
        for place in (1..order.len()).rev() {
            order.swap(place, sequence.below(place as u64 + 1) as usize);
        }
        let writes: Vec<_> = order
            .iter()
            .map(|n| {
                let (file, n) = (file.clone(), *n);
                let sync = if n % 16 == 0 { Sync::Data } else { Sync::None };
                io::spawn(async move { file.write_at(block(4096, n), n * 4096, sync).await })
            })
            .collect();
        for write in writes {
            write.await.unwrap();
        }
        let reads: Vec<_> = order
            .into_iter()
            .map(|n| {
                let file = file.clone();
                io::spawn(async move {
                    assert_eq!(
                        *read(&file, 4096, n * 4096).await,
                        *block(4096, n),
                        "block {n}"
                    );
                })
            })
            .collect();
        for read in reads {
            read.await;
        }
    });
}

#[test]
fn names_are_made_changed_listed_and_removed() {
    with_directory(|dir| async move {
        use io::fs;
        let sub = dir.join("sub");
        fs::create_dir(&sub).await.unwrap();
        fs::sync_dir(&dir).await.unwrap();
        assert_eq!(
            fs::create_dir(&sub).await.unwrap_err().kind(),
            ErrorKind::AlreadyExists
        );
        for name in ["b", "a", "c"] {
            File::open(sub.join(name), Open::CreateNew).await.unwrap();
        }
        assert_eq!(fs::list_dir(&sub).await.unwrap(), ["a", "b", "c"]);
        assert_eq!(fs::list_dir(&dir).await.unwrap(), ["sub"]);

        fs::rename(sub.join("a"), sub.join("d")).await.unwrap();
        assert_eq!(fs::list_dir(&sub).await.unwrap(), ["b", "c", "d"]);
        let to_itself = fs::rename(sub.join("a"), sub.join("e")).await;
        assert_eq!(to_itself.unwrap_err().kind(), ErrorKind::NotFound);

        fs::write_small(sub.join("b"), Bytes::from_static(b"new"))
            .await
            .unwrap();
        fs::rename(sub.join("b"), sub.join("d")).await.unwrap();
        assert_eq!(fs::list_dir(&sub).await.unwrap(), ["c", "d"]);
        assert_eq!(
            fs::read_small(sub.join("d")).await.unwrap(),
            "new",
            "replaced"
        );

        fs::remove_file(sub.join("c")).await.unwrap();
        assert_eq!(
            fs::remove_file(sub.join("c")).await.unwrap_err().kind(),
            ErrorKind::NotFound
        );
        fs::sync_dir(&sub).await.unwrap();
        assert_eq!(fs::list_dir(&sub).await.unwrap(), ["d"]);
        let missing = fs::list_dir(dir.join("missing")).await;
        assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_removed_file_can_be_read_while_it_is_open() {
    with_directory(|dir| async move {
        let path = dir.join("file");
        let file = File::open(&path, Open::CreateNew).await.unwrap();
        file.write_at(block(4096, 1), 0, Sync::None).await.unwrap();
        io::fs::remove_file(&path).await.unwrap();
        let other = File::open(&path, Open::CreateNew).await.unwrap();
        other.write_at(block(4096, 2), 0, Sync::None).await.unwrap();
        assert_eq!(*read(&file, 4096, 0).await, *block(4096, 1));
        assert_eq!(*read(&other, 4096, 0).await, *block(4096, 2));
    });
}

#[test]
fn small_files_are_replaced_as_a_whole() {
    with_directory(|dir| async move {
        use io::fs;
        let path = dir.join("small");
        assert_eq!(
            fs::read_small(&path).await.unwrap_err().kind(),
            ErrorKind::NotFound
        );
        for length in [0, 1, 4096, 100_000, 7, 0] {
            let content = Bytes::from(vec![length as u8; length]);
            fs::write_small(&path, content.clone()).await.unwrap();
            assert_eq!(fs::read_small(&path).await.unwrap(), content);
            assert_eq!(
                fs::list_dir(&dir).await.unwrap(),
                ["small"],
                "nothing else is left"
            );
        }
        let nowhere = fs::write_small(dir.join("missing/small"), Bytes::new()).await;
        assert_eq!(nowhere.unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_directory_is_locked_by_one_at_a_time() {
    with_directory(|dir| async move {
        let held = io::fs::lock_dir(&dir).await.unwrap();
        let refused = io::fs::lock_dir(&dir).await.err().map(|error| error.kind());
        assert_eq!(refused, Some(ErrorKind::WouldBlock));
        drop(held);
        let again = io::fs::lock_dir(&dir).await.unwrap();
        drop(again);
    });
}

#[test]
fn the_disk_has_a_size() {
    with_directory(|dir| async move {
        let space = io::fs::space(&dir).await.unwrap();
        assert!(space.total_bytes > 0);
        assert!(space.available_bytes <= space.total_bytes);
    });
}
