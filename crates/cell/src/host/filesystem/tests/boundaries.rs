//! Nothing leads out of a place, and what a place may look like at the start is bounded.

use super::*;
use crate::host::filesystem::descriptor::MAX_LISTED_BYTES;
use crate::host::filesystem::tree::MAX_DEPTH;
use std::os::unix::fs::symlink;
use wasmtime_wasi::p2::bindings::filesystem::types::HostDirectoryEntryStream;

#[tokio::test]
async fn no_path_leads_out() {
    let mut guest = Guest::new(MIB).await;
    let tmp = lend(&guest.tmp);
    allowed(guest.mkdir(&tmp, "inside").await);
    allowed(guest.symlink(&tmp, "../..", "inside/up").await);
    allowed(guest.symlink(&tmp, "../outside", "secret").await);
    allowed(guest.symlink(&tmp, "../fresh", "fresh").await);
    let outside = guest.on_host("outside");
    assert_eq!(
        refused(
            guest
                .symlink(&tmp, outside.to_str().unwrap(), "absolute")
                .await
        ),
        ErrorCode::NotPermitted
    );
    // Made behind the guest's back.
    symlink(&outside, guest.on_host("tmp/planted")).unwrap();
    symlink("/", guest.on_host("tmp/root")).unwrap();
    let absolute = format!("root{}", outside.display());
    for path in [
        "../outside",
        "/outside",
        "inside/../../outside",
        "inside/up/outside",
        "secret",
        "planted",
        &absolute,
        outside.to_str().unwrap(),
    ] {
        for how in [
            OpenFlags::empty(),
            OpenFlags::CREATE,
            OpenFlags::TRUNCATE,
            OpenFlags::CREATE | OpenFlags::TRUNCATE,
        ] {
            refused(guest.open(&tmp, path, how).await);
        }
    }
    for path in [
        "../new",
        "/new",
        "inside/../../new",
        "inside/up/new",
        "root/new",
        "fresh",
    ] {
        let how = OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
        refused(guest.open(&tmp, path, how).await);
        refused(guest.open(&tmp, path, OpenFlags::CREATE).await);
        refused(guest.mkdir(&tmp, path).await);
        refused(guest.symlink(&tmp, "x", path).await);
        let file = allowed(guest.file("file").await);
        guest.close(file);
        refused(guest.link((&tmp, "file"), (&tmp, path)).await);
        if path != "fresh" {
            refused(guest.rename((&tmp, "file"), (&tmp, path)).await);
        }
    }
    for path in [
        "../outside",
        "inside/up/outside",
        "/outside",
        "inside/../../outside",
    ] {
        refused(guest.unlink(&tmp, path).await);
        refused(guest.rmdir(&tmp, path).await);
        refused(guest.rename((&tmp, path), (&tmp, "mine")).await);
        refused(guest.link((&tmp, path), (&tmp, "mine")).await);
    }
    for path in ["", ".", "..", "inside/.", "inside/..", "inside/../..", "/"] {
        refused(guest.rmdir(&tmp, path).await);
        refused(guest.mkdir(&tmp, path).await);
        refused(guest.rename((&tmp, path), (&tmp, "mine")).await);
        refused(guest.rename((&tmp, "inside"), (&tmp, path)).await);
    }
    assert_eq!(std::fs::read(&outside).unwrap(), b"secret");
    let mut names: Vec<_> = std::fs::read_dir(guest.parent.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["outside", "tmp", "var"]);
}

#[tokio::test]
async fn nothing_goes_between_the_places_or_to_the_image() {
    let mut guest = Guest::new(MIB).await;
    let (image, tmp, var) = (lend(&guest.image), lend(&guest.tmp), lend(&guest.var));
    let file = allowed(guest.file("file").await);
    guest.close(file);
    let there = || (&tmp, "file");
    assert_eq!(
        refused(guest.link(there(), (&var, "x")).await),
        ErrorCode::CrossDevice
    );
    assert_eq!(
        refused(guest.rename(there(), (&var, "x")).await),
        ErrorCode::CrossDevice
    );
    for (from, to, code) in [
        (&tmp, &image, ErrorCode::CrossDevice),
        (&image, &tmp, ErrorCode::CrossDevice),
        (&image, &var, ErrorCode::CrossDevice),
        (&image, &image, ErrorCode::ReadOnly),
    ] {
        let linked = guest.link((from, "file"), (to, "x")).await;
        assert_eq!(refused(linked), code);
        let renamed = guest.rename((from, "file"), (to, "x")).await;
        assert_eq!(refused(renamed), code);
    }
    refused(guest.open(&image, "new", OpenFlags::CREATE).await);
    refused(guest.open(&image, "file", OpenFlags::TRUNCATE).await);
    refused(guest.mkdir(&image, "new").await);
    refused(guest.unlink(&image, "file").await);
    assert!(!exists(&guest.on_host("var/x")));
}

