//! Questions: calls to the peer, until it has answered and has been told that they are finished with.

use std::rc::{Rc, Weak};

use capnp::Error;
use capnp::private::layout::CapTable;
use slab::Slab;

use super::capabilities::{Registered, Unregistered, descriptors, write_table};
use super::send::address;
use super::{Shared, Tables};
use crate::error::{self, Violation};
use crate::limits::Limits;
use crate::message::{self, Incoming, Outgoing};
use crate::outcome::{Handle, Outcome, Settled};
use crate::payload::Payload;
use crate::reference::Node;
use crate::rpc_capnp::{message as wire, payload, return_};
use crate::vat;

#[derive(Default)]
pub(super) struct Questions {
    entries: Slab<Question>,
    next_serial: u64,
}

/// A question's name. Ids are used again; serial numbers are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QuestionName {
    pub(crate) id: u32,
    serial: u64,
}

struct Question {
    serial: u64,
    outcome: Weak<Outcome>,
    /// What the parameters gave the peer.
    exports: Vec<u32>,
    progress: Progress,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Neither has the peer answered, nor has it been told that nobody cares.
    Asked,
    /// The peer has answered.
    Returned { release_results: bool },
    /// The peer has answered, and need not be told that nobody cares. The question keeps its id until that
    /// is so: promised capabilities may still be called by it.
    Over,
    /// The peer has been told that nobody cares.
    Finished,
}

/// A question that has been sent.
pub(crate) struct Asked {
    pub(crate) handle: Handle,
    /// The size of its message.
    pub(crate) bytes: usize,
}

impl Questions {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Fails all that wait, because the connection has ended. Whether there are results that somebody may
    /// still read.
    pub(super) fn fail(self, reason: &Error) -> bool {
        let mut unread = false;
        for (_, question) in self.entries {
            if let Some(outcome) = question.outcome.upgrade() {
                outcome.is_finished();
                // What has come is there to be read, also by those who have not got round to it.
                match outcome.settled() {
                    Some(_) => unread = true,
                    None => outcome.abort(reason),
                }
            }
        }
        unread
    }

    /// The name of the next question.
    fn reserve(&mut self, limits: &Limits) -> Result<QuestionName, Error> {
        if self.entries.len() >= limits.questions {
            return Err(Error::overloaded(format!(
                "{} calls to the other side are unanswered; at most that many are made",
                limits.questions
            )));
        }
        let serial = self.next_serial;
        self.next_serial = serial.wrapping_add(1);
        let id = u32::try_from(self.entries.vacant_key()).unwrap_or(u32::MAX);
        Ok(QuestionName { id, serial })
    }

    fn add(&mut self, name: QuestionName, outcome: &Rc<Outcome>, exports: Vec<u32>) {
        self.entries.insert(Question {
            serial: name.serial,
            outcome: Rc::downgrade(outcome),
            exports,
            progress: Progress::Asked,
        });
    }

    fn get_mut(&mut self, id: u32) -> Option<&mut Question> {
        self.entries.get_mut(usize::try_from(id).ok()?)
    }

    fn remove(&mut self, id: u32) {
        self.entries
            .try_remove(usize::try_from(id).unwrap_or(usize::MAX));
    }
}

impl Tables {
    /// Fills in what was open in a call, and sends it.
    fn send_call(
        &mut self,
        connection: &Rc<Shared>,
        node: &Node,
        message: &mut Outgoing,
        described: &mut [super::capabilities::Described],
    ) -> Result<(Asked, Registered), Unregistered> {
        let limits = &connection.limits;
        let mut registered = Registered::default();
        let name = match self.questions.reserve(limits) {
            Ok(name) => name,
            Err(error) => return Err(self.unregister(registered, error)),
        };
        registered = self.register(described, limits)?;
        let sent =
            fill(message, name.id, node, described).and_then(|()| self.send(message, limits));
        let bytes = match sent {
            Ok(bytes) => bytes,
            Err(error) => return Err(self.unregister(registered, error)),
        };
        let outcome = Outcome::question(Rc::downgrade(connection), name);
        self.questions
            .add(name, &outcome, registered.exports.clone());
        let asked = Asked {
            handle: Handle::new(&outcome),
            bytes,
        };
        Ok((asked, registered))
    }
}

