//! What comes in, and which rule it falls under.
//!
//! Every message of the protocol is handled, or sent back as `unimplemented`; what breaks the protocol
//! ends the connection with an `Abort` that says how.

use std::rc::Rc;

use super::Shared;
use super::answers::CallHead;
use super::capabilities::Descriptor;
use super::questions::ReturnHead;
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
        match self.read(message.get_root()?)? {
            Step::Done => Ok(()),
            Step::Call(head) if head.is_served() => self.on_call(head, message, bytes.len()),
            Step::Return(head) => self.on_return(head, message),
            Step::Call(_) | Step::Unserved => self.send_back_unimplemented(&message),
        }
    }

    /// Does what a message says. Of those whose content is kept, this is only the beginning.
    fn read(self: &Rc<Self>, message: wire::Reader<'_>) -> Result<Step, Violation> {
        match message.which() {
            Ok(wire::Call(call)) => return Ok(Step::Call(CallHead::read(self, call?)?)),
            Ok(wire::Return(returned)) => {
                return Ok(Step::Return(ReturnHead::read(returned?, &self.limits)?));
            }
            Ok(wire::Bootstrap(bootstrap)) => self.on_bootstrap(bootstrap?.get_question_id())?,
            Ok(wire::Finish(finish)) => self.on_finish(finish?),
            Ok(wire::Resolve(resolve)) => self.on_resolve(resolve?)?,
            Ok(wire::Release(release)) => self.on_release(release?)?,
            Ok(wire::Disembargo(disembargo)) => {
                if self.on_disembargo(disembargo?)? {
                    return Ok(Step::Unserved);
                }
            }
            Ok(wire::Abort(exception)) => self.end(error::read(exception?)),
            Ok(wire::Unimplemented(message)) => self.on_unimplemented(message?)?,
            // Levels 2 to 4: persistence as it once was, third parties, equality.
            Ok(
                wire::ObsoleteSave(_)
                | wire::ObsoleteDelete(_)
                | wire::Provide(_)
                | wire::Accept(_)
                | wire::Join(_),
            )
            | Err(capnp::NotInSchema(_)) => return Ok(Step::Unserved),
        }
        Ok(Step::Done)
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

/// What is left to do with a message once it is read.
enum Step {
    Done,
    /// It belongs to a level of the protocol that is not served.
    Unserved,
    Call(CallHead),
    Return(ReturnHead),
}
