//! Several policies that all have to agree.

use std::any::Any;
use std::rc::Rc;

use capnp::Error;

use crate::policy::{Call, Decision, Policy};

/// How a refusal begins when two policies want different stand-ins for one target.
pub const CONFLICT: &str = "policyConflict";

/// Lets through what every one of several policies lets through.
///
/// They are asked in their order, and none after the first that refuses: put what refuses cheaply
/// first, and what spends something (a [`RateLimit`](super::RateLimit)) last. The guards of all are kept
/// until the call has ended. At most one may replace the target; if a second does, the call is refused,
/// because no object is both.
pub struct All(Vec<Rc<dyn Policy>>);

impl All {
    /// The policies, in the order in which they are to be asked. Without any, everything is allowed.
    pub fn new(policies: impl IntoIterator<Item = Rc<dyn Policy>>) -> Self {
        Self(policies.into_iter().collect())
    }
}

impl Policy for All {
    fn check(&self, call: Call) -> Decision {
        let (mut guards, mut instead) = (Guards::None, None);
        for policy in &self.0 {
            let stand_in = match policy.check(call) {
                Decision::Allow => continue,
                refused @ Decision::Refuse(_) => return refused,
                Decision::AllowWith(guard) => {
                    guards.add(guard);
                    continue;
                }
                Decision::Replace(target) => target,
                Decision::ReplaceWith(target, guard) => {
                    guards.add(guard);
                    target
                }
            };
            if instead.replace(stand_in).is_some() {
                return Decision::Refuse(Error::failed(format!(
                    "{CONFLICT}: two policies replace the target of this call"
                )));
            }
        }
        match (instead, guards.into_one()) {
            (None, None) => Decision::Allow,
            (None, Some(guard)) => Decision::AllowWith(guard),
            (Some(target), None) => Decision::Replace(target),
            (Some(target), Some(guard)) => Decision::ReplaceWith(target, guard),
        }
    }
}

/// Guards of one call. One alone needs no box around it.
enum Guards {
    None,
    One(Box<dyn Any>),
    Many(Vec<Box<dyn Any>>),
}

impl Guards {
    fn add(&mut self, guard: Box<dyn Any>) {
        *self = match std::mem::replace(self, Self::None) {
            Self::None => Self::One(guard),
            Self::One(first) => Self::Many(vec![first, guard]),
            Self::Many(mut guards) => {
                guards.push(guard);
                Self::Many(guards)
            }
        };
    }

    fn into_one(self) -> Option<Box<dyn Any>> {
        match self {
            Self::None => None,
            Self::One(guard) => Some(guard),
            Self::Many(guards) => Some(Box::new(guards)),
        }
    }
}
