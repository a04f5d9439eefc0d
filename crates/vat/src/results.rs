//! Where a method writes its results.
//!
//! The method lets go of this when it has written all; the call ends when it has also returned.

use std::rc::Rc;

use capnp::capability::{Promise, RemotePromise};
use capnp::private::capability::{PipelineHook, RequestHook, ResultsHook};
use capnp::private::layout::CapTable;
use capnp::{Error, any_pointer};

use crate::message::{self, Outgoing};
use crate::outcome::{Handle, Outcome, Written};
use crate::payload::{Payload, writable};
use crate::rpc_capnp::message as wire;
use crate::vat;

pub(crate) struct Results {
    /// Empty until something is written.
    message: Option<Outgoing>,
    caps: CapTable,
    outcome: Rc<Outcome>,
}

/// An answer without content.
pub(crate) fn empty() -> (Outgoing, CapTable) {
    let mut message = message::outgoing(None);
    message
        .init_root::<wire::Builder<'_>>()
        .init_return()
        .init_results();
    (message, CapTable::new())
}

impl Results {
    pub(crate) fn new(outcome: &Rc<Outcome>) -> Self {
        Self {
            message: None,
            caps: CapTable::new(),
            outcome: Rc::clone(outcome),
        }
    }

    fn written(&mut self) -> Written {
        let caps = std::mem::take(&mut self.caps);
        self.message.take().map(|message| (message, caps))
    }

    /// What was written so far, for calls that need not wait for the rest.
    fn copy(&mut self) -> Result<Payload, Error> {
        let written = self.get()?.into_reader();
        let (mut message, mut caps) = empty();
        let mut content = writable(&mut message, &mut caps)?;
        content.set_as(written)?;
        Ok(Payload::built(message, caps))
    }
}

impl ResultsHook for Results {
    fn get(&mut self) -> Result<any_pointer::Builder<'_>, Error> {
        let message = self.message.get_or_insert_with(|| empty().0);
        writable(message, &mut self.caps)
    }

    fn set_pipeline(&mut self) -> Result<(), Error> {
        let early = Outcome::new(None);
        early.settle(Ok(Rc::new(self.copy()?)));
        self.outcome.redirect(Box::new(Handle::new(&early)));
        Ok(())
    }

    /// Every call may be cancelled; there is nothing to allow.
    fn allow_cancellation(&self) {}

    fn tail_call(self: Box<Self>, request: Box<dyn RequestHook>) -> Promise<(), Error> {
        self.direct_tail_call(request).0
    }

    fn direct_tail_call(
        mut self: Box<Self>,
        request: Box<dyn RequestHook>,
    ) -> (Promise<(), Error>, Box<dyn PipelineHook>) {
        // Also when the request goes to whoever made this call. The protocol lets it keep the results and
        // take them from itself, but `capnp-rpc` never begins a call whose results it is to keep.
        let RemotePromise { promise, pipeline } = request.send();
        self.outcome.redirect(pipeline.hook.add_ref());
        let copied = Promise::from_future(async move {
            let response = promise.await?;
            let content = response.get()?;
            if !content.is_null() {
                let size = content.target_size()?;
                self.message.get_or_insert_with(|| sized(size));
                self.get()?.set_as(content)?;
            }
            Ok(())
        });
        (copied, pipeline.hook)
    }
}

fn sized(size: capnp::MessageSize) -> Outgoing {
    let mut message = message::outgoing(Some(size));
    message
        .init_root::<wire::Builder<'_>>()
        .init_return()
        .init_results();
    message
}

impl Drop for Results {
    fn drop(&mut self) {
        let written = self.written();
        self.outcome.let_go(written);
        if !self.caps.is_empty() {
            vat::discard(std::mem::take(&mut self.caps));
        }
    }
}
