//! `wasi:filesystem/types` for descriptors of the image and of the writable places alike.

use super::FilesView;
use super::change::{self, At, Opening};
use super::stream::{Input, Output};
use super::tree::Opened;
use cap_primitives::fs::read_base_dir;
use std::fs::File;
use std::sync::Arc;
use tokio::task::spawn_blocking;
use wasmtime::component::Resource;
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, DirectoryEntryStream,
    ErrorCode, Filesize, HostDescriptor, HostDirectoryEntryStream, MetadataHashValue, NewTimestamp,
    OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsResult};

type Fd = Resource<Descriptor>;

/// What the streams of directory entries that a cell has open may hold, in bytes: wasmtime-wasi keeps
/// all of a directory in memory as long as its stream is there. Enough for 70,000 names of common
/// lengths.
pub(super) const MAX_LISTED_BYTES: usize = 8 << 20;

/// What a listed name takes apart from its characters, in bytes: the entry and the allocation, rounded
/// up.
const LISTED_NAME_BYTES: usize = 96;

impl FilesView<'_> {
    /// What is open in a writable place under this descriptor.
    fn opened(&self, fd: &Fd) -> Option<Arc<Opened>> {
        self.files.opened.get(&fd.rep()).cloned()
    }

    fn opened_directory(&self, fd: &Fd) -> FsResult<Option<Arc<Opened>>> {
        match self.opened(fd) {
            Some(opened) if !opened.is_directory() => Err(ErrorCode::NotDirectory.into()),
            opened => Ok(opened),
        }
    }

    fn opened_file(&self, fd: &Fd) -> FsResult<Option<Arc<Opened>>> {
        match self.opened(fd) {
            Some(opened) if opened.is_directory() => Err(ErrorCode::BadDescriptor.into()),
            opened => Ok(opened),
        }
    }

    /// Two directories that something may go between, or none if it is the image's affair. Between
    /// different places nothing goes.
    fn opened_pair(&self, old: &Fd, new: &Fd) -> FsResult<Option<(Arc<Opened>, Arc<Opened>)>> {
        match (self.opened_directory(old)?, self.opened_directory(new)?) {
            (Some(old), Some(new)) if Arc::ptr_eq(&old.tree, &new.tree) => Ok(Some((old, new))),
            (Some(_), Some(_)) => Err(ErrorCode::CrossDevice.into()),
            (None, None) => Ok(None),
            _ => Err(ErrorCode::NotPermitted.into()),
        }
    }

    /// What keeps this counted: nothing for the root of the image.
    fn counted(&self, fd: &Fd) -> Option<Arc<dyn Send + Sync>> {
        if let Some(opened) = self.opened(fd) {
            return Some(opened);
        }
        let held = self.files.held.get(&fd.rep())?;
        Some(held.clone())
    }

    fn push_output(&mut self, opened: Arc<Opened>, at: At) -> FsResult<Resource<DynOutputStream>> {
        let stream = Output::new(opened, at, self.files.pending.clone());
        Ok(self.wasi.table.push(Box::new(stream) as DynOutputStream)?)
    }

    fn push(&mut self, opened: Arc<Opened>) -> FsResult<Fd> {
        let fd = self.wasi.table.push(opened.descriptor.clone())?;
        self.files.opened.insert(fd.rep(), opened);
        Ok(fd)
    }
}

