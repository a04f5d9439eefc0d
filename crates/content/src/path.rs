//! `/ipfs/<CID>[/name…]`: what a person types to mean published content; and `/ipns/<NAME>[/name…]`, what they
//! type to mean whatever is published under a name.
//!
//! The text is taken apart into one CID and a list of names once, here, and is never put together again
//! for looking anything up; `..` has therefore nothing to climb. Refused: `.`, `..`, empty names (a
//! doubled or trailing slash), NUL, and text beyond the limits.

use std::fmt;
use std::str::FromStr;

use cid::Cid;

use crate::ContentError;
use crate::name::Name;
use crate::tree::{MAX_DEPTH, name_fault};

/// The longest path that is looked at, in bytes: what Linux allows for a whole path.
pub const MAX_PATH_TEXT_BYTES: usize = 4096;
/// The longest CID text that is looked at, in bytes. A sha2-256 CIDv1 takes 59 in base32 and 73 in hex.
pub(crate) const MAX_CID_TEXT_BYTES: usize = 128;
/// How much of a refused text an error repeats, in characters.
const SHOWN_CHARS: usize = 100;

/// A root and the names to follow from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpfsPath {
    root: Cid,
    names: Vec<String>,
}

impl IpfsPath {
    /// The CID after `/ipfs/`.
    pub fn root(&self) -> &Cid {
        &self.root
    }

    /// The names after the CID, in order; none of them is empty, `.` or `..`.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

impl From<Cid> for IpfsPath {
    fn from(root: Cid) -> Self {
        Self {
            root,
            names: Vec::new(),
        }
    }
}

impl FromStr for IpfsPath {
    type Err = ContentError;

    /// Parses `/ipfs/<CID>[/name…]`, CIDv0 or CIDv1. Refuses with [`ContentError::PathInvalid`] or
    /// [`ContentError::CidInvalid`].
    fn from_str(text: &str) -> Result<Self, ContentError> {
        let invalid = |why| ContentError::PathInvalid {
            text: shown(text),
            why,
        };
        if text.len() > MAX_PATH_TEXT_BYTES {
            return Err(invalid("it is too long"));
        }
        let rest = text
            .strip_prefix("/ipfs/")
            .ok_or_else(|| invalid("it does not start with /ipfs/"))?;
        let mut segments = rest.split('/');
        let root = parse_cid(segments.next().unwrap_or_default())?;
        let names = names(segments).map_err(invalid)?;
        Ok(Self { root, names })
    }
}

impl fmt::Display for IpfsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/ipfs/{}", self.root)?;
        self.names.iter().try_for_each(|name| write!(f, "/{name}"))
    }
}

/// A path to content as people write it: what is named by its hash, or by a name that can change what it stands for.
///
/// It is [`Names`](crate::name::Names) that make the second into the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentPath {
    /// `/ipfs/<CID>[/name…]`, or a bare CID.
    Ipfs(IpfsPath),
    /// `/ipns/<NAME>[/name…]`.
    Ipns {
        /// The name after `/ipns/`.
        name: Name,
        /// The names after that, in order; none of them is empty, `.` or `..`.
        names: Vec<String>,
    },
}

impl ContentPath {
    /// The path of what has these names below this one.
    ///
    /// Errors: [`ContentError::PathInvalid`] if that is longer than a path can be.
    pub(crate) fn followed_by(mut self, more: &[String]) -> Result<Self, ContentError> {
        let (Self::Ipfs(IpfsPath { names, .. }) | Self::Ipns { names, .. }) = &mut self;
        let too_many = names.len().saturating_add(more.len()) > MAX_DEPTH;
        names.extend_from_slice(more);
        let text = self.to_string();
        let why = match () {
            () if too_many => "what it stands for has too many names",
            () if text.len() > MAX_PATH_TEXT_BYTES => "what it stands for is too long",
            () => return Ok(self),
        };
        let text = shown(&text);
        Err(ContentError::PathInvalid { text, why })
    }
}

impl FromStr for ContentPath {
    type Err = ContentError;

    /// Parses `/ipfs/<CID>[/name…]`, `/ipns/<NAME>[/name…]` or a bare CID. Refuses with
    /// [`ContentError::PathInvalid`], [`ContentError::CidInvalid`] and [`ContentError::Name`], the last for names of
    /// other keys than Ed25519 and for those of DNSLink.
    fn from_str(text: &str) -> Result<Self, ContentError> {
        let invalid = |why| ContentError::PathInvalid {
            text: shown(text),
            why,
        };
        if text.len() > MAX_PATH_TEXT_BYTES {
            return Err(invalid("it is too long"));
        }
        let Some(rest) = text.strip_prefix("/ipns/") else {
            if text.starts_with('/') {
                return text.parse().map(Self::Ipfs);
            }
            if text.parse::<Name>().is_ok() {
                return Err(invalid("a name goes after /ipns/"));
            }
            return parse_cid(text).map(IpfsPath::from).map(Self::Ipfs);
        };
        let mut segments = rest.split('/');
        let name = segments.next().unwrap_or_default().parse()?;
        let names = names(segments).map_err(invalid)?;
        Ok(Self::Ipns { name, names })
    }
}

