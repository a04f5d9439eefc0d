//! An IPNS name: an Ed25519 public key, as text.

use std::fmt;
use std::str::FromStr;

use cid::multibase::{self, Base};
use cid::multihash::Multihash;
use ed25519_dalek::{Signature, SigningKey, VerifyingKey};

use super::NameError;
use crate::path::{MAX_CID_TEXT_BYTES, parse_cid, shown};
use crate::unixfs::wire::{Field, Reader};

/// The multicodec of a key's CID, `libp2p-key`.
const CODEC: u64 = 0x72;
/// The multihash that is no hash: the digest is the key itself.
const IDENTITY: u64 = 0;
/// A public key in protobuf up to the key: its type (field 1) is Ed25519 (1), and it has 32 bytes (field 2).
const PUBLIC_KEY: [u8; 4] = [0x08, 0x01, 0x12, 0x20];
/// What stands before that in a multihash: identity, 36 bytes.
const MULTIHASH: [u8; 2] = [0x00, 0x24];
/// And before that in a CID: version 1, [`CODEC`].
const CID: [u8; 2] = [0x01, 0x72];

/// The name that belongs to one Ed25519 key. It is printed in base36 (`k51…`), and read in that, in any other
/// base as a CID, and as a peer id (`12D3KooW…`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name([u8; 32]);

impl Name {
    /// The name of a public key. `None` for bytes that are no key, or one that anything verifies under.
    pub fn of_public_key(key: &[u8; 32]) -> Option<Self> {
        let read = VerifyingKey::from_bytes(key).ok()?;
        (!read.is_weak()).then_some(Self(*key))
    }

    /// The public half of a pair is always a sound key.
    pub(super) fn of_signing_key(key: &SigningKey) -> Self {
        Self(key.verifying_key().to_bytes())
    }

    /// The public key in the protobuf form of libp2p.
    pub fn public_key(&self) -> Vec<u8> {
        [&PUBLIC_KEY[..], &self.0].concat()
    }

    /// The multihash: what a peer id is, and what follows `/ipns/` in a routing key.
    pub fn multihash(&self) -> Vec<u8> {
        [&MULTIHASH[..], &PUBLIC_KEY, &self.0].concat()
    }

    /// The binary CID.
    pub fn to_bytes(&self) -> Vec<u8> {
        [&CID[..], &MULTIHASH, &PUBLIC_KEY, &self.0].concat()
    }

    /// Whether the key of this name has signed `message`.
    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = VerifyingKey::from_bytes(&self.0);
        let signature = Signature::from_slice(signature);
        match (key, signature) {
            (Ok(key), Ok(signature)) => key.verify_strict(message, &signature).is_ok(),
            _ => false,
        }
    }

    fn of_multihash(text: &str, hash: &Multihash<64>) -> Result<Self, NameError> {
        let refused = |kind| NameError::KeyType {
            text: shown(text).into(),
            kind,
        };
        if hash.code() != IDENTITY {
            return Err(refused("a key that it is the hash of, like those of RSA"));
        }
        let key = hash.digest().strip_prefix(&PUBLIC_KEY);
        let Some(key) = key.and_then(|key| <&[u8; 32]>::try_from(key).ok()) else {
            return Err(match key_type(hash.digest()) {
                Some(0) => refused("an RSA key"),
                Some(2) => refused("a Secp256k1 key"),
                Some(3) => refused("an ECDSA key"),
                _ => invalid(text, "no Ed25519 key is in it"),
            });
        };
        Self::of_public_key(key).ok_or_else(|| invalid(text, "its key is on no curve, or weak"))
    }
}

impl FromStr for Name {
    type Err = NameError;

    /// Parses a name alone, without `/ipns/` before it. Refuses with [`NameError::Invalid`],
    /// [`NameError::KeyType`] and [`NameError::DnsLink`].
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.contains('.') {
            let domain = shown(text).into();
            return Err(NameError::DnsLink { domain });
        }
        // Decoding base58 and base36 takes the square of the length.
        if text.len() > MAX_CID_TEXT_BYTES {
            return Err(invalid(text, "it is too long"));
        }
        // No multibase begins like that: these are multihashes in base58, the old form of a peer id.
        if text.starts_with('1') || text.starts_with("Qm") {
            let bytes = Base::Base58Btc.decode(text);
            let bytes = bytes.map_err(|_| invalid(text, "it is not base58"))?;
            let hash = Multihash::from_bytes(&bytes);
            let hash = hash.map_err(|_| invalid(text, "it is not a peer id"))?;
            return Self::of_multihash(text, &hash);
        }
        let cid =
            parse_cid(text).map_err(|_| invalid(text, "it is neither a CID nor a peer id"))?;
        if cid.codec() != CODEC {
            return Err(invalid(
                text,
                "it is the CID of content, which goes after /ipfs/",
            ));
        }
        Self::of_multihash(text, cid.hash())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&multibase::encode(Base::Base36Lower, self.to_bytes()))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

/// The type that a public key in protobuf says it has.
fn key_type(protobuf: &[u8]) -> Option<u64> {
    match Reader::new(protobuf).next_field() {
        Ok(Some((1, Field::Varint(kind)))) => Some(kind),
        _ => None,
    }
}

fn invalid(text: &str, why: &str) -> NameError {
    NameError::Invalid {
        text: shown(text).into(),
        why: why.into(),
    }
}
