//! CAR files: the bytes that Kubo writes, every way to be cut or twisted, and the way there and back.
//!
//! The known file was written by go-car 2.16 as `ipfs dag export` of Kubo 0.39 calls it, over the graph that
//! [`graph`] makes; the one of version 2 is that file wrapped by the same library.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::result_large_err
)]

use std::io::{self, Read};

use content::car::{self, CarError, MAX_ROOTS, Reader, Writer};
use content::dag::{self, DagError, Limits};
use content::{Block, BlockStore, Cid, Codec, ContentError, MAX_BLOCK_BYTES, MemoryStore};
use proptest::prelude::*;

const KUBO: &str = "3aa265726f6f747381d82a58250001711220d7d145f9571069cc626df405640f97464456b6f7236aaea2c0ee5761b99260f06776657273696f6e01a60101711220d7d145f9571069cc626df405640f97464456b6f7236aaea2c0ee5761b99260f0a2616182d82a582500015512207692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431edd82a58250001711220de69c6996773afe066d7930354d41cca90491105d6e6f1946b36020a0a20d3d0626262d82a58250001711220de69c6996773afe066d7930354d41cca90491105d6e6f1946b36020a0a20d3d027015512207692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed6f6e657f01711220de69c6996773afe066d7930354d41cca90491105d6e6f1946b36020a0a20d3d0a26178d82a582500015512203fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f365616761696ed82a582500015512207692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed27015512203fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f374776f";
/// What stands before the file above in version 2, and behind it.
const V2_BEFORE: &str = "0aa16776657273696f6e02000000000000000000000000000000003300000000000000b301000000000000e601000000000000";
const V2_BEHIND: &str = "810801000000120000000000000001000000";

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn put(store: &MemoryStore, codec: Codec, bytes: &[u8]) -> Cid {
    let block = Block::new(codec, bytes.to_vec()).unwrap();
    store.put(&block).unwrap();
    *block.cid()
}

/// Four blocks, two of which are reached twice.
fn graph() -> (MemoryStore, Cid) {
    let store = MemoryStore::default();
    let data = |json: String| {
        let block = dag::convert(Codec::DagJson, json.as_bytes(), Codec::DagCbor).unwrap();
        store.put(&block).unwrap();
        *block.cid()
    };
    let (one, two) = (
        put(&store, Codec::Raw, b"one"),
        put(&store, Codec::Raw, b"two"),
    );
    let inner = data(format!(
        r#"{{"x":{{"/":"{two}"}},"again":{{"/":"{one}"}}}}"#
    ));
    let root = data(format!(
        r#"{{"bb":{{"/":"{inner}"}},"a":[{{"/":"{one}"}},{{"/":"{inner}"}}]}}"#
    ));
    (store, root)
}

fn import(mut bytes: &[u8]) -> Result<Vec<Cid>, ContentError> {
    let imported = car::import(&MemoryStore::default(), &mut bytes, &Limits::default());
    imported.map(|imported| imported.roots)
}

