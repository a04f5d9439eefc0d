//! A file over blocks, read where one wants.
//!
//! The nodes of a file say how many bytes lie below each of their links, so a read goes straight to the
//! blocks that hold the wanted bytes and reads no others. Every block is verified, and so is the shape:
//! what lies below a link must be a file of exactly the size that the link's node gives it, whatever the
//! nesting. What was read is kept, verified, in a [`Cache`] of bounded size, so that small reads one after
//! the other do not hash a block again; files that are open at once can share one. An open file holds no
//! block itself: however many are open, they take the memory of their caches, and of the reads under way.
//!
//! Refused: directories and links, files beyond [`MAX_TOTAL_BYTES`], sizes that do not agree, and nesting
//! beyond [`MAX_DEPTH`]. Nothing recurses. A file of very small or empty parts is no way to keep us busy:
//! a call looks at no further part after [`MAX_STEPS_A_READ`] blocks, read or cached, each counted as often
//! as it is come to, and gives fewer bytes instead. A call that must not wait ends after
//! [`MAX_STEPS_AT_ONCE`].

mod cache;
mod way;

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use cid::Cid;

pub use self::cache::Cache;

use self::cache::FileNode;
use self::way::{Nodes, Way};
use crate::store::need;
use crate::tree::{MAX_TOTAL_BYTES, TreeError};
use crate::{BlockStore, ContentError};

/// The most nodes above a block of a file. A file of the largest size in chunks of 8 KiB with two links to
/// a node has 20.
pub const MAX_DEPTH: usize = 64;
/// After how many blocks a call gives what it has, if that is anything; the first bytes take at most
/// [`MAX_DEPTH`] + 1. In chunks of Kubo's size this many hold 256 MiB, in the smallest that anybody writes
/// (a few KiB) still some MiB.
pub const MAX_STEPS_A_READ: usize = 1024;
/// As [`MAX_STEPS_A_READ`], for a call that reads the cache alone, on a thread that has other things to do:
/// some tens of microseconds, and in chunks of 4 KiB still 200 KiB.
pub const MAX_STEPS_AT_ONCE: usize = 64;
/// How many nodes a call holds on the way to its bytes, so that it need not come from the root for each
/// part: the whole way in every file of Kubo's shape up to 1 TiB. Not all of a way of [`MAX_DEPTH`], since
/// each node may be one of the largest blocks.
const MAX_HELD: usize = 4;
/// How much the cache of a file that was opened without one keeps, in bytes: two of the largest blocks.
const OWN_CACHE_BYTES: usize = 2 * crate::MAX_BLOCK_BYTES;

/// An open file. Cheap to clone; any number of threads may read at once.
#[derive(Clone)]
pub struct File {
    store: Arc<dyn BlockStore>,
    cache: Arc<Cache>,
    cid: Cid,
    bytes: u64,
}

impl File {
    /// Opens the file `cid`, with a cache of its own of 4 MiB. Reads its first block.
    ///
    /// Errors: [`ContentError::NotAFile`] for directories and links, [`ContentError::Tree`] for a file
    /// beyond [`MAX_TOTAL_BYTES`], [`ContentError::BlockMissing`] and the refusals of content.
    pub fn open(store: Arc<dyn BlockStore>, cid: &Cid) -> Result<Self, ContentError> {
        Self::open_with(store, Arc::new(Cache::new(OWN_CACHE_BYTES)), cid)
    }

    /// As [`File::open`], with a cache that other files may share. Reads nothing if its first block is in
    /// there.
    pub fn open_with(
        store: Arc<dyn BlockStore>,
        cache: Arc<Cache>,
        cid: &Cid,
    ) -> Result<Self, ContentError> {
        let root = load(&*store, &cache, cid)?.ok_or(ContentError::NotAFile { cid: *cid })?;
        let bytes = root.bytes();
        if bytes > MAX_TOTAL_BYTES {
            return Err(TreeError::TooManyBytes {
                limit: MAX_TOTAL_BYTES,
            }
            .into());
        }
        Ok(Self {
            store,
            cache,
            cid: *cid,
            bytes,
        })
    }

