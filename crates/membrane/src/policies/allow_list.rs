//! Nothing but what is listed.

use capnp::Error;

use crate::policy::{Call, Decision, Direction, Policy};

/// How the refusal of a method that is not listed begins, unless the list's owner words it.
pub const NOT_ALLOWED: &str = "notAllowed";

/// Lets in calls of listed methods, and of no others.
///
/// A method is listed by the type id of the interface that declares it and its ordinal there, so a method
/// of a superclass is listed with the superclass's id. It holds for everything behind the membrane: what
/// a listed method returns answers to the same list. Outward calls are allowed: whoever may call in has
/// to be called back at what it passes along.
pub struct AllowList {
    /// Sorted, each once.
    methods: Vec<(u64, u16)>,
    refusal: Box<dyn Fn(Call) -> Error>,
}

impl AllowList {
    /// Lets in calls of `methods`, each an interface id and an ordinal.
    pub fn new(methods: impl IntoIterator<Item = (u64, u16)>) -> Self {
        let mut methods: Vec<_> = methods.into_iter().collect();
        methods.sort_unstable();
        methods.dedup();
        Self {
            methods,
            refusal: Box::new(not_allowed),
        }
    }

    /// Lets `refusal` word the errors: it knows who called and whom to ask. It runs on the caller's
    /// stack, once for each refused call.
    pub fn refuse_with(mut self, refusal: impl Fn(Call) -> Error + 'static) -> Self {
        self.refusal = Box::new(refusal);
        self
    }

    /// Whether a method is listed.
    pub fn contains(&self, interface_id: u64, method_id: u16) -> bool {
        self.methods
            .binary_search(&(interface_id, method_id))
            .is_ok()
    }
}

impl Policy for AllowList {
    fn check(&self, call: Call) -> Decision {
        if call.direction == Direction::Outward || self.contains(call.interface_id, call.method_id)
        {
            Decision::Allow
        } else {
            Decision::Refuse((self.refusal)(call))
        }
    }
}

fn not_allowed(call: Call) -> Error {
    Error::failed(format!(
        "{NOT_ALLOWED}: method {} of interface @0x{:016x} is not on the list of this reference",
        call.method_id, call.interface_id
    ))
}
