//! Content cut into chunks, hashed and stored by several threads at once, and put together in order.
//!
//! Each thread takes the next chunk, reads, hashes and stores it on its own, and hands in its name; names
//! that come in early wait for the ones before them. So no content is ever queued: memory is one chunk a
//! thread, and a name (some hundred bytes) for each chunk that is ahead. Which thread did what changes no
//! CID.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use bytes::{Bytes, BytesMut};

use super::balanced::{Builder, Layout};
use super::{Hook, Progress};
use crate::tree::LocalFile;
use crate::unixfs::{self, Stored};
use crate::{Block, BlockStore, CidVersion, Codec, ContentError};

/// How many chunks the calling thread takes before it gets help: starting a thread and asking how many
/// processors there are takes as long as hashing a chunk.
const CHUNKS_ALONE: usize = 4;
/// The most threads. Eight hash more than a quick disk takes; each holds a chunk.
const MAX_THREADS: usize = 16;

/// Gives the chunks of one or more files, from the first to the last.
pub(super) trait Source: Send {
    /// The next chunk, at most as long as `buffer`, which may be used to read it; `None` when all files
    /// are done. A file has at least one chunk, and only its first may be empty.
    fn next(&mut self, buffer: &mut [u8]) -> Result<Option<Chunk>, ContentError>;
}

/// A chunk of a file.
pub(super) struct Chunk {
    pub(super) content: Content,
    pub(super) ends_file: bool,
}

/// Where the bytes of a chunk are.
pub(super) enum Content {
    /// At the front of the buffer, that many.
    Read(usize),
    /// In a file, at that offset, as many as fit into the buffer.
    At(Arc<LocalFile>, u64),
    /// Nowhere: the file ended with the chunk before.
    Nothing,
}

/// Stores the files of `source` and returns their roots, in order. The first error ends it.
pub(super) fn store(
    store: &dyn BlockStore,
    version: CidVersion,
    layout: Layout,
    source: &mut dyn Source,
    hook: &mut Hook<'_>,
) -> Result<Vec<Stored>, ContentError> {
    let work = Work {
        store,
        version,
        layout,
        source: Mutex::new((source, 0)),
        assembly: Mutex::new(Assembly {
            early: BTreeMap::new(),
            next: 0,
            builder: None,
            files: Vec::new(),
            bytes: 0,
            hook,
            failed: None,
        }),
        over: AtomicBool::new(false),
    };
    work.take_part(CHUNKS_ALONE);
    if !work.over.load(Ordering::Relaxed) {
        let threads = thread::available_parallelism()
            .map_or(1, NonZeroUsize::get)
            .min(MAX_THREADS);
        thread::scope(|scope| {
            for _ in 1..threads {
                // A machine that gives no further thread has this one.
                let _ = thread::Builder::new()
                    .name("import".to_owned())
                    .spawn_scoped(scope, || work.take_part(usize::MAX));
            }
            work.take_part(usize::MAX);
        });
    }
    let assembly = work
        .assembly
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    match assembly.failed {
        Some(error) => Err(error),
        None => Ok(assembly.files),
    }
}

/// What the threads share.
struct Work<'a> {
    store: &'a dyn BlockStore,
    version: CidVersion,
    layout: Layout,
    /// The source, and the number of the next chunk.
    source: Mutex<(&'a mut dyn Source, u64)>,
    assembly: Mutex<Assembly<'a>>,
    /// There is nothing left to take, or no sense in it.
    over: AtomicBool,
}

/// A chunk that is done.
struct Done {
    leaf: Option<Stored>,
    ends_file: bool,
    file: Option<Arc<LocalFile>>,
}

struct Assembly<'a> {
    /// Chunks that wait for the ones before them.
    early: BTreeMap<u64, Done>,
    /// The number of the chunk that is put in its place next.
    next: u64,
    builder: Option<Builder<'a>>,
    files: Vec<Stored>,
    bytes: u64,
    hook: &'a mut Hook<'a>,
    failed: Option<ContentError>,
}

impl Work<'_> {
    /// Takes chunks until there are none, or `most` are done.
    fn take_part(&self, most: usize) {
        let mut buffer = BytesMut::zeroed(self.layout.chunk_bytes);
        for _ in 0..most {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            match self.one(&mut buffer) {
                Ok(true) => {}
                Ok(false) => self.over.store(true, Ordering::Relaxed),
                Err(error) => {
                    self.over.store(true, Ordering::Relaxed);
                    lock(&self.assembly).failed.get_or_insert(error);
                }
            }
        }
    }

    /// Takes one chunk and stores it; false if there is none.
    fn one(&self, buffer: &mut BytesMut) -> Result<bool, ContentError> {
        let (number, chunk) = {
            let mut source = lock(&self.source);
            let Some(chunk) = source.0.next(buffer)? else {
                return Ok(false);
            };
            let number = source.1;
            source.1 = number.saturating_add(1);
            (number, chunk)
        };
        let (leaf, file) = match chunk.content {
            Content::Nothing => (None, None),
            Content::Read(filled) => (Some(self.leaf(buffer, filled)?), None),
            Content::At(file, offset) => {
                let filled = file.read_at(offset, buffer)?;
                if chunk.ends_file {
                    file.check_end()?;
                }
                (Some(self.leaf(buffer, filled)?), Some(file))
            }
        };
        let ends_file = chunk.ends_file;
        lock(&self.assembly).take(
            self,
            number,
            Done {
                leaf,
                ends_file,
                file,
            },
        )?;
        Ok(true)
    }

    /// Stores the front of `buffer` as a leaf.
    fn leaf(&self, buffer: &mut BytesMut, filled: usize) -> Result<Stored, ContentError> {
        if self.version == CidVersion::V0 {
            let content = buffer.get(..filled).unwrap_or_default();
            return super::put(self.store, self.version, unixfs::leaf_block(content)?);
        }
        let whole = filled == buffer.len();
        let content = if whole {
            std::mem::take(buffer).freeze()
        } else {
            Bytes::copy_from_slice(buffer.get(..filled).unwrap_or_default())
        };
        let block = Block::new(Codec::Raw, content.clone())?;
        self.store.put(&block)?;
        let cid = *block.cid();
        drop(block);
        if whole {
            // The buffer serves again, unless the store has kept it.
            *buffer = content
                .try_into_mut()
                .unwrap_or_else(|_| BytesMut::zeroed(self.layout.chunk_bytes));
        }
        Ok(Stored {
            cid,
            file_bytes: filled as u64,
            dag_bytes: filled as u64,
        })
    }
}

impl<'a> Assembly<'a> {
    fn take(&mut self, work: &Work<'a>, number: u64, done: Done) -> Result<(), ContentError> {
        self.early.insert(number, done);
        while let Some(done) = self.early.remove(&self.next) {
            self.next = self.next.saturating_add(1);
            if let Some(leaf) = done.leaf {
                self.bytes = self.bytes.saturating_add(leaf.file_bytes);
                match &mut self.builder {
                    None => {
                        self.builder =
                            Some(Builder::new(work.store, work.version, work.layout, leaf));
                    }
                    Some(builder) => builder.push(leaf)?,
                }
            }
            if let Some(builder) = self.builder.take_if(|_| done.ends_file) {
                self.files.push(builder.finish()?);
            }
            let progress = Progress {
                bytes: self.bytes,
                path: done.file.as_deref().map_or("", LocalFile::path),
            };
            if (self.hook)(progress).is_break() {
                return Err(ContentError::Cancelled);
            }
        }
        Ok(())
    }
}

/// What a thread that panicked left is not used: its panic is passed on when it is joined.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
