//! UnixFS: what a block means as a file, a directory or a link, and how those become blocks.
//!
//! Encoding is canonical and is Kubo's: the same node always gives the same bytes, so the same tree the
//! same CID. Decoding takes what any honest implementation writes, old ones too (files of `Raw` nodes,
//! data beside links, shards, a mode and a time), and refuses what has two meanings: names that occur twice,
//! sizes that do not add up, bytes behind a CID. It never recurses, and allocates in proportion to the
//! block, which is itself bounded.

pub(crate) mod dagpb;
mod murmur3;
mod shard;
pub(crate) mod wire;

use bytes::Bytes;
use cid::Cid;

use self::dagpb::{PbLink, PbNode};
use self::shard::{FAN_OUT, MURMUR3};
pub(crate) use self::shard::{LEVELS, Place, Shard, Slot, hash as name_hash, slot_of};
use self::wire::{Field, Malformed, Reader};

use crate::block::digest;
use crate::tree::name_fault;
use crate::{Block, CidVersion, Codec, ContentError};

/// The type numbers of UnixFS's `Data.Type`.
mod kind {
    pub(super) const RAW: u64 = 0;
    pub(super) const DIRECTORY: u64 = 1;
    pub(super) const FILE: u64 = 2;
    pub(super) const SYMLINK: u64 = 4;
    pub(super) const HAMT_SHARD: u64 = 5;
}

/// The longest link target that is read, in bytes: what Linux allows for a path.
const MAX_TARGET_BYTES: usize = 4095;

/// The most parts of one node of a file. Kubo writes 174 or 1024, others up to some thousands; a block has
/// room for some fifty thousand honest ones, whose index would then take many times what honest nodes take.
const MAX_PARTS: usize = 8192;

/// What a block is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum UnixFs {
    /// A file, or a part of one: its own bytes, then those of its parts, in order.
    File {
        inline: Bytes,
        parts: Vec<Part>,
        bytes: u64,
    },
    /// A directory of distinct, valid names.
    Directory(Vec<Link>),
    /// A node of a directory that is spread over several.
    Shard(Shard),
    /// A symbolic link, unchecked.
    Link { target: String },
}

/// A part of a file, with the size that it must turn out to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) cid: Cid,
    pub(crate) bytes: u64,
}

/// A link of a directory to one of its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) cid: Cid,
    /// The size of all blocks below it, as the directory's writer has it. For a single block that is the
    /// block's size; nothing may be allocated by it.
    pub(crate) dag_bytes: Option<u64>,
}

/// A node that was stored, with the two sizes that its parent records.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) cid: Cid,
    /// Bytes of file content below it.
    pub(crate) file_bytes: u64,
    /// Bytes of all blocks below it and its own, shared ones counted each time.
    pub(crate) dag_bytes: u64,
}

impl Stored {
    /// The same under a CID of that version. Only nodes (dag-pb) have one of version 0.
    pub(crate) fn with_version(mut self, version: CidVersion) -> Self {
        if version == CidVersion::V0
            && Codec::of(&self.cid).is_ok_and(|codec| codec == Codec::DagPb)
        {
            self.cid = Cid::new_v0(*self.cid.hash()).unwrap_or(self.cid);
        }
        self
    }
}

impl UnixFs {
    /// Reads a block. Errors: [`ContentError::Malformed`], [`ContentError::UnsupportedSharding`] and
    /// [`ContentError::UnsupportedCodec`].
    pub(crate) fn decode(block: &Block) -> Result<Self, ContentError> {
        match Codec::of(block.cid())? {
            Codec::Raw => Ok(Self::File {
                inline: block.bytes().clone(),
                parts: Vec::new(),
                bytes: block.bytes().len() as u64,
            }),
            Codec::DagPb => {
                let malformed = |Malformed(why)| ContentError::Malformed {
                    cid: *block.cid(),
                    why,
                };
                let node = PbNode::decode(block.bytes()).map_err(malformed)?;
                let data = Data::decode(node.data, node.links.len()).map_err(malformed)?;
                let (hash, fan_out) = (data.hash.unwrap_or(0), data.fan_out.unwrap_or(0));
                if data.kind == kind::HAMT_SHARD && (hash, fan_out) != (MURMUR3, FAN_OUT) {
                    return Err(ContentError::UnsupportedSharding {
                        cid: *block.cid(),
                        hash,
                        fan_out,
                    });
                }
                interpret(block.bytes(), data, node.links).map_err(malformed)
            }
            Codec::DagCbor | Codec::DagJson => Err(ContentError::UnsupportedCodec {
                cid: *block.cid(),
                codec: block.cid().codec(),
            }),
        }
    }
}

