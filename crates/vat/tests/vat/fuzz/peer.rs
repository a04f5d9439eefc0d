//! A peer that writes its own messages: it knows which ids are live, and mostly uses those.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use capnp::message::{Builder, ReaderOptions};
use capnp::private::capability::ClientHook;
use capnp::private::layout::CapTable;
use capnp::traits::{HasTypeId as _, ImbueMut as _};
use capnp::{any_pointer, serialize};
use vat::{Closed, Connection, Inbox, Limits, Outbox};

use crate::choices::Choices;
use crate::lab_capnp::lab;
use crate::rpc_capnp::{
    cap_descriptor, disembargo, message, message_target, payload, promised_answer, resolve, return_,
};

/// Methods of `Lab`.
const METHODS: u16 = 21;

thread_local! {
    /// Whether what is said is printed.
    pub static TRACED: Cell<bool> = const { Cell::new(false) };
}

/// Prints what is said.
fn trace(peer: *const Peer, way: &str, bytes: &[u8]) {
    if TRACED.get() {
        let read = serialize::read_message(&mut &*bytes, ReaderOptions::new());
        let root = read
            .as_ref()
            .map(|read| read.get_root::<message::Reader<'_>>());
        println!("{peer:p} {way} {root:?}");
    }
}

type Sent = Rc<RefCell<VecDeque<Vec<u8>>>>;

struct Out(Sent);

impl Outbox for Out {
    fn send(&mut self, message: Vec<u8>) -> Result<(), Closed> {
        self.0.borrow_mut().push_back(message);
        Ok(())
    }

    fn backlog(&self) -> usize {
        self.0.borrow().iter().map(Vec::len).sum()
    }
}

pub struct Peer {
    pub connection: Connection,
    inbox: Inbox,
    sent: Sent,
    /// Whether the vat has ended the connection.
    pub gone: bool,
    /// Whether ids are made up and bytes are changed now and then.
    hostile: bool,
    next: u32,
    /// Calls to the vat that have not been finished, and of them those whose results it keeps.
    asked: Vec<u32>,
    kept: Vec<u32>,
    /// What is held of the vat's.
    held: Vec<u32>,
    /// What the vat holds, and which of it is promised.
    given: Vec<u32>,
    promised: Vec<u32>,
    /// Calls of the vat that have not been answered.
    questions: Vec<u32>,
    answered: Vec<u32>,
    /// Messages of the vat that must come back to it.
    embargoes: Vec<u32>,
    last: Vec<u8>,
}

impl Peer {
    pub fn new(limits: &Limits, bootstrap: capnp::capability::Client, hostile: bool) -> Self {
        let sent = Sent::default();
        let connection = Connection::new(Out(sent.clone()), limits.clone(), Some(bootstrap));
        Self {
            inbox: connection.inbox(),
            connection,
            sent,
            gone: false,
            hostile,
            next: 0,
            asked: Vec::new(),
            kept: Vec::new(),
            held: Vec::new(),
            given: Vec::new(),
            promised: Vec::new(),
            questions: Vec::new(),
            answered: Vec::new(),
            embargoes: Vec::new(),
            last: Vec::new(),
        }
    }

    /// Sends one message, or reads one. Returns how many were sent.
    pub fn act(&mut self, choices: &mut Choices<'_>) -> usize {
        let Some(mut message) = self.message(choices) else {
            return 0;
        };
        if self.hostile && choices.once_in(40) && !message.is_empty() {
            for _ in 0..1 + choices.below(4) {
                let at = (usize::from(choices.byte()) << 8 | usize::from(choices.byte()))
                    % message.len();
                message[at] ^= 1 << choices.below(8);
            }
        }
        trace(self, "says", &message);
        if self.inbox.receive(&message).is_err() {
            self.gone = true;
        }
        1
    }

    fn message(&mut self, choices: &mut Choices<'_>) -> Option<Vec<u8>> {
        match choices.below(32) {
            0..=7 => {
                self.read();
                None
            }
            8 => {
                let question = self.question();
                Some(write(|message| {
                    message.init_bootstrap().set_question_id(question);
                }))
            }
            9..=18 => self.call(choices),
            19..=22 => self.answer(choices),
            23..=24 => self.finish(choices),
            25 => self.release(choices),
            26..=27 => self.resolve(choices),
            28 => self.disembargo(choices),
            29 => {
                let embargo = self.take_embargo(choices)?;
                Some(write(|message| {
                    let disembargo: disembargo::Builder<'_> = message.init_disembargo();
                    disembargo.init_context().set_receiver_loopback(embargo);
                }))
            }
            30 if self.hostile => self.oddity(choices),
            _ => {
                self.read();
                None
            }
        }
    }

    /// A live id, or in bad company another.
    fn id(&self, choices: &mut Choices<'_>, live: &[u32]) -> Option<u32> {
        if self.hostile && choices.once_in(40) {
            return Some(u32::from(choices.byte() % 16));
        }
        choices.pick(live).copied()
    }

    fn question(&mut self) -> u32 {
        let free = (0..).find(|id| !self.asked.contains(id)).unwrap_or(0);
        self.asked.push(free);
        free
    }

    fn take_embargo(&mut self, choices: &mut Choices<'_>) -> Option<u32> {
        let embargo = self.id(choices, &self.embargoes)?;
        self.embargoes.retain(|id| *id != embargo);
        Some(embargo)
    }

    fn address(
        &self,
        choices: &mut Choices<'_>,
        mut to: message_target::Builder<'_>,
    ) -> Option<()> {
        if choices.below(3) == 0 || self.held.is_empty() {
            let question = self.id(choices, &self.asked)?;
            promise(question, choices, to.init_promised_answer());
        } else {
            to.set_imported_cap(self.id(choices, &self.held)?);
        }
        Some(())
    }

    fn describe(
        &mut self,
        choices: &mut Choices<'_>,
        mut descriptor: cap_descriptor::Builder<'_>,
    ) -> Option<()> {
        match choices.below(8) {
            0 => descriptor.set_none(()),
            1 => {
                self.next += 1;
                self.given.push(self.next);
                descriptor.set_sender_hosted(self.next);
            }
            2 => {
                self.next += 1;
                self.given.push(self.next);
                self.promised.push(self.next);
                descriptor.set_sender_promise(self.next);
            }
            3 => {
                let id = self.id(choices, &self.given)?;
                match self.promised.contains(&id) {
                    true => descriptor.set_sender_promise(id),
                    false => descriptor.set_sender_hosted(id),
                }
            }
            4..=5 => descriptor.set_receiver_hosted(self.id(choices, &self.held)?),
            _ => {
                let question = self.id(choices, &self.asked)?;
                promise(question, choices, descriptor.init_receiver_answer());
            }
        }
        Some(())
    }

    fn call(&mut self, choices: &mut Choices<'_>) -> Option<Vec<u8>> {
        let mut builder = Builder::new_default();
        let mut call = builder.init_root::<message::Builder<'_>>().init_call();
        self.address(choices, call.reborrow().init_target())?;
        let method = u16::from(choices.byte()) % METHODS;
        let yourself = choices.once_in(6);
        call.set_interface_id(lab::Client::TYPE_ID);
        call.set_method_id(method);
        if yourself {
            call.reborrow().init_send_results_to().set_yourself(());
        }
        let count = match method {
            6 | 7 | 10 | 11 | 13 => 1,
            18 => 1 + choices.below(4),
            _ => 0,
        };
        let mut payload = call.reborrow().init_params();
        let mut table = payload.reborrow().init_cap_table(count as u32);
        for index in 0..count {
            self.describe(choices, table.reborrow().get(index as u32))?;
        }
        parameters(method, count as u32, payload);
        let question = self.question();
        call.set_question_id(question);
        if yourself {
            self.kept.push(question);
        }
        Some(serialize::write_message_to_words(&builder))
    }

    fn answer(&mut self, choices: &mut Choices<'_>) -> Option<Vec<u8>> {
        let question = self.id(choices, &self.questions)?;
        let mut builder = Builder::new_default();
        let mut returned: return_::Builder<'_> =
            builder.init_root::<message::Builder<'_>>().init_return();
        returned.set_answer_id(question);
        returned.set_release_param_caps(choices.once_in(4));
        returned.set_no_finish_needed(choices.once_in(4));
        match choices.below(8) {
            0 => returned.init_exception().set_reason("no"),
            1 => {
                let kept = self.id(choices, &self.kept)?;
                self.kept.retain(|id| *id != kept);
                returned.set_take_from_other_question(kept);
            }
            2 => returned.set_results_sent_elsewhere(()),
            3 if self.hostile => returned.set_canceled(()),
            choice => {
                let mut payload = returned.init_results();
                let count = u32::from(choice != 4);
                let mut table = payload.reborrow().init_cap_table(count);
                for index in 0..count {
                    self.describe(choices, table.reborrow().get(index))?;
                }
                parameters(6, count, payload);
            }
        }
        self.questions.retain(|id| *id != question);
        self.answered.push(question);
        Some(serialize::write_message_to_words(&builder))
    }

    fn finish(&mut self, choices: &mut Choices<'_>) -> Option<Vec<u8>> {
        let question = self.id(choices, &self.asked)?;
        self.asked.retain(|id| *id != question);
        self.kept.retain(|id| *id != question);
        let release = choices.once_in(2);
        Some(write(|message| {
            let mut finish = message.init_finish();
            finish.set_question_id(question);
            finish.set_release_result_caps(release);
        }))
    }

    fn release(&mut self, choices: &mut Choices<'_>) -> Option<Vec<u8>> {
        let held = self.id(choices, &self.held)?;
        if let Some(at) = self.held.iter().position(|id| *id == held) {
            self.held.swap_remove(at);
        }
        Some(write(|message| {
            let mut release = message.init_release();
            release.set_id(held);
            release.set_reference_count(1);
        }))
    }

    fn resolve(&mut self, choices: &mut Choices<'_>) -> Option<Vec<u8>> {
        let promise = self.id(choices, &self.promised)?;
        let mut builder = Builder::new_default();
        let mut resolve: resolve::Builder<'_> =
            builder.init_root::<message::Builder<'_>>().init_resolve();
        resolve.set_promise_id(promise);
        match choices.once_in(6) {
            true => resolve.init_exception().set_reason("broken"),
            false => self.describe(choices, resolve.init_cap())?,
        }
        self.promised.retain(|id| *id != promise);
        Some(serialize::write_message_to_words(&builder))
    }

    /// A loop that may not be one: only of what leads back here.
    fn disembargo(&mut self, choices: &mut Choices<'_>) -> Option<Vec<u8>> {
        if !self.hostile {
            return None;
        }
        let mut builder = Builder::new_default();
        let mut disembargo = builder
            .init_root::<message::Builder<'_>>()
            .init_disembargo();
        self.address(choices, disembargo.reborrow().init_target())?;
        disembargo
            .init_context()
            .set_sender_loopback(u32::from(choices.byte()));
        Some(serialize::write_message_to_words(&builder))
    }

    /// What a good peer does not send.
    fn oddity(&mut self, choices: &mut Choices<'_>) -> Option<Vec<u8>> {
        if self.last.is_empty() || choices.once_in(3) {
            return Some((0..choices.below(64)).map(|_| choices.byte()).collect());
        }
        let last = serialize::read_message(&mut &*self.last, ReaderOptions::new()).ok()?;
        let last = last.get_root::<message::Reader<'_>>().ok()?;
        Some(write(|mut message| {
            let _ = message.set_unimplemented(last);
        }))
    }

    /// Reads one message of the vat's, and remembers what it says.
    fn read(&mut self) {
        let Some(bytes) = self.sent.borrow_mut().pop_front() else {
            return;
        };
        trace(self, "hears", &bytes);
        let read = serialize::read_message(&mut &*bytes, ReaderOptions::new())
            .and_then(|read| self.hear(read.get_root()?));
        assert!(read.is_ok(), "the vat sent what cannot be read: {read:?}");
        self.last = bytes;
    }

    fn hear(&mut self, message: message::Reader<'_>) -> Result<(), capnp::Error> {
        match message.which()? {
            message::Bootstrap(bootstrap) => self.questions.push(bootstrap?.get_question_id()),
            message::Call(call) => {
                let call = call?;
                self.questions.push(call.get_question_id());
                self.receive(call.get_params()?)?;
            }
            message::Return(returned) => {
                let returned = returned?;
                if let return_::Results(results) = returned.which()? {
                    self.receive(results?)?;
                }
                if returned.get_no_finish_needed() {
                    let id = returned.get_answer_id();
                    self.asked.retain(|asked| *asked != id);
                    self.kept.retain(|kept| *kept != id);
                }
            }
            message::Resolve(resolve) => {
                if let resolve::Cap(descriptor) = resolve?.which()? {
                    self.hold(descriptor?)?;
                }
            }
            message::Disembargo(disembargo) => {
                if let disembargo::context::SenderLoopback(id) =
                    disembargo?.get_context().which()?
                {
                    self.embargoes.push(id);
                }
            }
            message::Release(release) => {
                let id = release?.get_id();
                self.given.retain(|given| *given != id);
                self.promised.retain(|promised| *promised != id);
            }
            message::Finish(finish) => {
                // What is answered after it is finished crosses on the way.
                let id = finish?.get_question_id();
                self.answered.retain(|answered| *answered != id);
            }
            _ => {}
        }
        Ok(())
    }

    fn receive(&mut self, payload: payload::Reader<'_>) -> Result<(), capnp::Error> {
        for descriptor in payload.get_cap_table()? {
            self.hold(descriptor)?;
        }
        Ok(())
    }

    fn hold(&mut self, descriptor: cap_descriptor::Reader<'_>) -> Result<(), capnp::Error> {
        match descriptor.which()? {
            cap_descriptor::SenderHosted(id) | cap_descriptor::SenderPromise(id) => {
                self.held.push(id);
            }
            _ => {}
        }
        Ok(())
    }
}

fn write(fill: impl FnOnce(message::Builder<'_>)) -> Vec<u8> {
    let mut builder = Builder::new_default();
    fill(builder.init_root());
    serialize::write_message_to_words(&builder)
}

fn promise(question: u32, choices: &mut Choices<'_>, mut answer: promised_answer::Builder<'_>) {
    answer.set_question_id(question);
    // Of a bootstrap the results are the capability itself.
    if choices.below(3) > 0 {
        answer
            .init_transform(1)
            .get(0)
            .set_get_pointer_field(choices.once_in(16).into());
    }
}

/// Parameters (and, of `identity`, results) of a method, whose capabilities are the first of the table.
fn parameters(method: u16, count: u32, mut payload: payload::Builder<'_>) {
    let mut places = CapTable::new();
    let mut content: any_pointer::Builder<'_> = payload.reborrow().get_content();
    content.imbue_mut(&mut places);
    let place = || -> Box<dyn ClientHook> {
        let nobody = capnp::Error::failed("a place in a table".into());
        let client: lab::Client = vat::new_broken_client(nobody);
        capnp::capability::FromClientHook::into_client_hook(client)
    };
    let nobody = || lab::Client {
        client: capnp::capability::Client::new(place()),
    };
    match method {
        1 | 3 | 16 => content
            .init_as::<lab::echo_params::Builder<'_>>()
            .set_data(b"fuzz"),
        2 => content
            .init_as::<lab::next_params::Builder<'_>>()
            .set_expected(0),
        10 | 11 => {
            let mut ask = content.init_as::<lab::ask_params::Builder<'_>>();
            ask.set_lab(nobody());
            ask.set_data(b"fuzz");
        }
        14 | 15 => content
            .init_as::<lab::fail_params::Builder<'_>>()
            .set_reason("fuzz"),
        18 => {
            let mut labs = content
                .init_as::<lab::several_params::Builder<'_>>()
                .init_labs(count);
            for index in 0..count {
                labs.set(index, place());
            }
        }
        _ if count > 0 => content
            .init_as::<lab::identity_params::Builder<'_>>()
            .set_lab(nobody()),
        _ => {}
    }
}
