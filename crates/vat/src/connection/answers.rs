//! Answers: calls from the peer, until they have returned and the peer has said that it is done with
//! them.

use std::rc::Rc;
use std::task::Waker;

use capnp::Error;
use capnp::private::capability::ClientHook;

use super::capabilities::{
    Described, Descriptor, Registered, Unregistered, descriptors, path, write_table,
};
use super::ids::ByPeer;
use super::lingering::Lingering;
use super::{Shared, Tables};
use crate::call::Start;
use crate::error::{self, Violation};
use crate::limits::Limits;
use crate::message::{Incoming, Outgoing, framed_bytes};
use crate::outcome::{Handle, Observer, Outcome, Path, Written};
use crate::payload::{Payload, writable};
use crate::reference;
use crate::results::{self, Results};
use crate::rpc_capnp::{call, finish, message as wire, message_target, return_};
use crate::vat;

#[derive(Default)]
pub(super) struct Answers {
    entries: ByPeer<Answer>,
    lingering: Lingering,
    bytes: usize,
}

struct Answer {
    handle: Handle,
    /// What its message, and then its results, keep in memory.
    bytes: usize,
    /// What the results gave the peer.
    exports: Vec<u32>,
    /// Calls in a row, each on the promised result of the one before.
    depth: u32,
    /// The results are kept, to be named as those of a question of ours.
    kept: bool,
    /// Whether they have been taken for that; it happens once.
    taken: bool,
    returned: bool,
}

impl Answers {
    /// Ends all calls, because the connection has ended.
    pub(super) fn end(self, reason: &Error) {
        for answer in self.entries.into_values() {
            answer.handle.outcome().abort(reason);
            vat::discard(answer.handle);
        }
        self.lingering.end(reason);
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What is kept in memory for the peer; exact when it is more than there is room for.
    pub(super) fn bytes_in_flight(&mut self, room: usize) -> usize {
        let lingering = self.lingering.bytes(room.saturating_sub(self.bytes));
        self.bytes.saturating_add(lingering)
    }

    fn set_bytes(&mut self, id: u32, bytes: usize) {
        if let Some(answer) = self.entries.get_mut(id) {
            self.bytes = self.bytes.saturating_sub(answer.bytes);
            answer.bytes = bytes;
            self.bytes = self.bytes.saturating_add(bytes);
        }
    }

    fn remove(&mut self, id: u32) -> Option<Answer> {
        let answer = self.entries.remove(id)?;
        self.bytes = self.bytes.saturating_sub(answer.bytes);
        Some(answer)
    }

    fn admit(&mut self, bytes: usize, limits: &Limits) -> Result<(), Error> {
        let open = self.entries.len();
        if self.lingering.are(limits.answers.saturating_sub(open)) {
            return Err(Error::overloaded(format!(
                "{} calls are under way; at most that many are taken",
                limits.answers
            )));
        }
        self.has_room_for(bytes, limits)
    }

    fn has_room_for(&mut self, bytes: usize, limits: &Limits) -> Result<(), Error> {
        let most = limits.bytes_in_flight.saturating_mul(2);
        let under_way = self.bytes_in_flight(most.saturating_sub(bytes));
        if under_way.saturating_add(bytes) > most {
            return Err(Error::overloaded(format!(
                "calls with {under_way} bytes are under way; at most {most} are taken"
            )));
        }
        Ok(())
    }
}

/// What a message is addressed to.
pub(super) struct Addressed {
    pub(super) hook: Rc<dyn ClientHook>,
    /// How many calls it is promised by.
    depth: u32,
}

impl Tables {
    /// Whoever is to be told that there is room again.
    fn room(&mut self, limits: &Limits) -> Option<Waker> {
        let room = limits.bytes_in_flight;
        if self.answers.bytes_in_flight(room) > room {
            return None;
        }
        self.room.take()
    }
}

impl Shared {
    /// What a message is addressed to.
    pub(super) fn target(
        &self,
        target: message_target::Reader<'_>,
    ) -> Result<Addressed, Violation> {
        match target.which()? {
            message_target::ImportedCap(id) => {
                let export = self.tables.borrow().exports.get(id);
                Ok(Addressed {
                    hook: export.ok_or(Violation::NoSuchExport(id))?,
                    depth: 0,
                })
            }
            message_target::PromisedAnswer(answer) => {
                let answer = answer?;
                let id = answer.get_question_id();
                let path = path(answer, &self.limits)?;
                let depth = match self.tables.borrow().answers.entries.get(id) {
                    Some(answer) if !answer.returned => answer.depth,
                    _ => 0,
                };
                Ok(Addressed {
                    hook: Rc::from(self.promised(id, path)),
                    depth,
                })
            }
        }
    }

