//! Sharded directories (HAMT): one node of the tree that a directory's entries are spread over.
//!
//! A name's hash, read byte by byte from the front, says which of 256 slots it is in at each level. A slot
//! holds one entry, or a further shard once two names would share it. A link's name begins with its slot
//! in hexadecimal; what follows is the entry's name, or nothing for a shard.
//!
//! Refused: other hashes and fan-outs than these, which are the only ones that Kubo writes unless it is
//! told to, links that are not exactly in the slots that the node says are taken, and names that are no
//! names. Whether an entry is in the slot that its hash says needs the path to this node, and is for
//! whoever walks it.

use cid::Cid;

use super::dagpb::PbLink;
use super::wire::Malformed;
use super::{Link, murmur3};
use crate::tree::name_fault;

/// The multicodec number of `murmur3-x64-64`.
pub(super) const MURMUR3: u64 = 0x22;
/// Slots of a node.
pub(super) const FAN_OUT: u64 = 256;
/// Levels, after which the hash is used up.
pub(crate) const LEVELS: u32 = u64::BITS / SLOT_BITS;

const SLOT_BITS: u32 = 8;
const BITFIELD_BYTES: usize = 32;

/// A node of a sharded directory: what is in its slots, ascending.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shard(Vec<(u8, Slot)>);

/// What a slot holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Entry(Link),
    Shard(Cid),
}

/// Where a node or slot is: the slots from the root to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    path: u64,
    levels: u32,
}

impl Place {
    /// That slot of the node here; `None` if the hash is used up.
    pub(crate) fn slot(self, slot: u8) -> Option<Self> {
        (self.levels < LEVELS).then(|| Self {
            path: self.path << SLOT_BITS | u64::from(slot),
            levels: self.levels + 1,
        })
    }

    /// Whether `name` belongs below this place.
    pub(crate) fn holds(self, name: &str) -> bool {
        let shift = u64::BITS - SLOT_BITS * self.levels;
        murmur3::hash(name.as_bytes())
            .checked_shr(shift)
            .unwrap_or_default()
            == self.path
    }
}

/// The slot of a hash at a level, from 0.
pub(crate) fn slot_of(hash: u64, level: u32) -> u8 {
    let shift = u64::BITS.saturating_sub(SLOT_BITS.saturating_mul(level.saturating_add(1)));
    (hash >> shift) as u8
}

/// What orders the names of a sharded directory.
pub(crate) fn hash(name: &str) -> u64 {
    murmur3::hash(name.as_bytes())
}

impl Shard {
    /// The node with these links, of which `taken` says the slots: a bit each, the last byte first, and
    /// zeros in front left out.
    pub(super) fn decode(taken: &[u8], links: Vec<PbLink<'_>>) -> Result<Self, Malformed> {
        if taken.len() > BITFIELD_BYTES {
            return Err(Malformed("it has more slots than its fan-out"));
        }
        let mut slots = (0..=u8::MAX).filter(|slot| {
            let byte = taken.iter().rev().nth(usize::from(slot / 8));
            byte.is_some_and(|byte| byte >> (slot % 8) & 1 == 1)
        });
        let mut inside = Vec::with_capacity(links.len().min(FAN_OUT as usize));
        for link in links {
            let slot = slots
                .next()
                .ok_or(Malformed("it has more links than slots"))?;
            let name = link
                .name
                .strip_prefix(prefix(slot).as_str())
                .ok_or(Malformed("a link is not in its slot"))?;
            let held = if name.is_empty() {
                Slot::Shard(link.cid)
            } else if let Some(why) = name_fault(name) {
                return Err(Malformed(why));
            } else {
                Slot::Entry(Link {
                    name: name.to_owned(),
                    cid: link.cid,
                    dag_bytes: link.dag_bytes,
                })
            };
            inside.push((slot, held));
        }
        match slots.next() {
            None => Ok(Self(inside)),
            Some(_) => Err(Malformed("it has fewer links than slots")),
        }
    }

    /// What is in the slots, ascending.
    pub(crate) fn into_slots(self) -> impl Iterator<Item = (u8, Slot)> {
        self.0.into_iter()
    }

    /// What is in one slot.
    pub(crate) fn take(mut self, slot: u8) -> Option<Slot> {
        let at = self.0.binary_search_by_key(&slot, |(slot, _)| *slot).ok()?;
        Some(self.0.swap_remove(at).1)
    }
}

/// What the name of a link into `slot` begins with.
pub(super) fn prefix(slot: u8) -> String {
    format!("{slot:02X}")
}

/// The bits of `slots`, as [`Shard::decode`] takes them.
pub(super) fn bitfield(slots: impl Iterator<Item = u8>) -> Vec<u8> {
    let mut bits = [0_u8; BITFIELD_BYTES];
    for slot in slots {
        if let Some(byte) = bits.iter_mut().rev().nth(usize::from(slot / 8)) {
            *byte |= 1 << (slot % 8);
        }
    }
    bits.into_iter().skip_while(|byte| *byte == 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_have_the_hashes_that_the_go_implementation_gives_them() {
        for (name, known) in [
            ("", 0),
            ("a", 0x8555_5565_f659_7889),
            ("0123456789abcdef", 0x4be0_6d94_cf4a_d1a7),
            ("日本語🦀 and more than a block", 0xcc58_a1b0_48c0_d6f3),
            ("collide-2088384", 0x260e_dc3c_149a_b4e8),
            ("collide-3075755", 0x260e_dc3c_14c7_6ea3),
        ] {
            assert_eq!(hash(name), known, "{name}");
        }
    }

    #[test]
    fn a_place_holds_the_names_whose_hash_begins_with_it() {
        let place = [0x26, 0x0e, 0xdc, 0x3c, 0x14]
            .into_iter()
            .try_fold(Place::default(), Place::slot);
        assert!(place.is_some_and(|place| place.holds("collide-2088384")));
        assert!(place.is_some_and(|place| !place.holds("a")));
        assert!(Place::default().holds("anything"));
        assert_eq!(slot_of(hash("collide-2088384"), 4), 0x14);
        let whole = hash("a")
            .to_be_bytes()
            .into_iter()
            .try_fold(Place::default(), Place::slot);
        assert!(whole.is_some_and(|place| place.holds("a") && place.slot(0).is_none()));
    }

    proptest! {
        #[test]
        fn bits_stand_for_their_slots(slots in proptest::collection::btree_set(any::<u8>(), 0..256)) {
            let bits = bitfield(slots.iter().copied());
            let set: Vec<u8> = (0..=u8::MAX)
                .filter(|slot| {
                    bits.iter().rev().nth(usize::from(slot / 8)).is_some_and(|byte| byte >> (slot % 8) & 1 == 1)
                })
                .collect();
            prop_assert_eq!(set, slots.into_iter().collect::<Vec<_>>());
        }
    }
}
