//! What a guest can do with `wasi:filesystem`, call by call, on a real directory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod boundaries;
mod growth;
mod image;
mod model;
mod open;

use super::books::Books;
use super::writable::count;
use super::*;
use crate::budget::Budget;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tempfile::TempDir;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorFlags, ErrorCode, HostDescriptor, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsResult, StreamError};

type Fd = Resource<Descriptor>;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// What a guest may have open at a time.
const FILES: usize = 100;

/// A guest with a read-only image, a `/tmp` of this quota, and a `/var` of another.
struct Guest {
    wasi: WasiCtx,
    table: ResourceTable,
    files: Files,
    budget: Budget,
    quota: Arc<FixedQuota>,
    parent: Arc<TempDir>,
    image: Fd,
    tmp: Fd,
    var: Fd,
}

/// Two descriptors of the same number: what is lent to a call.
fn lend<T: 'static>(resource: &Resource<T>) -> Resource<T> {
    Resource::new_borrow(resource.rep())
}

#[track_caller]
fn refused<T>(result: FsResult<T>) -> ErrorCode {
    match result {
        Ok(_) => panic!("it was allowed"),
        Err(error) => error.downcast().expect("a trap"),
    }
}

#[track_caller]
fn allowed<T>(result: FsResult<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{:?}", error.downcast()),
    }
}

impl Guest {
    async fn new(bytes: u64) -> Self {
        let parent = tempfile::tempdir().unwrap();
        for name in ["tmp", "var"] {
            std::fs::create_dir(parent.path().join(name)).unwrap();
        }
        std::fs::write(parent.path().join("outside"), "secret").unwrap();
        let quota = Arc::new(FixedQuota::new(bytes));
        let tmp = Writable::open(parent.path().join("tmp"), quota.clone());
        let tmp = tmp.await.unwrap();
        let others = Arc::new(FixedQuota::new(MIB));
        let var = Writable::open(parent.path().join("var"), others);
        let var = var.await.unwrap();
        let image = MemoryImage::default().file("file", "text");
        Self::with(Arc::new(image), Arc::new(parent), quota, tmp, var)
    }

    /// The same guest with another image.
    async fn seeing(image: impl ImageTree) -> Self {
        let guest = Self::new(MIB).await;
        let place = |index: usize| guest.files.places[index].1.clone();
        let (parent, quota) = (guest.parent.clone(), guest.quota.clone());
        Self::with(Arc::new(image), parent, quota, place(0), place(1))
    }

