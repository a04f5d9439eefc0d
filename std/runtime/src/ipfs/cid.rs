//! Content addresses as a guest needs them: bytes that came from the host, and their text.
//!
//! Written by hand, a screenful, because the crates for it would bring every hash and every base into every guest.
//! Nothing is checked here: the host does that with what it is given.

use std::fmt;

/// Begins the bytes of a CID of version 0, which is a bare sha2-256 hash, and no others.
const VERSION_0: [u8; 2] = [0x12, 0x20];

/// What the text of a CID of version 1 is written in: RFC 4648, in lower case.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// What the text of a CID of version 0 is written in: Bitcoin's.
const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// A content address. `Display` gives its text: `bafy…`, or `Qm…` for one of version 0.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cid(Vec<u8>);

impl Cid {
    /// One that is given in its binary form, as the host gives them.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// Its binary form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Where it is: `/ipfs/CID`.
    pub fn path(&self) -> String {
        format!("/ipfs/{self}")
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.starts_with(&VERSION_0) {
            true => f.write_str(&base58(&self.0)),
            false => write!(f, "b{}", base32(&self.0)),
        }
    }
}

impl fmt::Debug for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn digit(alphabet: &[u8], value: u32) -> char {
    let found = alphabet.get(value as usize);
    found.map_or('?', |letter| char::from(*letter))
}

fn base32(bytes: &[u8]) -> String {
    let mut text = String::new();
    let (mut held, mut bits) = (0_u32, 0);
    for byte in bytes {
        held = held << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(digit(BASE32, held >> bits & 31));
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        text.push(digit(BASE32, held << (5 - bits) & 31));
    }
    text
}

/// Of bytes that do not begin with a zero.
fn base58(bytes: &[u8]) -> String {
    // The lowest digit first.
    let mut digits: Vec<u32> = Vec::new();
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry += *digit << 8;
            *digit = carry % 58;
            carry /= 58;
        }
        while carry > 0 {
            digits.push(carry % 58);
            carry /= 58;
        }
    }
    let digits = digits.iter().rev();
    digits.map(|value| digit(BASE58, *value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sha2-256 hash of a directory with nothing in it, which everybody has seen.
    const EMPTY: [u8; 32] = [
        0x59, 0x94, 0x84, 0x39, 0x06, 0x5f, 0x29, 0x61, 0x9e, 0xf4, 0x12, 0x80, 0xcb, 0xb9, 0x32,
        0xbe, 0x52, 0xc5, 0x6d, 0x99, 0xc5, 0x96, 0x6b, 0x65, 0xe0, 0x11, 0x12, 0x39, 0xf0, 0x98,
        0xbb, 0xef,
    ];

    #[test]
    fn text_is_as_everybody_writes_it() {
        let old = Cid::from_bytes([&VERSION_0[..], &EMPTY].concat());
        assert_eq!(
            old.to_string(),
            "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"
        );
        let new = Cid::from_bytes([&[1, 0x70][..], &VERSION_0, &EMPTY].concat());
        assert_eq!(
            new.path(),
            "/ipfs/bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"
        );
    }
}
