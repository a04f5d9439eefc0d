//! The links of a directory, whether it is one node or spread over shards.
//!
//! Two names in one place of a sharded directory are impossible: every entry is checked to be where its
//! hash says, where there is room for one. Refused: entries elsewhere, shards below the last byte of the
//! hash, and shards that are something else.

use cid::Cid;

use crate::budget::Budget;
use crate::tree::{MAX_ENTRIES, TreeError};
use crate::unixfs::{LEVELS, Link, Place, Shard, Slot, UnixFs, name_hash, slot_of};
use crate::{BlockStore, ContentError};

/// All links of the directory `cid`, sorted by name; `None` if it is something else.
pub(super) fn all(
    store: &dyn BlockStore,
    cid: &Cid,
    budget: &mut Budget,
) -> Result<Option<Vec<Link>>, ContentError> {
    let too_many = || TreeError::TooManyEntries { limit: MAX_ENTRIES };
    let links = match budget.node(store, cid)? {
        UnixFs::Directory(links) => links,
        UnixFs::Shard(root) => gather(store, *cid, root, budget)?,
        _ => return Ok(None),
    };
    if links.len() > MAX_ENTRIES {
        return Err(too_many().into());
    }
    Ok(Some(links))
}

fn gather(
    store: &dyn BlockStore,
    cid: Cid,
    root: Shard,
    budget: &mut Budget,
) -> Result<Vec<Link>, ContentError> {
    let mut links = Vec::new();
    let mut waiting = Vec::new();
    let mut next = Some((Place::default(), cid, root));
    while let Some((place, cid, shard)) = next {
        let malformed = |why| ContentError::Malformed { cid, why };
        for (slot, held) in shard.into_slots() {
            let slot = place
                .slot(slot)
                .ok_or_else(|| malformed("it is deeper than a hash is long"))?;
            match held {
                Slot::Shard(cid) => waiting.push((slot, cid)),
                Slot::Entry(link) if slot.holds(&link.name) => links.push(link),
                Slot::Entry(_) => return Err(malformed("an entry is not where its hash says")),
            }
        }
        if links.len() > MAX_ENTRIES {
            return Err(TreeError::TooManyEntries { limit: MAX_ENTRIES }.into());
        }
        next = match waiting.pop() {
            Some((place, cid)) => Some((place, cid, shard_at(store, cid, budget)?)),
            None => None,
        };
    }
    links.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(links)
}

/// What `name` links to in the directory `cid`. Of a sharded one only the shards on its way are read.
pub(super) fn find(
    store: &dyn BlockStore,
    cid: &Cid,
    name: &str,
    budget: &mut Budget,
) -> Result<Cid, ContentError> {
    let absent = || ContentError::NameNotFound {
        directory: *cid,
        name: name.to_owned(),
    };
    let mut shard = match budget.node(store, cid)? {
        UnixFs::Directory(links) => {
            let found = links.iter().find(|link| link.name == name);
            return found.map(|link| link.cid).ok_or_else(absent);
        }
        UnixFs::Shard(shard) => shard,
        _ => return Err(ContentError::NotADirectory { cid: *cid }),
    };
    let hash = name_hash(name);
    for level in 0..LEVELS {
        match shard.take(slot_of(hash, level)) {
            Some(Slot::Entry(link)) if link.name == name => return Ok(link.cid),
            Some(Slot::Shard(below)) => shard = shard_at(store, below, budget)?,
            _ => break,
        }
    }
    Err(absent())
}

fn shard_at(store: &dyn BlockStore, cid: Cid, budget: &mut Budget) -> Result<Shard, ContentError> {
    match budget.node(store, &cid)? {
        UnixFs::Shard(shard) => Ok(shard),
        _ => Err(ContentError::Malformed {
            cid,
            why: "it is part of a sharded directory and is no shard",
        }),
    }
}
