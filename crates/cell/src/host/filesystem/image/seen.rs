//! What a guest has open of its image, and what it is told of it.

use super::super::descriptors::Held;
use super::turns::{Turns, Underway};
use super::walk::walk;
use super::{IMAGE_ROOT, ImageFile, ImageNode, ImageTree, Listing};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::Arc;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorFlags, DescriptorStat, DescriptorType, ErrorCode, MetadataHashValue, OpenFlags,
    PathFlags,
};

type Result<T> = std::result::Result<T, ErrorCode>;

/// The most that one call reads, in bytes: as wasmtime-wasi's own. A guest that wants more asks again.
pub(super) const READ_BYTES: usize = 64 << 10;

/// Something that is open. As long as one of these is there, it counts.
pub(in super::super) struct Seen {
    image: Arc<dyn ImageTree>,
    number: u64,
    /// What it reads, if it is a file.
    file: Option<Opened>,
    turns: Turns,
    /// What it took to open it: nothing for the root.
    _held: Option<Held>,
}

struct Opened {
    file: Arc<dyn ImageFile>,
    bytes: u64,
}

impl Seen {
    /// The root of an image.
    pub(in super::super) fn root(image: Arc<dyn ImageTree>, turns: Turns) -> Self {
        Self {
            image,
            number: IMAGE_ROOT,
            file: None,
            turns,
            _held: None,
        }
    }

    /// Opens what a path leads to from here.
    pub(in super::super) async fn open_at(
        &self,
        path_flags: PathFlags,
        path: &str,
        open_flags: OpenFlags,
        flags: DescriptorFlags,
        held: Held,
    ) -> Result<Self> {
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
        if open_flags.intersects(making) || flags.contains(DescriptorFlags::WRITE) {
            return Err(ErrorCode::ReadOnly);
        }
        let number = self.walk(path_flags, path)?;
        let file = match self.image.node(number) {
            Some(ImageNode::Directory) => None,
            // As open does that is not to follow links.
            Some(ImageNode::Link { .. }) => return Err(ErrorCode::Loop),
            Some(ImageNode::File { .. }) if directory => return Err(ErrorCode::NotDirectory),
            Some(ImageNode::File { bytes }) => {
                let image = self.image.clone();
                let file = self.turns.start(move || image.open(number)).await?;
                Some(Opened { file, bytes })
            }
            None => return Err(ErrorCode::NoEntry),
        };
        Ok(Self {
            image: self.image.clone(),
            number,
            file,
            turns: self.turns.clone(),
            _held: Some(held),
        })
    }

    fn walk(&self, flags: PathFlags, path: &str) -> Result<u64> {
        let follow = flags.contains(PathFlags::SYMLINK_FOLLOW);
        walk(&*self.image, self.number, path, follow)
    }

    pub(in super::super) fn is_directory(&self) -> bool {
        self.file.is_none()
    }

    /// A listing of this directory.
    pub(in super::super) fn list(&self) -> Result<Listing> {
        match self.file {
            None => Ok(Listing::new(self.image.clone(), self.number)),
            Some(_) => Err(ErrorCode::NotDirectory),
        }
    }

    /// What it may be used for.
    pub(in super::super) fn flags(&self) -> DescriptorFlags {
        DescriptorFlags::READ
    }

    pub(in super::super) fn kind(&self) -> DescriptorType {
        match self.file {
            None => DescriptorType::Directory,
            Some(_) => DescriptorType::RegularFile,
        }
    }

    pub(in super::super) fn stat(&self) -> Result<DescriptorStat> {
        stat(&*self.image, self.number)
    }

    pub(in super::super) fn stat_at(&self, flags: PathFlags, path: &str) -> Result<DescriptorStat> {
        stat(&*self.image, self.walk(flags, path)?)
    }

    /// What the link at this path says.
    pub(in super::super) fn readlink_at(&self, path: &str) -> Result<String> {
        match self.image.node(self.walk(PathFlags::empty(), path)?) {
            Some(ImageNode::Link { target }) => Ok(target.to_owned()),
            _ => Err(ErrorCode::Invalid),
        }
    }

    pub(in super::super) fn is_same(&self, other: &Self) -> bool {
        self.number == other.number && Arc::ptr_eq(&self.image, &other.image)
    }

    pub(in super::super) fn hash(&self) -> MetadataHashValue {
        hash(self.number)
    }

    pub(in super::super) fn hash_at(
        &self,
        flags: PathFlags,
        path: &str,
    ) -> Result<MetadataHashValue> {
        Ok(hash(self.walk(flags, path)?))
    }

    /// Reads up to `length` bytes from `offset` on, at most [`READ_BYTES`], and tells whether that was the
    /// end of the file.
    pub(in super::super) async fn read(&self, length: u64, offset: u64) -> Result<(Vec<u8>, bool)> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let bytes = match self.begin(length, offset)? {
            Read::End => return Ok((Vec::new(), true)),
            Read::Done(bytes) => bytes,
            Read::Begun(task) => task.await?,
        };
        let end = bytes.is_empty() && length > 0;
        Ok((bytes, end))
    }

    /// Begins to read, and has done so if the bytes are at hand.
    pub(super) fn begin(&self, length: usize, offset: u64) -> Result<Read> {
        let opened = self.file.as_ref().ok_or(ErrorCode::BadDescriptor)?;
        let left = opened.bytes.saturating_sub(offset);
        if left == 0 {
            return Ok(Read::End);
        }
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let mut buffer = vec![0; length.min(left).min(READ_BYTES)];
        if let Some(read) = opened.file.read_now(offset, &mut buffer) {
            buffer.truncate(read);
            return Ok(Read::Done(buffer));
        }
        let file = opened.file.clone();
        Ok(Read::Begun(self.turns.start(move || {
            let read = loop {
                match file.read_at(offset, &mut buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    other => break other?,
                }
            };
            buffer.truncate(read);
            Ok(buffer)
        })))
    }
}

/// What has become of a read.
pub(super) enum Read {
    /// There is nothing more.
    End,
    Done(Vec<u8>),
    Begun(Underway<Vec<u8>>),
}

fn stat(image: &dyn ImageTree, number: u64) -> Result<DescriptorStat> {
    let node = image.node(number).ok_or(ErrorCode::NoEntry)?;
    Ok(DescriptorStat {
        type_: kind(node),
        link_count: 1,
        size: match node {
            ImageNode::Directory => 0,
            ImageNode::File { bytes } => bytes,
            ImageNode::Link { target } => target.len() as u64,
        },
        // An image is its bytes and names. The same image is the same everywhere.
        data_access_timestamp: None,
        data_modification_timestamp: None,
        status_change_timestamp: None,
    })
}

pub(super) fn kind(node: ImageNode<'_>) -> DescriptorType {
    match node {
        ImageNode::Directory => DescriptorType::Directory,
        ImageNode::File { .. } => DescriptorType::RegularFile,
        ImageNode::Link { .. } => DescriptorType::SymbolicLink,
    }
}

/// Nodes differ in this, from each other and from what is in the writable places.
fn hash(number: u64) -> MetadataHashValue {
    let half = |which: &str| {
        let mut hasher = DefaultHasher::new();
        ("a node of the image", which, number).hash(&mut hasher);
        hasher.finish()
    };
    MetadataHashValue {
        lower: half("lower"),
        upper: half("upper"),
    }
}
