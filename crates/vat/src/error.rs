//! Errors of this crate, and exceptions of the protocol.

use capnp::{Error, ErrorKind};

use crate::limits::MAX_REASON_BYTES;
use crate::message::FramingError;
use crate::rpc_capnp::exception;

/// What a peer did that the protocol does not allow. It ends the connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Violation {
    #[error(transparent)]
    Framing(#[from] FramingError),
    #[error("a message that cannot be read: {0}")]
    Unreadable(#[from] Error),
    #[error("a union member that the protocol does not have: {0}")]
    NotInSchema(#[from] capnp::NotInSchema),
    #[error("question {0} is asked already")]
    QuestionInUse(u32),
    #[error("a return for question {0}, which was not asked or has returned")]
    NoSuchQuestion(u32),
    #[error("export {0}, which the sender does not hold")]
    NoSuchExport(u32),
    #[error("export {id} released {count} times; {held} references are held")]
    ReleasedTooOften { id: u32, count: u32, held: u32 },
    #[error("import {0} is referred to more often than can be counted")]
    TooManyReferences(u32),
    #[error("import {0} resolves, but is no promise")]
    NotAPromise(u32),
    #[error("results of question {0}, which were not held back or were taken before")]
    NoSuchResults(u32),
    #[error("embargo {0}, which is not in force")]
    NoSuchEmbargo(u32),
    #[error("a disembargo of something that does not lead back to its sender")]
    NotALoop,
    #[error("{0} was answered with `unimplemented`; the protocol cannot do without it")]
    Indispensable(&'static str),
    #[error("a message that is not understood, and too large to be sent back")]
    TooLargeToSendBack,
    #[error("{count} embargoes wait for an answer; at most {limit} may")]
    TooManyEmbargoes { count: usize, limit: usize },
    #[error("{bytes} bytes are left unread; at most {limit} are kept")]
    Unread { bytes: usize, limit: usize },
}

/// An exception as an error of this vat.
pub(crate) fn read(exception: exception::Reader<'_>) -> Error {
    let kind = match exception.get_type() {
        Ok(exception::Type::Overloaded) => ErrorKind::Overloaded,
        Ok(exception::Type::Disconnected) => ErrorKind::Disconnected,
        Ok(exception::Type::Unimplemented) => ErrorKind::Unimplemented,
        Ok(exception::Type::Failed) | Err(_) => ErrorKind::Failed,
    };
    let reason = exception.get_reason().ok();
    let reason = reason.map_or_else(String::new, |text| {
        let kept = text.as_bytes().get(..MAX_REASON_BYTES);
        String::from_utf8_lossy(kept.unwrap_or(text.as_bytes())).into_owned()
    });
    Error {
        kind,
        extra: reason,
    }
}

/// An error of this vat as an exception.
pub(crate) fn write(error: &Error, mut exception: exception::Builder<'_>) {
    let (kind, reason) = match error.kind {
        ErrorKind::Failed => (exception::Type::Failed, error.extra.clone()),
        ErrorKind::Overloaded => (exception::Type::Overloaded, error.extra.clone()),
        ErrorKind::Disconnected => (exception::Type::Disconnected, error.extra.clone()),
        ErrorKind::Unimplemented => (exception::Type::Unimplemented, error.extra.clone()),
        // The kinds that a message can fail with tell what is wrong in their own text.
        _ => (exception::Type::Failed, error.to_string()),
    };
    exception.set_type(kind);
    exception.set_reason(cut(&reason));
}

/// An error with no more text than is kept: it is cloned to everybody who waits for it.
pub(crate) fn bounded(mut error: Error) -> Error {
    let kept = cut(&error.extra).len();
    error.extra.truncate(kept);
    error.extra.shrink_to_fit();
    error
}

fn cut(reason: &str) -> &str {
    let end = (0..=MAX_REASON_BYTES.min(reason.len()))
        .rev()
        .find(|end| reason.is_char_boundary(*end));
    end.and_then(|end| reason.get(..end)).unwrap_or(reason)
}
