//! What came of all the calls.

use std::cell::{Cell, RefCell};

use capnp::ErrorKind;

use crate::contract::{CALLED, Method, UNIMPLEMENTED};

/// The longest text of a refusal, in bytes: a reason that a cell may give for a revocation has half as many.
const MAX_REFUSAL_BYTES: usize = 2048;

/// Counts, method by method.
pub struct Report {
    rows: RefCell<Vec<Row>>,
    calls: Cell<u64>,
    wrong: RefCell<Vec<String>>,
}

#[derive(Clone, Copy, Default)]
struct Row {
    answered: u64,
    refused: u64,
    unimplemented: u64,
}

impl Report {
    pub fn new(methods: &[Method]) -> Self {
        Self {
            rows: RefCell::new(vec![Row::default(); methods.len()]),
            calls: Cell::default(),
            wrong: RefCell::default(),
        }
    }

    pub fn called(&self) {
        self.calls.set(self.calls.get() + 1);
    }

    pub fn calls(&self) -> u64 {
        self.calls.get()
    }

    pub fn answered(&self, method: usize, counted: bool) {
        if counted {
            self.rows.borrow_mut()[method].answered += 1;
        }
    }

    pub fn refused(&self, method: usize, counted: bool, error: &capnp::Error) {
        if !counted {
            return;
        }
        // What an object of the client's own has said is passed on as far as the protocol lets it.
        let is_passed_on = error.extra.contains(crate::servers::ERROR);
        if !is_passed_on && error.extra.len() > MAX_REFUSAL_BYTES {
            let beginning: String = error.extra.chars().take(100).collect();
            let length = error.extra.len();
            self.wrong(format!("a refusal of {length} bytes: {beginning}"));
        }
        if error.extra.contains("panic") {
            self.wrong(error.extra.clone());
        }
        let row = &mut self.rows.borrow_mut()[method];
        match error.kind {
            ErrorKind::Unimplemented => row.unimplemented += 1,
            _ => row.refused += 1,
        }
    }

    /// Something that must not be.
    pub fn wrong(&self, what: String) {
        self.wrong.borrow_mut().push(what);
    }

    pub fn take_wrong(&self) -> Vec<String> {
        self.wrong.take()
    }

    /// The methods that have not been called with either outcome.
    pub fn missing(&self, methods: &[Method]) -> Vec<String> {
        let rows = self.rows.borrow();
        let missing = methods.iter().zip(&*rows).filter_map(|(method, row)| {
            let name = method.id.to_string();
            let is_complete = match UNIMPLEMENTED.contains(&&*name) {
                true => row.unimplemented > 0 && row.answered == 0,
                false => row.answered > 0 && row.refused > 0,
            };
            let is_called = CALLED.iter().any(|called| name.starts_with(called));
            (!is_complete && !is_called).then_some(name)
        });
        missing.collect()
    }

    /// Prints the table.
    pub fn print(&self, methods: &[Method]) {
        println!(
            "{:24} {:>9} {:>9} {:>13}",
            "method", "answered", "refused", "unimplemented"
        );
        for (method, row) in methods.iter().zip(&*self.rows.borrow()) {
            let name = method.id.to_string();
            let Row {
                answered,
                refused,
                unimplemented,
            } = row;
            println!("{name:24} {answered:9} {refused:9} {unimplemented:13}");
        }
    }
}
