//! What this crate refuses, one variant a reason. Each message is one line that ends in what to do
//! where there is something to do. Text that came from outside is printed escaped, so that a hostile
//! name cannot forge a second line or drive a terminal.

use std::io;
use std::path::PathBuf;

use cid::Cid;

use crate::car::CarError;
use crate::dag::DagError;
use crate::name::{KeyError, NameError};
use crate::pins::PinError;
use crate::remote::RemoteError;
use crate::tree::TreeError;

/// Why a block, a store, a path or a tree was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContentError {
    /// A block's bytes do not hash to the CID it was stored or sent under.
    #[error("block {cid} is corrupt: its bytes do not hash to its name; push or fetch it again")]
    BlockCorrupt {
        /// The name that the bytes do not have.
        cid: Cid,
    },
    /// A block is needed and the store has no such block.
    #[error("block {cid} is not in this store; push or fetch the content that it belongs to")]
    BlockMissing {
        /// The block that was asked for.
        cid: Cid,
    },
    /// A block is larger than any peer would take.
    #[error("a block of {bytes} bytes is over the limit of {limit}")]
    BlockTooBig {
        /// Its size in bytes.
        bytes: u64,
        /// The largest size allowed, in bytes.
        limit: u64,
    },
    /// The CID uses another hash than sha2-256, or a shortened one.
    #[error(
        "{cid} is not named by a whole sha2-256 hash; add the content again with `--hash=sha2-256`"
    )]
    UnsupportedHash {
        /// The CID.
        cid: Cid,
    },
    /// The CID's codec is none of ours, or is not one of files and directories where those are needed.
    #[error(
        "{cid} has codec 0x{codec:x}, which cannot be read as this; files and directories are raw or \
         dag-pb, data is dag-cbor or dag-json"
    )]
    UnsupportedCodec {
        /// The CID.
        cid: Cid,
        /// Its multicodec.
        codec: u64,
    },
    /// The block hashes to its name, but what is in it is not UnixFS.
    #[error("block {cid} is not valid UnixFS: {why}")]
    Malformed {
        /// The block.
        cid: Cid,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A file, or a part of one, is not as large as whoever points at it says.
    #[error("{cid} has {found} bytes and was listed with {listed}; publish it again")]
    SizeDiffers {
        /// The file or part.
        cid: Cid,
        /// The size that it was listed with, in bytes.
        listed: u64,
        /// Its size in bytes.
        found: u64,
    },
    /// A directory that is split into shards in another way than Kubo's.
    #[error(
        "directory {cid} is sharded by hash 0x{hash:x} and {fan_out} slots; add it again with Kubo's defaults (0x22, 256)"
    )]
    UnsupportedSharding {
        /// The root of the sharded directory, or a shard of it.
        cid: Cid,
        /// The multicodec of its hash; 0 if it does not say.
        hash: u64,
        /// The slots of a shard; 0 if it does not say.
        fan_out: u64,
    },
    /// Two names of a large directory cannot be told apart by the hash that it would be ordered by.
    #[error("{first:?} and {second:?} have the same hash; rename one of them")]
    NamesCollide {
        /// One name.
        first: String,
        /// The other.
        second: String,
    },
    /// Reading took more blocks than an honest tree of that size has.
    #[error("{cid} has more than {limit} blocks; publish it in smaller parts")]
    TooManyBlocks {
        /// The root that was being read.
        cid: Cid,
        /// The limit.
        limit: u64,
    },
    /// Reading took more bytes of directories and of the insides of files than an honest tree has.
    #[error(
        "{cid} has more than {limit} bytes of directories and file structure; publish it in smaller parts"
    )]
    TooMuchStructure {
        /// The root that was being read.
        cid: Cid,
        /// The limit in bytes.
        limit: u64,
    },
    /// A name leads to nothing.
    #[error("{name:?} not found in directory {directory}")]
    NameNotFound {
        /// The directory that was searched.
        directory: Cid,
        /// The name that it does not have.
        name: String,
    },
    /// A directory was needed.
    #[error("{cid} is not a directory")]
    NotADirectory {
        /// What was found instead.
        cid: Cid,
    },
    /// A file was needed.
    #[error("{cid} is not a file")]
    NotAFile {
        /// What was found instead.
        cid: Cid,
    },
    /// A link was needed.
    #[error("{cid} is not a symbolic link")]
    NotALink {
        /// What was found instead.
        cid: Cid,
    },
    /// Text that is no CID.
    #[error("{text:?} is not a CID: {why}")]
    CidInvalid {
        /// The text.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// Text that is no IPFS path.
    #[error("{text:?} is not an IPFS path: {why}; write /ipfs/<CID>[/name…]")]
    PathInvalid {
        /// The text.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The store's directory can be read or written by others.
    #[error("{path:?} is open to other users (mode {mode:o}); run `chmod 700` on it")]
    StoreNotPrivate {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Content is being added to the store, and what of it is not pinned yet would be lost; or somebody
    /// else collects already.
    #[error(
        "the store is in use: content is being added, or garbage collected; wait for that to end, or \
         stop it, and collect again"
    )]
    StoreBusy,
    /// Garbage is being collected, and has been for longer than a writer waits.
    #[error("garbage is being collected in the store; wait for that to end and try again")]
    StoreCollecting,
    /// The place to export to holds something already.
    #[error("{path:?} exists and is not an empty directory; name a new one")]
    DestinationOccupied {
        /// The place.
        path: PathBuf,
    },
    /// The local file system refused.
    #[error("{path:?}: {doing}: {source}")]
    Io {
        /// What it was about.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// Whoever adds this may not add so much.
    #[error("{why}")]
    Full {
        /// Which bound says so, and what it leaves.
        why: String,
    },
    /// A stream that was being added could not be read.
    #[error("reading the content to add: {0}")]
    Read(#[source] io::Error),
    /// A stream that was being exported to could not be written.
    #[error("writing the content: {0}")]
    Write(#[source] io::Error),
    /// A graph of blocks, or data in one, was refused.
    #[error(transparent)]
    Dag(#[from] DagError),
    /// The store gives blocks and takes none.
    #[error("{store:?} only gives blocks; put them into a store of your own, or into Kubo")]
    ReadOnly {
        /// The store.
        store: String,
    },
    /// Nobody gave the block, and not everybody could say that they do not have it.
    #[error("nobody gave block {cid}: {reasons}")]
    NoSource {
        /// The block that was asked for.
        cid: Cid,
        /// What went wrong at each source.
        reasons: Box<str>,
    },
    /// A CAR that was sent for a root is full of other things.
    #[error("the CAR that came for {root} holds mostly blocks that are not below it")]
    StrayBlocks {
        /// The root.
        root: Cid,
    },
    /// Somebody else's store failed.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// A CAR file was refused.
    #[error(transparent)]
    Car(#[from] CarError),
    /// Whoever asked for it had it stopped.
    #[error("stopped half-way; what is stored already is not stored again next time")]
    Cancelled,
    /// A name, or a record of one, was refused.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A key was refused.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A pin was refused.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// A tree of files was refused.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl ContentError {
    /// For `map_err`: names the path and the deed beside the system's answer.
    pub(crate) fn io(
        path: &std::path::Path,
        doing: &'static str,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            path,
            doing,
            source,
        }
    }
}