impl From<IpfsPath> for ContentPath {
    fn from(path: IpfsPath) -> Self {
        Self::Ipfs(path)
    }
}

impl fmt::Display for ContentPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipfs(path) => path.fmt(f),
            Self::Ipns { name, names } => {
                write!(f, "/ipns/{name}")?;
                names.iter().try_for_each(|name| write!(f, "/{name}"))
            }
        }
    }
}

/// The names behind the root of a path, or what is wrong with them.
fn names<'a>(segments: impl Iterator<Item = &'a str>) -> Result<Vec<String>, &'static str> {
    let mut names = Vec::new();
    for name in segments {
        if let Some(why) = name_fault(name) {
            return Err(why);
        }
        if names.len() == MAX_DEPTH {
            return Err("it has too many names");
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

/// Parses one bare CID, v0 or v1, in any multibase. Unlike the `cid` crate's own parser it takes no
/// path for a CID and refuses what stands behind it.
pub fn parse_cid(text: &str) -> Result<Cid, ContentError> {
    let invalid = |why: String| ContentError::CidInvalid {
        text: shown(text),
        why,
    };
    if text.len() > MAX_CID_TEXT_BYTES {
        return Err(invalid("it is too long".into()));
    }
    if text.contains('/') {
        return Err(invalid("it contains a slash".into()));
    }
    let cid = Cid::try_from(text).map_err(|error| invalid(error.to_string()))?;
    let canonical = match cid.version() {
        cid::Version::V0 => cid.to_string() == text,
        cid::Version::V1 => {
            cid::multibase::decode(text).is_ok_and(|(_, bytes)| bytes == cid.to_bytes())
        }
    };
    if canonical {
        Ok(cid)
    } else {
        Err(invalid("something follows the hash".into()))
    }
}

/// Reads one binary CID, v0 or v1, and refuses what stands behind it.
pub fn cid_from_bytes(bytes: &[u8]) -> Result<Cid, ContentError> {
    let invalid = |why: String| ContentError::CidInvalid {
        text: format!("{} bytes", bytes.len()),
        why,
    };
    if bytes.len() > MAX_CID_TEXT_BYTES {
        return Err(invalid("it is too long".into()));
    }
    let cid = Cid::try_from(bytes).map_err(|error| invalid(error.to_string()))?;
    match cid.encoded_len() == bytes.len() {
        true => Ok(cid),
        false => Err(invalid("something follows the hash".into())),
    }
}

pub(crate) fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const V1: &str = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354";
    const V0: &str = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn";

    #[test]
    fn both_cid_versions_and_names_parse_and_print_back() {
        for text in [
            format!("/ipfs/{V1}"),
            format!("/ipfs/{V0}"),
            format!("/ipfs/{V1}/sub dir/日本"),
        ] {
            let path: IpfsPath = text.parse().unwrap();
            assert_eq!(path.to_string(), text);
        }
        let path: IpfsPath = format!("/ipfs/{V1}/a/b").parse().unwrap();
        assert_eq!(path.names(), ["a", "b"]);
    }

    #[test]
    fn v0_and_v1_of_the_same_block_share_their_hash() {
        assert_eq!(parse_cid(V0).unwrap().hash(), parse_cid(V1).unwrap().hash());
    }

    #[test]
    fn paths_that_climb_or_stutter_are_refused() {
        for tail in ["/..", "/a/../b", "/.", "//a", "/a/", "/", "/a\0b"] {
            let refused = format!("/ipfs/{V1}{tail}").parse::<IpfsPath>();
            assert!(
                matches!(refused, Err(ContentError::PathInvalid { .. })),
                "{tail:?}"
            );
        }
    }

    #[test]
    fn what_is_no_ipfs_path_is_refused() {
        for text in [
            "",
            "/ipfs",
            "/ipfs/",
            V1,
            "ipfs/x",
            "/ipns/example.org",
            "/ipfs/nope",
        ] {
            assert!(text.parse::<IpfsPath>().is_err(), "{text:?}");
        }
        let deep = format!("/ipfs/{V1}{}", "/a".repeat(MAX_DEPTH + 1));
        assert!(deep.parse::<IpfsPath>().is_err());
        let long = format!("/ipfs/{V1}/{}", "a".repeat(MAX_PATH_TEXT_BYTES));
        assert!(long.parse::<IpfsPath>().is_err());
    }

    #[test]
    fn a_cid_hidden_behind_another_path_or_before_more_bytes_is_refused() {
        assert!(parse_cid(&format!("x/ipfs/{V1}")).is_err());
        let mut bytes = parse_cid(V1).unwrap().to_bytes();
        bytes.extend_from_slice(b"more");
        let text = cid::multibase::encode(cid::multibase::Base::Base32Lower, bytes);
        assert!(parse_cid(&text).is_err());
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused(text in "(/ipfs/)?[a-zA-Z0-9/.\\PC]{0,80}") {
            if let Ok(path) = text.parse::<IpfsPath>() {
                prop_assert_eq!(path.to_string().parse::<IpfsPath>().unwrap(), path);
            }
            if let Ok(path) = text.parse::<ContentPath>() {
                prop_assert_eq!(path.to_string().parse::<ContentPath>().unwrap(), path);
            }
        }
    }
}