    /// A capability in the results of an answer, or a broken one that says why there is none.
    pub(super) fn promised(&self, answer: u32, path: Option<Path>) -> Box<dyn ClientHook> {
        let Some(path) = path else {
            return reference::broken(Error::failed(format!(
                "a promised capability that is more than {} steps away, or by steps that are unknown",
                self.limits.path_steps
            )));
        };
        let handle = match self.tables.borrow().answers.entries.get(answer) {
            Some(answer) => answer.handle.clone(),
            None => {
                return reference::broken(Error::failed(
                    "the call has returned no capability, or is finished with".into(),
                ));
            }
        };
        handle.capability(&path)
    }

    pub(super) fn on_bootstrap(self: &Rc<Self>, id: u32) -> Result<(), Violation> {
        if self.tables.borrow().answers.entries.get(id).is_some() {
            return Err(Violation::QuestionInUse(id));
        }
        let admitted = self.tables.borrow_mut().answers.admit(0, &self.limits);
        if let Err(error) = admitted {
            self.refuse(id, &error);
            return Ok(());
        }
        let outcome = self.admit(id, 0, 1, false);
        let result = match &self.bootstrap {
            None => Err(Error::failed("there is no bootstrap capability".into())),
            Some(bootstrap) => {
                let (mut message, mut caps) = results::empty();
                writable(&mut message, &mut caps)
                    .map(|mut content| content.set_as_capability(bootstrap.add_ref()))
                    .map(|()| Some((message, caps)))
            }
        };
        match result {
            Ok(written) => {
                outcome.let_go(written);
                outcome.returned(Ok(()));
            }
            Err(error) => outcome.returned(Err(error)),
        }
        Ok(())
    }

    fn admit(self: &Rc<Self>, id: u32, bytes: usize, depth: u32, kept: bool) -> Rc<Outcome> {
        let outcome = Outcome::new(Some(Observer {
            connection: Rc::downgrade(self),
            answer: id,
        }));
        let mut tables = self.tables.borrow_mut();
        tables.answers.bytes = tables.answers.bytes.saturating_add(bytes);
        tables.answers.entries.get_or_insert_with(id, || Answer {
            handle: Handle::new(&outcome),
            bytes,
            exports: Vec::new(),
            depth,
            kept,
            taken: false,
            returned: false,
        });
        outcome
    }

    pub(super) fn on_call(
        self: &Rc<Self>,
        head: CallHead,
        message: Incoming,
        bytes: usize,
    ) -> Result<(), Violation> {
        let id = head.id;
        if self.tables.borrow().answers.entries.get(id).is_some() {
            return Err(Violation::QuestionInUse(id));
        }
        let kept = matches!(head.send_results_to, SendResultsTo::Yourself);
        let (descriptors, depth) = match self.check(&head, bytes) {
            Ok(depth) => (head.descriptors.unwrap_or_default(), depth),
            Err(error) => {
                self.refuse(id, &error);
                return Ok(());
            }
        };
        let caps = self.import_all(descriptors)?;
        let outcome = self.admit(id, bytes, depth, kept);
        outcome.start_in_turn(Start {
            target: head.target.hook,
            interface_id: head.interface_id,
            method_id: head.method_id,
            params: Box::new(Payload::received(message, caps)),
            results: Box::new(Results::new(&outcome)),
        });
        Ok(())
    }

    /// Whether a call is taken, and how deep in a row it is.
    fn check(&self, head: &CallHead, bytes: usize) -> Result<u32, Error> {
        let Some(descriptors) = &head.descriptors else {
            return Err(Error::overloaded(format!(
                "a call with more than {} capabilities",
                self.limits.message_capabilities
            )));
        };
        self.has_room_for(descriptors)?;
        self.tables
            .borrow_mut()
            .answers
            .admit(bytes, &self.limits)?;
        let depth = head.target.depth.saturating_add(1);
        if depth > self.limits.pipeline_depth {
            return Err(Error::overloaded(format!(
                "{depth} calls in a row, each on the promised result of the one before; at most {} are taken",
                self.limits.pipeline_depth
            )));
        }
        Ok(depth)
    }

