//! What time it is, for policies that ask.

use std::rc::Rc;
use std::time::Instant;

/// The clock of a policy: the machine's, unless another is given, for instance by a test.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    Machine,
    Given(Rc<dyn Fn() -> Instant>),
}

impl Clock {
    /// A clock that says what `now` says. It must not run backwards; what was late stays late.
    pub fn from_fn(now: impl Fn() -> Instant + 'static) -> Self {
        Self(Source::Given(Rc::new(now)))
    }

    /// The time.
    pub fn now(&self) -> Instant {
        match &self.0 {
            Source::Machine => Instant::now(),
            Source::Given(now) => now(),
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self(Source::Machine)
    }
}
