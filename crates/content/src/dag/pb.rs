//! dag-pb in the data model: a map of `Data`, which may be absent, and `Links`, a list of maps of
//! `Hash` and, where they were written, `Name` and `Tsize`.

use std::collections::BTreeMap;

use cid::Cid;
use ipld_core::ipld::Ipld;

use crate::unixfs::dagpb::{self, PbNode};
use crate::unixfs::wire::{self, Malformed};

pub(super) fn decode(bytes: &[u8]) -> Result<Ipld, Malformed> {
    let node = PbNode::decode(bytes)?;
    let links = node.links.into_iter().map(|link| {
        let mut map = BTreeMap::from([("Hash".to_owned(), Ipld::Link(link.cid))]);
        if link.is_named {
            map.insert("Name".to_owned(), Ipld::String(link.name.to_owned()));
        }
        if let Some(bytes) = link.dag_bytes {
            map.insert("Tsize".to_owned(), Ipld::Integer(i128::from(bytes)));
        }
        Ipld::Map(map)
    });
    let mut map = BTreeMap::from([("Links".to_owned(), Ipld::List(links.collect()))]);
    if let Some(data) = node.data {
        map.insert("Data".to_owned(), Ipld::Bytes(data.to_vec()));
    }
    Ok(Ipld::Map(map))
}

/// Writes a node as every implementation does: links sorted by name, equal names in the order given.
pub(super) fn encode(node: &Ipld) -> Result<Vec<u8>, &'static str> {
    let [data, links] = fields(node, ["Data", "Links"], "a node is a map of Data and Links")?;
    let Some(Ipld::List(links)) = links else {
        return Err("Links must be a list");
    };
    let mut links = links
        .iter()
        .map(Link::read)
        .collect::<Result<Vec<_>, _>>()?;
    links.sort_by_key(|link| link.name.unwrap_or_default());
    let mut out = Vec::new();
    for link in links {
        let mut message = Vec::new();
        wire::put_bytes_field(&mut message, 1, &link.cid.to_bytes());
        if let Some(name) = link.name {
            wire::put_bytes_field(&mut message, 2, name.as_bytes());
        }
        if let Some(bytes) = link.dag_bytes {
            wire::put_varint_field(&mut message, 3, bytes);
        }
        wire::put_bytes_field(&mut out, 2, &message);
    }
    match data {
        None => {}
        Some(Ipld::Bytes(data)) => dagpb::put_data(&mut out, data),
        Some(_) => return Err("Data must be bytes"),
    }
    Ok(out)
}

struct Link<'a> {
    cid: &'a Cid,
    name: Option<&'a str>,
    dag_bytes: Option<u64>,
}

impl<'a> Link<'a> {
    fn read(link: &'a Ipld) -> Result<Self, &'static str> {
        let shape = "a link is a map of Hash, Name and Tsize";
        let [hash, name, dag_bytes] = fields(link, ["Hash", "Name", "Tsize"], shape)?;
        let Some(Ipld::Link(cid)) = hash else {
            return Err("Hash must be a link");
        };
        Ok(Self {
            cid,
            name: match name {
                None => None,
                Some(Ipld::String(name)) => Some(name),
                Some(_) => return Err("Name must be text"),
            },
            dag_bytes: match dag_bytes {
                None => None,
                // The largest that the Go implementation can read back.
                Some(Ipld::Integer(bytes)) => i64::try_from(*bytes)
                    .and_then(u64::try_from)
                    .map(Some)
                    .map_err(|_| "Tsize must be a size")?,
                Some(_) => return Err("Tsize must be a size"),
            },
        })
    }
}

/// The values of the fields `names`, and no others, of a map.
fn fields<'a, const N: usize>(
    map: &'a Ipld,
    names: [&str; N],
    shape: &'static str,
) -> Result<[Option<&'a Ipld>; N], &'static str> {
    match map {
        Ipld::Map(map) if map.keys().all(|key| names.contains(&key.as_str())) => {
            Ok(names.map(|name| map.get(name)))
        }
        _ => Err(shape),
    }
}