    /// Answers a call that is not taken. The peer has its parameters back, and need not finish.
    fn refuse(self: &Rc<Self>, id: u32, error: &Error) {
        self.tell(|message| {
            let mut returned = message.init_return();
            returned.set_answer_id(id);
            returned.set_release_param_caps(true);
            returned.set_no_finish_needed(true);
            error::write(error, returned.init_exception());
        });
    }

    pub(super) fn on_finish(self: &Rc<Self>, finish: finish::Reader<'_>) {
        let id = finish.get_question_id();
        let (answer, released, room) = {
            let mut tables = self.tables.borrow_mut();
            // One that needs no finish may get one.
            let Some(mut answer) = tables.answers.remove(id) else {
                return;
            };
            let exports = std::mem::take(&mut answer.exports);
            let released = match finish.get_release_result_caps() {
                true => tables.exports.take_back(&exports),
                false => Vec::new(),
            };
            let room = tables.room(&self.limits);
            (answer, released, room)
        };
        if !answer.returned {
            self.tell(|message| {
                let mut returned = message.init_return();
                returned.set_answer_id(id);
                returned.set_release_param_caps(false);
                returned.set_canceled(());
            });
        }
        let call = Rc::downgrade(answer.handle.outcome());
        vat::discard((answer.handle, released));
        if !answer.returned && call.strong_count() > 0 {
            let mut tables = self.tables.borrow_mut();
            tables.answers.lingering.add(call, answer.bytes);
        }
        if let Some(room) = room {
            room.wake();
        }
    }

    /// Sends what became of a call, if the peer still wants to know. Returns what capabilities in the
    /// results are, from now on, for calls that the peer has already made on them.
    pub(crate) fn send_return(
        self: &Rc<Self>,
        outcome: &Rc<Outcome>,
        id: u32,
        result: Result<Written, Error>,
    ) -> Result<Written, Error> {
        let kept = match self.tables.borrow().answers.entries.get(id) {
            Some(answer) if Rc::ptr_eq(answer.handle.outcome(), outcome) => Some(answer.kept),
            _ => None,
        };
        let settled = match kept {
            Some(false) => match result {
                Ok(written) => self.send_results(id, written),
                Err(error) => {
                    self.send_exception(id, &error);
                    Err(error)
                }
            },
            Some(true) => self.return_kept(id, result),
            None => return result,
        };
        let room = self.tables.borrow_mut().room(&self.limits);
        if let Some(room) = room {
            room.wake();
        }
        settled
    }

    fn send_results(self: &Rc<Self>, id: u32, written: Written) -> Result<Written, Error> {
        let (mut message, caps) = written.unwrap_or_else(results::empty);
        let sent = self.describe_all(&caps).and_then(|mut described| {
            let sent = self.tables.borrow_mut().send_results(
                id,
                &mut message,
                &mut described,
                &self.limits,
            );
            match sent {
                Ok(registered) => Ok((registered, described)),
                Err(unregistered) => {
                    vat::discard(described);
                    Err(unregistered.into_error())
                }
            }
        });
        vat::discard(caps);
        match sent {
            Ok((registered, described)) => {
                self.watch(registered.fresh);
                let pinned = described.into_iter().map(Described::into_pinned).collect();
                Ok(Some((message, pinned)))
            }
            Err(error) => {
                self.send_exception(id, &error);
                Err(error)
            }
        }
    }

    fn send_exception(self: &Rc<Self>, id: u32, error: &Error) {
        {
            let mut tables = self.tables.borrow_mut();
            tables.answers.set_bytes(id, 0);
            if let Some(answer) = tables.answers.entries.get_mut(id) {
                answer.returned = true;
            }
        }
        self.tell(|message| {
            let mut returned = message.init_return();
            returned.set_answer_id(id);
            returned.set_release_param_caps(false);
            error::write(error, returned.init_exception());
        });
    }

    /// The results stay here.
    fn return_kept(
        self: &Rc<Self>,
        id: u32,
        results: Result<Written, Error>,
    ) -> Result<Written, Error> {
        let results = {
            let mut tables = self.tables.borrow_mut();
            let bytes = match &results {
                Ok(Some((message, _))) => framed_bytes(message),
                Ok(None) | Err(_) => 0,
            };
            tables.answers.set_bytes(id, 0);
            let kept = results.and_then(|results| {
                tables.answers.has_room_for(bytes, &self.limits)?;
                tables.answers.set_bytes(id, bytes);
                Ok(results)
            });
            if let Some(answer) = tables.answers.entries.get_mut(id) {
                answer.returned = true;
            }
            kept
        };
        self.tell(|message| {
            let mut returned = message.init_return();
            returned.set_answer_id(id);
            returned.set_release_param_caps(false);
            returned.set_results_sent_elsewhere(());
        });
        results
    }