fn refusal(bytes: &[u8]) -> CarError {
    match import(bytes) {
        Err(ContentError::Car(refused)) => refused,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_graph_is_exported_as_kubo_exports_it() {
    let (store, root) = graph();
    let mut out = Vec::new();
    let walked = car::export(&store, &root, &Limits::default(), &mut out).unwrap();
    assert_eq!(out, unhex(KUBO));
    assert_eq!(walked.blocks, 4);
}

#[test]
fn a_graph_that_is_taken_piece_by_piece_is_the_same_file() {
    let (store, root) = graph();
    let mut export =
        car::Export::new(std::sync::Arc::new(store), &root, &Limits::default()).unwrap();
    let mut out = Vec::new();
    for piece in (1..).map(|n| n % 7 + 1) {
        let bytes = export.read(piece).unwrap();
        assert!(bytes.len() <= piece);
        if bytes.is_empty() {
            break;
        }
        out.extend_from_slice(&bytes);
    }
    assert_eq!(out, unhex(KUBO));
}

#[test]
fn what_kubo_exports_is_imported_whole_from_both_versions() {
    let (_, root) = graph();
    let v2 = [unhex(V2_BEFORE), unhex(KUBO), unhex(V2_BEHIND)].concat();
    for file in [unhex(KUBO), v2] {
        let store = MemoryStore::default();
        let imported = car::import(&store, &mut &file[..], &Limits::default()).unwrap();
        assert_eq!((&imported.roots[..], imported.blocks), (&[root][..], 4));
        let walked = dag::walk(&store, &root, &Limits::default(), &mut |_| Ok(())).unwrap();
        assert_eq!(walked.blocks, 4);
    }
}

#[test]
fn a_file_cut_inside_anything_is_named_and_has_no_root() {
    let whole = unhex(KUBO);
    let mut between = 0;
    for cut in 1..whole.len() {
        match import(&whole[..cut]) {
            Err(ContentError::Car(CarError::Truncated { .. })) => {}
            // Between two blocks: a graph in part, which is a CAR file as well.
            Ok(_) | Err(ContentError::Car(CarError::RootMissing { .. })) => between += 1,
            other => panic!("{cut}: {other:?}"),
        }
    }
    assert_eq!(between, 4);
    assert!(matches!(refusal(&[]), CarError::Header { .. }));
    let measured = [unhex(V2_BEFORE), unhex(KUBO)].concat();
    for cut in 12..measured.len() {
        let refused = refusal(&measured[..cut]);
        assert!(
            matches!(refused, CarError::Truncated { .. }),
            "{cut}: {refused:?}"
        );
    }
}

#[test]
fn blocks_before_an_error_stay() {
    let (_, root) = graph();
    let whole = unhex(KUBO);
    let store = MemoryStore::default();
    let refused = car::import(&store, &mut &whole[..whole.len() - 1], &Limits::default());
    assert!(matches!(
        refused,
        Err(ContentError::Car(CarError::Truncated { blocks: 3 }))
    ));
    assert!(store.has(&root).unwrap());
}

#[test]
fn a_block_that_does_not_hash_to_its_name_is_refused_by_it() {
    let mut file = unhex(KUBO);
    *file.last_mut().unwrap() ^= 1;
    let two = *Block::new(Codec::Raw, &b"two"[..]).unwrap().cid();
    let refused = import(&file);
    assert!(matches!(refused, Err(ContentError::BlockCorrupt { cid }) if cid == two));
}

/// A header in CBOR with its length before it.
fn headed(cbor: &[u8]) -> Vec<u8> {
    [&[cbor.len() as u8], cbor].concat()
}

#[test]
fn lengths_headers_and_versions_are_bounded_and_named() {
    let padded = [&[0xff; 19][..], &[1]].concat();
    assert!(matches!(refusal(&padded), CarError::Header { .. }));
    assert!(matches!(refusal(&[0x81, 0x00]), CarError::Header { .. }));
    assert!(matches!(refusal(&[0]), CarError::Header { .. }));
    let four_gib = [0x80, 0x80, 0x80, 0x80, 0x10, 0xa2];
    assert!(matches!(refusal(&four_gib), CarError::HeaderTooBig { bytes, .. } if bytes == 1 << 32));
    let no_roots = headed(b"\xa2\x65roots\x80\x67version\x01");
    assert!(matches!(refusal(&no_roots), CarError::NoRoots));
    assert!(matches!(
        refusal(&headed(b"\xa1\x67version\x01")),
        CarError::NoRoots
    ));
    let v3 = headed(b"\xa2\x65roots\x80\x67version\x03");
    assert!(matches!(refusal(&v3), CarError::Version { version: 3 }));
    for cbor in [
        &b"\xa0"[..],
        b"\x80",
        b"\xff",
        b"\xa2\x65roots\x81\x01\x67version\x01",
        b"\xa2\x65roots\x01\x67version\x01",
        b"\xa3\x61x\x01\x65roots\x80\x67version\x01",
    ] {
        assert!(
            matches!(refusal(&headed(cbor)), CarError::Header { .. }),
            "{cbor:?}"
        );
    }

    let header = unhex(KUBO)[..59].to_vec();
    let with = |tail: &[u8]| refusal(&[&header, tail].concat());
    assert!(matches!(with(&[0]), CarError::Section { number: 1, .. }));
    assert!(matches!(
        with(&[0xff; 11]),
        CarError::Section { number: 1, .. }
    ));
    assert!(matches!(
        with(&[5, 1, 2, 3, 4, 5]),
        CarError::Section { number: 1, .. }
    ));
    assert!(matches!(
        with(&[0x80, 0x80, 0x80, 0x80, 0x10]),
        CarError::SectionTooBig { number: 1, .. }
    ));
    assert!(matches!(with(&[]), CarError::RootMissing { .. }));
}

/// A file of nothing but its header.
fn naming(roots: &[Cid]) -> Vec<u8> {
    let mut cbor = vec![0xa2];
    cbor.extend_from_slice(b"\x65roots\x99");
    cbor.extend_from_slice(&u16::try_from(roots.len()).unwrap().to_be_bytes());
    for root in roots {
        cbor.extend_from_slice(&[0xd8, 0x2a, 0x58, 37, 0]);
        cbor.extend_from_slice(&root.to_bytes());
    }
    cbor.extend_from_slice(b"\x67version\x01");
    let length = [cbor.len() as u8 | 0x80, (cbor.len() >> 7) as u8];
    [&length, &cbor[..]].concat()
}

#[test]
fn headers_of_too_many_roots_are_refused() {
    let root = graph().1;
    let refused = refusal(&naming(&[root; 350]));
    assert!(matches!(
        refused,
        CarError::TooManyRoots {
            roots: 350,
            limit: MAX_ROOTS
        }
    ));
}

#[test]
fn a_root_is_in_the_file_or_here_and_nobody_else_is_asked_for_it() {
    /// Has all that [`graph`] has, but here nothing but what is put.
    struct Elsewhere(MemoryStore);
    impl BlockStore for Elsewhere {
        fn put(&self, block: &Block) -> Result<(), ContentError> {
            self.0.put(block)
        }
        fn get(&self, _: &Cid) -> Result<Option<Block>, ContentError> {
            panic!("it was asked for a block")
        }
        fn has(&self, _: &Cid) -> Result<bool, ContentError> {
            panic!("it was asked what others have")
        }
        fn has_here(&self, cid: &Cid) -> Result<bool, ContentError> {
            self.0.has(cid)
        }
    }

    let (known, root) = graph();
    let mut header = Writer::new(Vec::new(), &[root]).unwrap().finish().unwrap();
    let import = |store: &dyn BlockStore, file: &[u8]| {
        car::import(store, &mut { file }, &Limits::default()).map(|imported| imported.roots)
    };
    let store = Elsewhere(MemoryStore::default());
    let refused = import(&store, &header);
    assert!(matches!(
        refused,
        Err(ContentError::Car(CarError::RootMissing { cid })) if cid == root
    ));
    assert_eq!(import(&Elsewhere(known), &header).unwrap(), [root]);
    header = unhex(KUBO);
    assert_eq!(import(&store, &header).unwrap(), [root]);
}

#[test]
fn version_two_headers_that_point_elsewhere_are_refused() {
    let mut file = [unhex(V2_BEFORE), unhex(KUBO)].concat();
    for at in [0_u64, 50, u64::MAX] {
        file[27..35].copy_from_slice(&at.to_le_bytes());
        assert!(matches!(refusal(&file), CarError::Header { .. }), "{at}");
    }
    // A version 2 inside a version 2.
    let nested = [unhex(V2_BEFORE), unhex(V2_BEFORE), unhex(KUBO)].concat();
    assert!(matches!(refusal(&nested), CarError::Version { version: 2 }));
}

#[test]
fn limits_hold_on_the_way_in_and_out() {
    let (store, root) = graph();
    let file = unhex(KUBO);
    let few = |blocks, bytes| Limits { blocks, bytes };
    let import = |limits| car::import(&MemoryStore::default(), &mut &file[..], &limits);
    assert!(import(few(4, 1000)).is_ok());
    assert!(matches!(
        import(few(3, 1000)),
        Err(ContentError::Car(CarError::TooManyBlocks { limit: 3 }))
    ));
    assert!(matches!(
        import(few(4, 100)),
        Err(ContentError::Car(CarError::TooManyBytes { limit: 100 }))
    ));
    let refused = car::export(&store, &root, &few(3, 1000), &mut io::sink());
    assert!(matches!(
        refused,
        Err(ContentError::Dag(DagError::TooManyBlocks { .. }))
    ));
}

#[test]
fn a_stream_without_end_is_refused_at_a_limit_and_not_kept() {
    let header = unhex(KUBO)[..59].to_vec();
    let one = [&[39][..], &unhex(KUBO)[59 + 168..59 + 168 + 40][1..]].concat();
    struct Endless {
        unit: Vec<u8>,
        at: usize,
    }
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            for byte in buffer.iter_mut() {
                *byte = self.unit[self.at % self.unit.len()];
                self.at += 1;
            }
            Ok(buffer.len())
        }
    }
    let mut stream = header.chain(Endless { unit: one, at: 0 });
    let limits = Limits {
        blocks: 10_000,
        bytes: u64::MAX,
    };
    let refused = car::import(&MemoryStore::default(), &mut stream, &limits);
    assert!(
        matches!(
            refused,
            Err(ContentError::Car(CarError::TooManyBlocks { .. }))
        ),
        "{refused:?}"
    );
}

