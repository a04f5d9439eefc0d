//! However something grows, it is counted, and refused beyond the quota.

use super::*;
use bytes::Bytes;
use wasmtime_wasi::p2::bindings::io::streams::HostOutputStream;

/// Room for a root, a file's name with what its directory may need, and this many bytes.
const fn room(bytes: u64) -> u64 {
    4 * KIB + 20 * KIB + bytes
}

#[track_caller]
fn failed_for_quota(guest: &mut Guest, result: Result<(), StreamError>) {
    let Err(StreamError::LastOperationFailed(error)) = result else {
        panic!("{result:?}");
    };
    let error = guest.table.push(error).unwrap();
    let code = types::Host::filesystem_error_code(&mut guest.view(), error).unwrap();
    assert_eq!(code, Some(ErrorCode::Quota));
}

#[tokio::test]
async fn writing_beyond_the_quota_is_refused_and_changes_nothing() {
    let mut guest = Guest::new(room(64 * KIB)).await;
    let file = allowed(guest.file("file").await);
    allowed(guest.write(&file, 64 * KIB, 0).await);
    let used = guest.quota.used();
    assert_eq!(used, guest.counted());
    // Sixteen KiB are left from making the name.
    assert_eq!(
        refused(guest.write(&file, 64 * KIB, 64 * KIB).await),
        ErrorCode::Quota
    );
    assert_eq!(
        refused(guest.write(&file, 1, 1 << 40).await),
        ErrorCode::Quota
    );
    assert_eq!(
        refused(guest.write(&file, 1, u64::MAX).await),
        ErrorCode::Quota
    );
    assert_eq!(guest.quota.used(), used);
    assert_eq!(
        guest.on_host("tmp/file").metadata().unwrap().len(),
        64 * KIB
    );
    allowed(guest.write(&file, 64 * KIB, 0).await);
    assert_eq!(guest.quota.used(), used);
}

#[tokio::test]
async fn a_hole_counts_in_full_and_a_smaller_size_gives_it_back() {
    let mut guest = Guest::new(room(MIB)).await;
    let file = allowed(guest.file("file").await);
    let empty = guest.quota.used();
    allowed(guest.set_size(&file, MIB).await);
    assert_eq!(guest.quota.used(), empty + MIB);
    assert_eq!(
        refused(guest.set_size(&file, 2 * MIB).await),
        ErrorCode::Quota
    );
    assert_eq!(
        refused(guest.set_size(&file, u64::MAX).await),
        ErrorCode::Quota
    );
    assert_eq!(guest.quota.used(), empty + MIB);
    allowed(guest.set_size(&file, 1).await);
    assert_eq!(guest.quota.used(), empty + 4 * KIB);
    let truncated = allowed(guest.file("file").await);
    allowed(guest.set_size(&truncated, MIB).await);
    let tmp = lend(&guest.tmp);
    allowed(guest.open(&tmp, "file", OpenFlags::TRUNCATE).await);
    assert_eq!(guest.quota.used(), empty);
}

#[tokio::test]
async fn a_stream_ends_with_a_failure_that_tells_of_the_quota() {
    for append in [false, true] {
        let mut guest = Guest::new(room(64 * KIB)).await;
        let file = allowed(guest.file("file").await);
        let stream = if append {
            guest.view().append_via_stream(lend(&file))
        } else {
            guest.view().write_via_stream(lend(&file), 0)
        };
        let stream = allowed(stream);
        let piece = Bytes::from(vec![1; 4096]);
        let mut written = 0;
        let end = loop {
            let output = guest.output(&stream);
            match output.blocking_write_and_flush(piece.clone()).await {
                Ok(()) => written += 4 * KIB,
                Err(error) => break Err(error),
            }
            assert!(written < MIB);
        };
        failed_for_quota(&mut guest, end);
        assert_eq!(guest.on_host("tmp/file").metadata().unwrap().len(), written);
        assert_eq!(guest.quota.used(), guest.counted());
        let again = guest.output(&stream).blocking_write_and_flush(piece).await;
        assert!(matches!(again, Err(StreamError::Closed)));
    }
}

#[tokio::test]
async fn splicing_is_writing() {
    let mut guest = Guest::new(room(128 * KIB)).await;
    let source = allowed(guest.file("source").await);
    allowed(guest.write(&source, 64 * KIB, 0).await);
    let target = allowed(guest.file("target").await);
    let output = allowed(guest.view().write_via_stream(lend(&target), 0));
    let mut ended = None;
    while ended.is_none() {
        let input = allowed(guest.view().read_via_stream(lend(&source), 0));
        let table = &mut guest.table;
        let result = table.blocking_splice(lend(&output), input, 64 * KIB).await;
        ended = result.err();
        assert!(guest.quota.used() <= room(128 * KIB));
    }
    failed_for_quota(&mut guest, Err(ended.unwrap()));
    assert_eq!(guest.quota.used(), guest.counted());
}

