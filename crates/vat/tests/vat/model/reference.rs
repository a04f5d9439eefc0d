//! What ought to be: which object a reference leads to, and which objects are held.
//!
//! Everything that an action changes is known when the action is taken, however long its messages are on
//! their way: what depends on order is done through one reference to each object.

use std::collections::BTreeSet;

/// What a reference stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    Object(usize),
    Promise(usize),
}

/// What is known of a promise.
#[derive(Clone, Copy, Debug)]
pub enum Promise {
    /// Nobody has resolved it.
    Open,
    Is(Value),
    /// It is in the results of a call that returns once `target` is known.
    Once {
        target: Value,
        then: Value,
    },
    Broken,
}

/// Where a value leads in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Object(usize),
    Open,
    Broken,
}

#[derive(Default, Debug)]
pub struct Object {
    #[expect(dead_code, reason = "printed with a history that fails")]
    pub host: usize,
    /// The reference through which its state is changed.
    pub controller: Option<usize>,
    pub kept: Option<Value>,
    /// The promise that it can resolve.
    pub promised: Option<usize>,
}

#[derive(Default, Debug)]
pub struct Model {
    pub objects: Vec<Object>,
    pub promises: Vec<Promise>,
}

impl Model {
    pub fn object(&mut self, host: usize) -> usize {
        self.objects.push(Object {
            host,
            ..Object::default()
        });
        self.objects.len() - 1
    }

    pub fn promise(&mut self, promise: Promise) -> usize {
        self.promises.push(promise);
        self.promises.len() - 1
    }

    pub fn end(&self, mut value: Value) -> End {
        loop {
            let promise = match value {
                Value::Object(object) => return End::Object(object),
                Value::Promise(promise) => self.promises[promise],
            };
            value = match promise {
                Promise::Open => return End::Open,
                Promise::Broken => return End::Broken,
                Promise::Is(value) => value,
                Promise::Once { target, then } => match self.end(target) {
                    End::Object(_) => then,
                    other => return other,
                },
            };
        }
    }

    /// Resolves a promise, unless that could become a circle.
    pub fn resolve(&mut self, promise: usize, to: Value) -> bool {
        let mut seen = BTreeSet::new();
        let mut ahead = vec![to];
        while let Some(value) = ahead.pop() {
            let Value::Promise(next) = value else {
                continue;
            };
            if next == promise {
                return false;
            }
            if !seen.insert(next) {
                continue;
            }
            match self.promises[next] {
                Promise::Open | Promise::Broken => {}
                Promise::Is(value) => ahead.push(value),
                Promise::Once { target, then } => ahead.extend([target, then]),
            }
        }
        self.promises[promise] = Promise::Is(to);
        true
    }

    /// The objects that a reference keeps alive by itself.
    fn holds(&self, value: Value, held: &mut BTreeSet<usize>) {
        match value {
            Value::Object(object) => {
                held.insert(object);
            }
            Value::Promise(promise) => match self.promises[promise] {
                Promise::Open | Promise::Broken => {}
                Promise::Is(value) => self.holds(value, held),
                Promise::Once { target, then } => match self.end(target) {
                    End::Object(_) => self.holds(then, held),
                    End::Open => {
                        self.holds(target, held);
                        self.holds(then, held);
                    }
                    End::Broken => {}
                },
            },
        }
    }

    /// The objects that are alive when all messages have arrived and `roots` are held by the programs.
    /// References are counted: a circle of objects keeps itself.
    pub fn alive(&mut self, roots: &[Value]) -> BTreeSet<usize> {
        let mut alive: BTreeSet<usize> = (0..self.objects.len()).collect();
        loop {
            let mut held = BTreeSet::new();
            for root in roots {
                self.holds(*root, &mut held);
            }
            for object in &alive {
                if let Some(kept) = self.objects[*object].kept {
                    self.holds(kept, &mut held);
                }
            }
            let stays: BTreeSet<usize> = alive.intersection(&held).copied().collect();
            if stays == alive {
                return alive;
            }
            // Promises break with the object that would have resolved them.
            for gone in alive.difference(&stays) {
                self.objects[*gone].kept = None;
                if let Some(promise) = self.objects[*gone].promised.take() {
                    self.promises[promise] = Promise::Broken;
                }
            }
            alive = stays;
        }
    }
}