/// The node above parts of a file.
pub(crate) fn file_block(parts: &[Stored]) -> Result<(Block, Stored), ContentError> {
    let bytes = parts
        .iter()
        .fold(0_u64, |sum, part| sum.saturating_add(part.file_bytes));
    let mut data = Vec::new();
    wire::put_varint_field(&mut data, 1, kind::FILE);
    wire::put_varint_field(&mut data, 3, bytes);
    for part in parts {
        wire::put_varint_field(&mut data, 4, part.file_bytes);
    }
    finish(parts.iter().map(|part| ("", part)), &data, bytes)
}

/// A whole file, or a part of one, as nothing but its bytes.
pub(crate) fn raw_leaf(content: Vec<u8>) -> Result<(Block, Stored), ContentError> {
    let bytes = content.len() as u64;
    let block = Block::new(Codec::Raw, content)?;
    let stored = Stored {
        cid: *block.cid(),
        file_bytes: bytes,
        dag_bytes: bytes,
    };
    Ok((block, stored))
}

/// A whole file, or a part of one, in a node of its own: how content was stored before there were raw
/// leaves.
pub(crate) fn leaf_block(content: &[u8]) -> Result<(Block, Stored), ContentError> {
    let mut data = Vec::with_capacity(content.len() + 32);
    let bytes = content.len() as u64;
    wire::put_varint_field(&mut data, 1, kind::FILE);
    if !content.is_empty() {
        wire::put_bytes_field(&mut data, 2, content);
    }
    wire::put_varint_field(&mut data, 3, bytes);
    finish(std::iter::empty(), &data, bytes)
}

/// A node of a sharded directory: slots, ascending, each with the name of its entry, or none for a
/// further shard.
pub(crate) fn shard_block(links: &[(u8, &str, Stored)]) -> Result<(Block, Stored), ContentError> {
    let names: Vec<_> = links
        .iter()
        .map(|(slot, name, _)| shard::prefix(*slot) + name)
        .collect();
    let mut data = Vec::new();
    wire::put_varint_field(&mut data, 1, kind::HAMT_SHARD);
    wire::put_bytes_field(
        &mut data,
        2,
        &shard::bitfield(links.iter().map(|(slot, _, _)| *slot)),
    );
    wire::put_varint_field(&mut data, 5, MURMUR3);
    wire::put_varint_field(&mut data, 6, FAN_OUT);
    let bytes = links.iter().fold(0_u64, |sum, (_, _, child)| {
        sum.saturating_add(child.file_bytes)
    });
    let links = names
        .iter()
        .zip(links)
        .map(|(name, (_, _, child))| (name.as_str(), child));
    finish(links, &data, bytes)
}

/// A directory. `entries` must be sorted by the bytes of their names, each once.
pub(crate) fn directory_block(
    entries: &[(String, Stored)],
) -> Result<(Block, Stored), ContentError> {
    let mut data = Vec::new();
    wire::put_varint_field(&mut data, 1, kind::DIRECTORY);
    let bytes = entries.iter().fold(0_u64, |sum, (_, entry)| {
        sum.saturating_add(entry.file_bytes)
    });
    finish(
        entries.iter().map(|(name, entry)| (name.as_str(), entry)),
        &data,
        bytes,
    )
}

/// A symbolic link.
pub(crate) fn link_block(target: &str) -> Result<(Block, Stored), ContentError> {
    let mut data = Vec::new();
    wire::put_varint_field(&mut data, 1, kind::SYMLINK);
    wire::put_bytes_field(&mut data, 2, target.as_bytes());
    finish(std::iter::empty(), &data, 0)
}

fn finish<'a>(
    links: impl Iterator<Item = (&'a str, &'a Stored)>,
    data: &[u8],
    file_bytes: u64,
) -> Result<(Block, Stored), ContentError> {
    let mut encoded = Vec::new();
    let mut below = 0_u64;
    for (name, child) in links {
        dagpb::put_link(&mut encoded, &child.cid, name, child.dag_bytes);
        below = below.saturating_add(child.dag_bytes);
    }
    dagpb::put_data(&mut encoded, data);
    let dag_bytes = below.saturating_add(encoded.len() as u64);
    let block = Block::new(Codec::DagPb, encoded)?;
    let stored = Stored {
        cid: *block.cid(),
        file_bytes,
        dag_bytes,
    };
    Ok((block, stored))
}

/// UnixFS's `Data` message, as far as it is used.
struct Data<'a> {
    kind: u64,
    content: &'a [u8],
    file_bytes: Option<u64>,
    part_bytes: Vec<u64>,
    hash: Option<u64>,
    fan_out: Option<u64>,
}

