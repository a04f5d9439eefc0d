//! An epoch: which head is in force, and since when.

use std::fmt;
use std::ops::Deref;

use thiserror::Error;

/// The longest head that is taken from a contract. A binary CID has 36 bytes, one with the longest
/// hash in use 70; a contract may return megabytes.
pub const MAX_HEAD_BYTES: usize = 256;

/// The lifetime of authority: what was granted in one epoch ends with it.
///
/// The default is epoch 0, in which nothing has been adopted yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epoch {
    /// Grows by one with each head that this node adopts.
    pub sequence: u64,
    /// The head in force.
    pub head: Head,
    /// The number of the newest block when the head was adopted. The head was read as of the block
    /// that had the required number of confirmations then.
    pub adopted_block: u64,
}

/// What a contract says is in force: the binary CID of an image, or nothing.
///
/// At most [`MAX_HEAD_BYTES`] long. Whether it is a CID is for its user to find out.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Head(Box<[u8]>);

/// A contract's head is too long to be a content id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the contract's head has {length} bytes, and a content id at most {MAX_HEAD_BYTES}: \
     is this the address of an Atom contract?"
)]
pub struct HeadTooLong {
    /// How long it is, in bytes.
    pub length: usize,
}

impl Head {
    /// The bytes of the head. Empty where there is none.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<&[u8]> for Head {
    type Error = HeadTooLong;

    /// Refuses more than [`MAX_HEAD_BYTES`].
    fn try_from(bytes: &[u8]) -> Result<Self, HeadTooLong> {
        if bytes.len() > MAX_HEAD_BYTES {
            return Err(HeadTooLong {
                length: bytes.len(),
            });
        }
        Ok(Self(bytes.into()))
    }
}

impl Deref for Head {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("0x")?;
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Epoch, Head, HeadTooLong, MAX_HEAD_BYTES};

    #[test]
    fn a_head_is_bounded() {
        let longest = [7; MAX_HEAD_BYTES];
        assert_eq!(Head::try_from(&longest[..]).unwrap().as_bytes(), longest);
        let error = Head::try_from(&[7; MAX_HEAD_BYTES + 1][..]);
        assert_eq!(
            error,
            Err(HeadTooLong {
                length: MAX_HEAD_BYTES + 1
            })
        );
    }

    #[test]
    fn epoch_zero_has_no_head() {
        let epoch = Epoch::default();
        assert_eq!((epoch.sequence, epoch.head.len()), (0, 0));
    }
}
