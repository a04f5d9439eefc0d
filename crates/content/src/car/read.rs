//! Reading CAR files from a stream.

use std::collections::HashSet;
use std::io::{self, BufReader, Read, Take};

use bytes::Bytes;
use cid::Cid;
use ipld_core::ipld::Ipld;

use super::CarError;
use crate::dag::{self, Limits};
use crate::{Block, BlockStore, Codec, ContentError, MAX_BLOCK_BYTES};

/// The most roots that a header names, read or written. `ipfs dag export` writes one, archives a few; whoever
/// imports a file pins each, and may ask the store for it.
pub const MAX_ROOTS: usize = 64;

/// The longest header that is read or written, in bytes: twice that of [`MAX_ROOTS`] roots of the longest
/// names there are.
pub const MAX_HEADER_BYTES: u64 = 16 * 1024;

/// The longest section, in bytes: a block and its CID, of which ours take 36 and the longest 76.
const MAX_SECTION_BYTES: u64 = MAX_BLOCK_BYTES as u64 + 128;

/// The longest varint, in bytes: what 64 bits take.
const MAX_VARINT_BYTES: u32 = 10;

/// How version 2 begins: a header that has a version and no roots.
const V2_PRAGMA: &[u8] = b"\xa1\x67version\x02";
/// How long the header of version 2 is behind that, in bytes.
const V2_HEADER_BYTES: u64 = 40;
/// Where the content of version 2 begins at the earliest, in bytes.
const V2_CONTENT_AT: u64 = 1 + V2_PRAGMA.len() as u64 + V2_HEADER_BYTES;
/// How many bytes may stand between that header and the content; padding is to a page or two.
const MAX_V2_PADDING_BYTES: u64 = 1024 * 1024;

/// What a CAR file held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The roots that its header names.
    pub roots: Vec<Cid>,
    /// The blocks in it.
    pub blocks: u64,
}

/// Puts every block of a CAR file into `store`.
///
/// Blocks that were put before an error stay in the store, and no root is returned. To keep them from a
/// collection of garbage until they are pinned, hold [`crate::EmbeddedStore::writing`] meanwhile. Each root
/// must be in the file, or be kept on this machine before: other machines are not asked. Whether everything
/// below the roots is there is not looked at.
///
/// Errors: [`CarError`], [`ContentError::BlockCorrupt`] and the other refusals of a [`Block`],
/// [`ContentError::Read`], and what the store answers.
pub fn import(
    store: &dyn BlockStore,
    reader: &mut dyn Read,
    limits: &Limits,
) -> Result<Imported, ContentError> {
    let mut car = Reader::new(reader)?;
    // By digest, as stores know them.
    let mut absent: HashSet<_> = car.roots.iter().map(|cid| *cid.hash()).collect();
    let mut bytes = 0_u64;
    while let Some(block) = car.next_block()? {
        bytes = bytes.saturating_add(block.bytes().len() as u64);
        if car.blocks > limits.blocks {
            let limit = limits.blocks;
            return Err(CarError::TooManyBlocks { limit }.into());
        }
        if bytes > limits.bytes {
            let limit = limits.bytes;
            return Err(CarError::TooManyBytes { limit }.into());
        }
        store.put(&block)?;
        absent.remove(block.cid().hash());
    }
    for cid in &car.roots {
        if absent.contains(cid.hash()) && !store.has_here(cid)? {
            return Err(CarError::RootMissing { cid: *cid }.into());
        }
    }
    Ok(Imported {
        roots: car.roots,
        blocks: car.blocks,
    })
}

/// A CAR file that is being read. One block is in memory at a time. It reads ahead of what it gives.
#[derive(Debug)]
pub struct Reader<R> {
    reader: Take<BufReader<R>>,
    roots: Vec<Cid>,
    /// Whether the length of the content is known from its header, as in version 2.
    is_measured: bool,
    blocks: u64,
}

impl<R: Read> Reader<R> {
    /// Reads the header. Errors: [`CarError`], and [`ContentError::Read`].
    pub fn new(reader: R) -> Result<Self, ContentError> {
        let mut car = Self {
            reader: BufReader::new(reader).take(u64::MAX),
            roots: Vec::new(),
            is_measured: false,
            blocks: 0,
        };
        let mut header = car.header()?;
        if header == V2_PRAGMA {
            car.enter_v2()?;
            header = car.header()?;
        }
        car.roots = roots(&header)?;
        Ok(car)
    }

    /// What the header names; never empty. Whether those blocks are in the file is not said.
    pub fn roots(&self) -> &[Cid] {
        &self.roots
    }

