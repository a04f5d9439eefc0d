//! A key pair that can speak for one name.

use std::fmt;

use ed25519_dalek::{Signer, SigningKey};
use zeroize::Zeroizing;

use super::{KeyError, Name};

/// A private key in protobuf up to the key: its type (field 1) is Ed25519 (1), and it has 64 bytes (field 2), the
/// secret and the public half.
const PRIVATE_KEY: [u8; 4] = [0x08, 0x01, 0x12, 0x40];

/// The size of a private key in protobuf, in bytes.
pub(super) const PRIVATE_KEY_BYTES: usize = PRIVATE_KEY.len() + 64;

/// An Ed25519 key pair. Printing it shows its name only, and dropping it leaves no trace in memory.
#[derive(Clone)]
pub struct Key(SigningKey);

impl Key {
    /// A new key. Errors: [`KeyError::Random`].
    pub fn generate() -> Result<Self, KeyError> {
        let mut secret = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *secret).map_err(KeyError::Random)?;
        Ok(Self::from_secret(&secret))
    }

    /// The key of this secret, which is the seed of RFC 8032.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(secret))
    }

    /// The name that this key speaks for.
    pub fn name(&self) -> Name {
        Name::of_signing_key(&self.0)
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// The key as libp2p writes it down.
    pub(super) fn to_protobuf(&self) -> Zeroizing<Vec<u8>> {
        let pair = Zeroizing::new(self.0.to_keypair_bytes());
        let mut protobuf = Zeroizing::new(Vec::with_capacity(PRIVATE_KEY_BYTES));
        protobuf.extend_from_slice(&PRIVATE_KEY);
        protobuf.extend_from_slice(&*pair);
        protobuf
    }

    /// `None` for what is not exactly that, or whose halves do not belong together.
    pub(super) fn from_protobuf(bytes: &[u8]) -> Option<Self> {
        let pair = bytes.strip_prefix(&PRIVATE_KEY)?.try_into().ok()?;
        SigningKey::from_keypair_bytes(pair).ok().map(Self)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.name()).finish()
    }
}
