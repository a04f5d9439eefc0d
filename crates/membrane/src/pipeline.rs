//! The results of a call before they are there, as the other side sees them.

use capnp::any_pointer;
use capnp::capability::Response;
use capnp::private::capability::{ClientHook, PipelineHook, PipelineOp};

use crate::broken;
use crate::flight::Share;
use crate::nesting::{Level, Recursion};
use crate::release::release;

/// A pipeline whose capabilities are carried across as they are taken from it.
pub(crate) struct CarriedPipeline(Share<Response<any_pointer::Owned>>);

impl CarriedPipeline {
    pub(crate) fn new(flight: Share<Response<any_pointer::Owned>>) -> Self {
        let pipelines = &flight.pipelines;
        pipelines.set(pipelines.get().saturating_add(1));
        Self(flight)
    }

    fn take_cap(
        &self,
        take: impl FnOnce(&(dyn PipelineHook + 'static)) -> Box<dyn ClientHook>,
    ) -> Box<dyn ClientHook> {
        let flight = &self.0;
        let taken = Level::enter(Recursion::Calls).and_then(|_level| {
            flight.boundary.open()?;
            flight
                .pipeline
                .with(&flight.boundary, take)
                .ok_or_else(|| flight.boundary.gone())
        });
        match taken {
            Ok(hook) => flight
                .boundary
                .carry_promised(hook, flight.travel(), flight.guard()),
            Err(error) => broken::client(error),
        }
    }
}

impl PipelineHook for CarriedPipeline {
    fn add_ref(&self) -> Box<dyn PipelineHook> {
        Box::new(Self::new(self.0.clone()))
    }

    fn get_pipelined_cap(&self, ops: &[PipelineOp]) -> Box<dyn ClientHook> {
        self.take_cap(|inner| inner.get_pipelined_cap(ops))
    }

    fn get_pipelined_cap_move(&self, ops: Vec<PipelineOp>) -> Box<dyn ClientHook> {
        self.take_cap(|inner| inner.get_pipelined_cap_move(ops))
    }
}

impl Drop for CarriedPipeline {
    fn drop(&mut self) {
        let left = self.0.pipelines.get().saturating_sub(1);
        self.0.pipelines.set(left);
        // The results may be held for long after.
        if left == 0
            && let Some(pipeline) = self.0.pipeline.take()
        {
            release(pipeline);
        }
    }
}
