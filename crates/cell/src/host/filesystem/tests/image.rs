//! What is read of the image, call by call, and that nothing changes it.

use super::*;
use crate::host::filesystem::image::{ImageFile, ImageNode};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use wasmtime_wasi::p2::bindings::filesystem::types::{
    Advice, DescriptorType, HostDirectoryEntryStream, NewTimestamp,
};
use wasmtime_wasi::p2::bindings::io::streams::HostInputStream;

const FOLLOW: PathFlags = PathFlags::SYMLINK_FOLLOW;

/// Bytes that differ from place to place.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at % 251) as u8).collect()
}

/// A file whose bytes are never at hand, that gives a few at a time, and fails where it is told to.
struct Slow {
    bytes: Vec<u8>,
    fails_from: u64,
    reads: Arc<AtomicUsize>,
}

impl ImageFile for Slow {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if offset >= self.fails_from {
            return Err(io::Error::other("it is gone"));
        }
        let rest = &self.bytes[usize::try_from(offset).unwrap()..];
        let read = rest.len().min(buffer.len()).min(1000);
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }
}

/// An image with one such file, `slow`.
struct OneFile {
    bytes: usize,
    fails_from: u64,
    reads: Arc<AtomicUsize>,
}

impl ImageTree for OneFile {
    fn node(&self, number: u64) -> Option<ImageNode<'_>> {
        let bytes = self.bytes as u64;
        match number {
            0 => Some(ImageNode::Directory),
            1 => Some(ImageNode::File { bytes }),
            _ => None,
        }
    }

    fn child(&self, directory: u64, name: &str) -> Option<u64> {
        ((directory, name) == (0, "slow")).then_some(1)
    }

    fn entry(&self, directory: u64, index: usize) -> Option<(&str, u64)> {
        ((directory, index) == (0, 0)).then_some(("slow", 1))
    }

    fn open(&self, _file: u64) -> io::Result<Arc<dyn ImageFile>> {
        Ok(Arc::new(Slow {
            bytes: pattern(self.bytes),
            fails_from: self.fails_from,
            reads: self.reads.clone(),
        }))
    }
}

async fn slow(bytes: usize, fails_from: u64) -> (Guest, Fd, Arc<AtomicUsize>) {
    let reads = Arc::new(AtomicUsize::new(0));
    let mut guest = Guest::seeing(OneFile {
        bytes,
        fails_from,
        reads: reads.clone(),
    })
    .await;
    let file = guest.see("slow").await;
    let file = allowed(file);
    (guest, file, reads)
}

impl Guest {
    async fn see(&mut self, path: &str) -> FsResult<Fd> {
        let image = lend(&self.image);
        let (how, flags) = (OpenFlags::empty(), DescriptorFlags::READ);
        let mut view = self.view();
        view.open_at(image, FOLLOW, path.to_owned(), how, flags)
            .await
    }

    async fn listed(&mut self, fd: &Fd) -> Vec<(String, DescriptorType)> {
        let mut view = self.view();
        let stream = allowed(view.read_directory(lend(fd)).await);
        let mut all = Vec::new();
        while let Some(entry) = allowed(view.read_directory_entry(lend(&stream)).await) {
            all.push((entry.name, entry.type_));
        }
        HostDirectoryEntryStream::drop(&mut view, stream).unwrap();
        all
    }

    async fn whole(&mut self, fd: &Fd, piece: u64) -> Result<Vec<u8>, StreamError> {
        let stream = allowed(self.view().read_via_stream(lend(fd), 0));
        let mut all = Vec::new();
        let end = loop {
            match self.table.blocking_read(lend(&stream), piece).await {
                Ok(bytes) => all.extend(bytes),
                Err(error) => break error,
            }
        };
        self.table.delete(stream).unwrap();
        match end {
            StreamError::Closed => Ok(all),
            error => Err(error),
        }
    }
}