fn fill(
    message: &mut Outgoing,
    id: u32,
    node: &Node,
    described: &[super::capabilities::Described],
) -> Result<(), Error> {
    let root: wire::Builder<'_> = message.get_root()?;
    let wire::Call(call) = root.which()? else {
        return Err(Error::failed("a request that is not a call".into()));
    };
    let mut call = call?;
    call.set_question_id(id);
    if let Some(target) = node.wire_target() {
        address(&target, call.reborrow().init_target());
    }
    write_table(described, call.get_params()?);
    Ok(())
}

impl Shared {
    /// Sends a call.
    pub(crate) fn ask(
        self: &Rc<Self>,
        node: &Node,
        mut message: Outgoing,
        caps: CapTable,
    ) -> Result<Asked, Error> {
        self.open()?;
        let mut described = self.describe_all(&caps)?;
        let sent = self
            .tables
            .borrow_mut()
            .send_call(self, node, &mut message, &mut described);
        vat::discard((caps, described));
        match sent {
            Ok((asked, registered)) => {
                self.watch(registered.fresh);
                Ok(asked)
            }
            Err(unregistered) => Err(unregistered.into_error()),
        }
    }

    pub(super) fn send_bootstrap(self: &Rc<Self>) -> Result<Handle, Error> {
        let mut tables = self.tables.borrow_mut();
        let name = tables.questions.reserve(&self.limits)?;
        let mut message = message::outgoing(None);
        message
            .init_root::<wire::Builder<'_>>()
            .init_bootstrap()
            .set_question_id(name.id);
        tables.send(&message, &self.limits)?;
        let outcome = Outcome::question(Rc::downgrade(self), name);
        tables.questions.add(name, &outcome, Vec::new());
        Ok(Handle::new(&outcome))
    }

    /// Forgets a question for which nobody cares any more, if the peer need not be told. Refuses while the
    /// tables are in use: then it is a matter for a turn.
    pub(crate) fn forget_if_over(&self, name: QuestionName) -> bool {
        let Ok(mut tables) = self.tables.try_borrow_mut() else {
            return false;
        };
        let over = tables.questions.get_mut(name.id).is_some_and(|question| {
            question.serial == name.serial && question.progress == Progress::Over
        });
        if over {
            tables.questions.remove(name.id);
        }
        over
    }

    /// Nobody cares for a question any more.
    pub(super) fn finish(self: &Rc<Self>, name: QuestionName) {
        let release_results = {
            let mut tables = self.tables.borrow_mut();
            let Some(question) = tables.questions.get_mut(name.id) else {
                return;
            };
            if question.serial != name.serial {
                return;
            }
            match question.progress {
                Progress::Finished => return,
                Progress::Over => {
                    tables.questions.remove(name.id);
                    return;
                }
                Progress::Asked => {
                    question.progress = Progress::Finished;
                    true
                }
                Progress::Returned { release_results } => {
                    tables.questions.remove(name.id);
                    release_results
                }
            }
        };
        self.tell(|message| {
            let mut finish = message.init_finish();
            finish.set_question_id(name.id);
            finish.set_release_result_caps(release_results);
            finish.set_require_early_cancellation_workaround(false);
        });
    }

    pub(super) fn on_return(
        self: &Rc<Self>,
        head: ReturnHead,
        message: Incoming,
    ) -> Result<(), Violation> {
        let Returning { outcome, exports } = self.returning(&head)?;
        if head.release_parameters {
            let released = self.tables.borrow_mut().exports.take_back(&exports);
            vat::discard(released);
        }
        let Some(outcome) = outcome else {
            // Nobody cares: the peer is, or will be, told to take its results back.
            return Ok(());
        };
        let settled: Settled = match head.body {
            Body::Results(Some(descriptors)) => match self.has_room_for(&descriptors) {
                Ok(()) => Ok(Rc::new(Payload::received(
                    message,
                    self.import_all(descriptors)?,
                ))),
                Err(error) => {
                    self.decline(&descriptors);
                    Err(error)
                }
            },
            Body::Results(None) => {
                self.release_results_later(head.id);
                Err(Error::overloaded(format!(
                    "results with more than {} capabilities",
                    self.limits.message_capabilities
                )))
            }
            Body::Failed(error) => Err(error),
            Body::Elsewhere => Err(Error::failed(
                "the results were sent elsewhere, although nobody asked for that".into(),
            )),
            Body::TakeFrom(answer) => return self.take_results(&outcome, answer),
        };
        outcome.settle(settled);
        Ok(())
    }