#[tokio::test]
async fn directories_do_not_get_too_deep() {
    let mut guest = Guest::new(MIB).await;
    let tmp = lend(&guest.tmp);
    let mut deepest = String::from("d");
    allowed(guest.mkdir(&tmp, &deepest).await);
    for _ in 1..MAX_DEPTH {
        deepest.push_str("/d");
        allowed(guest.mkdir(&tmp, &deepest).await);
    }
    let deeper = format!("{deepest}/d");
    assert_eq!(
        refused(guest.mkdir(&tmp, &deeper).await),
        ErrorCode::NameTooLong
    );
    // Nor does a descriptor that was moved forget where it is.
    let at = allowed(guest.directory(&tmp, &deepest).await);
    assert_eq!(refused(guest.mkdir(&at, "d").await), ErrorCode::NameTooLong);
    for name in ["single", "outer", "outer/inner"] {
        allowed(guest.mkdir(&tmp, name).await);
    }
    let into = |name: &str| format!("{}/{name}", &deepest[..deepest.len() - 2]);
    assert_eq!(
        refused(guest.rename((&tmp, "single"), (&at, "d")).await),
        ErrorCode::CrossDevice
    );
    assert_eq!(
        refused(guest.rename((&tmp, "outer"), (&tmp, &into("outer"))).await),
        ErrorCode::CrossDevice
    );
    allowed(
        guest
            .rename((&tmp, "single"), (&tmp, &into("single")))
            .await,
    );
    allowed(
        guest
            .rename((&tmp, &into("single")), (&tmp, "single"))
            .await,
    );
    allowed(guest.rename((&tmp, "outer"), (&tmp, "renamed")).await);
    assert_eq!(guest.quota.used(), guest.counted());
}

#[tokio::test]
async fn open_listings_hold_so_much_and_no_more() {
    let mut guest = Guest::new(64 * MIB).await;
    for number in 0..4000 {
        let name = format!("{number:0>200}");
        std::fs::write(guest.on_host("tmp").join(name), "").unwrap();
    }
    let tmp = lend(&guest.tmp);
    let mut streams = Vec::new();
    let refusal = loop {
        match guest.view().read_directory(lend(&tmp)).await {
            Ok(stream) => streams.push(stream),
            Err(error) => break error.downcast().unwrap(),
        }
    };
    assert_eq!(refusal, ErrorCode::InsufficientMemory);
    assert_eq!(streams.len(), MAX_LISTED_BYTES / (4000 * (200 + 96)));
    let mut view = guest.view();
    let mut names = 0;
    let first = &streams[0];
    while allowed(view.read_directory_entry(lend(first)).await).is_some() {
        names += 1;
    }
    assert_eq!(names, 4000);
    HostDirectoryEntryStream::drop(&mut view, streams.remove(0)).unwrap();
    allowed(view.read_directory(lend(&tmp)).await);
}

#[tokio::test]
async fn what_is_there_at_the_start_counts() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path();
    std::fs::create_dir(path.join("directory")).unwrap();
    std::fs::write(path.join("directory/file"), vec![1; 5000]).unwrap();
    std::fs::hard_link(path.join("directory/file"), path.join("same")).unwrap();
    symlink("nowhere", path.join("link")).unwrap();
    // Root and directory, four names, two blocks of the file, one of the link.
    let bytes = (2 + 4 + 2 + 1) * 4 * KIB;
    let little = Arc::new(FixedQuota::new(bytes - 1));
    let refusal = Writable::open(path, little.clone()).await.err().unwrap();
    assert!(matches!(refusal, WritableError::OverQuota { .. }));
    assert_eq!(little.used(), 0);
    let enough = Arc::new(FixedQuota::new(bytes));
    let writable = Writable::open(path, enough.clone()).await.unwrap();
    assert_eq!(enough.used(), bytes);
    let refusal = Writable::open(path, enough.clone()).await.err().unwrap();
    assert!(matches!(refusal, WritableError::InUse { .. }));
    drop(writable);
    assert_eq!(enough.used(), 0);
    Writable::open(path, enough).await.unwrap();
}

#[tokio::test]
async fn a_place_that_cannot_be_held_to_its_bounds_is_refused() {
    let quota = || Arc::new(FixedQuota::new(MIB));
    let parent = tempfile::tempdir().unwrap();
    let missing = Writable::open(parent.path().join("missing"), quota()).await;
    assert!(matches!(missing, Err(WritableError::Io { .. })));
    std::fs::write(parent.path().join("file"), "").unwrap();
    let file = Writable::open(parent.path().join("file"), quota()).await;
    assert!(matches!(file, Err(WritableError::Io { .. })));

    let _socket = std::os::unix::net::UnixListener::bind(parent.path().join("socket")).unwrap();
    let special = Writable::open(parent.path(), quota()).await.err().unwrap();
    let WritableError::Special { name, .. } = special else {
        panic!("{special}");
    };
    assert_eq!(name, "socket");

    let deep = tempfile::tempdir().unwrap();
    let path = deep.path().join("d/".repeat(MAX_DEPTH + 1));
    std::fs::create_dir_all(path).unwrap();
    let refusal = Writable::open(deep.path(), quota()).await;
    assert!(matches!(refusal, Err(WritableError::TooDeep { .. })));
}
