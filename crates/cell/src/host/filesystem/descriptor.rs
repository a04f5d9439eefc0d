//! `wasi:filesystem/types` for descriptors of the image and of the writable places alike.
//!
//! A guest holds a number, and the cell's table has what it stands for: what was [`Seen`] of the image, or
//! one of wasmtime-wasi's descriptors, for which `Files` knows what is [`Opened`] in a place. The types that
//! the bindings give to both say nothing about that.

use super::FilesView;
use super::change::{self, Opening};
use super::image::{self, Listing, Seen};
use super::stream::{Input, Output};
use super::tree::Opened;
use cap_primitives::fs::read_base_dir;
use std::fs::File;
use std::sync::Arc;
use tokio::task::spawn_blocking;
use wasmtime::component::{Resource, ResourceTableError};
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

/// Where a descriptor is.
enum At {
    Image(Arc<Seen>),
    Place(Arc<Opened>),
}

impl FilesView<'_> {
    fn at(&self, fd: &Fd) -> Result<At, ResourceTableError> {
        let seen = Resource::<Arc<Seen>>::new_borrow(fd.rep());
        if let Ok(seen) = self.wasi.table.get(&seen) {
            return Ok(At::Image(seen.clone()));
        }
        match self.files.opened.get(&fd.rep()) {
            Some(opened) => Ok(At::Place(opened.clone())),
            None => Err(ResourceTableError::NotPresent),
        }
    }

    /// A directory of a writable place.
    fn directory(&self, fd: &Fd) -> FsResult<Arc<Opened>> {
        match self.at(fd)? {
            At::Image(seen) if seen.is_directory() => Err(ErrorCode::ReadOnly.into()),
            At::Place(opened) if opened.is_directory() => Ok(opened),
            _ => Err(ErrorCode::NotDirectory.into()),
        }
    }

    /// A file of a writable place.
    fn file(&self, fd: &Fd) -> FsResult<Arc<Opened>> {
        match self.at(fd)? {
            At::Image(seen) if !seen.is_directory() => Err(ErrorCode::ReadOnly.into()),
            At::Place(opened) if !opened.is_directory() => Ok(opened),
            _ => Err(ErrorCode::BadDescriptor.into()),
        }
    }

    /// Two directories that something may go between. Between different places nothing goes; programs take
    /// it as the advice to copy.
    fn pair(&self, old: &Fd, new: &Fd) -> FsResult<(Arc<Opened>, Arc<Opened>)> {
        let among = |at: &At| match at {
            At::Image(seen) => seen.is_directory(),
            At::Place(opened) => opened.is_directory(),
        };
        let (old, new) = (self.at(old)?, self.at(new)?);
        if !(among(&old) && among(&new)) {
            return Err(ErrorCode::NotDirectory.into());
        }
        match (old, new) {
            (At::Place(old), At::Place(new)) if Arc::ptr_eq(&old.tree, &new.tree) => Ok((old, new)),
            (At::Image(_), At::Image(_)) => Err(ErrorCode::ReadOnly.into()),
            _ => Err(ErrorCode::CrossDevice.into()),
        }
    }

    fn push_output(
        &mut self,
        opened: Arc<Opened>,
        at: change::At,
    ) -> FsResult<Resource<DynOutputStream>> {
        let stream = Output::new(opened, at, self.files.pending.clone());
        Ok(self.wasi.table.push(Box::new(stream) as DynOutputStream)?)
    }

    fn push(&mut self, opened: Arc<Opened>) -> FsResult<Fd> {
        let fd = self.wasi.table.push(opened.descriptor.clone())?;
        self.files.opened.insert(fd.rep(), opened);
        Ok(fd)
    }

    pub(super) fn push_seen(&mut self, seen: Seen) -> Result<Fd, ResourceTableError> {
        let fd = self.wasi.table.push(Arc::new(seen))?;
        Ok(Resource::new_own(fd.rep()))
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
        match self.at(&fd)? {
            At::Image(seen) if seen.is_directory() => Err(ErrorCode::BadDescriptor.into()),
            At::Image(_) => Ok(()),
            At::Place(_) => self.wasi.advise(fd, offset, length, advice).await,
        }
    }

    async fn sync_data(&mut self, fd: Fd) -> FsResult<()> {
        match self.at(&fd)? {
            At::Image(_) => Ok(()),
            At::Place(_) => self.wasi.sync_data(fd).await,
        }
    }

    async fn get_flags(&mut self, fd: Fd) -> FsResult<DescriptorFlags> {
        match self.at(&fd)? {
            At::Image(seen) => Ok(seen.flags()),
            At::Place(_) => self.wasi.get_flags(fd).await,
        }
    }

    async fn get_type(&mut self, fd: Fd) -> FsResult<DescriptorType> {
        match self.at(&fd)? {
            At::Image(seen) => Ok(seen.kind()),
            At::Place(_) => self.wasi.get_type(fd).await,
        }
    }

    async fn set_size(&mut self, fd: Fd, size: Filesize) -> FsResult<()> {
        let opened = self.file(&fd)?;
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
        match self.at(&fd)? {
            At::Image(_) => Err(ErrorCode::ReadOnly.into()),
            At::Place(_) => self.wasi.set_times(fd, accessed, modified).await,
        }
    }

    async fn read(
        &mut self,
        fd: Fd,
        length: Filesize,
        offset: Filesize,
    ) -> FsResult<(Vec<u8>, bool)> {
        match self.at(&fd)? {
            At::Image(seen) => Ok(seen.read(length, offset).await?),
            At::Place(_) => self.wasi.read(fd, length, offset).await,
        }
    }

    async fn write(&mut self, fd: Fd, bytes: Vec<u8>, offset: Filesize) -> FsResult<Filesize> {
        let opened = self.file(&fd)?;
        let tree = opened.tree.clone();
        let written = tree.start(move |tree| {
            change::write(tree, opened.file(), &bytes, change::At::Offset(offset))?;
            Ok(Filesize::try_from(bytes.len())?)
        });
        Ok(written.await?)
    }

    async fn read_directory(&mut self, fd: Fd) -> FsResult<Resource<DirectoryEntryStream>> {
        let opened = match self.at(&fd)? {
            At::Image(seen) => {
                let listing = self.wasi.table.push(seen.list()?)?;
                return Ok(Resource::new_own(listing.rep()));
            }
            At::Place(opened) if opened.is_directory() => opened,
            At::Place(_) => return Err(ErrorCode::NotDirectory.into()),
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
        match self.at(&fd)? {
            At::Image(_) => Ok(()),
            At::Place(_) => self.wasi.sync(fd).await,
        }
    }

    async fn create_directory_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        let at = self.directory(&fd)?;
        let tree = at.tree.clone();
        let made = tree.start(move |tree| change::create_directory(tree, at.file(), &path));
        Ok(made.await?)
    }

    async fn stat(&mut self, fd: Fd) -> FsResult<DescriptorStat> {
        match self.at(&fd)? {
            At::Image(seen) => Ok(seen.stat()?),
            At::Place(_) => self.wasi.stat(fd).await,
        }
    }

    async fn stat_at(
        &mut self,
        fd: Fd,
        flags: PathFlags,
        path: String,
    ) -> FsResult<DescriptorStat> {
        match self.at(&fd)? {
            At::Image(seen) => Ok(seen.stat_at(flags, &path)?),
            At::Place(_) => self.wasi.stat_at(fd, flags, path).await,
        }
    }

    async fn set_times_at(
        &mut self,
        fd: Fd,
        flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        self.directory(&fd)?;
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
        let (old, new) = self.pair(&old_fd, &new_fd)?;
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
        let at = self.at(&fd)?;
        let held = self.files.descriptors.hold()?;
        let at = match at {
            At::Image(seen) => {
                let opened = seen.open_at(path_flags, &path, open_flags, flags, held);
                let opened = opened.await?;
                return Ok(self.push_seen(opened)?);
            }
            At::Place(opened) => opened,
        };
        if !at.is_directory() {
            return Err(ErrorCode::NotDirectory.into());
        }
        let opening = opening(path_flags, path, open_flags, flags)?;
        let tree = at.tree.clone();
        let opened = tree.start(move |tree| change::open_at(tree, at.file(), &opening, held));
        let opened = opened.await?;
        self.push(opened)
    }

    async fn readlink_at(&mut self, fd: Fd, path: String) -> FsResult<String> {
        match self.at(&fd)? {
            At::Image(seen) => Ok(seen.readlink_at(&path)?),
            At::Place(_) => self.wasi.readlink_at(fd, path).await,
        }
    }

    async fn remove_directory_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        let at = self.directory(&fd)?;
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
        let (old, new) = self.pair(&old_fd, &new_fd)?;
        let tree = old.tree.clone();
        let renamed = tree.start(move |tree| {
            change::rename(tree, (old.file(), &old_path), (new.file(), &new_path))
        });
        Ok(renamed.await?)
    }

    async fn symlink_at(&mut self, fd: Fd, target: String, path: String) -> FsResult<()> {
        let at = self.directory(&fd)?;
        let tree = at.tree.clone();
        let made = tree.start(move |tree| change::symlink(tree, &target, at.file(), &path));
        Ok(made.await?)
    }

    async fn unlink_file_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        let at = self.directory(&fd)?;
        let tree = at.tree.clone();
        let removed = tree.start(move |tree| change::unlink(tree, at.file(), &path));
        Ok(removed.await?)
    }

    fn read_via_stream(&mut self, fd: Fd, offset: Filesize) -> FsResult<Resource<DynInputStream>> {
        match self.at(&fd)? {
            At::Image(seen) => {
                let stream = image::Input::new(seen, offset)?;
                Ok(self.wasi.table.push(Box::new(stream) as DynInputStream)?)
            }
            At::Place(opened) => {
                let stream = self.wasi.read_via_stream(fd, offset)?;
                Input::wrap(self.wasi.table.get_mut(&stream)?, opened);
                Ok(stream)
            }
        }
    }

    fn write_via_stream(
        &mut self,
        fd: Fd,
        offset: Filesize,
    ) -> FsResult<Resource<DynOutputStream>> {
        let opened = self.file(&fd)?;
        self.push_output(opened, change::At::Offset(offset))
    }

    fn append_via_stream(&mut self, fd: Fd) -> FsResult<Resource<DynOutputStream>> {
        let opened = self.file(&fd)?;
        self.push_output(opened, change::At::End)
    }

    async fn is_same_object(&mut self, a: Fd, b: Fd) -> wasmtime::Result<bool> {
        match (self.at(&a)?, self.at(&b)?) {
            (At::Image(a), At::Image(b)) => Ok(a.is_same(&b)),
            (At::Place(_), At::Place(_)) => self.wasi.is_same_object(a, b).await,
            _ => Ok(false),
        }
    }

    async fn metadata_hash(&mut self, fd: Fd) -> FsResult<MetadataHashValue> {
        match self.at(&fd)? {
            At::Image(seen) => Ok(seen.hash()),
            At::Place(_) => self.wasi.metadata_hash(fd).await,
        }
    }

    async fn metadata_hash_at(
        &mut self,
        fd: Fd,
        flags: PathFlags,
        path: String,
    ) -> FsResult<MetadataHashValue> {
        match self.at(&fd)? {
            At::Image(seen) => Ok(seen.hash_at(flags, &path)?),
            At::Place(_) => self.wasi.metadata_hash_at(fd, flags, path).await,
        }
    }

    fn drop(&mut self, fd: Fd) -> wasmtime::Result<()> {
        let number = fd.rep();
        if self.files.opened.contains_key(&number) {
            HostDescriptor::drop(&mut self.wasi, fd)?;
            self.files.opened.remove(&number);
            return Ok(());
        }
        let seen = Resource::<Arc<Seen>>::new_own(number);
        self.wasi.table.delete(seen)?;
        Ok(())
    }
}

impl HostDirectoryEntryStream for FilesView<'_> {
    async fn read_directory_entry(
        &mut self,
        stream: Resource<DirectoryEntryStream>,
    ) -> FsResult<Option<DirectoryEntry>> {
        let listing = Resource::<Listing>::new_borrow(stream.rep());
        match self.wasi.table.get_mut(&listing) {
            Ok(listing) => Ok(listing.next()),
            Err(_) => self.wasi.read_directory_entry(stream).await,
        }
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        let number = stream.rep();
        if let Some(bytes) = self.files.listed.remove(&number) {
            self.files.listed_bytes -= bytes;
            return HostDirectoryEntryStream::drop(&mut self.wasi, stream);
        }
        let listing = Resource::<Listing>::new_own(number);
        self.wasi.table.delete(listing)?;
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