#[tokio::test]
async fn more_than_a_stream_said_it_takes_is_a_trap_and_not_kept() {
    let mut guest = Guest::new(MIB).await;
    let file = allowed(guest.file("file").await);
    let stream = allowed(guest.view().write_via_stream(lend(&file), 0));
    let output = guest.output(&stream);
    let room = output.check_write().unwrap();
    let result = output.write(Bytes::from(vec![1; room + 1]));
    assert!(matches!(result, Err(StreamError::Trap(_))));
}

#[tokio::test]
async fn many_streams_together_take_little_at_a_time() {
    let mut guest = Guest::new(16 * MIB).await;
    let file = allowed(guest.file("file").await);
    // Nothing is written yet.
    let turn = guest.files.places[0].1.tree.turn().await;
    let mut taken = 0;
    let mut streams = Vec::new();
    for _ in 0..1000 {
        let stream = allowed(guest.view().append_via_stream(lend(&file)));
        let output = guest.output(&stream);
        let room = output.check_write().unwrap();
        assert!(room >= 4096);
        output.write(Bytes::from(vec![1; room])).unwrap();
        assert_eq!(output.check_write().unwrap(), 0);
        taken += room;
        streams.push(stream);
    }
    // A MiB in large pieces, and for each stream one small piece.
    assert!(taken <= (1 << 20) + 1000 * 4096, "{taken}");
    drop(turn);
    for stream in &streams {
        guest.output(stream).ready().await;
        guest.output(stream).flush().unwrap();
    }
    let size = guest.on_host("tmp/file").metadata().unwrap().len();
    assert_eq!(size, taken as u64);
    assert_eq!(guest.quota.used(), guest.counted());
    assert_eq!(guest.output(&streams[0]).check_write().unwrap(), 64 << 10);
}

#[tokio::test]
async fn names_of_every_kind_run_out() {
    for kind in ["file", "directory", "link", "symlink"] {
        let mut guest = Guest::new(2 * MIB).await;
        let tmp = lend(&guest.tmp);
        let first = allowed(guest.file("first").await);
        guest.close(first);
        let mut made = 0;
        let refusal = loop {
            let name = format!("{made:0>200}");
            let result = match kind {
                "file" => guest.file(&name).await.map(drop),
                "directory" => guest.mkdir(&tmp, &name).await,
                "link" => guest.link((&tmp, "first"), (&tmp, &name)).await,
                _ => guest.symlink(&tmp, "first", &name).await,
            };
            match result {
                Ok(()) => made += 1,
                Err(error) => break error.downcast().unwrap(),
            }
        };
        assert_eq!(refusal, ErrorCode::Quota, "{kind}");
        assert!((100..=512).contains(&made), "{kind}: {made}");
        assert_eq!(guest.names().len(), made + 1);
        assert_eq!(guest.quota.used(), guest.counted(), "{kind}");
        assert!(guest.allocated() <= guest.quota.used());
    }
}

// On filesystems whose directories keep their size, that goes on counting.
#[tokio::test]
async fn a_directory_that_was_full_counts_until_it_is_gone() {
    let mut guest = Guest::new(8 * MIB).await;
    let tmp = lend(&guest.tmp);
    allowed(guest.mkdir(&tmp, "full").await);
    let empty = guest.quota.used();
    for number in 0..300 {
        let file = allowed(guest.file(&format!("full/{number:0>250}")).await);
        guest.close(file);
    }
    for number in 0..300 {
        allowed(guest.unlink(&tmp, &format!("full/{number:0>250}")).await);
    }
    assert_eq!(guest.quota.used(), guest.counted());
    assert!(guest.allocated() <= guest.quota.used());
    let full = allowed(guest.directory(&tmp, "full").await);
    let with_full = guest.quota.used();
    allowed(guest.rmdir(&tmp, "full").await);
    assert_eq!(guest.quota.used(), with_full - 4 * KIB);
    guest.close(full);
    assert_eq!(guest.quota.used(), empty - 8 * KIB);
}

#[tokio::test]
async fn what_is_removed_counts_until_nobody_has_it_open() {
    let mut guest = Guest::new(2 * MIB).await;
    let tmp = lend(&guest.tmp);
    let empty = guest.quota.used();
    let file = allowed(guest.file("file").await);
    let mut neighbour = guest.neighbour();
    let theirs = allowed(neighbour.file("file").await);
    allowed(guest.write(&file, MIB, 0).await);
    let reading: Resource<DynInputStream> = allowed(guest.view().read_via_stream(lend(&file), 0));
    let writing = allowed(guest.view().append_via_stream(lend(&file)));
    allowed(guest.unlink(&tmp, "file").await);
    assert_eq!(guest.quota.used(), empty + MIB);
    // It still grows, and still within the quota.
    allowed(guest.write(&file, 4 * KIB, MIB).await);
    assert_eq!(guest.quota.used(), empty + MIB + 4 * KIB);
    assert_eq!(
        refused(guest.set_size(&file, 2 * MIB).await),
        ErrorCode::Quota
    );
    guest.close(file);
    neighbour.close(theirs);
    guest.table.delete(writing).unwrap();
    assert_eq!(guest.quota.used(), empty + MIB + 4 * KIB);
    guest.table.delete(reading).unwrap();
    assert_eq!(guest.quota.used(), empty);
}