trait Chain {
    fn chain<R: Read>(self, next: R) -> io::Chain<io::Cursor<Vec<u8>>, R>;
}

impl Chain for Vec<u8> {
    fn chain<R: Read>(self, next: R) -> io::Chain<io::Cursor<Vec<u8>>, R> {
        io::Cursor::new(self).chain(next)
    }
}

#[test]
fn the_largest_block_travels() {
    let block = Block::new(Codec::Raw, vec![7; MAX_BLOCK_BYTES]).unwrap();
    let mut writer = Writer::new(Vec::new(), &[*block.cid()]).unwrap();
    writer.put(&block).unwrap();
    let file = writer.finish().unwrap();
    let mut reader = Reader::new(&file[..]).unwrap();
    assert_eq!(reader.next_block().unwrap(), Some(block));
    assert_eq!(reader.next_block().unwrap(), None);
}

#[test]
fn a_file_without_roots_or_with_too_many_is_not_written() {
    assert!(matches!(
        Writer::new(Vec::new(), &[]),
        Err(ContentError::Car(CarError::NoRoots))
    ));
    let cid = *Block::new(Codec::Raw, &b"x"[..]).unwrap().cid();
    assert!(Writer::new(Vec::new(), &[cid; MAX_ROOTS]).is_ok());
    let refused = Writer::new(Vec::new(), &[cid; MAX_ROOTS + 1]);
    assert!(matches!(
        refused,
        Err(ContentError::Car(CarError::TooManyRoots { roots, .. })) if roots == MAX_ROOTS + 1
    ));
}

