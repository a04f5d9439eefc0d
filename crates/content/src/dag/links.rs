//! The links of one block, without building what lies between them.

use std::borrow::Cow;

use cid::Cid;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess};

use super::DagError;
use super::convert::MAX_SHOWN_CHARS;
use crate::unixfs::dagpb::PbNode;
use crate::unixfs::wire::Malformed;
use crate::{Block, Codec, ContentError, parse_cid};

/// Every link of `block`, in the order in which they are written, repeated ones each time. A raw block
/// has none. Takes memory in proportion to the links.
///
/// Errors: [`DagError::Malformed`] for a block that is no valid node of its codec.
pub fn links(block: &Block) -> Result<Vec<Cid>, ContentError> {
    let codec = Codec::of(block.cid())?;
    let malformed = |why| DagError::Malformed {
        cid: *block.cid(),
        codec,
        why,
    };
    match codec {
        Codec::Raw => Ok(Vec::new()),
        Codec::DagPb => {
            let node =
                PbNode::decode(block.bytes()).map_err(|Malformed(why)| malformed(why.into()))?;
            Ok(node.links.iter().map(|link| link.cid).collect())
        }
        Codec::DagCbor | Codec::DagJson => {
            let scanned = Scan::of(codec, block.bytes()).map_err(malformed)?;
            Ok(scanned.links)
        }
    }
}

/// The key that makes a map in JSON a link or bytes.
pub(super) const RESERVED: &str = "/";

/// What one pass over data finds.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) links: Vec<Cid>,
    /// Values of every kind, those inside others too.
    pub(super) values: usize,
    /// Whether links are maps of the key `/`, and not values of their own.
    is_json: bool,
}

impl Scan {
    /// Reads `bytes` once from end to end. Codecs without values inside values have none to find.
    pub(super) fn of(codec: Codec, bytes: &[u8]) -> Result<Self, Box<str>> {
        let mut scan = Self::default();
        match codec {
            Codec::Raw | Codec::DagPb => {}
            Codec::DagCbor => {
                let mut cbor = serde_ipld_dagcbor::de::Deserializer::from_slice(bytes);
                scan.deserialize(&mut cbor).map_err(shown)?;
                cbor.end().map_err(shown)?;
            }
            // As plain JSON: the decoder of dag-json would take a link's text apart before anybody could
            // look at its length, and for base58 that takes the square of it.
            Codec::DagJson => {
                let mut json = serde_json::Deserializer::from_slice(bytes);
                scan.is_json = true;
                scan.deserialize(&mut json).map_err(shown)?;
                json.end().map_err(shown)?;
            }
        }
        Ok(scan)
    }
}

/// A decoder's complaint, which may quote the block, cut to a length that can be printed.
pub(super) fn shown(why: impl std::fmt::Display) -> Box<str> {
    why.to_string()
        .chars()
        .take(MAX_SHOWN_CHARS)
        .collect::<String>()
        .into()
}

impl<'de> DeserializeSeed<'de> for &mut Scan {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.values = self.values.saturating_add(1);
        deserializer.deserialize_any(self)
    }
}

impl<'de> de::Visitor<'de> for &mut Scan {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value of the IPLD data model")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i128<E>(self, _: i128) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<(), E> {
        Ok(())
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(&mut *self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if !self.is_json {
            while map.next_key::<IgnoredAny>()?.is_some() {
                map.next_value_seed(&mut *self)?;
            }
            return Ok(());
        }
        let mut is_first = true;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if key != RESERVED {
                map.next_value_seed(&mut *self)?;
            } else if is_first {
                map.next_value_seed(Reserved(&mut *self))?;
                return alone(&mut map);
            } else {
                return Err(de::Error::custom(
                    "a key is `/`, which is kept for links and bytes",
                ));
            }
            is_first = false;
        }
        Ok(())
    }

    /// A link in CBOR; nothing else is reported in this way.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, link: D) -> Result<(), D::Error> {
        self.links.push(link.deserialize_bytes(WholeCid)?);
        Ok(())
    }
}

/// What stands under the key `/` in JSON: the text of a CID, or a map of `bytes`.
struct Reserved<'a>(&'a mut Scan);