impl<'a> Data<'a> {
    /// Reads the message of a node with `links` links; more sizes than links are not even collected.
    fn decode(message: Option<&'a [u8]>, links: usize) -> Result<Self, Malformed> {
        let mut reader = Reader::new(message.ok_or(Malformed("it has no data"))?);
        let (mut kind, mut content, mut file_bytes) = (None, None, None);
        let (mut hash, mut fan_out) = (None, None);
        let mut part_bytes = Vec::new();
        let mut part = |bytes| {
            if part_bytes.len() == links {
                return Err(Malformed("it has more sizes than links"));
            }
            part_bytes.push(bytes);
            Ok(())
        };
        while let Some(field) = reader.next_field()? {
            match field {
                (1, Field::Varint(value)) => wire::once(&mut kind, value)?,
                (2, Field::Bytes(value)) => wire::once(&mut content, value)?,
                (3, Field::Varint(value)) => wire::once(&mut file_bytes, value)?,
                (4, Field::Varint(value)) => part(value)?,
                (4, Field::Bytes(packed)) => {
                    let mut packed = Reader::new(packed);
                    while !packed.is_empty() {
                        part(packed.varint()?)?;
                    }
                }
                (5, Field::Varint(value)) => wire::once(&mut hash, value)?,
                (6, Field::Varint(value)) => wire::once(&mut fan_out, value)?,
                (1..=6, _) => return Err(Malformed("a field has the wrong type")),
                // Mode, time, and what later versions add.
                _ => {}
            }
        }
        Ok(Self {
            kind: kind.ok_or(Malformed("it does not say what it is"))?,
            content: content.unwrap_or_default(),
            file_bytes,
            part_bytes,
            hash,
            fan_out,
        })
    }
}

fn interpret(block: &Bytes, data: Data<'_>, links: Vec<PbLink<'_>>) -> Result<UnixFs, Malformed> {
    match data.kind {
        kind::RAW | kind::FILE => file(block, data, links),
        kind::DIRECTORY => directory(links),
        kind::HAMT_SHARD => Shard::decode(data.content, links).map(UnixFs::Shard),
        kind::SYMLINK if !links.is_empty() => Err(Malformed("a link has links")),
        kind::SYMLINK if data.content.len() > MAX_TARGET_BYTES => {
            Err(Malformed("a link's target is too long"))
        }
        kind::SYMLINK => std::str::from_utf8(data.content)
            .map(|target| UnixFs::Link {
                target: target.to_owned(),
            })
            .map_err(|_| Malformed("a link's target is not UTF-8")),
        _ => Err(Malformed("it is neither file, directory nor link")),
    }
}

fn file(block: &Bytes, data: Data<'_>, links: Vec<PbLink<'_>>) -> Result<UnixFs, Malformed> {
    if links.len() > MAX_PARTS {
        return Err(Malformed("it is a file of too many parts in one node"));
    }
    if data.part_bytes.len() != links.len() {
        return Err(Malformed("it has fewer sizes than links"));
    }
    if !links.iter().all(|link| may_be_part(&link.cid)) {
        return Err(Malformed("a part of it can be no part of a file"));
    }
    let total = data
        .part_bytes
        .iter()
        .try_fold(data.content.len() as u64, |sum, bytes| {
            sum.checked_add(*bytes)
        })
        .ok_or(Malformed("its sizes overflow"))?;
    if data.file_bytes.is_some_and(|claimed| claimed != total) {
        return Err(Malformed("its sizes do not add up"));
    }
    let parts = links
        .iter()
        .zip(data.part_bytes)
        .map(|(link, bytes)| Part {
            cid: link.cid,
            bytes,
        })
        .collect();
    Ok(UnixFs::File {
        inline: block.slice_ref(data.content),
        parts,
        bytes: total,
    })
}

/// Whether a block of this name could be part of a file.
fn may_be_part(cid: &Cid) -> bool {
    matches!(Codec::of(cid), Ok(Codec::Raw | Codec::DagPb)) && digest(cid).is_ok()
}