    fn with(
        image: Arc<dyn ImageTree>,
        parent: Arc<TempDir>,
        quota: Arc<FixedQuota>,
        tmp: Writable,
        var: Writable,
    ) -> Self {
        let budget = Budget::default();
        let descriptors = Descriptors::new(FILES, &budget);
        let mut guest = Self {
            wasi: WasiCtx::builder().build(),
            table: ResourceTable::new(),
            files: Files::new(Some(image), Some(tmp), Some(var), descriptors),
            budget,
            quota,
            parent,
            image: Resource::new_own(0),
            tmp: Resource::new_own(0),
            var: Resource::new_own(0),
        };
        let directories = preopens::Host::get_directories(&mut guest.view()).unwrap();
        let names: Vec<_> = directories.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["/", "/tmp", "/var"]);
        let mut directories = directories.into_iter().map(|(fd, _)| fd);
        guest.image = directories.next().unwrap();
        guest.tmp = directories.next().unwrap();
        guest.var = directories.next().unwrap();
        guest
    }

    /// Another cell with the same places.
    fn neighbour(&self) -> Self {
        let place = |index: usize| self.files.places[index].1.clone();
        let image = self.files.image.clone().unwrap();
        let (parent, quota) = (self.parent.clone(), self.quota.clone());
        Self::with(image, parent, quota, place(0), place(1))
    }

    fn view(&mut self) -> FilesView<'_> {
        FilesView {
            wasi: WasiFilesystemCtxView {
                ctx: self.wasi.filesystem(),
                table: &mut self.table,
            },
            files: &mut self.files,
        }
    }

    fn on_host(&self, path: &str) -> std::path::PathBuf {
        self.parent.path().join(path)
    }

    async fn open(&mut self, at: &Fd, path: &str, how: OpenFlags) -> FsResult<Fd> {
        let at = lend(at);
        let flags = DescriptorFlags::READ | DescriptorFlags::WRITE;
        let follow = PathFlags::SYMLINK_FOLLOW;
        let mut view = self.view();
        view.open_at(at, follow, path.to_owned(), how, flags).await
    }

    /// Opens a file of `/tmp`, creating it if need be.
    async fn file(&mut self, path: &str) -> FsResult<Fd> {
        let tmp = lend(&self.tmp);
        self.open(&tmp, path, OpenFlags::CREATE).await
    }

    async fn directory(&mut self, at: &Fd, path: &str) -> FsResult<Fd> {
        let (at, path) = (lend(at), path.to_owned());
        let (how, flags) = (OpenFlags::DIRECTORY, DescriptorFlags::READ);
        let mut view = self.view();
        view.open_at(at, PathFlags::empty(), path, how, flags).await
    }

    async fn write(&mut self, fd: &Fd, bytes: u64, offset: u64) -> FsResult<u64> {
        let bytes = vec![7; usize::try_from(bytes).unwrap()];
        self.view().write(lend(fd), bytes, offset).await
    }

    async fn set_size(&mut self, fd: &Fd, size: u64) -> FsResult<()> {
        self.view().set_size(lend(fd), size).await
    }

    async fn mkdir(&mut self, at: &Fd, path: &str) -> FsResult<()> {
        let at = lend(at);
        self.view().create_directory_at(at, path.to_owned()).await
    }

    async fn rmdir(&mut self, at: &Fd, path: &str) -> FsResult<()> {
        let at = lend(at);
        self.view().remove_directory_at(at, path.to_owned()).await
    }

    async fn unlink(&mut self, at: &Fd, path: &str) -> FsResult<()> {
        let at = lend(at);
        self.view().unlink_file_at(at, path.to_owned()).await
    }

    async fn symlink(&mut self, at: &Fd, target: &str, path: &str) -> FsResult<()> {
        let (at, target, path) = (lend(at), target.to_owned(), path.to_owned());
        self.view().symlink_at(at, target, path).await
    }

    async fn link(&mut self, from: (&Fd, &str), to: (&Fd, &str)) -> FsResult<()> {
        let (old, old_path) = (lend(from.0), from.1.to_owned());
        let (new, new_path) = (lend(to.0), to.1.to_owned());
        let mut view = self.view();
        view.link_at(old, PathFlags::empty(), old_path, new, new_path)
            .await
    }

    async fn rename(&mut self, from: (&Fd, &str), to: (&Fd, &str)) -> FsResult<()> {
        let (old, old_path) = (lend(from.0), from.1.to_owned());
        let (new, new_path) = (lend(to.0), to.1.to_owned());
        self.view().rename_at(old, old_path, new, new_path).await
    }

    fn close(&mut self, fd: Fd) {
        HostDescriptor::drop(&mut self.view(), fd).unwrap();
    }

    fn output(&mut self, stream: &Resource<DynOutputStream>) -> &mut DynOutputStream {
        self.table.get_mut(stream).unwrap()
    }

    /// The names of `/tmp` as the host sees them.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.on_host("tmp"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// What `/tmp` would count for if it were opened now.
    fn counted(&self) -> u64 {
        let quota = Arc::new(FixedQuota::new(u64::MAX));
        let books = Books::new(quota.clone());
        let root = std::fs::File::open(self.on_host("tmp")).unwrap();
        assert!(count(&root, &books).is_ok());
        quota.used()
    }

    /// What the host's filesystem has allocated for `/tmp`.
    fn allocated(&self) -> u64 {
        let root = self.on_host("tmp");
        let mut seen = std::collections::HashSet::new();
        let mut bytes = std::fs::metadata(&root).unwrap().blocks() * 512;
        let mut directories = vec![root];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(&directory).unwrap() {
                let entry = entry.unwrap();
                let metadata = entry.metadata().unwrap();
                if seen.insert(metadata.ino()) {
                    bytes += metadata.blocks() * 512;
                }
                if metadata.is_dir() {
                    directories.push(entry.path());
                }
            }
        }
        bytes
    }
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