impl HostDescriptor for FilesView<'_> {
    async fn advise(
        &mut self,
        fd: Fd,
        offset: Filesize,
        length: Filesize,
        advice: Advice,
    ) -> FsResult<()> {
        self.wasi.advise(fd, offset, length, advice).await
    }

    async fn sync_data(&mut self, fd: Fd) -> FsResult<()> {
        self.wasi.sync_data(fd).await
    }

    async fn get_flags(&mut self, fd: Fd) -> FsResult<DescriptorFlags> {
        self.wasi.get_flags(fd).await
    }

    async fn get_type(&mut self, fd: Fd) -> FsResult<DescriptorType> {
        self.wasi.get_type(fd).await
    }

    async fn set_size(&mut self, fd: Fd, size: Filesize) -> FsResult<()> {
        let Some(opened) = self.opened_file(&fd)? else {
            return self.wasi.set_size(fd, size).await;
        };
        let tree = opened.tree.clone();
        let resized = tree.start(move |tree| change::resize(tree, opened.file(), size));
        Ok(resized.await?)
    }

    async fn set_times(
        &mut self,
        fd: Fd,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        self.wasi.set_times(fd, accessed, modified).await
    }

    async fn read(
        &mut self,
        fd: Fd,
        length: Filesize,
        offset: Filesize,
    ) -> FsResult<(Vec<u8>, bool)> {
        self.wasi.read(fd, length, offset).await
    }

    async fn write(&mut self, fd: Fd, bytes: Vec<u8>, offset: Filesize) -> FsResult<Filesize> {
        let Some(opened) = self.opened_file(&fd)? else {
            return self.wasi.write(fd, bytes, offset).await;
        };
        let tree = opened.tree.clone();
        let written = tree.start(move |tree| {
            change::write(tree, opened.file(), &bytes, At::Offset(offset))?;
            Ok(Filesize::try_from(bytes.len())?)
        });
        Ok(written.await?)
    }

    async fn read_directory(&mut self, fd: Fd) -> FsResult<Resource<DirectoryEntryStream>> {
        let Some(opened) = self.opened_directory(&fd)? else {
            return self.wasi.read_directory(fd).await;
        };
        // What was counted is what is then read: the turn is kept between.
        let _turn = opened.tree.turn().await;
        let room = MAX_LISTED_BYTES.saturating_sub(self.files.listed_bytes);
        let counting = spawn_blocking(move || listed_bytes(opened.file(), room));
        let bytes = counting.await.unwrap_or(Err(ErrorCode::Io))?;
        let stream = self.wasi.read_directory(fd).await?;
        self.files.listed.insert(stream.rep(), bytes);
        self.files.listed_bytes += bytes;
        Ok(stream)
    }

    async fn sync(&mut self, fd: Fd) -> FsResult<()> {
        self.wasi.sync(fd).await
    }

    async fn create_directory_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        let Some(at) = self.opened_directory(&fd)? else {
            return self.wasi.create_directory_at(fd, path).await;
        };
        let tree = at.tree.clone();
        let made = tree.start(move |tree| change::create_directory(tree, at.file(), &path));
        Ok(made.await?)
    }

    async fn stat(&mut self, fd: Fd) -> FsResult<DescriptorStat> {
        self.wasi.stat(fd).await
    }

    async fn stat_at(
        &mut self,
        fd: Fd,
        flags: PathFlags,
        path: String,
    ) -> FsResult<DescriptorStat> {
        self.wasi.stat_at(fd, flags, path).await
    }

    async fn set_times_at(
        &mut self,
        fd: Fd,
        flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        let wasi = &mut self.wasi;
        wasi.set_times_at(fd, flags, path, accessed, modified).await
    }

    async fn link_at(
        &mut self,
        old_fd: Fd,
        flags: PathFlags,
        old_path: String,
        new_fd: Fd,
        new_path: String,
    ) -> FsResult<()> {
        let Some((old, new)) = self.opened_pair(&old_fd, &new_fd)? else {
            let wasi = &mut self.wasi;
            return wasi
                .link_at(old_fd, flags, old_path, new_fd, new_path)
                .await;
        };
        if flags.contains(PathFlags::SYMLINK_FOLLOW) {
            return Err(ErrorCode::Invalid.into());
        }
        let tree = old.tree.clone();
        let linked = tree.start(move |tree| {
            change::link(tree, (old.file(), &old_path), (new.file(), &new_path))
        });
        Ok(linked.await?)
    }

    async fn open_at(
        &mut self,
        fd: Fd,
        path_flags: PathFlags,
        path: String,
        open_flags: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Fd> {
        let at = self.opened_directory(&fd)?;
        let held = self.files.descriptors.hold()?;
        let Some(at) = at else {
            let wasi = &mut self.wasi;
            let opened = wasi.open_at(fd, path_flags, path, open_flags, flags);
            let opened = opened.await?;
            self.files.held.insert(opened.rep(), Arc::new(held));
            return Ok(opened);
        };
        let opening = opening(path_flags, path, open_flags, flags)?;
        let tree = at.tree.clone();
        let opened = tree.start(move |tree| change::open_at(tree, at.file(), &opening, held));
        let opened = opened.await?;
        self.push(opened)
    }

    async fn readlink_at(&mut self, fd: Fd, path: String) -> FsResult<String> {
        self.wasi.readlink_at(fd, path).await
    }

    async fn remove_directory_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        let Some(at) = self.opened_directory(&fd)? else {
            return self.wasi.remove_directory_at(fd, path).await;
        };
        let tree = at.tree.clone();
        let removed = tree.start(move |tree| change::remove_directory(tree, at.file(), &path));
        Ok(removed.await?)
    }

    async fn rename_at(
        &mut self,
        old_fd: Fd,
        old_path: String,
        new_fd: Fd,
        new_path: String,
    ) -> FsResult<()> {
        let Some((old, new)) = self.opened_pair(&old_fd, &new_fd)? else {
            return self
                .wasi
                .rename_at(old_fd, old_path, new_fd, new_path)
                .await;
        };
        let tree = old.tree.clone();
        let renamed = tree.start(move |tree| {
            change::rename(tree, (old.file(), &old_path), (new.file(), &new_path))
        });
        Ok(renamed.await?)
    }

    async fn symlink_at(&mut self, fd: Fd, target: String, path: String) -> FsResult<()> {
        let Some(at) = self.opened_directory(&fd)? else {
            return self.wasi.symlink_at(fd, target, path).await;
        };
        let tree = at.tree.clone();
        let made = tree.start(move |tree| change::symlink(tree, &target, at.file(), &path));
        Ok(made.await?)
    }

    async fn unlink_file_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        let Some(at) = self.opened_directory(&fd)? else {
            return self.wasi.unlink_file_at(fd, path).await;
        };
        let tree = at.tree.clone();
        let removed = tree.start(move |tree| change::unlink(tree, at.file(), &path));
        Ok(removed.await?)
    }

    fn read_via_stream(&mut self, fd: Fd, offset: Filesize) -> FsResult<Resource<DynInputStream>> {
        let counted = self.counted(&fd);
        let stream = self.wasi.read_via_stream(fd, offset)?;
        if let Some(counted) = counted {
            let stream = self.wasi.table.get_mut(&stream)?;
            Input::wrap(stream, counted);
        }
        Ok(stream)
    }

    fn write_via_stream(
        &mut self,
        fd: Fd,
        offset: Filesize,
    ) -> FsResult<Resource<DynOutputStream>> {
        match self.opened_file(&fd)? {
            Some(opened) => self.push_output(opened, At::Offset(offset)),
            None => self.wasi.write_via_stream(fd, offset),
        }
    }

    fn append_via_stream(&mut self, fd: Fd) -> FsResult<Resource<DynOutputStream>> {
        match self.opened_file(&fd)? {
            Some(opened) => self.push_output(opened, At::End),
            None => self.wasi.append_via_stream(fd),
        }
    }

    async fn is_same_object(&mut self, a: Fd, b: Fd) -> wasmtime::Result<bool> {
        self.wasi.is_same_object(a, b).await
    }

    async fn metadata_hash(&mut self, fd: Fd) -> FsResult<MetadataHashValue> {
        self.wasi.metadata_hash(fd).await
    }

    async fn metadata_hash_at(
        &mut self,
        fd: Fd,
        flags: PathFlags,
        path: String,
    ) -> FsResult<MetadataHashValue> {
        self.wasi.metadata_hash_at(fd, flags, path).await
    }

    fn drop(&mut self, fd: Fd) -> wasmtime::Result<()> {
        let number = fd.rep();
        HostDescriptor::drop(&mut self.wasi, fd)?;
        self.files.opened.remove(&number);
        self.files.held.remove(&number);
        Ok(())
    }
}