#[tokio::test]
async fn a_file_is_read_whole_in_whatever_pieces() {
    let bytes = 300_000;
    let quick = MemoryImage::default().file("slow", pattern(bytes));
    let mut quick = Guest::seeing(quick).await;
    let file = allowed(quick.see("slow").await);
    let (slow, other, _) = slow(bytes, u64::MAX).await;
    for (mut guest, file) in [(quick, file), (slow, other)] {
        for piece in [1000, 4097, 1 << 30] {
            assert!(guest.whole(&file, piece).await.unwrap() == pattern(bytes));
        }
        let mut all = Vec::new();
        loop {
            let (read, end) = allowed(guest.view().read(lend(&file), 7777, all.len() as u64).await);
            assert_eq!(end, read.is_empty());
            all.extend(read);
            if end {
                break;
            }
        }
        assert!(all == pattern(bytes));
        for beyond in [bytes as u64, u64::MAX] {
            let (read, end) = allowed(guest.view().read(lend(&file), 10, beyond).await);
            assert!(read.is_empty() && end);
            let stream = allowed(guest.view().read_via_stream(lend(&file), beyond));
            let ended = guest.table.blocking_read(stream, 10).await;
            assert!(matches!(ended, Err(StreamError::Closed)));
        }
        // Whatever is asked for, so much is taken at once.
        let (read, _) = allowed(guest.view().read(lend(&file), u64::MAX, 0).await);
        assert!(read.len() <= 64 << 10);
        let (read, end) = allowed(guest.view().read(lend(&file), 0, 0).await);
        assert!(read.is_empty() && !end);
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_an_io_error_and_never_other_bytes() {
    let (mut guest, file, _) = slow(5000, 2000).await;
    let failed = guest.whole(&file, 1000).await.unwrap_err();
    let StreamError::LastOperationFailed(error) = failed else {
        panic!("{failed}");
    };
    let error = guest.table.push(error).unwrap();
    let code = types::Host::filesystem_error_code(&mut guest.view(), error).unwrap();
    assert_eq!(code, Some(ErrorCode::Io));
    let mut view = guest.view();
    assert_eq!(
        refused(view.read(lend(&file), 10, 2000).await),
        ErrorCode::Io
    );
    // What can be read still is.
    assert_eq!(allowed(view.read(lend(&file), 3, 0).await).0, [0, 1, 2]);
}

#[tokio::test]
async fn a_stream_that_is_polled_has_bytes_and_one_that_is_not_waits_for_nothing() {
    let (mut guest, file, reads) = slow(5000, u64::MAX).await;
    let stream = allowed(guest.view().read_via_stream(lend(&file), 10));
    assert_eq!(reads.load(Ordering::Relaxed), 0);
    let input = guest.table.get_mut(&stream).unwrap();
    let now: &mut DynInputStream = input;
    assert!(now.read(0).unwrap().is_empty());
    now.ready().await;
    assert_eq!(now.read(3).unwrap(), [10, 11, 12][..]);
    assert_eq!(now.read(1000).unwrap().len(), 997);
    assert_eq!(reads.load(Ordering::Relaxed), 1);
    assert!(now.read(10).unwrap().is_empty());
    now.ready().await;
    assert_eq!(now.read(1).unwrap(), [(1010 % 251) as u8][..]);
    now.cancel().await;
}

#[tokio::test]
async fn what_a_node_is_is_told_however_it_is_asked_for() {
    let image = MemoryImage::default()
        .file("etc/motd", "hello")
        .link("etc/alias", "motd")
        .directory("usr");
    let mut guest = Guest::seeing(image).await;
    let (root, motd) = (lend(&guest.image), allowed(guest.see("etc/motd").await));
    let (etc, alias) = (
        allowed(guest.see("etc/").await),
        allowed(guest.see("etc/alias").await),
    );
    let mut view = guest.view();
    let at = |path: &str| path.to_owned();
    let by_path = allowed(view.stat_at(lend(&root), FOLLOW, at("etc/alias")).await);
    let by_fd = allowed(view.stat(lend(&motd)).await);
    for stat in [by_path, by_fd] {
        assert_eq!((stat.type_, stat.size), (DescriptorType::RegularFile, 5));
        assert!(stat.data_modification_timestamp.is_none());
    }
    let none = PathFlags::empty();
    let link = allowed(view.stat_at(lend(&root), none, at("etc/alias")).await);
    assert_eq!((link.type_, link.size), (DescriptorType::SymbolicLink, 4));
    let said = allowed(view.readlink_at(lend(&root), at("etc/alias")).await);
    assert_eq!(said, "motd");
    let no_link = view.readlink_at(lend(&root), at("etc/motd")).await;
    assert_eq!(refused(no_link), ErrorCode::Invalid);
    assert_eq!(
        allowed(view.get_type(lend(&etc)).await),
        DescriptorType::Directory
    );
    assert_eq!(
        allowed(view.get_flags(lend(&etc)).await),
        DescriptorFlags::READ
    );
    assert_eq!(
        allowed(view.get_flags(lend(&motd)).await),
        DescriptorFlags::READ
    );

    assert!(
        view.is_same_object(lend(&motd), lend(&alias))
            .await
            .unwrap()
    );
    assert!(!view.is_same_object(lend(&motd), lend(&etc)).await.unwrap());
    let one = allowed(view.metadata_hash(lend(&motd)).await);
    let same = allowed(
        view.metadata_hash_at(lend(&root), FOLLOW, at("etc/alias"))
            .await,
    );
    let other = allowed(
        view.metadata_hash_at(lend(&root), none, at("etc/alias"))
            .await,
    );
    assert_eq!((one.lower, one.upper), (same.lower, same.upper));
    assert!(one.lower != other.lower && one.upper != other.upper);

    allowed(view.sync(lend(&motd)).await);
    allowed(view.sync_data(lend(&etc)).await);
    allowed(view.advise(lend(&motd), 0, 1, Advice::Random).await);
    let of_directory = view.advise(lend(&etc), 0, 1, Advice::Random).await;
    assert_eq!(refused(of_directory), ErrorCode::BadDescriptor);
    assert_eq!(
        refused(view.read(lend(&etc), 1, 0).await),
        ErrorCode::BadDescriptor
    );
    assert_eq!(
        refused(view.read_via_stream(lend(&etc), 0)),
        ErrorCode::IsDirectory
    );
    assert_eq!(
        refused(view.read_directory(lend(&motd)).await),
        ErrorCode::NotDirectory
    );
    let below = view.stat_at(lend(&motd), none, at("x")).await;
    assert_eq!(refused(below), ErrorCode::NotDirectory);
    let tmp = lend(&guest.tmp);
    assert!(!guest.view().is_same_object(root, tmp).await.unwrap());
}

#[tokio::test]
async fn opening_says_what_kind_it_wants() {
    let image = MemoryImage::default()
        .file("file", "text")
        .link("link", "file")
        .directory("directory");
    let mut guest = Guest::seeing(image).await;
    let root = lend(&guest.image);
    let mut open = async |path: &str, follow, how, flags| {
        let mut view = guest.view();
        let opened = view
            .open_at(lend(&root), follow, path.to_owned(), how, flags)
            .await;
        opened.map(drop).map_err(|error| error.downcast().unwrap())
    };
    let (none, read) = (OpenFlags::empty(), DescriptorFlags::READ);
    let directory = OpenFlags::DIRECTORY;
    assert_eq!(open("link", FOLLOW, none, read).await, Ok(()));
    assert_eq!(
        open("link", PathFlags::empty(), none, read).await,
        Err(ErrorCode::Loop)
    );
    assert_eq!(
        open("file", FOLLOW, directory, read).await,
        Err(ErrorCode::NotDirectory)
    );
    assert_eq!(open("directory", FOLLOW, directory, read).await, Ok(()));
    // Asked for by standard libraries as a matter of course.
    let mutable = read | DescriptorFlags::MUTATE_DIRECTORY;
    assert_eq!(open("directory", FOLLOW, directory, mutable).await, Ok(()));
    let sync = read | DescriptorFlags::FILE_INTEGRITY_SYNC;
    assert_eq!(
        open("file", FOLLOW, none, sync).await,
        Err(ErrorCode::Unsupported)
    );
    let both = directory | OpenFlags::CREATE;
    assert_eq!(
        open("directory", FOLLOW, both, read).await,
        Err(ErrorCode::Invalid)
    );
}

#[tokio::test]
async fn nothing_of_the_image_changes() {
    let mut guest = Guest::new(MIB).await;
    let root = lend(&guest.image);
    let file = allowed(guest.see("file").await);
    for path in ["file", "new"] {
        for how in [OpenFlags::CREATE, OpenFlags::TRUNCATE, OpenFlags::empty()] {
            assert_eq!(
                refused(guest.open(&root, path, how).await),
                ErrorCode::ReadOnly
            );
        }
        assert_eq!(refused(guest.mkdir(&root, path).await), ErrorCode::ReadOnly);
        assert_eq!(refused(guest.rmdir(&root, path).await), ErrorCode::ReadOnly);
        assert_eq!(
            refused(guest.unlink(&root, path).await),
            ErrorCode::ReadOnly
        );
        assert_eq!(
            refused(guest.symlink(&root, "x", path).await),
            ErrorCode::ReadOnly
        );
    }
    assert_eq!(refused(guest.write(&file, 1, 0).await), ErrorCode::ReadOnly);
    assert_eq!(refused(guest.set_size(&file, 0).await), ErrorCode::ReadOnly);
    assert_eq!(
        refused(guest.set_size(&root, 0).await),
        ErrorCode::BadDescriptor
    );
    let now = || (NewTimestamp::Now, NewTimestamp::Now);
    let mut view = guest.view();
    assert_eq!(
        refused(view.set_times(lend(&file), now().0, now().1).await),
        ErrorCode::ReadOnly
    );
    let at = view.set_times_at(lend(&root), FOLLOW, "file".to_owned(), now().0, now().1);
    assert_eq!(refused(at.await), ErrorCode::ReadOnly);
    assert_eq!(
        refused(view.write_via_stream(lend(&file), 0)),
        ErrorCode::ReadOnly
    );
    assert_eq!(
        refused(view.append_via_stream(lend(&file))),
        ErrorCode::ReadOnly
    );
    assert_eq!(allowed(view.read(lend(&file), 10, 0).await).0, b"text");
}

#[tokio::test]
async fn a_large_directory_is_listed_in_order_and_without_a_copy_of_it() {
    let names = (0..10_000).map(|number| format!("{number:05}"));
    let image = names.clone().fold(MemoryImage::default(), |image, name| {
        image.file(&format!("many/{name}"), "")
    });
    let mut guest = Guest::seeing(image.link("link", "many")).await;
    let many = allowed(guest.see("many").await);
    let file = |name| (name, DescriptorType::RegularFile);
    let expected: Vec<_> = names.map(file).collect();
    assert_eq!(guest.listed(&many).await, expected);
    let root = lend(&guest.image);
    let told = guest.listed(&root).await;
    let kinds: Vec<_> = told
        .iter()
        .map(|(name, kind)| (name.as_str(), *kind))
        .collect();
    let link = DescriptorType::SymbolicLink;
    assert_eq!(kinds, [("link", link), ("many", DescriptorType::Directory)]);
    assert_eq!(guest.files.listed_bytes, 0);
}

#[tokio::test]
async fn a_tree_that_never_answers_keeps_so_many_threads_of_one_cell_and_no_more() {
    /// Waits until nobody holds the other end any more.
    struct Stuck(
        Arc<AtomicUsize>,
        std::sync::Mutex<std::sync::mpsc::Receiver<()>>,
    );
    impl ImageFile for Stuck {
        fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<usize> {
            self.0.fetch_add(1, Ordering::Relaxed);
            let held = self.1.lock().unwrap();
            let _ = held.recv();
            Ok(0)
        }
    }
    struct OneStuck(Arc<dyn ImageFile>);
    impl ImageTree for OneStuck {
        fn node(&self, number: u64) -> Option<ImageNode<'_>> {
            match number {
                0 => Some(ImageNode::Directory),
                _ => Some(ImageNode::File { bytes: 1 << 20 }),
            }
        }
        fn child(&self, _: u64, _: &str) -> Option<u64> {
            Some(1)
        }
        fn entry(&self, _: u64, _: usize) -> Option<(&str, u64)> {
            None
        }
        fn open(&self, _: u64) -> io::Result<Arc<dyn ImageFile>> {
            Ok(self.0.clone())
        }
    }
    let (release, held) = std::sync::mpsc::channel();
    let begun = Arc::new(AtomicUsize::new(0));
    let file = Arc::new(Stuck(begun.clone(), std::sync::Mutex::new(held)));
    let mut guest = Guest::seeing(OneStuck(file)).await;
    let mut files = Vec::new();
    for _ in 0..50 {
        files.push(allowed(guest.see("x").await));
    }
    let mut streams = Vec::new();
    for file in files {
        let stream = allowed(guest.view().read_via_stream(lend(&file), 0));
        assert!(
            guest
                .table
                .get_mut(&stream)
                .unwrap()
                .read(10)
                .unwrap()
                .is_empty()
        );
        streams.push(stream);
    }
    while begun.load(Ordering::Relaxed) < 8 {
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(begun.load(Ordering::Relaxed), 8);
    drop(release);
    for stream in streams {
        let input = guest.table.get_mut(&stream).unwrap();
        input.ready().await;
        assert!(matches!(input.read(10), Err(StreamError::Closed)));
    }
    assert_eq!(begun.load(Ordering::Relaxed), 50);
}