    /// Notes that a question has returned.
    fn returning(&self, head: &ReturnHead) -> Result<Returning, Violation> {
        let mut tables = self.tables.borrow_mut();
        let question = tables
            .questions
            .get_mut(head.id)
            .ok_or(Violation::NoSuchQuestion(head.id))?;
        let exports = std::mem::take(&mut question.exports);
        let (outcome, unfinished) = match question.progress {
            Progress::Returned { .. } | Progress::Over => {
                return Err(Violation::NoSuchQuestion(head.id));
            }
            Progress::Finished => (None, false),
            Progress::Asked => (question.outcome.upgrade(), true),
        };
        // If nobody cares any more, but that has yet to be said, the results are given back with it.
        question.progress = match head.no_finish_needed {
            true => Progress::Over,
            false => Progress::Returned {
                release_results: outcome.is_none(),
            },
        };
        if !unfinished {
            tables.questions.remove(head.id);
        }
        Ok(Returning { outcome, exports })
    }

    fn release_results_later(&self, id: u32) {
        if let Some(question) = self.tables.borrow_mut().questions.get_mut(id) {
            question.progress = Progress::Returned {
                release_results: true,
            };
        }
    }

    /// The peer did not understand a message that asks a question.
    pub(super) fn on_unimplemented_question(&self, id: u32) -> Result<(), Violation> {
        let (outcome, released) = {
            let mut tables = self.tables.borrow_mut();
            let question = tables
                .questions
                .get_mut(id)
                .ok_or(Violation::NoSuchQuestion(id))?;
            let outcome = question.outcome.upgrade();
            let exports = std::mem::take(&mut question.exports);
            match question.progress {
                Progress::Asked => question.progress = Progress::Over,
                Progress::Finished => tables.questions.remove(id),
                Progress::Returned { .. } | Progress::Over => {
                    return Err(Violation::NoSuchQuestion(id));
                }
            }
            // It has not taken the parameters' capabilities either.
            (outcome, tables.exports.take_back(&exports))
        };
        vat::discard(released);
        if let Some(outcome) = outcome {
            outcome.settle(Err(Error::unimplemented(
                "the other side does not understand this call".into(),
            )));
        }
        Ok(())
    }
}

/// A question that returns.
struct Returning {
    /// Gone if nobody cares.
    outcome: Option<Rc<Outcome>>,
    exports: Vec<u32>,
}

/// What a `Return` says, beside its content.
pub(super) struct ReturnHead {
    id: u32,
    release_parameters: bool,
    no_finish_needed: bool,
    body: Body,
}

enum Body {
    /// With the descriptors of its capabilities, unless there are too many.
    Results(Option<Vec<super::capabilities::Descriptor>>),
    Failed(Error),
    Elsewhere,
    TakeFrom(u32),
}

impl ReturnHead {
    pub(super) fn read(returned: return_::Reader<'_>, limits: &Limits) -> Result<Self, Violation> {
        let body = match returned.which() {
            Ok(return_::Results(results)) => {
                let results: payload::Reader<'_> = results?;
                Body::Results(descriptors(results, limits)?)
            }
            Ok(return_::Exception(exception)) => Body::Failed(error::read(exception?)),
            Ok(return_::Canceled(())) => {
                Body::Failed(Error::failed("the call was canceled".into()))
            }
            Ok(return_::ResultsSentElsewhere(())) => Body::Elsewhere,
            Ok(return_::TakeFromOtherQuestion(answer)) => Body::TakeFrom(answer),
            Ok(return_::AcceptFromThirdParty(_)) | Err(capnp::NotInSchema(_)) => {
                Body::Failed(Error::unimplemented(
                    "the results are to be had in a way that is not understood here".into(),
                ))
            }
        };
        // Capabilities in the results are given back with the finish, and those in results that are taken
        // from elsewhere are asked for until then, whatever the peer says.
        let capabilities = match &body {
            Body::Results(Some(descriptors)) => !descriptors.is_empty(),
            Body::Results(None) | Body::TakeFrom(_) => true,
            Body::Failed(_) | Body::Elsewhere => false,
        };
        Ok(Self {
            id: returned.get_answer_id(),
            release_parameters: returned.get_release_param_caps(),
            no_finish_needed: returned.get_no_finish_needed() && !capabilities,
            body,
        })
    }
}
