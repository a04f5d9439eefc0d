//! Sending: what may be sent, and what happens when it may not.
//!
//! Calls and results are *dispensable*: where they do not fit, they fail. What keeps the two sides'
//! tables in step is not; where there is no room even for that, the connection ends.

use std::rc::Rc;

use capnp::{Error, MessageSize};

use super::{Shared, Tables};
use crate::error::{self, Violation};
use crate::limits::Limits;
use crate::message::{self, Outgoing};
use crate::reference::WireTarget;
use crate::rpc_capnp::{message as wire, message_target};

/// What stands in for an essential message that could not be sent.
enum Unsent {
    Gone,
    Unread { bytes: usize, limit: usize },
}

impl Tables {
    /// Sends a call or results, if they fit. Returns their size.
    pub(super) fn send(&mut self, message: &Outgoing, limits: &Limits) -> Result<usize, Error> {
        let bytes = message::framed_bytes(message);
        if bytes > limits.message_bytes {
            return Err(Error::failed(format!(
                "a message of {bytes} bytes; at most {} are sent",
                limits.message_bytes
            )));
        }
        let ended = self.ended.clone();
        let gone = || ended.unwrap_or_else(closed);
        let Some(outbox) = &mut self.outbox else {
            return Err(gone());
        };
        let backlog = outbox.backlog();
        if backlog.saturating_add(bytes) > limits.outgoing_bytes {
            return Err(Error::overloaded(format!(
                "{backlog} bytes are left unread; at most {} are kept",
                limits.outgoing_bytes
            )));
        }
        outbox.send(message::frame(message)).map_err(|_| gone())?;
        Ok(bytes)
    }

    fn send_essential(&mut self, message: &Outgoing, limits: &Limits) -> Result<(), Unsent> {
        let outbox = self.outbox.as_mut().ok_or(Unsent::Gone)?;
        let bytes = outbox.backlog();
        let limit = limits.outgoing_bytes.saturating_mul(2);
        if bytes > limit {
            return Err(Unsent::Unread { bytes, limit });
        }
        outbox
            .send(message::frame(message))
            .map_err(|_| Unsent::Gone)
    }
}

fn closed() -> Error {
    Error::disconnected("the connection is closed".into())
}

impl Shared {
    /// Whether a message may have content of this size.
    pub(crate) fn fits(&self, content: MessageSize) -> Result<(), Error> {
        let limit = self.limits.message_bytes;
        let bytes = content.word_count.saturating_mul(8);
        if bytes > u64::try_from(limit).unwrap_or(u64::MAX) {
            return Err(Error::failed(format!(
                "content of {bytes} bytes; messages of at most {limit} are sent"
            )));
        }
        Ok(())
    }

    /// Sends what the protocol cannot do without.
    pub(super) fn tell(self: &Rc<Self>, write: impl FnOnce(wire::Builder<'_>)) {
        let mut message = message::outgoing(None);
        write(message.init_root());
        self.tell_message(&message);
    }

    /// As [`tell`](Self::tell), for a message that is written.
    pub(super) fn tell_message(self: &Rc<Self>, message: &Outgoing) {
        let sent = self
            .tables
            .borrow_mut()
            .send_essential(message, &self.limits);
        match sent {
            Ok(()) => {}
            Err(Unsent::Gone) => self.end(closed()),
            Err(Unsent::Unread { bytes, limit }) => self.fail(&Violation::Unread { bytes, limit }),
        }
    }

    /// Says why the connection ends, whatever is unread.
    pub(super) fn send_abort(&self, reason: &Error) {
        let mut message = message::outgoing(None);
        error::write(
            reason,
            message.init_root::<wire::Builder<'_>>().init_abort(),
        );
        if let Some(outbox) = &mut self.tables.borrow_mut().outbox {
            // The peer may have gone first; then there is nobody to be told.
            let _ = outbox.send(message::frame(&message));
        }
    }
}

/// Addresses a message.
pub(super) fn address(target: &WireTarget<'_>, mut to: message_target::Builder<'_>) {
    match target {
        WireTarget::Import(id) => to.set_imported_cap(*id),
        WireTarget::Answer(question, path) => {
            let mut answer = to.init_promised_answer();
            answer.set_question_id(*question);
            let steps = u32::try_from(path.len()).unwrap_or(u32::MAX);
            let mut transform = answer.init_transform(steps);
            for (index, field) in (0..).zip(*path) {
                transform
                    .reborrow()
                    .get(index)
                    .set_get_pointer_field(*field);
            }
        }
    }
}