impl HostDirectoryEntryStream for FilesView<'_> {
    async fn read_directory_entry(
        &mut self,
        stream: Resource<DirectoryEntryStream>,
    ) -> FsResult<Option<DirectoryEntry>> {
        self.wasi.read_directory_entry(stream).await
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        let number = stream.rep();
        HostDirectoryEntryStream::drop(&mut self.wasi, stream)?;
        if let Some(bytes) = self.files.listed.remove(&number) {
            self.files.listed_bytes -= bytes;
        }
        Ok(())
    }
}

/// What a listing of a directory takes, unless that is more than there is room for.
fn listed_bytes(directory: &File, room: usize) -> Result<usize, ErrorCode> {
    let mut bytes = 0;
    for entry in read_base_dir(directory)? {
        bytes += LISTED_NAME_BYTES + entry?.file_name().len();
        if bytes > room {
            return Err(ErrorCode::InsufficientMemory);
        }
    }
    Ok(bytes)
}

/// How to open something, by the rules of wasmtime-wasi.
fn opening(
    path_flags: PathFlags,
    path: String,
    open_flags: OpenFlags,
    flags: DescriptorFlags,
) -> Result<Opening, ErrorCode> {
    let sync = DescriptorFlags::FILE_INTEGRITY_SYNC
        | DescriptorFlags::DATA_INTEGRITY_SYNC
        | DescriptorFlags::REQUESTED_WRITE_SYNC;
    if flags.intersects(sync) {
        return Err(ErrorCode::Unsupported);
    }
    let directory = open_flags.contains(OpenFlags::DIRECTORY);
    let making = OpenFlags::CREATE | OpenFlags::EXCLUSIVE | OpenFlags::TRUNCATE;
    if directory && open_flags.intersects(making) {
        return Err(ErrorCode::Invalid);
    }
    let create = open_flags.contains(OpenFlags::CREATE);
    let truncate = open_flags.contains(OpenFlags::TRUNCATE);
    let write = flags.contains(DescriptorFlags::WRITE);
    Ok(Opening {
        path,
        follow: path_flags.contains(PathFlags::SYMLINK_FOLLOW),
        read: flags.contains(DescriptorFlags::READ) || !write,
        write: write || create || truncate,
        create,
        exclusive: open_flags.contains(OpenFlags::EXCLUSIVE),
        truncate,
        directory,
    })
}
