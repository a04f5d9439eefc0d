//! Who takes what a guest says.
//!
//! There is no queue on this side of a conversation: a message is handed over inside the guest's own
//! call, on the thread that polls the cell, and what it causes has happened when that call returns.
//! What a message means is not known here. It is framed correctly and no larger than
//! [`Limits::message_bytes`](crate::Limits::message_bytes); nothing else is promised about it.
//!
//! A guest is held back by not returning to it while its recipient has no room. It is let go on when
//! there is something for it to receive, room or not: two guests that each wait for the other to read
//! would otherwise wait for ever. So a guest that never receives may go on to send without room, and
//! a recipient needs a hard limit of its own, beyond which it says [`Closed`] or kills the cell.

use std::task::{Context, Poll};
use thiserror::Error;

/// Takes what one guest says. Need not be `Send`: it stays on the thread that first polls
/// [`Cell::run`](crate::Cell::run), and the future that runs the cell stays there with it.
///
/// It is dropped as soon as the guest can say no more: when the guest drops its end of the
/// conversation (as a byte stream: its output), or breaks the framing of that stream, or is told
/// [`Closed`], at the latest when the cell ends and before that end is published. It may be dropped
/// inside a call of the guest's, like everything else here.
///
/// The guest waits in its call meanwhile, and no tick interrupts it, so nothing here may take long. It
/// runs on the guest's own stack, of which the host has some 1.5 MiB, so nothing here may recurse over
/// what a guest supplies. It may do whatever else it likes, such as sending to this guest, dropping
/// its sender, or killing it, after which no further message is delivered.
pub trait Recipient: 'static {
    /// Takes one message, framed correctly and no larger than
    /// [`Limits::message_bytes`](crate::Limits::message_bytes). The bytes lie in the guest's memory or
    /// in a buffer of the host's: copy what is to be kept.
    ///
    /// May be called while [`poll_room`](Self::poll_room) says that there is none: the room is for
    /// going on after a message, not for beginning one.
    ///
    /// # Errors
    /// The conversation is over for this guest. It is told `closed`, and so is every later attempt;
    /// what was sent to it before can still be received.
    fn deliver(&mut self, message: &[u8]) -> Result<(), Closed>;

    /// Ready while the recipient is willing to take more; otherwise wakes the last waker that it was
    /// given once it is. Asked after each message, at first with a waker that does nothing.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// The recipient takes no more messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the host's end of the conversation is closed")]
pub struct Closed;
