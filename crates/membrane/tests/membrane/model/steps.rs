//! What a history is made of.

use super::world::How;

/// One step. The numbers pick from what there is, modulo how much that is.
#[derive(Clone, Debug)]
pub enum Step {
    Wrap {
        membrane: usize,
        what: usize,
    },
    Act {
        how: How,
        on: usize,
        given: usize,
    },
    /// A call whose result is taken before it is there.
    Pipelined {
        how: How,
        on: usize,
    },
    Push {
        on: usize,
    },
    /// A promise of the caller's own for something it holds.
    Promise {
        what: usize,
    },
    Open {
        gate: usize,
    },
    /// Tasks that have been woken are polled, up to so many.
    Poll {
        tasks: usize,
    },
    /// All tasks are polled until none is woken.
    Settle,
    Drop {
        what: usize,
    },
    /// A call is let go of.
    Forget {
        task: usize,
    },
    Revoke {
        membrane: usize,
    },
}

impl Step {
    pub fn of(kind: u64, number: usize) -> Self {
        let (first, second, third) = (number, number / 1009, number / 1_000_003);
        match kind % 40 {
            0..=7 => Self::Wrap {
                membrane: first,
                what: second,
            },
            8..=19 => Self::Act {
                how: How::ALL[first % How::ALL.len()],
                on: second,
                given: third,
            },
            20..=22 => Self::Pipelined {
                how: [How::Make, How::Later, How::Hang][first % 3],
                on: second,
            },
            23 => Self::Push { on: first },
            24..=25 => Self::Promise { what: first },
            26..=28 => Self::Open { gate: first },
            29..=32 => Self::Poll { tasks: first % 4 },
            33..=34 => Self::Settle,
            35..=36 => Self::Drop { what: first },
            37 => Self::Forget { task: first },
            38 => Self::Revoke { membrane: first },
            _ => Self::Poll { tasks: 100 },
        }
    }
}