    /// As [`File::open_with`], for a file that was listed with that many bytes: one of another size is
    /// refused with [`ContentError::SizeDiffers`].
    pub fn open_listed(
        store: Arc<dyn BlockStore>,
        cache: Arc<Cache>,
        cid: &Cid,
        listed: u64,
    ) -> Result<Self, ContentError> {
        let file = Self::open_with(store, cache, cid)?;
        let found = file.bytes;
        if found != listed {
            return Err(ContentError::SizeDiffers {
                cid: *cid,
                listed,
                found,
            });
        }
        Ok(file)
    }

    /// Its name.
    pub fn cid(&self) -> &Cid {
        &self.cid
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Fills the front of `buffer` with what stands at `offset` and returns how many bytes that are: 0 only
    /// at the end or for an empty buffer, and fewer than asked for before the end, see
    /// [`MAX_STEPS_A_READ`]. On an error, what is in `buffer` means nothing.
    ///
    /// Errors: [`ContentError::BlockMissing`], [`ContentError::SizeDiffers`], and the refusals of content.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, ContentError> {
        let node = |cid: &Cid, bytes| {
            let node = load(&*self.store, &self.cache, cid)?.ok_or(ContentError::Malformed {
                cid: *cid,
                why: "it is part of a file and is no file",
            })?;
            node.expect(bytes)?;
            Ok(Some(node))
        };
        self.fill(offset, buffer, &mut Way::new(MAX_STEPS_A_READ, node))
    }

    /// Fills `buffer` with what stands at `offset`. [`ContentError::Read`] if the file ends before. Errors: as
    /// [`File::read_at`].
    pub fn read_exact_at(
        &self,
        mut offset: u64,
        mut buffer: &mut [u8],
    ) -> Result<(), ContentError> {
        while !buffer.is_empty() {
            let read = self.read_at(offset, buffer)?;
            if read == 0 {
                return Err(ContentError::Read(io::ErrorKind::UnexpectedEof.into()));
            }
            offset = offset.saturating_add(read as u64);
            buffer = buffer.get_mut(read..).unwrap_or_default();
        }
        Ok(())
    }

    /// As [`File::read_at`], as far as the cache has the bytes, and with fewer of them, see
    /// [`MAX_STEPS_AT_ONCE`]: `None` if it has not even the first. Reads no store, so it does not block.
    pub fn read_cached(&self, offset: u64, buffer: &mut [u8]) -> Option<usize> {
        let is_nothing_asked = buffer.is_empty() || offset >= self.bytes;
        // What is wrong with the file is for a read that may fail to say.
        let node = |cid: &Cid, bytes| {
            let node = self.cache.get(cid);
            Ok(node.filter(|node| node.expect(bytes).is_ok()))
        };
        let filled = self.fill(offset, buffer, &mut Way::new(MAX_STEPS_AT_ONCE, node));
        filled.ok().filter(|read| *read > 0 || is_nothing_asked)
    }

    /// A reader that begins at the front.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            file: self.clone(),
            at: 0,
        }
    }

    /// Fills the front of `buffer` until it is full, the file ends, or the way does.
    fn fill<N: Nodes>(
        &self,
        offset: u64,
        buffer: &mut [u8],
        way: &mut Way<N>,
    ) -> Result<usize, ContentError> {
        let mut filled = 0;
        while let Some(free) = buffer.get_mut(filled..).filter(|free| !free.is_empty()) {
            let at = offset.saturating_add(filled as u64);
            if at >= self.bytes || (filled > 0 && way.is_over()) {
                break;
            }
            let Some(piece) = way.piece(self, at)? else {
                break;
            };
            let count = piece.len().min(free.len());
            if let (Some(to), Some(from)) = (free.get_mut(..count), piece.get(..count)) {
                to.copy_from_slice(from);
            }
            filled = filled.saturating_add(count);
        }
        Ok(filled)
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("cid", self.cid())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

/// One node of a file, from the cache or read, verified and kept there; `None` if it is something else.
fn load(
    store: &dyn BlockStore,
    cache: &Cache,
    cid: &Cid,
) -> Result<Option<Arc<FileNode>>, ContentError> {
    if let Some(node) = cache.get(cid) {
        return Ok(Some(node));
    }
    let node = FileNode::of(&need(store, cid)?)?;
    Ok(node.map(|node| cache.keep(node)))
}

/// A place in a file. Errors of content come as [`io::Error`]s with the [`ContentError`] inside.
#[derive(Clone, Debug)]
pub struct Cursor {
    file: File,
    at: u64,
}

impl Read for Cursor {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self
            .file
            .read_at(self.at, buffer)
            .map_err(io::Error::other)?;
        self.at = self.at.saturating_add(read as u64);
        Ok(read)
    }
}