proptest! {
    #[test]
    fn any_blocks_come_back_in_order(
        contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..12),
    ) {
        let blocks: Vec<_> = contents.into_iter().map(|bytes| Block::new(Codec::Raw, bytes).unwrap()).collect();
        let mut writer = Writer::new(Vec::new(), &[*blocks[0].cid()]).unwrap();
        for block in &blocks {
            writer.put(block).unwrap();
        }
        let file = writer.finish().unwrap();
        let mut reader = Reader::new(&file[..]).unwrap();
        prop_assert_eq!(reader.roots(), [*blocks[0].cid()]);
        for block in &blocks {
            let read = reader.next_block().unwrap();
            prop_assert_eq!(read.as_ref(), Some(block));
        }
        prop_assert_eq!(reader.next_block().unwrap(), None);
    }

    #[test]
    fn arbitrary_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = import(&bytes);
        let _ = import(&[unhex(KUBO)[..59].to_vec(), bytes].concat());
    }

    #[test]
    fn a_file_with_one_byte_changed_gives_no_block_that_it_did_not_hold(
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
        is_v2 in any::<bool>(),
    ) {
        let mut file = unhex(KUBO);
        if is_v2 {
            file = [unhex(V2_BEFORE), file].concat();
        }
        let at = at.index(file.len());
        file[at] = byte;
        let (known, _) = graph();
        if let Ok(mut reader) = Reader::new(&file[..]) {
            while let Ok(Some(block)) = reader.next_block() {
                prop_assert!(known.has(block.cid()).unwrap());
            }
        }
    }
}
