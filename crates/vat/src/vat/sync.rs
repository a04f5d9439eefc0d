//! What wakers on other threads share with their vat. In one place, so that a test can put a scheduler's own
//! in their place and try the orders in which threads may meet.

pub(super) use std::sync::atomic::{AtomicBool, Ordering};
pub(super) use std::sync::{Mutex, MutexGuard};
