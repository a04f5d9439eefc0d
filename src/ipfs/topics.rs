//! Messages by topic, among those who hold them on this node.
//!
//! A topic is there for as long as somebody has subscribed to it. Whoever is slow loses the oldest messages, and is
//! told how many; nobody waits for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::broadcast;

/// The largest message, 64 KiB: what is larger is content, and its CID a message.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// The longest name of a topic, in bytes.
const MAX_TOPIC_BYTES: usize = 256;

/// Topics that are subscribed to at a time. Each holds on to its last messages.
const MAX_TOPICS: usize = 64;

/// Messages that wait for a slow subscriber: with the largest ones 2 MiB a topic.
const QUEUED: usize = 32;

/// The topics of a node.
#[derive(Clone)]
pub struct Topics {
    from: Bytes,
    open: Arc<Mutex<BTreeMap<String, broadcast::Sender<Message>>>>,
}

/// What was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The bytes.
    pub data: Bytes,
    /// Whose they are: a binary peer id.
    pub from: Bytes,
}

/// Why something was not published or subscribed to.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TopicsError {
    /// The topic has no name, or a very long one.
    #[error("a topic of {0} bytes; its name has 1 to {MAX_TOPIC_BYTES}")]
    Name(usize),
    /// The message is too long.
    #[error(
        "a message of {0} bytes; at most {MAX_MESSAGE_BYTES} are taken: add it as content and publish its CID"
    )]
    Message(usize),
    /// There are too many topics.
    #[error("limit: topics: {MAX_TOPICS} are subscribed to on this node")]
    Full,
}

impl Topics {
    /// No topics yet, on the node of this binary peer id.
    pub fn new(from: impl Into<Bytes>) -> Self {
        Self {
            from: from.into(),
            open: Arc::default(),
        }
    }

    /// Gives a message to all who have subscribed at this moment.
    ///
    /// # Errors
    /// [`TopicsError::Name`] and [`TopicsError::Message`].
    pub fn publish(&self, topic: &str, data: Bytes) -> Result<(), TopicsError> {
        check(topic)?;
        if data.len() > MAX_MESSAGE_BYTES {
            return Err(TopicsError::Message(data.len()));
        }
        if let Some(open) = self.open().get(topic) {
            let from = self.from.clone();
            // Whoever had subscribed may have gone.
            let _ = open.send(Message { data, from });
        }
        Ok(())
    }

    /// Subscribes to what is published from now on.
    ///
    /// # Errors
    /// [`TopicsError::Name`] and [`TopicsError::Full`].
    pub fn subscribe(&self, topic: &str) -> Result<Subscription, TopicsError> {
        check(topic)?;
        let mut open = self.open();
        if open.len() >= MAX_TOPICS && !open.contains_key(topic) {
            return Err(TopicsError::Full);
        }
        let sender = open
            .entry(topic.to_owned())
            .or_insert_with(|| broadcast::channel(QUEUED).0);
        Ok(Subscription {
            topic: topic.to_owned(),
            messages: Some(sender.subscribe()),
            topics: self.clone(),
        })
    }

    /// How many are subscribed to.
    pub fn count(&self) -> usize {
        self.open().len()
    }

    // Nothing that could panic runs while it is locked.
    fn open(&self) -> MutexGuard<'_, BTreeMap<String, broadcast::Sender<Message>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check(topic: &str) -> Result<(), TopicsError> {
    match topic.len() {
        1..=MAX_TOPIC_BYTES => Ok(()),
        bytes => Err(TopicsError::Name(bytes)),
    }
}

/// One subscription. Dropping it ends it.
pub struct Subscription {
    topic: String,
    messages: Option<broadcast::Receiver<Message>>,
    topics: Topics,
}

impl Subscription {
    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The next message, and how many were dropped before it. `None` if there will not be one.
    pub async fn next(&mut self) -> Option<(Message, u64)> {
        let messages = self.messages.as_mut()?;
        let mut dropped = 0_u64;
        loop {
            match messages.recv().await {
                Ok(message) => return Some((message, dropped)),
                Err(broadcast::error::RecvError::Lagged(more)) => {
                    dropped = dropped.saturating_add(more);
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut open = self.topics.open();
        // Before it is counted who is left.
        drop(self.messages.take());
        if open
            .get(&self.topic)
            .is_some_and(|sender| sender.receiver_count() == 0)
        {
            open.remove(&self.topic);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn topics() -> Topics {
        Topics::new(&b"me"[..])
    }

    #[tokio::test]
    async fn every_subscriber_gets_every_message_in_order() {
        let topics = topics();
        topics.publish("a", Bytes::from_static(b"early")).unwrap();
        let mut all = [
            topics.subscribe("a").unwrap(),
            topics.subscribe("a").unwrap(),
        ];
        let mut other = topics.subscribe("b").unwrap();
        for data in [&b"1"[..], b"2"] {
            topics.publish("a", Bytes::from_static(data)).unwrap();
        }
        topics.publish("b", Bytes::from_static(b"3")).unwrap();
        for subscriber in &mut all {
            for data in [&b"1"[..], b"2"] {
                let (message, dropped) = subscriber.next().await.unwrap();
                assert_eq!((&*message.data, &*message.from), (data, &b"me"[..]));
                assert_eq!(dropped, 0);
            }
        }
        assert_eq!(&*other.next().await.unwrap().0.data, b"3");
    }

    #[tokio::test]
    async fn a_slow_subscriber_is_told_what_it_lost_and_nobody_waits_for_it() {
        let topics = topics();
        let mut slow = topics.subscribe("a").unwrap();
        for number in 0..2 * QUEUED as u64 {
            let data = number.to_le_bytes().to_vec();
            topics.publish("a", data.into()).unwrap();
        }
        let (message, dropped) = slow.next().await.unwrap();
        assert_eq!(dropped, QUEUED as u64);
        assert_eq!(&*message.data, &dropped.to_le_bytes());
    }

    #[test]
    fn topics_that_nobody_subscribes_to_are_gone() {
        let topics = topics();
        let subscribed: Vec<_> = (0..MAX_TOPICS)
            .map(|number| topics.subscribe(&number.to_string()).unwrap())
            .collect();
        assert_eq!(topics.subscribe("more").err(), Some(TopicsError::Full));
        let again = topics.subscribe("0").unwrap();
        drop(subscribed);
        assert_eq!(topics.open().len(), 1);
        drop(again);
        assert!(topics.open().is_empty());
    }

    #[test]
    fn names_and_messages_have_bounds() {
        let topics = topics();
        let long = "t".repeat(MAX_TOPIC_BYTES + 1);
        for name in ["", &long] {
            let refused = Some(TopicsError::Name(name.len()));
            assert_eq!(topics.subscribe(name).err(), refused);
            assert_eq!(topics.publish(name, Bytes::new()).err(), refused);
        }
        let large = Bytes::from(vec![0; MAX_MESSAGE_BYTES + 1]);
        let refused = topics.publish("a", large).err();
        assert_eq!(refused, Some(TopicsError::Message(MAX_MESSAGE_BYTES + 1)));
    }
}
