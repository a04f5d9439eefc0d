//! What can go wrong in a guest, in one type that `?` converts into.
//!
//! Written by hand: a derive would put a macro's parser into the build of every guest.

use std::fmt;

use crate::time::Elapsed;

/// The result of anything in the SDK.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a guest, or a step of one, failed.
///
/// `Debug` prints the same as `Display`, with the causes, so that a `main` that returns a [`Result`]
/// reports it readably.
#[non_exhaustive]
pub enum Error {
    /// A call failed: the other side refused it, or the conversation ended. The error's kind tells
    /// which.
    Call(capnp::Error),
    /// A stream or a file failed.
    Io(std::io::Error),
    /// The cell was not granted the capability of this name.
    NotGranted(String),
    /// The host offers no conversation, or has ended it.
    Disconnected,
    /// The conversation was taken before, by this program.
    Taken,
    /// Nothing that the program waits for can ever happen.
    Stalled,
    /// [`block_on`](crate::block_on) was called from inside itself.
    Nested,
    /// The time that was allowed has passed.
    Elapsed(Elapsed),
    /// More bytes came than the caller allowed; the bound, in bytes.
    TooLong(usize),
    /// An error of the program's own.
    Other(Box<dyn std::error::Error>),
}

impl Error {
    /// The error and its causes, outermost first, on one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
            Self::NotGranted(name) => {
                // What an operator can grant has a name of its own; under any other it has to be said what is meant.
                let what = match name.as_str() {
                    "host" | "executor" | "ipfs" => "",
                    _ => "=WHAT",
                };
                write!(
                    f,
                    "this cell was not granted `{name}`. What allows it: `ww run --grant {name}{what}` for a \
                     first cell, and for others a grant of that name from their parent (Program.spawn, `grants`)"
                )
            }
            Self::Disconnected => {
                f.write_str("the host offers this cell no conversation, or has ended it")
            }
            Self::Taken => f.write_str(
                "the conversation with the host was taken before: a program calls `run` or \
                 `serve` once, and nothing else may take it",
            ),
            Self::Stalled => f.write_str("the program waits for something that cannot happen"),
            Self::Nested => f.write_str("`block_on` was called from inside itself: use `.await`"),
            Self::Elapsed(error) => error.fmt(f),
            Self::TooLong(limit) => write!(f, "more than the {limit} bytes that were allowed"),
            Self::Other(error) => error.fmt(f),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Call(error) => error.source(),
            Self::Io(error) => error.source(),
            Self::Other(error) => error.source(),
            _ => None,
        }
    }
}

macro_rules! from {
    ($($type:ty => $variant:expr),* $(,)?) => {
        $(impl From<$type> for Error {
            fn from(error: $type) -> Self {
                $variant(error)
            }
        })*
    };
}

from! {
    capnp::Error => Self::Call,
    std::io::Error => Self::Io,
    Elapsed => Self::Elapsed,
    Box<dyn std::error::Error> => Self::Other,
    String => |text: String| Self::Other(text.into()),
    &str => |text: &str| Self::Other(text.into()),
    capnp::NotInSchema => |error| Self::Call(capnp::Error::from(error)),
    std::str::Utf8Error => |error| Self::Other(Box::new(error)),
    std::string::FromUtf8Error => |error| Self::Other(Box::new(error)),
    std::num::ParseIntError => |error| Self::Other(Box::new(error)),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[derive(Debug)]
    struct Outer(std::io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("cannot start")
        }
    }

    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn the_whole_chain_is_told_on_one_line() {
        let error = Error::Other(Box::new(Outer(std::io::Error::other("no such disk"))));
        assert_eq!(error.chain(), "cannot start: no such disk");
        assert_eq!(format!("{error:?}"), "cannot start: no such disk");
        assert_eq!(error.to_string(), "cannot start");
    }

    #[test]
    fn a_missing_grant_is_named_together_with_who_can_lift_it() {
        let text = Error::NotGranted("host".into()).to_string();
        assert!(
            text.contains("`host`") && text.contains("Program.spawn"),
            "{text}"
        );
        assert!(text.contains("`ww run --grant host`"), "{text}");
        // `--grant mine` alone would be refused: there is nothing called so to be granted.
        let text = Error::NotGranted("mine".into()).to_string();
        assert!(text.contains("`ww run --grant mine=WHAT`"), "{text}");
    }
}