impl Seek for Cursor {
    /// As with local files, a place beyond the end is allowed, and nothing is read there.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.file.bytes().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = place.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::*;

    use super::*;
    use crate::unixfs::{Stored, directory_block, file_block, leaf_block, link_block};
    use crate::{Block, Codec, MemoryStore};

    /// Counts what is read of it.
    #[derive(Default)]
    struct Counting {
        store: MemoryStore,
        reads: AtomicUsize,
    }

    impl Counting {
        fn reads(&self) -> usize {
            self.reads.swap(0, Ordering::Relaxed)
        }
    }

    impl BlockStore for Counting {
        fn put(&self, block: &Block) -> Result<(), ContentError> {
            self.store.put(block)
        }
        fn get(&self, cid: &Cid) -> Result<Option<Block>, ContentError> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            self.store.get(cid)
        }
        fn has(&self, cid: &Cid) -> Result<bool, ContentError> {
            self.store.has(cid)
        }
    }

    fn put(store: &dyn BlockStore, made: (Block, Stored)) -> Stored {
        store.put(&made.0).unwrap();
        made.1
    }

    fn leaf(store: &dyn BlockStore, bytes: &[u8]) -> Stored {
        let block = Block::new(Codec::Raw, bytes.to_vec()).unwrap();
        store.put(&block).unwrap();
        Stored {
            cid: *block.cid(),
            file_bytes: bytes.len() as u64,
            dag_bytes: bytes.len() as u64,
        }
    }

    fn node(store: &dyn BlockStore, parts: &[Stored]) -> Stored {
        put(store, file_block(parts).unwrap())
    }

    /// "0123456789" over three levels: ((012)(34))((567)(89)).
    fn digits(store: &dyn BlockStore) -> Stored {
        let left = node(store, &[leaf(store, b"012"), leaf(store, b"34")]);
        let right = node(store, &[leaf(store, b"567"), leaf(store, b"89")]);
        node(store, &[left, right])
    }

    #[test]
    fn a_read_takes_the_blocks_that_it_needs_and_no_block_twice() {
        let store = Arc::new(Counting::default());
        let file = File::open(store.clone(), &digits(&*store).cid).unwrap();
        assert_eq!((file.bytes(), store.reads()), (10, 1));
        let mut one = [0];
        for (at, byte, reads) in [(6, b'6', 2), (5, b'5', 0), (8, b'8', 1), (0, b'0', 2)] {
            assert_eq!(file.read_at(at, &mut one).unwrap(), 1);
            assert_eq!((one[0], store.reads()), (byte, reads), "at {at}");
        }
        let mut all = [0; 20];
        assert_eq!(file.read_at(0, &mut all).unwrap(), 10);
        assert_eq!((&all[..10], store.reads()), (&b"0123456789"[..], 1));
        assert_eq!(file.read_at(10, &mut all).unwrap(), 0);
        assert_eq!(file.read_at(u64::MAX, &mut all).unwrap(), 0);
    }

    #[test]
    fn what_was_read_before_is_in_the_cache_and_nothing_else_is() {
        let store = Arc::new(Counting::default());
        let file = File::open(store.clone(), &digits(&*store).cid).unwrap();
        let mut buffer = [0; 20];
        assert_eq!(file.read_cached(5, &mut buffer), None);
        file.read_at(5, &mut buffer[..1]).unwrap();
        store.reads();
        assert_eq!(file.read_cached(6, &mut buffer), Some(2));
        assert_eq!(&buffer[..2], b"67");
        assert_eq!(file.read_cached(4, &mut buffer), None);
        file.read_at(0, &mut buffer).unwrap();
        store.reads();
        assert_eq!(file.read_cached(1, &mut buffer), Some(9));
        assert_eq!(&buffer[..9], b"123456789");
        assert_eq!(file.read_cached(10, &mut buffer), Some(0));
        assert_eq!(store.reads(), 0);
    }

    #[test]
    fn a_cursor_reads_on_and_seeks_like_a_file() {
        let store = Arc::new(MemoryStore::default());
        let mut cursor = File::open(store.clone(), &digits(&*store).cid)
            .unwrap()
            .cursor();
        let mut text = String::new();
        assert_eq!(cursor.seek(SeekFrom::End(-3)).unwrap(), 7);
        cursor.read_to_string(&mut text).unwrap();
        assert_eq!(text, "789");
        assert_eq!(cursor.seek(SeekFrom::Current(-9)).unwrap(), 1);
        assert!(cursor.seek(SeekFrom::Current(-2)).is_err());
        assert_eq!(cursor.seek(SeekFrom::Start(99)).unwrap(), 99);
        assert_eq!(cursor.read(&mut [0; 4]).unwrap(), 0);
    }

    #[test]
    fn directories_and_links_are_no_files() {
        let store = Arc::new(MemoryStore::default());
        for made in [directory_block(&[]), link_block("x")] {
            let cid = put(&*store, made.unwrap()).cid;
            assert!(matches!(
                File::open(store.clone(), &cid),
                Err(ContentError::NotAFile { .. })
            ));
            let parent = node(
                &*store,
                &[Stored {
                    cid,
                    file_bytes: 1,
                    dag_bytes: 1,
                }],
            );
            let file = File::open(store.clone(), &parent.cid).unwrap();
            let refused = file.read_at(0, &mut [0]);
            assert!(matches!(refused, Err(ContentError::Malformed { .. })));
        }
    }

    #[test]
    fn a_size_that_is_not_true_is_refused_by_name() {
        let store = Arc::new(MemoryStore::default());
        let mut liar = leaf(&*store, b"four");
        let cid = liar.cid;
        liar.file_bytes = 5;
        let file = File::open(store.clone(), &node(&*store, &[liar]).cid).unwrap();
        let refused = file.read_at(0, &mut [0]);
        assert!(matches!(
            refused,
            Err(ContentError::SizeDiffers {
                listed: 5,
                found: 4,
                ..
            })
        ));
        let cache = Arc::new(Cache::new(9));
        let listed = |bytes| File::open_listed(store.clone(), cache.clone(), &cid, bytes);
        assert!(listed(4).is_ok());
        assert!(matches!(
            listed(5),
            Err(ContentError::SizeDiffers {
                listed: 5,
                found: 4,
                ..
            })
        ));
    }

    #[test]
    fn files_beyond_the_limits_of_size_and_depth_are_refused() {
        let store = Arc::new(MemoryStore::default());
        let mut huge = leaf(&*store, b"x");
        huge.file_bytes = MAX_TOTAL_BYTES + 1;
        let refused = File::open(store.clone(), &node(&*store, &[huge]).cid);
        assert!(matches!(
            refused,
            Err(ContentError::Tree(TreeError::TooManyBytes { .. }))
        ));
        let mut deep = leaf(&*store, b"x");
        for depth in 1..=MAX_DEPTH + 1 {
            deep = node(&*store, &[deep]);
            let read = File::open(store.clone(), &deep.cid)
                .unwrap()
                .read_at(0, &mut [0]);
            assert_eq!(read.is_ok(), depth <= MAX_DEPTH, "{depth} deep");
        }
    }

    #[test]
    fn a_file_of_tiny_parts_gives_less_at_a_time() {
        let store = Arc::new(Counting::default());
        let parts: Vec<_> = (0..4096_u32)
            .map(|n| leaf(&*store, &n.to_be_bytes()))
            .collect();
        let file = File::open(store.clone(), &node(&*store, &parts).cid).unwrap();
        let mut buffer = vec![0; 4 * 4096];
        store.reads();
        let leaves = MAX_STEPS_A_READ - 1;
        assert_eq!(file.read_at(0, &mut buffer).unwrap(), 4 * leaves);
        assert_eq!(store.reads(), leaves);
    }

    /// Forwards to a cache, and counts the nodes that are come to.
    fn steps(file: &File, buffer: &mut [u8], max_steps: usize) -> (usize, usize) {
        let steps = AtomicUsize::new(0);
        let node = |cid: &Cid, _| {
            steps.fetch_add(1, Ordering::Relaxed);
            Ok(file.cache.get(cid))
        };
        let read = file.fill(0, buffer, &mut Way::new(max_steps, node));
        (read.unwrap(), steps.into_inner())
    }

    #[test]
    fn shared_blocks_that_unfold_to_millions_of_steps_are_given_a_few_at_a_time() {
        let store = Arc::new(Counting::default());
        let mut below = leaf(&*store, b"x");
        for _ in 0..60 {
            below = node(&*store, &[below]);
        }
        let many = node(&*store, &vec![below; 8000]);
        let root = node(&*store, &vec![many; 30]);
        let file = File::open(store.clone(), &root.cid).unwrap();
        assert_eq!(file.bytes(), 240_000);
        let mut buffer = vec![0; 64 * 1024];
        let read = file.read_at(0, &mut buffer).unwrap();
        // 63 steps to the first byte, and 61 to each further one.
        assert_eq!(read, 1 + (MAX_STEPS_A_READ - 63).div_ceil(61));
        assert!(buffer[..read].iter().all(|byte| *byte == b'x'));
        store.reads();
        assert_eq!(file.read_cached(0, &mut buffer), Some(2));
        assert_eq!(store.reads(), 0);
        for max_steps in [MAX_STEPS_AT_ONCE, MAX_STEPS_A_READ] {
            let (read, steps) = steps(&file, &mut buffer, max_steps);
            assert!(read > 0);
            assert!(steps <= max_steps + MAX_DEPTH + 1, "{steps}");
        }
    }

    #[test]
    fn pieces_that_lie_side_by_side_are_one_step_apart() {
        let store = Arc::new(MemoryStore::default());
        let leaves: Vec<_> = (0..40_u8).map(|n| leaf(&*store, &[n])).collect();
        let middle = node(&*store, &[node(&*store, &leaves)]);
        let file = File::open(store.clone(), &middle.cid).unwrap();
        let mut buffer = [0; 40];
        assert_eq!(file.read_at(0, &mut buffer).unwrap(), 40);
        assert!(buffer.iter().copied().eq(0..40));
        assert_eq!(steps(&file, &mut buffer, usize::MAX), (40, 42));
        assert_eq!(file.read_cached(0, &mut buffer), Some(40));
    }

    #[test]
    fn open_files_hold_no_block_of_their_own() {
        let store = Arc::new(Counting::default());
        let root = node(&*store, &vec![leaf(&*store, b"x"); 8000]).cid;
        let cache = Arc::new(Cache::new(OWN_CACHE_BYTES));
        let files: Vec<_> = (0..60)
            .map(|_| File::open_with(store.clone(), cache.clone(), &root).unwrap())
            .collect();
        assert_eq!(store.reads(), 1);
        let kept = cache.get(&root).unwrap();
        // This one and the cache's.
        assert_eq!(Arc::strong_count(&kept), 2);
        drop(files);
    }

    #[test]
    fn a_read_holds_few_of_the_nodes_on_its_way() {
        let store = Arc::new(MemoryStore::default());
        let mut deep = leaf(&*store, b"xy");
        for _ in 0..MAX_DEPTH {
            deep = node(&*store, &[deep]);
        }
        let file = File::open(store, &deep.cid).unwrap();
        file.read_at(0, &mut [0; 2]).unwrap();
        let mut way = Way::new(usize::MAX, |cid: &Cid, _| Ok(file.cache.get(cid)));
        assert_eq!(&way.piece(&file, 0).unwrap().unwrap()[..], b"xy");
        assert_eq!(way.held(), MAX_HELD);
        assert_eq!(&way.piece(&file, 1).unwrap().unwrap()[..], b"y");
    }

    #[test]
    fn files_share_a_cache_and_a_cache_that_is_too_small_changes_no_byte() {
        let store = Arc::new(Counting::default());
        let cid = digits(&*store).cid;
        let shared = Arc::new(Cache::new(OWN_CACHE_BYTES));
        for reads in [7, 0] {
            let file = File::open_with(store.clone(), shared.clone(), &cid).unwrap();
            let mut all = [0; 10];
            file.read_at(0, &mut all).unwrap();
            assert_eq!((&all, store.reads()), (b"0123456789", reads));
        }
        let file = File::open_with(store.clone(), Arc::new(Cache::new(0)), &cid).unwrap();
        let mut all = [0; 10];
        assert_eq!(file.read_at(0, &mut all).unwrap(), 10);
        assert_eq!(&all, b"0123456789");
    }

    /// A file of some shape: leaves, or nodes over what is drawn below.
    #[derive(Clone, Debug)]
    enum Shape {
        Leaf(Vec<u8>),
        /// A leaf of version 0.
        Wrapped(Vec<u8>),
        Node(Vec<Shape>),
    }

    fn shapes() -> impl Strategy<Value = Shape> {
        let content = || proptest::collection::vec(any::<u8>(), 0..9);
        let leaf = prop_oneof![
            content().prop_map(Shape::Leaf),
            content().prop_map(Shape::Wrapped)
        ];
        leaf.prop_recursive(5, 60, 5, |below| {
            proptest::collection::vec(below, 0..5).prop_map(Shape::Node)
        })
    }

    fn store_shape(store: &dyn BlockStore, shape: &Shape, bytes: &mut Vec<u8>) -> Stored {
        match shape {
            Shape::Leaf(content) => {
                bytes.extend_from_slice(content);
                leaf(store, content)
            }
            Shape::Wrapped(content) => {
                bytes.extend_from_slice(content);
                put(store, leaf_block(content).unwrap())
            }
            Shape::Node(parts) => {
                let parts: Vec<_> = parts
                    .iter()
                    .map(|part| store_shape(store, part, bytes))
                    .collect();
                node(store, &parts)
            }
        }
    }

    proptest! {
        #[test]
        fn any_read_of_any_shape_gives_the_bytes_that_stand_there(
            shape in shapes(),
            reads in proptest::collection::vec((0_u64..120, 0_usize..60), 1..20),
            cache_bytes in 0_usize..2000,
        ) {
            let store = Arc::new(MemoryStore::default());
            let mut bytes = Vec::new();
            let cid = store_shape(&*store, &shape, &mut bytes).cid;
            let cache = Arc::new(Cache::new(cache_bytes));
            let file = File::open_with(store, cache, &cid).unwrap();
            prop_assert_eq!(file.bytes(), bytes.len() as u64);
            for (at, count) in reads {
                let mut buffer = vec![0; count];
                let read = file.read_at(at, &mut buffer).unwrap();
                let rest = bytes.get(at as usize..).unwrap_or_default();
                prop_assert_eq!(&buffer[..read], &rest[..count.min(rest.len())]);
            }
        }

        /// Somebody writes another node in the place of an honest one, and whoever reads it gets what it
        /// says or a refusal, but the same in every way of reading.
        #[test]
        fn nodes_that_were_meddled_with_read_the_same_in_every_way(
            shape in shapes(),
            at in any::<proptest::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let store = Arc::new(MemoryStore::default());
            let root = store_shape(&*store, &shape, &mut Vec::new());
            let mut bytes = store.get(&root.cid).unwrap().unwrap().bytes().to_vec();
            prop_assume!(!bytes.is_empty());
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let block = Block::new(Codec::of(&root.cid).unwrap(), bytes).unwrap();
            store.put(&block).unwrap();
            let mut exported = Vec::new();
            let whole = crate::export::file(&*store, block.cid(), &mut exported);
            let read = File::open(store, block.cid()).and_then(|file| {
                let mut bytes = vec![0; file.bytes().min(1000) as usize];
                let read = file.read_at(0, &mut bytes)?;
                assert_eq!(read, bytes.len());
                Ok(bytes)
            });
            if whole.is_ok() {
                prop_assert_eq!(read.unwrap(), exported);
            }
        }
    }
}