#[tokio::test]
async fn what_a_rename_replaces_is_given_back() {
    let mut guest = Guest::new(2 * MIB).await;
    let tmp = lend(&guest.tmp);
    let old = allowed(guest.file("old").await);
    allowed(guest.set_size(&old, MIB).await);
    guest.close(old);
    let new = allowed(guest.file("new").await);
    allowed(guest.write(&new, 5, 0).await);
    guest.close(new);
    allowed(guest.rename((&tmp, "new"), (&tmp, "old")).await);
    assert_eq!(guest.names(), ["old"]);
    assert_eq!(guest.quota.used(), 12 * KIB);
    // Two names of one file: both stay.
    allowed(guest.link((&tmp, "old"), (&tmp, "same")).await);
    allowed(guest.rename((&tmp, "old"), (&tmp, "same")).await);
    assert_eq!(guest.names(), ["old", "same"]);
    assert_eq!(guest.quota.used(), 16 * KIB);
    assert_eq!(guest.quota.used(), guest.counted());
}

#[tokio::test]
async fn everything_goes_back_when_the_last_cell_is_gone() {
    let mut guest = Guest::new(2 * MIB).await;
    let file = allowed(guest.file("file").await);
    allowed(guest.set_size(&file, MIB).await);
    let quota = guest.quota.clone();
    let neighbour = guest.neighbour();
    drop(guest);
    assert!(quota.used() > MIB);
    drop(neighbour);
    assert_eq!(quota.used(), 0);
}

// Killed in the middle of anything, a cell leaves an account that is right.
#[tokio::test]
async fn a_change_that_nobody_waits_for_is_made_whole_or_not_at_all() {
    let mut guest = Guest::new(8 * MIB).await;
    let file = allowed(guest.file("file").await);
    for round in 0..200_u64 {
        let mut cell = guest.neighbour();
        let tmp = lend(&cell.tmp);
        let theirs = allowed(cell.file("file").await);
        let stream = allowed(cell.view().append_via_stream(lend(&theirs)));
        let output = cell.output(&stream);
        output.write(Bytes::from(vec![1; 4096])).unwrap();
        let name = format!("{round}");
        {
            let mut change = std::pin::pin!(cell.mkdir(&tmp, &name));
            let _ = futures::poll!(change.as_mut());
            if round % 2 == 0 {
                tokio::task::yield_now().await;
            }
        }
        drop(cell);
    }
    guest.close(file);
    guest.files.places[0].1.settled().await;
    assert_eq!(guest.quota.used(), guest.counted());
}

// Run with --nocapture: what the accounting costs.
#[tokio::test]
async fn a_mebibyte_in_small_pieces_is_written_with_and_without_an_account() {
    let mut medians = Vec::new();
    for counted in [false, true] {
        let mut guest = Guest::new(16 * MIB).await;
        let mut times = Vec::new();
        for _ in 0..31 {
            let file = allowed(guest.file("file").await);
            let stream = if counted {
                guest.view().write_via_stream(lend(&file), 0)
            } else {
                guest.view().wasi.write_via_stream(lend(&file), 0)
            };
            let stream = allowed(stream);
            let piece = Bytes::from(vec![1; 4096]);
            let began = std::time::Instant::now();
            for _ in 0..MIB / 4096 {
                let output = guest.output(&stream);
                let written = output.blocking_write_and_flush(piece.clone()).await;
                written.unwrap();
            }
            times.push(began.elapsed());
            guest.table.delete(stream).unwrap();
            assert_eq!(guest.on_host("tmp/file").metadata().unwrap().len(), MIB);
            allowed(guest.set_size(&file, 0).await);
            guest.close(file);
        }
        times.sort();
        medians.push(times[times.len() / 2]);
    }
    println!(
        "1 MiB in pieces of 4 KiB: {:?} plain, {:?} counted",
        medians[0], medians[1]
    );
}

#[tokio::test]
async fn a_budget_is_a_quota_for_the_cell_and_those_above() {
    use crate::{Allotment, Budget, Resource};
    let allotment = |tmp_bytes| Allotment {
        tmp_bytes: Some(tmp_bytes),
        ..Allotment::default()
    };
    let above = Budget::root(&allotment(64 * KIB));
    let budget = above.child(&allotment(64 * KIB)).unwrap();
    let parent = tempfile::tempdir().unwrap();
    let quota = Arc::new(budget.open(Resource::Tmp));
    let tmp = Writable::open(parent.path(), quota).await.unwrap();
    assert_eq!(above.left(Resource::Tmp), Some(60 * KIB));
    let books = &tmp.tree.books;
    assert_eq!(books.reserve(61 * KIB), Err(ErrorCode::Quota));
    books.reserve(60 * KIB).unwrap();
    assert_eq!(above.left(Resource::Tmp), Some(0));
    drop(tmp);
    assert_eq!(above.left(Resource::Tmp), Some(64 * KIB));
}
