//! Hooks that fail: what is handed out in the place of something that may not be had.

use std::rc::Rc;

use capnp::any_pointer;
use capnp::capability::{Promise, RemotePromise, Request};
use capnp::message::{Builder, HeapAllocator};
use capnp::private::capability::{
    ClientHook, ParamsHook, PipelineHook, PipelineOp, RequestHook, ResultsHook,
};
use capnp::private::layout::CapTable;
use capnp::traits::ImbueMut;
use capnp::{Error, MessageSize};

use crate::payload;

/// A capability on which every call fails with `error`.
pub(crate) fn client(error: Error) -> Box<dyn ClientHook> {
    Box::new(BrokenClient(Rc::new(error)))
}

/// A request that can be filled in, and fails when sent.
pub(crate) fn request(
    error: Error,
    size: Option<MessageSize>,
) -> Request<any_pointer::Owned, any_pointer::Owned> {
    Request::new(Box::new(BrokenRequest {
        error,
        message: payload::message(size.map_or(0, |size| size.word_count)),
        caps: CapTable::new(),
    }))
}

/// The answer to a call that failed before it was made.
pub(crate) fn answer(error: Error) -> RemotePromise<any_pointer::Owned> {
    RemotePromise {
        pipeline: any_pointer::Pipeline::new(Box::new(BrokenPipeline(Rc::new(error.clone())))),
        promise: Promise::err(error),
    }
}

struct BrokenClient(Rc<Error>);

impl ClientHook for BrokenClient {
    fn add_ref(&self) -> Box<dyn ClientHook> {
        Box::new(Self(Rc::clone(&self.0)))
    }

    fn new_call(
        &self,
        _interface_id: u64,
        _method_id: u16,
        size_hint: Option<MessageSize>,
    ) -> Request<any_pointer::Owned, any_pointer::Owned> {
        request(Error::clone(&self.0), size_hint)
    }

    fn call(
        &self,
        _interface_id: u64,
        _method_id: u16,
        _params: Box<dyn ParamsHook>,
        _results: Box<dyn ResultsHook>,
    ) -> Promise<(), Error> {
        Promise::err(Error::clone(&self.0))
    }

    fn get_brand(&self) -> usize {
        0
    }

    fn get_ptr(&self) -> usize {
        Rc::as_ptr(&self.0).addr()
    }

    fn get_resolved(&self) -> Option<Box<dyn ClientHook>> {
        None
    }

    fn when_more_resolved(&self) -> Option<Promise<Box<dyn ClientHook>, Error>> {
        Some(Promise::err(Error::clone(&self.0)))
    }

    fn when_resolved(&self) -> Promise<(), Error> {
        Promise::err(Error::clone(&self.0))
    }
}

struct BrokenRequest {
    error: Error,
    message: Builder<HeapAllocator>,
    caps: CapTable,
}

impl RequestHook for BrokenRequest {
    fn get(&mut self) -> any_pointer::Builder<'_> {
        let mut root = payload::root(&mut self.message);
        root.imbue_mut(&mut self.caps);
        root
    }

    fn get_brand(&self) -> usize {
        0
    }

    fn send(self: Box<Self>) -> RemotePromise<any_pointer::Owned> {
        answer(self.error)
    }

    fn send_streaming(self: Box<Self>) -> Promise<(), Error> {
        Promise::err(self.error)
    }

    fn tail_send(self: Box<Self>) -> Option<(u32, Promise<(), Error>, Box<dyn PipelineHook>)> {
        None
    }
}

struct BrokenPipeline(Rc<Error>);

impl PipelineHook for BrokenPipeline {
    fn add_ref(&self) -> Box<dyn PipelineHook> {
        Box::new(Self(Rc::clone(&self.0)))
    }

    fn get_pipelined_cap(&self, _ops: &[PipelineOp]) -> Box<dyn ClientHook> {
        client(Error::clone(&self.0))
    }
}