    /// Settles a question with results that were kept for it.
    pub(super) fn take_results(
        self: &Rc<Self>,
        question: &Rc<Outcome>,
        answer: u32,
    ) -> Result<(), Violation> {
        let handle = {
            let mut tables = self.tables.borrow_mut();
            let kept = tables.answers.entries.get_mut(answer);
            let kept = kept.filter(|answer| answer.kept && !answer.taken);
            let answer = kept.ok_or(Violation::NoSuchResults(answer))?;
            // They can be taken once.
            answer.taken = true;
            answer.handle.clone()
        };
        // Until they are there, what is asked of them goes on to the peer, who knows whose they are. To look
        // ahead instead could be to look for ever: the answer may itself wait for the question.
        let connection = Rc::downgrade(self);
        let asked = Rc::downgrade(question);
        let follower = vat::spawn(async move {
            let settled = handle.wait().await;
            match asked.upgrade() {
                Some(question) => {
                    question.settle_with(settled, |hook| match connection.upgrade() {
                        Some(connection) => connection.reflect(hook),
                        None => hook,
                    })
                }
                None => vat::discard(settled),
            }
        });
        if let Some(follower) = follower {
            question.settled_by(follower);
        }
        Ok(())
    }
}

impl Tables {
    fn send_results(
        &mut self,
        id: u32,
        message: &mut Outgoing,
        described: &mut [Described],
        limits: &Limits,
    ) -> Result<Registered, Unregistered> {
        let registered = self.register(described, limits)?;
        // Without capabilities nothing can be asked of the results any more.
        let over = described.is_empty();
        let sent = fill(message, id, described, over).and_then(|()| {
            if !over {
                // They are kept, and the parameters are not any more.
                self.answers.set_bytes(id, 0);
                self.answers.has_room_for(framed_bytes(message), limits)?;
            }
            self.send(message, limits)
        });
        let bytes = match sent {
            Ok(bytes) => bytes,
            Err(error) => return Err(self.unregister(registered, error)),
        };
        if over {
            // Its handle is not the last: whoever sends this holds the call.
            self.answers.remove(id);
        } else {
            self.answers.set_bytes(id, bytes);
            if let Some(answer) = self.answers.entries.get_mut(id) {
                answer.returned = true;
                answer.exports.clone_from(&registered.exports);
            }
        }
        Ok(registered)
    }
}

fn fill(message: &mut Outgoing, id: u32, described: &[Described], over: bool) -> Result<(), Error> {
    let root: wire::Builder<'_> = message.get_root()?;
    let wire::Return(returned) = root.which()? else {
        return Err(Error::failed("results that are not a return".into()));
    };
    let mut returned = returned?;
    returned.set_answer_id(id);
    returned.set_release_param_caps(false);
    returned.set_no_finish_needed(over);
    if let return_::Results(results) = returned.which()? {
        write_table(described, results?);
    }
    Ok(())
}

/// What a `Call` says, beside its content.
pub(super) struct CallHead {
    id: u32,
    target: Addressed,
    interface_id: u64,
    method_id: u16,
    send_results_to: SendResultsTo,
    /// Of its capabilities, unless there are too many.
    descriptors: Option<Vec<Descriptor>>,
}

enum SendResultsTo {
    Caller,
    Yourself,
    Unknown,
}

impl CallHead {
    /// Whether the results are to go where they can go.
    pub(super) fn is_served(&self) -> bool {
        !matches!(self.send_results_to, SendResultsTo::Unknown)
    }

    pub(super) fn read(connection: &Shared, call: call::Reader<'_>) -> Result<Self, Violation> {
        let send_results_to = match call.get_send_results_to().which() {
            Ok(call::send_results_to::Caller(())) => SendResultsTo::Caller,
            Ok(call::send_results_to::Yourself(())) => SendResultsTo::Yourself,
            Ok(call::send_results_to::ThirdParty(_)) | Err(capnp::NotInSchema(_)) => {
                SendResultsTo::Unknown
            }
        };
        Ok(Self {
            id: call.get_question_id(),
            target: connection.target(call.get_target()?)?,
            interface_id: call.get_interface_id(),
            method_id: call.get_method_id(),
            send_results_to,
            descriptors: descriptors(call.get_params()?, &connection.limits)?,
        })
    }
}
