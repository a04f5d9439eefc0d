//! `PubSub`: messages by topic, among those on this node.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bytes::Bytes;
use capnp::capability::Rc;
use schema::ipfs_capnp::{message_handler, pub_sub as face};
use schema::system_capnp::registration;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Desk, MAX_SUBSCRIPTIONS, failed};
use crate::ipfs::Subscription;

/// Messages by topic, for one holder.
pub struct PubSub {
    desk: Rc<Desk>,
    topics: Rc<RefCell<BTreeMap<String, usize>>>,
}

impl PubSub {
    pub fn new(desk: Rc<Desk>) -> Self {
        Self {
            desk,
            topics: Rc::default(),
        }
    }
}

/// Ends a subscription when it is dropped. Its place is free at once, for whoever subscribes next.
struct Registration {
    _ended: DropGuard,
    _place: OwnedSemaphorePermit,
    _listed: Listed,
}

impl registration::Server for Registration {}

/// A topic among those that are subscribed to.
struct Listed {
    topic: String,
    topics: Rc<RefCell<BTreeMap<String, usize>>>,
}

impl Listed {
    fn new(topic: &str, topics: Rc<RefCell<BTreeMap<String, usize>>>) -> Self {
        *topics.borrow_mut().entry(topic.to_owned()).or_default() += 1;
        Self {
            topic: topic.to_owned(),
            topics,
        }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut topics = self.topics.borrow_mut();
        if let Some(count) = topics.get_mut(&self.topic) {
            *count -= 1;
            if *count == 0 {
                topics.remove(&self.topic);
            }
        }
    }
}

/// Hands messages on, one after the other, for as long as the handler takes them.
async fn hand_on(mut subscription: Subscription, handler: message_handler::Client) {
    while let Some((message, dropped)) = subscription.next().await {
        let mut request = handler.handle_request();
        let mut params = request.get();
        params.set_topic(subscription.topic());
        params.set_data(&message.data);
        params.set_from(&message.from);
        params.set_dropped(dropped);
        if request.send().promise.await.is_err() {
            return;
        }
    }
}

impl face::Server for PubSub {
    async fn publish(
        self: Rc<Self>,
        params: face::PublishParams,
        _results: face::PublishResults,
    ) -> capnp::Result<()> {
        self.desk.may_change("publish")?;
        let params = params.get()?;
        let topic = params.get_topic()?.to_str()?;
        let data = Bytes::copy_from_slice(params.get_data()?);
        let published = self.desk.ipfs.topics().publish(topic, data);
        published.map_err(|error| failed("publish", error))
    }

    async fn subscribe(
        self: Rc<Self>,
        params: face::SubscribeParams,
        mut results: face::SubscribeResults,
    ) -> capnp::Result<()> {
        self.desk.may_reach_beyond("subscribe")?;
        let params = params.get()?;
        let handler = params.get_handler()?;
        let place = self.desk.subscriptions.clone().try_acquire_owned();
        let place = place.map_err(|_| {
            capnp::Error::overloaded(format!(
                "limit: subscriptions: {MAX_SUBSCRIPTIONS} are held; release one first"
            ))
        })?;
        let topic = params.get_topic()?.to_str()?;
        let subscription = self.desk.ipfs.topics().subscribe(topic);
        let subscription = subscription.map_err(|error| failed("subscribe", error))?;
        let listed = Listed::new(topic, self.topics.clone());
        let ended = CancellationToken::new();
        let given_up = ended.clone();
        self.desk.spawner.spawn(async move {
            let handed_on = hand_on(subscription, handler);
            tokio::select! {
                () = handed_on => {}
                () = given_up.cancelled() => {}
            }
        });
        let registration = Registration {
            _ended: ended.drop_guard(),
            _place: place,
            _listed: listed,
        };
        results
            .get()
            .set_subscription(crate::rpc::client(Rc::new(registration)));
        Ok(())
    }

    async fn topics(
        self: Rc<Self>,
        _params: face::TopicsParams,
        mut results: face::TopicsResults,
    ) -> capnp::Result<()> {
        let topics = self.topics.borrow();
        let count = u32::try_from(topics.len()).unwrap_or(u32::MAX);
        let mut list = results.get().init_topics(count);
        for (index, topic) in (0..).zip(topics.keys()) {
            list.set(index, topic);
        }
        Ok(())
    }

    async fn peers(
        self: Rc<Self>,
        params: face::PeersParams,
        mut results: face::PeersResults,
    ) -> capnp::Result<()> {
        self.desk.may_reach_beyond("peers")?;
        // Checked as for a message, though no other node is asked yet.
        params.get()?.get_topic()?.to_str()?;
        results.get().init_peers(0);
        Ok(())
    }
}
