//! Moving bytes through a `ByteStream`: to the end, from and to the standard streams, or from one to
//! another.

use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use schema::system_capnp::byte_stream::Client as ByteStream;

use crate::error::{Error, Result};

/// How much goes into one call: large enough that the call is a small part of the cost, small enough
/// to be far from any host's limit on a message.
const CHUNK: u32 = 64 * 1024;

/// The next bytes, at most `max`; waits until there is one. Empty means the end.
///
/// # Errors
/// The call's own; the stream refuses a `max` of 0.
pub async fn read(stream: &ByteStream, max: u32) -> Result<Vec<u8>> {
    let mut request = stream.read_request();
    request.get().set_max_bytes(max);
    let reply = request.send().promise.await?;
    Ok(reply.get()?.get_data()?.to_vec())
}

/// Everything up to the end, which may be at most `limit` bytes.
///
/// # Errors
/// The calls' own; [`Error::TooLong`] when there is more.
pub async fn read_to_end(stream: &ByteStream, limit: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let chunk = read(stream, CHUNK).await?;
        if chunk.is_empty() {
            return Ok(bytes);
        }
        if chunk.len() > limit - bytes.len() {
            return Err(Error::TooLong(limit));
        }
        bytes.extend(chunk);
    }
}

/// Writes all of it; returns once the stream has accepted it.
///
/// # Errors
/// The calls' own.
pub async fn write_all(stream: &ByteStream, bytes: &[u8]) -> Result<()> {
    for chunk in bytes.chunks(CHUNK as usize) {
        let mut request = stream.write_request();
        request.get().set_data(chunk);
        request.send().promise.await?;
    }
    Ok(())
}

/// Tells the stream that no more will be written.
///
/// # Errors
/// The call's own.
pub async fn close(stream: &ByteStream) -> Result<()> {
    stream.close_request().send().promise.await?;
    Ok(())
}

/// Moves everything from one stream into another, and closes that one; returns the number of bytes.
/// The bytes do not pass through this cell.
///
/// # Errors
/// The calls' own, on either side.
pub async fn copy(from: &ByteStream, into: &ByteStream) -> Result<u64> {
    let mut request = from.pump_request();
    request.get().set_into(into.clone());
    Ok(request.send().promise.await?.get()?.get_bytes())
}

/// Moves everything from a stream to a writer, such as [`io::stdout`](crate::io::stdout); returns the
/// number of bytes.
///
/// # Errors
/// The calls' own, and the writer's.
pub async fn copy_out(from: &ByteStream, into: &mut (impl AsyncWrite + Unpin)) -> Result<u64> {
    let mut count = 0;
    loop {
        let chunk = read(from, CHUNK).await?;
        if chunk.is_empty() {
            return Ok(count);
        }
        into.write_all(&chunk).await?;
        count += chunk.len() as u64;
    }
}

/// Moves everything from a reader, such as [`io::stdin`](crate::io::stdin), into a stream, and closes
/// it; returns the number of bytes.
///
/// # Errors
/// The calls' own, and the reader's.
pub async fn copy_in(from: &mut (impl AsyncRead + Unpin), into: &ByteStream) -> Result<u64> {
    let mut count = 0;
    let mut buffer = vec![0; CHUNK as usize];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            close(into).await?;
            return Ok(count);
        }
        write_all(into, buffer.get(..length).unwrap_or_default()).await?;
        count += length as u64;
    }
}