    /// The next block, verified, or `None` at the end. Errors: as [`import`]. After an error the rest of
    /// the file means nothing.
    pub fn next_block(&mut self) -> Result<Option<Block>, ContentError> {
        let number = self.blocks.saturating_add(1);
        let refused = |why| CarError::Section { number, why };
        let Some(bytes) = self.varint(refused("its length is no number"))? else {
            if self.is_measured && self.reader.limit() > 0 {
                return Err(self.truncated());
            }
            return Ok(None);
        };
        if bytes > MAX_SECTION_BYTES {
            let limit = MAX_SECTION_BYTES;
            return Err(CarError::SectionTooBig {
                number,
                bytes,
                limit,
            }
            .into());
        }
        let section = Bytes::from(self.exactly(bytes)?);
        let mut rest = &section[..];
        let cid = Cid::read_bytes(&mut rest).map_err(|_| refused("its CID is not valid"))?;
        let at = section.len().saturating_sub(rest.len());
        let block = Block::verified(cid, section.slice(at..))?;
        self.blocks = number;
        Ok(Some(block))
    }

    fn header(&mut self) -> Result<Vec<u8>, ContentError> {
        let refused = |why| CarError::Header { why };
        let length = self.varint(refused("its first length is no number"))?;
        let bytes = length.ok_or_else(|| match self.is_measured {
            true => self.truncated(),
            false => refused("it is empty").into(),
        })?;
        let limit = MAX_HEADER_BYTES;
        match bytes {
            0 => Err(refused("its header is empty").into()),
            _ if bytes > limit => Err(CarError::HeaderTooBig { bytes, limit }.into()),
            _ => self.exactly(bytes),
        }
    }

    /// Reads over the header of version 2, so that what comes next is the version 1 inside.
    fn enter_v2(&mut self) -> Result<(), ContentError> {
        let refused = |why| ContentError::from(CarError::Header { why });
        let header = self.exactly(V2_HEADER_BYTES)?;
        let number = |at: usize| {
            let bytes = header.get(at..)?.first_chunk()?;
            Some(u64::from_le_bytes(*bytes))
        };
        // Sixteen bytes of flags, then where the content is and how long.
        let (Some(at), Some(bytes)) = (number(16), number(24)) else {
            return Err(refused("its header is cut off"));
        };
        let padding = at
            .checked_sub(V2_CONTENT_AT)
            .filter(|padding| *padding <= MAX_V2_PADDING_BYTES)
            .ok_or_else(|| refused("its content is not behind its header"))?;
        self.exactly(padding)?;
        self.reader.set_limit(bytes);
        self.is_measured = true;
        Ok(())
    }

    /// A length; `None` if the file ends before its first byte.
    fn varint(&mut self, refused: CarError) -> Result<Option<u64>, ContentError> {
        let mut value = 0_u64;
        for place in 0..MAX_VARINT_BYTES {
            let mut byte = [0];
            if self.read(&mut byte)? == 0 {
                return match place {
                    0 => Ok(None),
                    _ => Err(self.truncated()),
                };
            }
            let [byte] = byte;
            let (bits, shift) = (u64::from(byte & 0x7f), 7 * place);
            if (bits << shift) >> shift != bits || (byte == 0 && place > 0) {
                return Err(refused.into());
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(Some(value));
            }
        }
        Err(refused.into())
    }

    /// Allocates as the bytes come, not as they were promised.
    fn exactly(&mut self, bytes: u64) -> Result<Vec<u8>, ContentError> {
        let mut out = Vec::new();
        let read = (&mut self.reader)
            .take(bytes)
            .read_to_end(&mut out)
            .map_err(ContentError::Read)?;
        if read as u64 == bytes {
            Ok(out)
        } else {
            Err(self.truncated())
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ContentError> {
        loop {
            match self.reader.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map_err(ContentError::Read),
            }
        }
    }

    fn truncated(&self) -> ContentError {
        let blocks = self.blocks;
        CarError::Truncated { blocks }.into()
    }
}

/// The roots that a header of version 1 names.
fn roots(header: &[u8]) -> Result<Vec<Cid>, CarError> {
    let refused = |why| CarError::Header { why };
    let header = dag::decode(Codec::DagCbor, header)
        .map_err(|_| refused("its header is not strict CBOR"))?;
    let Ipld::Map(mut header) = header else {
        return Err(refused("its header is no map"));
    };
    match header.remove("version") {
        Some(Ipld::Integer(1)) => {}
        Some(Ipld::Integer(version)) => {
            let version = version.try_into().unwrap_or(u64::MAX);
            return Err(CarError::Version { version });
        }
        _ => return Err(refused("its header names no version")),
    }
    let roots = match header.remove("roots") {
        Some(Ipld::List(roots)) => roots,
        Some(_) => return Err(refused("its roots are no list")),
        None => return Err(CarError::NoRoots),
    };
    if !header.is_empty() {
        return Err(refused(
            "its header has fields that version 1 does not have",
        ));
    }
    if roots.is_empty() {
        return Err(CarError::NoRoots);
    }
    if roots.len() > MAX_ROOTS {
        return Err(CarError::too_many_roots(roots.len()));
    }
    roots
        .into_iter()
        .map(|root| match root {
            Ipld::Link(cid) => Ok(cid),
            _ => Err(refused("a root is no CID")),
        })
        .collect()
}
