//! The address of a contract.

use std::fmt;
use std::str::FromStr;

use sha3::{Digest, Keccak256};
use thiserror::Error;

/// How many bytes an address has.
const BYTES: usize = 20;

/// How many hexadecimal digits an address is written with.
const DIGITS: usize = 2 * BYTES;

/// The address of a contract on an Ethereum chain.
///
/// Parses 40 hexadecimal digits, with `0x` before them or without. Digits in one case are taken as
/// they are; in mixed case they are an EIP-55 checksum, and a wrong one is refused. Displays with
/// `0x` and checksum.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address([u8; BYTES]);

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// It is not 40 digits long, `0x` not counted.
    #[error(
        "an address has 40 hexadecimal digits after an optional 0x, and this has {found} characters"
    )]
    Length {
        /// How many characters it has, `0x` not counted.
        found: usize,
    },
    /// It has a character that is no hexadecimal digit.
    #[error("an address has hexadecimal digits only, and character {position} is {found:?}")]
    NotHexadecimal {
        /// Which character it is, counted from 1, `0x` included.
        position: usize,
        /// The character.
        found: char,
    },
    /// Its mixed case is not its checksum.
    #[error(
        "the address is mistyped: its upper and lower case do not match its digits. \
         If the digits are right, it is {expected}"
    )]
    Checksum {
        /// The same digits with the right checksum.
        expected: Address,
    },
}

impl Address {
    /// The address as it is used in calls.
    pub fn as_bytes(&self) -> &[u8; BYTES] {
        &self.0
    }

    /// Its digits, with the checksum in their case.
    fn digits(&self) -> String {
        let lower: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        let hash = Keccak256::digest(lower.as_bytes());
        let nibbles = hash.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
        lower
            .chars()
            .zip(nibbles)
            .map(|(digit, nibble)| match nibble {
                8.. => digit.to_ascii_uppercase(),
                _ => digit,
            })
            .collect()
    }
}

impl From<[u8; BYTES]> for Address {
    fn from(bytes: [u8; BYTES]) -> Self {
        Self(bytes)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (digits, skipped) = match text.strip_prefix("0x") {
            Some(digits) => (digits, 2),
            None => (text, 0),
        };
        let found = digits.chars().count();
        if found != DIGITS {
            return Err(AddressError::Length { found });
        }
        let mut bytes = [0; BYTES];
        for (index, digit) in digits.chars().enumerate() {
            let Some(value) = digit.to_digit(16) else {
                return Err(AddressError::NotHexadecimal {
                    position: skipped + index + 1,
                    found: digit,
                });
            };
            if let Some(byte) = bytes.get_mut(index / 2) {
                *byte = *byte << 4 | value as u8;
            }
        }
        let address = Self(bytes);
        let mixed = digits.contains(|digit: char| digit.is_ascii_lowercase())
            && digits.contains(|digit: char| digit.is_ascii_uppercase());
        if mixed && digits != address.digits() {
            return Err(AddressError::Checksum { expected: address });
        }
        Ok(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "0x{}", self.digits())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::{Address, AddressError};

    /// The examples of EIP-55.
    const CHECKED: [&str; 8] = [
        "0x52908400098527886E0F7030069857D2E4169EE7",
        "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
        "0xde709f2102306220921060314715629080e2fb77",
        "0x27b1fdb04752bbc536007a920d24acb045561c26",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ];

    #[test]
    fn the_examples_of_the_standard_are_read_and_written() {
        for text in CHECKED {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            let bare = text.strip_prefix("0x").unwrap();
            assert_eq!(bare.parse(), Ok(address));
            assert_eq!(bare.to_lowercase().parse(), Ok(address));
            assert_eq!(bare.to_uppercase().parse(), Ok(address));
        }
    }

    #[test]
    fn a_wrong_checksum_is_refused_with_the_right_one() {
        let text = "0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
        let error = text.parse::<Address>().unwrap_err();
        assert!(matches!(error, AddressError::Checksum { .. }));
        let right = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
        assert!(error.to_string().contains(right));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let length = |text: &str| match text.parse::<Address>() {
            Err(AddressError::Length { found }) => Some(found),
            _ => None,
        };
        assert_eq!(length(""), Some(0));
        assert_eq!(length("0x"), Some(0));
        assert_eq!(length("0x1234"), Some(4));
        assert_eq!(length(&"0".repeat(41)), Some(41));
        assert_eq!(length("vitalik.eth"), Some(11));
        assert_eq!(length(&format!("0X{}", "0".repeat(40))), Some(42));
        assert_eq!(
            format!("0x{}é{}", "0".repeat(3), "0".repeat(36)).parse::<Address>(),
            Err(AddressError::NotHexadecimal {
                position: 6,
                found: 'é'
            })
        );
    }

    proptest! {
        #[test]
        fn every_address_survives_its_own_text(bytes: [u8; 20]) {
            let address = Address::from(bytes);
            prop_assert_eq!(address.to_string().parse(), Ok(address));
            prop_assert_eq!(address.as_bytes(), &bytes);
        }

        #[test]
        fn no_text_is_a_panic(text in ".{0,60}") {
            let _ = text.parse::<Address>();
        }
    }
}
