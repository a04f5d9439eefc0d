//! A random history: programs of two or three parties, and the order in which messages arrive.

use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use capnp::Error;
use capnp::capability::FromClientHook as _;

use super::reference::{End, Model, Promise, Value};
use super::world::{self, Seen, Stamp, UNORDERED, answer, join, run_vat};
use crate::choices::Choices;
use crate::lab_capnp::lab;

/// Messages after which parties that still talk will never end.
const MOST_MESSAGES: usize = 20_000;

/// A reference that a program holds.
struct Slot {
    party: usize,
    client: lab::Client,
    value: Value,
    /// Its clones have the same number: calls through all of them are in order.
    reference: usize,
}

enum Answer {
    Data(Vec<u8>),
    Labs(Vec<lab::Client>),
    Nothing,
}

type Answering = Pin<Box<dyn Future<Output = Result<Answer, Error>>>>;

/// What a call returns once its target is known.
enum Expected {
    /// What the object at the end of a value answers to these bytes.
    From(Value, Vec<u8>),
    Labs(Vec<Value>),
    Nothing,
    Failure,
}

struct Call {
    name: String,
    party: usize,
    target: Value,
    params: Vec<Value>,
    answering: Option<Answering>,
    expected: Expected,
    /// Whether anything is lost when it is cancelled before it has arrived.
    pure: bool,
}

pub struct History<'a, 'b> {
    choices: &'a mut Choices<'b>,
    parties: usize,
    ends: Vec<world::End>,
    seen: Rc<Seen>,
    model: Model,
    slots: Vec<Slot>,
    calls: Vec<Call>,
    /// The next number of each reference.
    numbers: Vec<u32>,
    /// What calls give to programs, by the number of the call.
    gifts: Vec<Value>,
    log: &'a mut String,
    pub messages: usize,
}

/// Runs a history. Whatever is not as it ought to be is the error; the log says what was done.
pub fn run(choices: &mut Choices<'_>, log: &mut String) -> Result<usize, String> {
    let parties = 2 + choices.below(2);
    let seen = Rc::new(Seen::default());
    let mut model = Model::default();
    let roots: Vec<lab::Client> = (0..parties)
        .map(|party| {
            model.object(party);
            seen.object(party)
        })
        .collect();
    let mut history = History {
        choices,
        parties,
        ends: join(&roots),
        seen,
        model,
        slots: Vec::new(),
        calls: Vec::new(),
        numbers: Vec::new(),
        gifts: Vec::new(),
        log,
        messages: 0,
    };
    drop(roots);
    history.play()?;
    Ok(history.messages)
}

impl History<'_, '_> {
    fn play(&mut self) -> Result<(), String> {
        for index in 0..self.ends.len() {
            let (party, peer) = (self.ends[index].party, self.ends[index].peer);
            let root = self.ends[index].connection.bootstrap();
            self.hold(party, root, Value::Object(peer));
        }
        while !self.choices.is_empty() {
            self.act()?;
            self.take_gifts();
            if let Some(fault) = self.seen.faults.borrow().first() {
                return Err(fault.clone());
            }
        }
        if self.choices.once_in(4) {
            return Ok(());
        }
        self.settle()?;
        self.check()?;
        self.end()
    }

