//! One block: bytes together with the CID that they were shown to have.
//!
//! There are two ways to make one, from bytes whose name is computed and from bytes whose claimed name
//! is checked, and none that believes anybody. Refused: other hashes than a whole sha2-256, other
//! codecs than the four of [`Codec`], and blocks that no peer would exchange. What the bytes mean is
//! looked at elsewhere: a block may hash to its name and still be no valid node of its codec.

use bytes::Bytes;
use cid::Cid;
use multihash_codetable::{Code, MultihashDigest};

use crate::ContentError;

/// The largest block, in bytes. Bitswap peers refuse messages beyond 4 MiB and blocks beyond 2 MiB, so
/// a larger one could be stored but never exchanged.
pub const MAX_BLOCK_BYTES: usize = 2 * 1024 * 1024;

/// Multihash code of sha2-256.
const SHA2_256: u64 = 0x12;
/// Length of a whole sha2-256 digest, in bytes.
pub(crate) const DIGEST_BYTES: usize = 32;

/// What the bytes of a block are. UnixFS uses the first two and no other; the other two carry data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Plain bytes: a leaf of a file.
    Raw,
    /// A node with links: a directory, a link, or the inside of a file.
    DagPb,
    /// Any data with links, as strict CBOR.
    DagCbor,
    /// Any data with links, as JSON.
    DagJson,
}

impl Codec {
    /// The multicodec number.
    pub fn code(self) -> u64 {
        match self {
            Self::Raw => 0x55,
            Self::DagPb => 0x70,
            Self::DagCbor => 0x71,
            Self::DagJson => 0x0129,
        }
    }

    /// Its name in the table of multicodecs, which is what people type.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::DagPb => "dag-pb",
            Self::DagCbor => "dag-cbor",
            Self::DagJson => "dag-json",
        }
    }

    /// The codec of this name, as [`Codec::name`] gives it.
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Raw, Self::DagPb, Self::DagCbor, Self::DagJson]
            .into_iter()
            .find(|codec| codec.name() == name)
    }

    /// The codec of `cid`, or [`ContentError::UnsupportedCodec`].
    pub fn of(cid: &Cid) -> Result<Self, ContentError> {
        match cid.codec() {
            0x55 => Ok(Self::Raw),
            0x70 => Ok(Self::DagPb),
            0x71 => Ok(Self::DagCbor),
            0x0129 => Ok(Self::DagJson),
            codec => Err(ContentError::UnsupportedCodec { cid: *cid, codec }),
        }
    }
}

/// Bytes that hash to their CID. Cheap to clone; the bytes are shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    cid: Cid,
    bytes: Bytes,
}

impl Block {
    /// Names `bytes`: CIDv1, sha2-256. Refuses more than [`MAX_BLOCK_BYTES`].
    pub fn new(codec: Codec, bytes: impl Into<Bytes>) -> Result<Self, ContentError> {
        let bytes = bytes.into();
        check_size(&bytes)?;
        let cid = Cid::new_v1(codec.code(), Code::Sha2_256.digest(&bytes));
        Ok(Self { cid, bytes })
    }

    /// Takes `bytes` for `cid` only if they hash to it; otherwise [`ContentError::BlockCorrupt`]. Also
    /// refuses other hashes and codecs, and more than [`MAX_BLOCK_BYTES`].
    pub fn verified(cid: Cid, bytes: impl Into<Bytes>) -> Result<Self, ContentError> {
        let bytes = bytes.into();
        Codec::of(&cid)?;
        let claimed = digest(&cid)?;
        check_size(&bytes)?;
        if Code::Sha2_256.digest(&bytes).digest() != claimed {
            return Err(ContentError::BlockCorrupt { cid });
        }
        Ok(Self { cid, bytes })
    }

    /// The name.
    pub fn cid(&self) -> &Cid {
        &self.cid
    }

    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// The sha2-256 digest in `cid`, which is what stores know a block by: the same bytes under CIDv0 and
/// CIDv1 are one block.
pub(crate) fn digest(cid: &Cid) -> Result<[u8; DIGEST_BYTES], ContentError> {
    let unsupported = || ContentError::UnsupportedHash { cid: *cid };
    if cid.hash().code() != SHA2_256 {
        return Err(unsupported());
    }
    cid.hash().digest().try_into().map_err(|_| unsupported())
}

fn check_size(bytes: &Bytes) -> Result<(), ContentError> {
    if bytes.len() > MAX_BLOCK_BYTES {
        return Err(ContentError::BlockTooBig {
            bytes: bytes.len() as u64,
            limit: MAX_BLOCK_BYTES as u64,
        });
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn bytes_under_another_name_are_refused() {
        let block = Block::new(Codec::Raw, &b"one"[..]).unwrap();
        let refused = Block::verified(*block.cid(), &b"two"[..]);
        assert!(matches!(refused, Err(ContentError::BlockCorrupt { cid }) if cid == *block.cid()));
    }

    #[test]
    fn the_largest_block_passes_and_one_byte_more_does_not() {
        assert!(Block::new(Codec::Raw, vec![0; MAX_BLOCK_BYTES]).is_ok());
        let refused = Block::new(Codec::Raw, vec![0; MAX_BLOCK_BYTES + 1]);
        assert!(matches!(refused, Err(ContentError::BlockTooBig { .. })));
    }

    #[test]
    fn other_hashes_and_shortened_ones_are_refused() {
        let sha512 = Cid::new_v1(0x55, Code::Sha2_512.digest(b"x"));
        let short = Code::Sha2_256.digest(b"x").truncate(16);
        for cid in [sha512, Cid::new_v1(0x55, short)] {
            let refused = Block::verified(cid, &b"x"[..]);
            assert!(
                matches!(refused, Err(ContentError::UnsupportedHash { .. })),
                "{cid}"
            );
        }
    }

    #[test]
    fn the_four_codecs_pass_and_others_are_refused() {
        for codec in [Codec::Raw, Codec::DagPb, Codec::DagCbor, Codec::DagJson] {
            let block = Block::new(codec, &b"x"[..]).unwrap();
            assert_eq!(Codec::of(block.cid()).unwrap(), codec);
            assert_eq!(Block::verified(*block.cid(), &b"x"[..]).unwrap(), block);
        }
        let libp2p_key = Cid::new_v1(0x72, Code::Sha2_256.digest(b"x"));
        let refused = Block::verified(libp2p_key, &b"x"[..]);
        assert!(matches!(
            refused,
            Err(ContentError::UnsupportedCodec { codec: 0x72, .. })
        ));
    }
}