fn directory(links: Vec<PbLink<'_>>) -> Result<UnixFs, Malformed> {
    let mut entries = Vec::with_capacity(links.len());
    for link in links {
        if let Some(why) = name_fault(link.name) {
            return Err(Malformed(why));
        }
        entries.push(Link {
            name: link.name.to_owned(),
            cid: link.cid,
            dag_bytes: link.dag_bytes,
        });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    if entries
        .windows(2)
        .any(|pair| matches!(pair, [a, b] if a.name == b.name))
    {
        return Err(Malformed("a name occurs twice"));
    }
    Ok(UnixFs::Directory(entries))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stored(name: u8, bytes: u64) -> Stored {
        let cid = *Block::new(Codec::Raw, vec![name]).unwrap().cid();
        Stored {
            cid,
            file_bytes: bytes,
            dag_bytes: bytes,
        }
    }

    fn node(data: &[u8], links: &[(&str, u8)]) -> Result<UnixFs, ContentError> {
        let mut encoded = Vec::new();
        for (name, cid) in links {
            dagpb::put_link(&mut encoded, &stored(*cid, 1).cid, name, 1);
        }
        dagpb::put_data(&mut encoded, data);
        UnixFs::decode(&Block::new(Codec::DagPb, encoded).unwrap())
    }

    #[test]
    fn the_empty_directory_has_its_well_known_name() {
        let (block, _) = directory_block(&[]).unwrap();
        let known = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354";
        assert_eq!(block.cid().to_string(), known);
    }

    #[test]
    fn what_is_encoded_decodes() {
        let entries = [
            ("a".to_owned(), stored(1, 5)),
            ("b".to_owned(), stored(2, 7)),
        ];
        let (block, sizes) = directory_block(&entries).unwrap();
        assert_eq!(sizes.dag_bytes, 12 + block.bytes().len() as u64);
        let UnixFs::Directory(decoded) = UnixFs::decode(&block).unwrap() else {
            unreachable!()
        };
        assert_eq!(
            decoded.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(),
            ["a", "b"]
        );
        let (block, _) = file_block(&[stored(1, 5), stored(2, 7)]).unwrap();
        let decoded = UnixFs::decode(&block).unwrap();
        assert!(matches!(decoded, UnixFs::File { bytes: 12, parts, .. } if parts.len() == 2));
        let (block, _) = link_block("../x").unwrap();
        assert_eq!(
            UnixFs::decode(&block).unwrap(),
            UnixFs::Link {
                target: "../x".into()
            }
        );
    }

    #[test]
    fn nodes_with_two_meanings_are_refused() {
        let directory = [0x08, 1];
        assert!(node(&directory, &[("a", 1), ("a", 2)]).is_err());
        for name in ["", ".", "..", "a/b", "a\0"] {
            assert!(node(&directory, &[(name, 1)]).is_err(), "{name:?}");
        }
        let sizes_do_not_add_up = [0x08, 2, 0x18, 9, 0x20, 1];
        assert!(node(&sizes_do_not_add_up, &[("", 1)]).is_err());
        let fewer_sizes_than_links = [0x08, 2];
        assert!(node(&fewer_sizes_than_links, &[("", 1)]).is_err());
        let more_sizes_than_links = [0x08, 2, 0x20, 1];
        assert!(node(&more_sizes_than_links, &[]).is_err());
        let said_twice = [0x08, 1, 0x08, 2];
        assert!(node(&said_twice, &[]).is_err());
        assert!(node(&[], &[]).is_err());
    }

    /// What a shard says of itself before its slots: its kind, then its hash and fan-out.
    fn shard(taken: &[u8]) -> Vec<u8> {
        let mut data = vec![0x08, 5, 0x12, taken.len() as u8];
        data.extend_from_slice(taken);
        data.extend_from_slice(&[0x28, 0x22, 0x30, 0x80, 0x02]);
        data
    }

    #[test]
    fn shards_of_another_hash_or_fan_out_are_refused_by_name() {
        assert!(node(&shard(&[]), &[]).is_ok());
        for data in [
            &[0x08, 5][..],
            &[0x08, 5, 0x28, 0x22],
            &[0x08, 5, 0x28, 0x23, 0x30, 0x80, 0x02],
            &[0x08, 5, 0x28, 0x22, 0x30, 0x80, 0x01],
        ] {
            let refused = node(data, &[]);
            assert!(
                matches!(refused, Err(ContentError::UnsupportedSharding { .. })),
                "{data:?}"
            );
        }
    }

    #[test]
    fn shards_whose_links_are_not_in_their_slots_are_refused() {
        let read = |taken: &[u8], links: &[(&str, u8)]| node(&shard(taken), links);
        assert!(read(&[0b101], &[("00a", 1), ("02", 2)]).is_ok());
        assert!(read(&[0, 0b101], &[("00a", 1), ("02", 2)]).is_ok());
        for (taken, links) in [
            (&[0b101][..], &[("00a", 1)][..]),
            (&[0b001], &[("00a", 1), ("02", 2)]),
            (&[0b101], &[("02", 2), ("00a", 1)]),
            (&[0b101], &[("00a", 1), ("00b", 2)]),
            (&[0b001], &[("0", 1)]),
            (&[0b001], &[("", 1)]),
            (&[0b001], &[("00..", 1)]),
            (&[0b001], &[("00a/b", 1)]),
            (&[1, 4], &[("02x", 1), ("08x", 1), ("09x", 1)]),
            (&[4, 0], &[("0ax", 1)]),
            (&[1; 33], &[]),
        ] {
            let refused = read(taken, links);
            assert!(
                matches!(refused, Err(ContentError::Malformed { .. })),
                "{taken:?} {links:?}"
            );
        }
    }

    fn file_of(cids: &[Cid]) -> Result<UnixFs, ContentError> {
        let parts = cids.iter().map(|cid| Stored {
            cid: *cid,
            file_bytes: 0,
            dag_bytes: 0,
        });
        let (block, _) = file_block(&parts.collect::<Vec<_>>()).unwrap();
        UnixFs::decode(&block)
    }

    #[test]
    fn files_of_parts_that_no_block_can_be_are_refused() {
        let raw = stored(1, 0).cid;
        let node = Cid::new_v1(Codec::DagPb.code(), *raw.hash());
        assert!(file_of(&[raw, node, Cid::new_v0(*raw.hash()).unwrap()]).is_ok());
        let identity = cid::multihash::Multihash::wrap(0, b"").unwrap();
        for cid in [
            Cid::new_v1(Codec::Raw.code(), identity),
            Cid::new_v1(Codec::Raw.code(), raw.hash().truncate(16)),
            Cid::new_v1(Codec::DagCbor.code(), *raw.hash()),
            Cid::new_v1(Codec::DagJson.code(), *raw.hash()),
            Cid::new_v1(0x72, *raw.hash()),
        ] {
            let refused = file_of(&[raw, cid]);
            assert!(
                matches!(refused, Err(ContentError::Malformed { .. })),
                "{cid}"
            );
        }
    }

    #[test]
    fn a_node_of_a_file_has_no_more_parts_than_the_limit() {
        let raw = stored(1, 0).cid;
        assert!(file_of(&[raw; MAX_PARTS]).is_ok());
        let refused = file_of(&[raw; MAX_PARTS + 1]);
        assert!(matches!(refused, Err(ContentError::Malformed { .. })));
    }

    #[test]
    fn data_is_refused_as_a_file_by_its_codec() {
        for codec in [Codec::DagCbor, Codec::DagJson] {
            let refused = UnixFs::decode(&Block::new(codec, &b"\xa0"[..]).unwrap());
            assert!(
                matches!(refused, Err(ContentError::UnsupportedCodec { codec: named, .. }) if named == codec.code())
            );
        }
    }

    #[test]
    fn nodes_of_older_and_newer_writers_are_read() {
        let raw_kind = [0x08, 0, 0x12, 1, b'x', 0x18, 1];
        assert!(matches!(
            node(&raw_kind, &[]),
            Ok(UnixFs::File { bytes: 1, .. })
        ));
        let with_mode_and_packed_sizes = [0x08, 2, 0x18, 3, 0x22, 2, 1, 2, 0x38, 0x24];
        let read = node(&with_mode_and_packed_sizes, &[("", 1), ("", 2)]);
        assert!(
            matches!(read, Ok(UnixFs::File { bytes: 3, .. })),
            "{read:?}"
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = UnixFs::decode(&Block::new(Codec::DagPb, bytes).unwrap());
        }

        #[test]
        fn mutated_nodes_never_panic(
            names in proptest::collection::btree_set("[a-z]{1,9}", 0..6),
            at in any::<proptest::sample::Index>(),
            byte in any::<u8>(),
            cut in any::<proptest::sample::Index>(),
        ) {
            let entries: Vec<_> =
                names.into_iter().enumerate().map(|(n, name)| (name, stored(n as u8, 9))).collect();
            let parts: Vec<_> = entries.iter().map(|(_, entry)| entry.clone()).collect();
            let slots: Vec<_> = (7..).zip(&entries).map(|(n, (name, to))| (n, name.as_str(), to.clone())).collect();
            for (block, _) in [
                directory_block(&entries).unwrap(),
                file_block(&parts).unwrap(),
                shard_block(&slots).unwrap(),
            ] {
                let mut bytes = block.bytes().to_vec();
                let at = at.index(bytes.len());
                bytes[at] = byte;
                let _ = UnixFs::decode(&Block::new(Codec::DagPb, bytes.clone()).unwrap());
                bytes.truncate(cut.index(bytes.len()));
                let _ = UnixFs::decode(&Block::new(Codec::DagPb, bytes).unwrap());
            }
        }
    }
}
