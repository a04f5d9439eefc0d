//! What comes in, and which rule it falls under.
//!
//! Every message of the protocol is handled, or sent back as `unimplemented`; what breaks the protocol
//! ends the connection with an `Abort` that says how.

use std::rc::Rc;

use super::Shared;
use super::capabilities::Descriptor;
use crate::error::{self, Violation};
use crate::message::{self, Incoming};
use crate::rpc_capnp::{message as wire, resolve, return_};

impl Shared {
    /// Takes one message.
    pub(super) fn receive(self: &Rc<Self>, bytes: &[u8]) {
        if !self.is_open() {
            return;
        }
        if let Err(violation) = self.dispatch(bytes) {
            self.fail(&violation);
        }
    }

    fn dispatch(self: &Rc<Self>, bytes: &[u8]) -> Result<(), Violation> {
        let message = message::incoming(bytes, &self.limits)?;
        let unserved = match Kind::of(&message)? {
            Kind::Call => self.on_call(message, bytes.len())?,
            Kind::Return => {
                self.on_return(message)?;
                None
            }
            Kind::Other => match self.dispatch_other(message.get_root()?)? {
                true => None,
                false => Some(message),
            },
        };
        match unserved {
            Some(message) => self.send_back_unimplemented(&message),
            None => Ok(()),
        }
    }

    /// `false` when the message belongs to a level of the protocol that is not served.
    fn dispatch_other(self: &Rc<Self>, message: wire::Reader<'_>) -> Result<bool, Violation> {
        match message.which() {
            Ok(wire::Bootstrap(bootstrap)) => {
                self.on_bootstrap(bootstrap?.get_question_id())?;
            }
            Ok(wire::Finish(finish)) => self.on_finish(finish?),
            Ok(wire::Resolve(resolve)) => self.on_resolve(resolve?)?,
            Ok(wire::Release(release)) => self.on_release(release?)?,
            Ok(wire::Disembargo(disembargo)) => return Ok(!self.on_disembargo(disembargo?)?),
            Ok(wire::Abort(exception)) => self.end(error::read(exception?)),
            Ok(wire::Unimplemented(message)) => self.on_unimplemented(message?)?,
            // Levels 2 to 4: persistence as it once was, third parties, equality.
            Ok(
                wire::ObsoleteSave(_)
                | wire::ObsoleteDelete(_)
                | wire::Provide(_)
                | wire::Accept(_)
                | wire::Join(_)
                // Handled where they are told apart.
                | wire::Call(_)
                | wire::Return(_),
            )
            | Err(capnp::NotInSchema(_)) => return Ok(false),
        }
        Ok(true)
    }

    /// Sends back what is not served: of a call, what names it, because its parameters may hold
    /// capabilities, which cannot go back; of any other message, all. A message whose pointers name the
    /// same content again and again would be larger on its way back than it came.
    fn send_back_unimplemented(self: &Rc<Self>, message: &Incoming) -> Result<(), Violation> {
        let root: wire::Reader<'_> = message.get_root()?;
        let mut answer = message::outgoing(None);
        let mut echo = answer.init_root::<wire::Builder<'_>>();
        match root.which() {
            Ok(wire::Call(call)) => {
                let call = call?;
                let mut echo = echo.init_unimplemented().init_call();
                echo.set_question_id(call.get_question_id());
                echo.set_interface_id(call.get_interface_id());
                echo.set_method_id(call.get_method_id());
            }
            _ => {
                let size = root.total_size()?.word_count;
                if size > message.size_in_words().try_into().unwrap_or(u64::MAX) {
                    return Err(Violation::TooLargeToSendBack);
                }
                echo.set_unimplemented(root)?;
            }
        }
        self.tell_message(&answer);
        Ok(())
    }

    /// The peer sent back a message of ours.
    fn on_unimplemented(self: &Rc<Self>, message: wire::Reader<'_>) -> Result<(), Violation> {
        match message.which()? {
            wire::Call(call) => self.on_unimplemented_question(call?.get_question_id()),
            wire::Bootstrap(bootstrap) => {
                self.on_unimplemented_question(bootstrap?.get_question_id())
            }
            // It cannot have taken what the promise resolved to.
            wire::Resolve(resolve) => self.take_back_resolution(resolve?),
            wire::Return(returned) => match returned?.which() {
                // `capnp-rpc` sends these back, although it asked for them.
                Ok(return_::Canceled(()) | return_::ResultsSentElsewhere(())) => Ok(()),
                _ => Err(Violation::Indispensable("a return")),
            },
            wire::Finish(_) => Err(Violation::Indispensable("a finish")),
            wire::Disembargo(_) => Err(Violation::Indispensable("a disembargo")),
            // Whoever does not know how to release keeps; that is counted.
            _ => Ok(()),
        }
    }

    fn take_back_resolution(&self, resolve: resolve::Reader<'_>) -> Result<(), Violation> {
        let resolve::Cap(descriptor) = resolve.which()? else {
            return Ok(());
        };
        let Some(id) = Descriptor::read(descriptor?, &self.limits)?.import() else {
            return Ok(());
        };
        let released = self.tables.borrow_mut().exports.release(id, 1)?;
        crate::vat::discard(released);
        Ok(())
    }
}

/// Messages whose content is kept, and those that are done with at once.
enum Kind {
    Call,
    Return,
    Other,
}

impl Kind {
    fn of(message: &Incoming) -> Result<Self, Violation> {
        let root: wire::Reader<'_> = message.get_root()?;
        Ok(match root.which() {
            Ok(wire::Call(_)) => Self::Call,
            Ok(wire::Return(_)) => Self::Return,
            Ok(_) | Err(capnp::NotInSchema(_)) => Self::Other,
        })
    }
}