impl<'de> DeserializeSeed<'de> for Reserved<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> de::Visitor<'de> for Reserved<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the text of a CID, or a map of `bytes`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        let cid = parse_cid(text).map_err(|_| E::custom("a link's CID is not valid"))?;
        self.0.links.push(cid);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        match map.next_key::<Cow<'de, str>>()? {
            Some(key) if key == "bytes" => {
                // The decoder looks at what the text says.
                map.next_value::<Cow<'de, str>>()?;
                alone(&mut map)
            }
            _ => Err(de::Error::custom("the key `/` is kept for links and bytes")),
        }
    }
}

/// Refuses anything more in `map`.
fn alone<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    match map.next_key::<IgnoredAny>()? {
        None => Ok(()),
        Some(_) => Err(de::Error::custom("something stands beside a link or bytes")),
    }
}

/// A binary CID with nothing behind it.
struct WholeCid;

impl de::Visitor<'_> for WholeCid {
    type Value = Cid;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a CID")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Cid, E> {
        let cid = Cid::try_from(bytes).map_err(|_| E::custom("a link's CID is not valid"))?;
        if cid.encoded_len() == bytes.len() {
            Ok(cid)
        } else {
            Err(E::custom("something follows a link's CID"))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn leaf(byte: u8) -> Cid {
        *Block::new(Codec::Raw, vec![byte]).unwrap().cid()
    }

    /// Tag 42 and the CID behind its zero byte.
    fn tagged(cid: &[u8]) -> Vec<u8> {
        let mut out = vec![0xd8, 0x2a, 0x58, cid.len() as u8 + 1, 0];
        out.extend_from_slice(cid);
        out
    }

    fn cbor_links(bytes: Vec<u8>) -> Result<Vec<Cid>, ContentError> {
        links(&Block::new(Codec::DagCbor, bytes).unwrap())
    }

    #[test]
    fn links_come_in_the_order_in_which_they_are_written() {
        // {"b": [link 1, link 2], "aa": link 1}
        let mut bytes = vec![0xa2, 0x61, b'b', 0x82];
        bytes.extend(tagged(&leaf(1).to_bytes()));
        bytes.extend(tagged(&leaf(2).to_bytes()));
        bytes.extend([0x62, b'a', b'a']);
        bytes.extend(tagged(&leaf(1).to_bytes()));
        assert_eq!(cbor_links(bytes).unwrap(), [leaf(1), leaf(2), leaf(1)]);
        let json = format!(
            r#"{{"x":[{{"/":"{}"}},{{"/":{{"bytes":"AQ"}}}}],"y":{{"/":"{}"}}}}"#,
            leaf(3),
            leaf(4)
        );
        let block = Block::new(Codec::DagJson, json.into_bytes()).unwrap();
        assert_eq!(links(&block).unwrap(), [leaf(3), leaf(4)]);
    }

    #[test]
    fn data_with_two_forms_is_refused() {
        let followed = [leaf(1).to_bytes(), vec![0]].concat();
        let cases: [(&str, Vec<u8>); 14] = [
            ("bytes behind a CID", tagged(&followed)),
            ("no zero byte", vec![0xd8, 0x2a, 0x41, 1]),
            ("an empty CID", tagged(&[])),
            ("another tag", vec![0xd8, 0x2b, 0x41, 0]),
            ("a tag on text", vec![0xd8, 0x2a, 0x61, b'a']),
            ("bytes behind the value", vec![0xa0, 0xa0]),
            ("nothing", vec![]),
            ("an endless list", vec![0x9f, 0xff]),
            ("a padded number", vec![0x18, 1]),
            (
                "keys out of order",
                vec![0xa2, 0x61, b'b', 0, 0x61, b'a', 0],
            ),
            ("a key twice", vec![0xa2, 0x61, b'a', 0, 0x61, b'a', 0]),
            ("a key that is a number", vec![0xa1, 0, 0]),
            ("not a number", vec![0xfb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0]),
            (
                "a list cut off",
                vec![0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            ),
        ];
        for (what, bytes) in cases {
            let refused = cbor_links(bytes);
            assert!(
                matches!(
                    refused,
                    Err(ContentError::Dag(DagError::Malformed {
                        codec: Codec::DagCbor,
                        ..
                    }))
                ),
                "{what}: {refused:?}"
            );
        }
    }

    #[test]
    fn json_with_two_meanings_is_refused() {
        let link = leaf(1);
        for json in [
            format!(r#"{{"/":"{link}","a":1}}"#),
            format!(r#"{{"a":1,"/":"{link}"}}"#),
            format!(r#"{{"/":"/ipfs/{link}"}}"#),
            format!(r#"{{"/":"{link}/a"}}"#),
            r#"{"/":{"bytes":"AQ","a":1}}"#.to_owned(),
            r#"{"/":{"bytes":1}}"#.to_owned(),
            r#"{"/":{}}"#.to_owned(),
            r#"{"/":1}"#.to_owned(),
            format!(r#"{{"/":"{link}"}} {{}}"#),
        ] {
            let block = Block::new(Codec::DagJson, json.clone().into_bytes()).unwrap();
            let refused = links(&block);
            assert!(
                matches!(refused, Err(ContentError::Dag(DagError::Malformed { .. }))),
                "{json}"
            );
            assert!(super::super::to_json(&block).is_err(), "{json}");
        }
    }

    /// Base58 and its like take the square of the length to be taken apart.
    #[test]
    fn a_megabyte_of_a_cid_is_refused_unread() {
        for base in ["z", "k", "9", "Qm"] {
            let json = format!(r#"[{{"/":"{base}{}"}}]"#, "1".repeat(1 << 20));
            let block = Block::new(Codec::DagJson, json.into_bytes()).unwrap();
            assert!(links(&block).is_err() && super::super::to_json(&block).is_err());
        }
    }

    #[test]
    fn a_megabyte_of_digits_is_one_number() {
        let digits = "1".repeat(1 << 20);
        for json in [
            format!("0.{digits}"),
            format!("{digits}e-1048576"),
            format!("[{digits}]"),
        ] {
            let block = Block::new(Codec::DagJson, json.into_bytes()).unwrap();
            assert!(links(&block).map_or(true, |links| links.is_empty()));
            let _ = super::super::to_json(&block);
        }
    }

    #[test]
    fn a_megabyte_of_nesting_is_refused_on_a_small_stack() {
        let nested = |unit: &[u8]| unit.repeat((1 << 20) / unit.len());
        let blocks = [
            (Codec::DagCbor, nested(&[0x81])),
            (Codec::DagCbor, nested(&[0xa1, 0x61, b'a'])),
            (Codec::DagCbor, nested(&[0xd8, 0x2a])),
            (Codec::DagJson, nested(b"[")),
            (Codec::DagJson, nested(br#"{"a":"#)),
            (Codec::DagJson, nested(br#"{"/":"#)),
        ];
        for (codec, bytes) in blocks {
            let block = Block::new(codec, bytes).unwrap();
            let refused = std::thread::Builder::new()
                .stack_size(1 << 20)
                .spawn(move || (links(&block), super::super::to_json(&block)))
                .unwrap()
                .join()
                .unwrap();
            assert!(refused.0.is_err() && refused.1.is_err());
        }
    }

    #[test]
    fn a_hundred_levels_are_read() {
        let deep = [vec![0x81; 100], vec![0xa0]].concat();
        assert!(cbor_links(deep).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn arbitrary_data_never_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            codec in proptest::sample::select(vec![Codec::DagPb, Codec::DagCbor, Codec::DagJson]),
        ) {
            let block = Block::new(codec, bytes).unwrap();
            let _ = links(&block);
            let _ = super::super::to_json(&block);
        }

        #[test]
        fn mutated_data_never_panics(
            at in any::<proptest::sample::Index>(),
            byte in any::<u8>(),
            cut in any::<proptest::sample::Index>(),
        ) {
            let json = format!(r#"{{"a":[{{"/":"{}"}},null,-7,1.5,"é"],"b":{{"/":{{"bytes":"AQ"}}}}}}"#, leaf(1));
            let cbor = super::super::convert(Codec::DagJson, json.as_bytes(), Codec::DagCbor).unwrap();
            for (codec, bytes) in [(Codec::DagJson, json.as_bytes()), (Codec::DagCbor, cbor.bytes())] {
                let mut bytes = bytes.to_vec();
                let at = at.index(bytes.len());
                bytes[at] = byte;
                bytes.truncate(cut.index(bytes.len()) + 1);
                let block = Block::new(codec, bytes).unwrap();
                // Whatever can be shown as a whole can be searched for links, and the other way round
                // only where no map has a key twice.
                if super::super::to_json(&block).is_ok() {
                    prop_assert!(links(&block).is_ok());
                }
            }
        }
    }
}