    fn note(&mut self, line: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.log, "{line}");
    }

    fn hold(&mut self, party: usize, client: lab::Client, value: Value) -> usize {
        let reference = self.numbers.len();
        self.numbers.push(0);
        self.note(format_args!(
            "    party {party} holds reference {reference} = {value:?}"
        ));
        self.slots.push(Slot {
            party,
            client,
            value,
            reference,
        });
        reference
    }

    fn take_gifts(&mut self) {
        let given = self.seen.given.take();
        for (party, number, client) in given {
            let value = self.gifts[number];
            self.note(format_args!("    gift {number}:"));
            self.hold(party, client, value);
        }
    }

    fn act(&mut self) -> Result<(), String> {
        match self.choices.below(32) {
            0..=9 => self.deliver()?,
            10 => {
                self.note(format_args!("run"));
                run_vat()?;
            }
            11 => {
                self.poll()?;
            }
            12 => {
                let party = self.choices.below(self.parties);
                let object = self.model.object(party);
                let client = self.seen.object(party);
                self.note(format_args!("create object {object}"));
                self.hold(party, client, Value::Object(object));
            }
            13 => self.clone_slot(),
            14..=15 => self.drop_slot(),
            16 => self.cancel(),
            choice => self.call(choice),
        }
        Ok(())
    }

    fn deliver(&mut self) -> Result<(), String> {
        let waiting: Vec<usize> = (0..self.ends.len())
            .filter(|end| self.ends[*end].waits())
            .collect();
        if let Some(end) = self.choices.pick(&waiting).copied() {
            self.messages += 1;
            let (party, peer) = (self.ends[end].party, self.ends[end].peer);
            self.note(format_args!("deliver {peer} -> {party}"));
            self.ends[end].deliver()?;
        }
        Ok(())
    }

    fn clone_slot(&mut self) {
        let chosen = self.choices.below(self.slots.len());
        if let Some(slot) = self.slots.get(chosen) {
            let copy = Slot {
                client: slot.client.clone(),
                ..*slot
            };
            self.slots.push(copy);
        }
    }

    fn drop_slot(&mut self) {
        if !self.slots.is_empty() {
            let slot = self.slots.swap_remove(self.choices.below(self.slots.len()));
            self.note(format_args!("drop reference {}", slot.reference));
        }
    }

    fn cancel(&mut self) {
        if !self.calls.is_empty() {
            let chosen = self.choices.below(self.calls.len());
            let call = &mut self.calls[chosen];
            if call.pure && call.answering.take().is_some() {
                let name = call.name.clone();
                self.note(format_args!("cancel {name}"));
            }
        }
    }

    /// A reference of the same party.
    fn parameter(&mut self, party: usize) -> Option<(lab::Client, Value, usize)> {
        let held: Vec<usize> = (0..self.slots.len())
            .filter(|slot| self.slots[*slot].party == party)
            .collect();
        let slot = &self.slots[*self.choices.pick(&held)?];
        Some((slot.client.clone(), slot.value, slot.reference))
    }

    /// The object whose state may be changed through a reference.
    fn controlled(&mut self, value: Value, reference: usize) -> Option<usize> {
        let End::Object(object) = self.model.end(value) else {
            return None;
        };
        let controller = self.model.objects[object]
            .controller
            .get_or_insert(reference);
        (*controller == reference).then_some(object)
    }

    #[allow(clippy::too_many_lines)]
    fn call(&mut self, choice: usize) {
        let chosen = self.choices.below(self.slots.len());
        let Some(slot) = self.slots.get(chosen) else {
            return;
        };
        let (party, target, reference) = (slot.party, slot.value, slot.reference);
        let client = slot.client.clone();
        let made =
            |history: &mut Self, name: &str, params: Vec<Value>, answering, expected, pure| {
                let name = format!("{name}{params:?} on reference {reference}");
                history.note(format_args!("call {} {name}", history.calls.len()));
                history.calls.push(Call {
                    name,
                    party,
                    target,
                    params,
                    answering: Some(answering),
                    expected,
                    pure,
                });
            };
        match choice {
            17..=20 => {
                let number = self.numbers[reference];
                self.numbers[reference] += 1;
                let stamp = Stamp {
                    reference: reference as u32,
                    number,
                };
                let mut request = client.echo_request();
                request.get().set_data(&stamp.bytes());
                let promise = request.send().promise;
                let answering = Box::pin(async move {
                    Ok(Answer::Data(promise.await?.get()?.get_data()?.to_vec()))
                });
                let expected = Expected::From(target, stamp.bytes());
                made(
                    self,
                    &format!("echo {number}"),
                    vec![],
                    answering,
                    expected,
                    true,
                );
            }
            21..=22 => {
                let Some((lab, value, _)) = self.parameter(party) else {
                    return;
                };
                let mut request = client.identity_request();
                request.get().set_lab(lab);
                let sent = request.send();
                let promise = sent.promise;
                let pipelined = self.choices.below(3) > 0;
                let answering: Answering = Box::pin(async move {
                    let lab = promise.await?.get()?.get_lab()?;
                    Ok(match pipelined {
                        true => Answer::Nothing,
                        false => Answer::Labs(vec![lab]),
                    })
                });
                let expected = match pipelined {
                    true => Expected::Nothing,
                    false => Expected::Labs(vec![value]),
                };
                made(self, "identity", vec![value], answering, expected, true);
                if pipelined {
                    let promise = Promise::Once {
                        target,
                        then: value,
                    };
                    let promise = self.model.promise(promise);
                    self.hold(party, sent.pipeline.get_lab(), Value::Promise(promise));
                }
            }
            23 => {
                let mut values = Vec::new();
                let mut request = client.several_request();
                let count = 1 + self.choices.below(3);
                let mut labs = request.get().init_labs(count as u32);
                for index in 0..count {
                    let Some((lab, value, _)) = self.parameter(party) else {
                        return;
                    };
                    labs.set(index as u32, lab.into_client_hook());
                    values.push(value);
                }
                let promise = request.send().promise;
                let answering = Box::pin(async move {
                    let response = promise.await?;
                    let labs = response.get()?.get_labs()?;
                    let labs = labs.iter().collect::<Result<Vec<_>, _>>()?;
                    Ok(Answer::Labs(labs))
                });
                let expected = Expected::Labs(values.iter().rev().copied().collect());
                made(self, "several", values, answering, expected, true);
            }
            24 => {
                let Some((lab, value, _)) = self.parameter(party) else {
                    return;
                };
                let Some(object) = self.controlled(target, reference) else {
                    return;
                };
                self.model.objects[object].kept = Some(value);
                let mut request = client.keep_request();
                request.get().set_lab(lab);
                let promise = request.send().promise;
                let answering = Box::pin(async move { promise.await.map(|_| Answer::Nothing) });
                made(
                    self,
                    "keep",
                    vec![value],
                    answering,
                    Expected::Nothing,
                    false,
                );
            }
            25 => {
                let Some(object) = self.controlled(target, reference) else {
                    return;
                };
                let kept = self.model.objects[object].kept;
                let sent = client.kept_request().send();
                let promise = sent.promise;
                let answering = Box::pin(async move { promise.await.map(|_| Answer::Nothing) });
                let expected = match kept {
                    Some(_) => Expected::Nothing,
                    None => Expected::Failure,
                };
                made(self, "kept", vec![], answering, expected, true);
                let promise = self.model.promise(match kept {
                    Some(kept) => Promise::Is(kept),
                    None => Promise::Broken,
                });
                self.hold(party, sent.pipeline.get_lab(), Value::Promise(promise));
            }
            26 => {
                let Some(object) = self.controlled(target, reference) else {
                    return;
                };
                self.model.objects[object].kept = None;
                let promise = client.drop_request().send().promise;
                let answering = Box::pin(async move { promise.await.map(|_| Answer::Nothing) });
                made(self, "drop", vec![], answering, Expected::Nothing, false);
            }
            27 => {
                let Some(object) = self.controlled(target, reference) else {
                    return;
                };
                let promised = self.model.promise(Promise::Open);
                if let Some(before) = self.model.objects[object].promised.replace(promised) {
                    self.model.promises[before] = Promise::Broken;
                }
                let sent = client.promise_request().send();
                let promise = sent.promise;
                let answering = Box::pin(async move { promise.await.map(|_| Answer::Nothing) });
                made(self, "promise", vec![], answering, Expected::Nothing, false);
                self.hold(party, sent.pipeline.get_lab(), Value::Promise(promised));
            }
            28..=29 => {
                let Some((lab, value, _)) = self.parameter(party) else {
                    return;
                };
                let Some(object) = self.controlled(target, reference) else {
                    return;
                };
                let Some(promised) = self.model.objects[object].promised else {
                    return;
                };
                if !self.model.resolve(promised, value) {
                    return;
                }
                self.model.objects[object].promised = None;
                let mut request = client.fulfil_request();
                request.get().set_lab(lab);
                let promise = request.send().promise;
                let answering = Box::pin(async move { promise.await.map(|_| Answer::Nothing) });
                made(
                    self,
                    "fulfil",
                    vec![value],
                    answering,
                    Expected::Nothing,
                    false,
                );
            }
            30 => {
                let Some((lab, value, _)) = self.parameter(party) else {
                    return;
                };
                let number = self.gifts.len() as u32;
                self.gifts.push(value);
                let stamp = Stamp {
                    reference: UNORDERED,
                    number,
                };
                let mut request = client.ask_request();
                request.get().set_lab(lab);
                request.get().set_data(&stamp.bytes());
                let promise = request.send().promise;
                let answering = Box::pin(async move {
                    Ok(Answer::Data(promise.await?.get()?.get_data()?.to_vec()))
                });
                let expected = Expected::From(target, stamp.bytes());
                made(self, "give", vec![value], answering, expected, true);
            }
            _ => {
                let Some((lab, value, _)) = self.parameter(party) else {
                    return;
                };
                let stamp = Stamp {
                    reference: UNORDERED,
                    number: 0,
                };
                let mut request = client.forward_request();
                request.get().set_lab(lab);
                request.get().set_data(&stamp.bytes());
                let promise = request.send().promise;
                let answering = Box::pin(async move {
                    Ok(Answer::Data(promise.await?.get()?.get_data()?.to_vec()))
                });
                let expected = Expected::From(value, stamp.bytes());
                made(self, "forward", vec![value], answering, expected, true);
            }
        }
    }

    /// Takes in whatever has been answered; whether anything was.
    fn poll(&mut self) -> Result<bool, String> {
        let mut any = false;
        for index in 0..self.calls.len() {
            let call = &mut self.calls[index];
            let Some(answering) = &mut call.answering else {
                continue;
            };
            let Poll::Ready(answered) = answering
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
            else {
                continue;
            };
            call.answering = None;
            any = true;
            let (party, name, target) = (call.party, call.name.clone(), call.target);
            let end = self.model.end(target);
            match (answered, &self.calls[index].expected) {
                (Ok(Answer::Labs(labs)), Expected::Labs(values)) => {
                    let values = values.clone();
                    if labs.len() != values.len() {
                        return Err(format!("call {index} {name}: {} labs", labs.len()));
                    }
                    for (client, value) in labs.into_iter().zip(values) {
                        self.hold(party, client, value);
                    }
                }
                (Ok(Answer::Nothing), Expected::Nothing) => {}
                (Ok(Answer::Data(data)), Expected::From(value, sent)) => {
                    let expected = match self.model.end(*value) {
                        End::Object(object) => answer(object, sent),
                        other => {
                            return Err(format!(
                                "call {index} {name}: answered {data:?}, should be {other:?}"
                            ));
                        }
                    };
                    if data != expected {
                        return Err(format!(
                            "call {index} {name}: answered {data:?}, should be {expected:?}"
                        ));
                    }
                }
                (Err(_), Expected::Failure) => {}
                // What breaks with an object that is gone is not yet known to be broken.
                (Err(error), expected) => {
                    let value = match expected {
                        Expected::From(value, _) => *value,
                        _ => target,
                    };
                    if matches!(end, End::Object(_))
                        && matches!(self.model.end(value), End::Object(_))
                    {
                        return Err(format!("call {index} {name}: failed: {error}"));
                    }
                }
                _ => return Err(format!("call {index} {name}: answered what was not asked")),
            }
        }
        Ok(any)
    }

    /// Delivers all messages.
    fn settle(&mut self) -> Result<(), String> {
        self.note(format_args!("settle"));
        let before = self.messages;
        loop {
            run_vat()?;
            self.take_gifts();
            // What is let go of with an answer may be what another waits for.
            if self.poll()? {
                continue;
            }
            if !self.ends.iter().any(world::End::waits) {
                return Ok(());
            }
            self.deliver()?;
            if self.messages - before > MOST_MESSAGES {
                return Err("the parties do not stop talking".into());
            }
        }
    }

    fn roots(&self) -> Vec<Value> {
        // The connections' own objects.
        let mut roots: Vec<Value> = (0..self.parties).map(Value::Object).collect();
        roots.extend(self.slots.iter().map(|slot| slot.value));
        for call in &self.calls {
            if call.answering.is_some() {
                roots.push(call.target);
                roots.extend(&call.params);
            }
        }
        roots
    }

    /// Compares what is with what ought to be, when all messages have arrived.
    fn check(&mut self) -> Result<(), String> {
        if let Some(fault) = self.seen.faults.borrow().first() {
            return Err(fault.clone());
        }
        let roots = self.roots();
        let held = self.model.alive(&roots);
        for (object, alive) in self.seen.alive.borrow().iter().enumerate() {
            if *alive != held.contains(&object) {
                return Err(format!(
                    "object {object} is {}alive, and is {}held",
                    if *alive { "" } else { "not " },
                    if held.contains(&object) { "" } else { "not " },
                ));
            }
        }
        for (index, call) in self.calls.iter().enumerate() {
            let waits = match (self.model.end(call.target), &call.expected) {
                (End::Object(_), Expected::From(value, _)) => {
                    matches!(self.model.end(*value), End::Open)
                }
                (End::Open, _) => true,
                _ => false,
            };
            if call.answering.is_some() && !waits {
                return Err(format!("call {index} {} is not answered", call.name));
            }
        }
        Ok(())
    }

    /// Lets go of everything, step by step. Nothing is left.
    fn end(&mut self) -> Result<(), String> {
        self.note(format_args!("end"));
        self.slots.clear();
        self.calls.clear();
        self.seen.empty();
        self.settle()?;
        self.slots.clear();
        self.settle()?;
        for end in &self.ends {
            let usage = end.connection.usage();
            if usage != vat::Usage::default() {
                return Err(format!(
                    "left of the connection from {} to {}: {usage:?}",
                    end.party, end.peer
                ));
            }
        }
        let alive = self.seen.alive.borrow();
        match alive.iter().skip(self.parties).any(|alive| *alive) {
            true => Err("an object is left".into()),
            false => Ok(()),
        }
    }
}

impl Drop for History<'_, '_> {
    fn drop(&mut self) {
        self.slots.clear();
        self.calls.clear();
        self.seen.empty();
        // In the middle of whatever is on its way.
        self.ends.clear();
        let _ = run_vat();
        self.seen.empty();
        let _ = run_vat();
        let alive = self.seen.alive.borrow();
        if alive.iter().any(|alive| *alive) && !std::thread::panicking() {
            panic!("an object has outlived all connections");
        }
    }
}
