//! The faces: Cap'n Proto servers of what the node offers, one file a capability.
//!
//! A face decodes, checks, calls and encodes. The rule of a capability is in the object behind the
//! face, so that another face over the same object cannot forget it. What a face refuses, it refuses
//! with a message that says what was wrong with the call.

mod behalf;
pub mod byte_stream;
pub mod executor;
pub mod host;
pub mod ipfs;
pub mod membrane;
mod peers;
pub mod process;
mod shelf;

use capnp::any_pointer;
use capnp::capability::{Client, Rc};

/// The longest list of arguments, environment entries or grants that a call may carry. More is no
/// program's need, and each entry costs the host more than it costs the caller.
pub const MAX_LIST: u32 = 1024;

/// The most text in such a list, in bytes: what the engine passes to a program. Counted while the list is read,
/// because a small message can name one text a thousand times.
pub const MAX_LIST_BYTES: usize = 2 << 20;

/// How much of a caller's text an error quotes, in characters: enough to find it by.
const MAX_QUOTED_CHARS: usize = 80;

/// Refuses a list of more than [`MAX_LIST`] entries.
fn bounded(what: &str, length: u32) -> capnp::Result<()> {
    if length > MAX_LIST {
        return Err(capnp::Error::failed(format!(
            "{what}: {length} entries; at most {MAX_LIST} are accepted"
        )));
    }
    Ok(())
}

/// The texts of a list, each checked to be UTF-8 without NUL, which no argument may hold.
fn texts(what: &str, list: capnp::text_list::Reader<'_>) -> capnp::Result<Vec<String>> {
    bounded(what, list.len())?;
    let mut total = 0usize;
    list.iter()
        .map(|text| {
            let text = text?.to_str()?;
            total = total.saturating_add(text.len());
            if total > MAX_LIST_BYTES {
                return Err(capnp::Error::failed(format!(
                    "{what}: more than {MAX_LIST_BYTES} bytes"
                )));
            }
            if text.contains('\0') {
                return Err(capnp::Error::failed(format!(
                    "{what}: {:?} holds a NUL",
                    shown(text)
                )));
            }
            Ok(text.to_owned())
        })
        .collect()
}

/// The beginning of a text, for an error that quotes it: what is quoted came from a caller.
fn shown(text: &str) -> &str {
    let end = text.char_indices().nth(MAX_QUOTED_CHARS);
    end.and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// The capability that a caller gives; refuses one that is not there.
fn given(what: &str, cap: any_pointer::Reader<'_>) -> capnp::Result<Client> {
    if cap.is_null() {
        return Err(capnp::Error::failed(format!(
            "{what}: no capability is given"
        )));
    }
    cap.get_as_capability()
}

/// A client for a face.
fn client<C, S>(face: Rc<S>) -> C
where
    C: capnp::capability::FromServer<S>,
{
    vat::new_client_from_rc(face)
}
