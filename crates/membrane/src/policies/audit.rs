//! Who is told what was decided.

use std::cell::Cell;
use std::rc::Rc;

use crate::policy::{Call, Decision, Policy};

/// Tells a [`Sink`] of each call and what another policy decided on it.
pub struct Audit {
    policy: Rc<dyn Policy>,
    sink: Rc<dyn Sink>,
}

/// Is told of calls as they are decided on. It runs on the caller's stack, and must not wait.
pub trait Sink {
    /// Takes note of a decision that is about to take effect.
    fn note(&self, call: Call, decision: &Decision);
}

impl<F: Fn(Call, &Decision)> Sink for F {
    fn note(&self, call: Call, decision: &Decision) {
        self(call, decision);
    }
}

impl Audit {
    /// Decides as `policy` does, and tells `sink`.
    pub fn new(policy: Rc<dyn Policy>, sink: Rc<dyn Sink>) -> Self {
        Self { policy, sink }
    }
}

impl Policy for Audit {
    fn check(&self, call: Call) -> Decision {
        let decision = self.policy.check(call);
        self.sink.note(call, &decision);
        decision
    }
}

/// A [`Sink`] that counts.
#[derive(Debug, Default)]
pub struct Counts {
    allowed: Cell<u64>,
    refused: Cell<u64>,
    replaced: Cell<u64>,
}

impl Counts {
    /// Calls that went through to their targets.
    pub fn allowed(&self) -> u64 {
        self.allowed.get()
    }

    /// Calls that were refused.
    pub fn refused(&self) -> u64 {
        self.refused.get()
    }

    /// Calls that went to a stand-in.
    pub fn replaced(&self) -> u64 {
        self.replaced.get()
    }
}

impl Sink for Counts {
    fn note(&self, _call: Call, decision: &Decision) {
        let count = match decision {
            Decision::Refuse(_) => &self.refused,
            Decision::Allow | Decision::AllowWith(_) => &self.allowed,
            Decision::Replace(_) | Decision::ReplaceWith(..) => &self.replaced,
        };
        count.set(count.get().saturating_add(1));
    }
}
