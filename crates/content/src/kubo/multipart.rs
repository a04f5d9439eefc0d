//! The one part of `multipart/form-data` that Kubo's uploads are: a file in an envelope, read as it is
//! sent.
//!
//! What is sent may have been written by somebody else, so the boundary is one that nobody can know
//! beforehand: a block that held it could end the part and begin another.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, Cursor, Read};

/// A [`Read`] of the envelope with `content` in it.
pub(super) struct Multipart<'a> {
    boundary: String,
    head: Cursor<Vec<u8>>,
    content: &'a mut dyn Read,
    foot: Cursor<Vec<u8>>,
    failure: Option<io::Error>,
}

impl<'a> Multipart<'a> {
    pub(super) fn new(content: &'a mut dyn Read) -> Self {
        let boundary = unguessable();
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"file\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        let foot = format!("\r\n--{boundary}--\r\n");
        Self {
            boundary,
            head: Cursor::new(head.into_bytes()),
            content,
            foot: Cursor::new(foot.into_bytes()),
            failure: None,
        }
    }

    pub(super) fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }

    /// The error that `content` gave, which the HTTP client cannot tell from one of the connection.
    pub(super) fn take_failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }
}

impl Read for Multipart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.head.read(buffer)?;
        if count > 0 {
            return Ok(count);
        }
        loop {
            match self.content.read(buffer) {
                Ok(0) => return self.foot.read(buffer),
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let stopped = io::Error::from(error.kind());
                    self.failure = Some(error);
                    return Err(stopped);
                }
            }
        }
    }
}

/// 256 bits from the standard library's keyed hash, whose keys come from the system.
fn unguessable() -> String {
    (0..4_u8)
        .map(|turn| format!("{:016x}", RandomState::new().hash_one(turn)))
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_content_stands_whole_between_the_boundaries() {
        let mut content = &b"some bytes"[..];
        let mut body = Multipart::new(&mut content);
        let boundary = body.boundary.clone();
        let mut sent = String::new();
        body.read_to_string(&mut sent).unwrap();
        assert!(sent.starts_with(&format!("--{boundary}\r\n")));
        assert!(sent.ends_with(&format!("\r\n\r\nsome bytes\r\n--{boundary}--\r\n")));
    }

    #[test]
    fn no_two_boundaries_are_alike() {
        let mut seen = std::collections::HashSet::new();
        assert!((0..100).all(|_| seen.insert(unguessable())));
    }
}
