//! What is refused about names and keys.

use std::path::PathBuf;

use super::Name;

/// Why a name, or a record of one, was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Text that is no name.
    #[error("{text:?} is not an IPNS name: {why}; names begin with k51 or 12D3KooW")]
    Invalid {
        /// The text, cut.
        text: Box<str>,
        /// What is wrong with it.
        why: Box<str>,
    },
    /// The name is that of a key that is not Ed25519.
    #[error("{text:?} is the name of {kind}; use one of an Ed25519 key, which begins with k51")]
    KeyType {
        /// The text, cut.
        text: Box<str>,
        /// The kind of key.
        kind: &'static str,
    },
    /// The name is one of the domain name system.
    #[error(
        "{domain:?} is a domain, and DNSLink is not followed here, because nothing signs it; ask for its path \
         with `dig +short TXT _dnslink.DOMAIN` and use that"
    )]
    DnsLink {
        /// The domain, cut.
        domain: Box<str>,
    },
    /// A record is larger than any reader takes.
    #[error("a record of {bytes} bytes is over the limit of {limit}")]
    RecordTooBig {
        /// Its size in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A record that cannot be read.
    #[error("the record of {name} is malformed: {why}; publish it again")]
    RecordMalformed {
        /// The name that it was given for.
        name: Name,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A record without a signature of version 2.
    #[error(
        "the record of {name} has no signature of version 2; publish it again with a newer program"
    )]
    RecordUnsigned {
        /// The name that it was given for.
        name: Name,
    },
    /// The signature is not one of the name's key for this data.
    #[error("the record was not signed by {name}; ask somebody else for it")]
    SignatureWrong {
        /// The name that it was given for.
        name: Name,
    },
    /// The record carries another key than that of its name.
    #[error("the record carries another key than that of {name}; ask somebody else for it")]
    KeyDiffers {
        /// The name that it was given for.
        name: Name,
    },
    /// A field of version 1 says something else than the signed data.
    #[error("the record of {name} says two things about its {field}; ask somebody else for it")]
    FieldDiffers {
        /// The name that it was given for.
        name: Name,
        /// The field.
        field: &'static str,
    },
    /// The record ends in another way than at a time.
    #[error(
        "the record of {name} has a validity of another kind than an end of life; publish it again"
    )]
    ValidityKind {
        /// The name that it was given for.
        name: Name,
    },
    /// The record is not valid any more.
    #[error("the record of {name} has expired at {at}; publish it again")]
    Expired {
        /// The name.
        name: Name,
        /// When, after RFC 3339.
        at: Box<str>,
    },
    /// The record stands for something that nothing here can follow.
    #[error("{name} does not stand for a path: {why}")]
    ValueInvalid {
        /// The name.
        name: Name,
        /// What is wrong with it.
        why: Box<str>,
    },
    /// A record that is older than one that was seen.
    #[error(
        "the record of {name} has sequence {sequence}, and {seen} has been seen: it would roll the name back; \
         publish it again with a higher one"
    )]
    RolledBack {
        /// The name.
        name: Name,
        /// The sequence of the record that was refused.
        sequence: u64,
        /// The highest one that was ever seen.
        seen: u64,
    },
    /// A sequence beyond what all readers take.
    #[error("{name} has no sequence left beyond {limit}; generate a new key")]
    SequenceExhausted {
        /// The name.
        name: Name,
        /// The highest sequence.
        limit: u64,
    },
    /// Nobody who was asked knows a record.
    #[error("no record of {name} is known; publish one, or put one that somebody gave you")]
    NotFound {
        /// The name.
        name: Name,
    },
    /// A name that stands, over others or not, for itself.
    #[error("{name} leads back to itself; publish it with the path of some content")]
    Loop {
        /// The name.
        name: Name,
    },
    /// More names that stand for names than anybody needs.
    #[error(
        "there are more than {limit} names between this one and its content; publish a shorter way"
    )]
    TooManyHops {
        /// The limit.
        limit: usize,
    },
    /// There is no room for one more name.
    #[error(
        "records of {limit} names are kept, and there is no room for another; remove the files of those that are \
         not used any more in {directory:?}"
    )]
    TooManyNames {
        /// The limit.
        limit: usize,
        /// Where they are.
        directory: PathBuf,
    },
    /// A file among the records is not one that was written there.
    #[error(
        "{path:?} is no record any more; remove the file, and take care what you believe of that name until \
         it is published again"
    )]
    RecordCorrupt {
        /// The file.
        path: PathBuf,
    },
    /// A lifetime or a time to live that cannot be written down.
    #[error("a record cannot be valid for so long; use less than {limit_years} years")]
    TooLong {
        /// The limit in years.
        limit_years: u64,
    },
    /// Somebody else is writing, for longer than anybody should.
    #[error("{path:?} is in use by another process; wait for that to end and try again")]
    Busy {
        /// The file of the lock.
        path: PathBuf,
    },
    /// A file that others can read or write.
    #[error("{path:?} is open to other users (mode {mode:o}); run `chmod 600` on it")]
    FileExposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Something else than a file.
    #[error("{path:?} is not a plain file; remove it")]
    NotPlain {
        /// What is there.
        path: PathBuf,
    },
}

/// Why a key, or the name that it is kept under, was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A name that no key may have.
    #[error("{name:?} cannot be the name of a key: {why}")]
    NameInvalid {
        /// The name, cut.
        name: Box<str>,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The name of the node's own key.
    #[error("the key `self` is the node's own and comes from its identity; use another name")]
    Reserved,
    /// The node's own key was not given.
    #[error("there is no key `self` here; generate a key and publish with that")]
    NoSelf,
    /// There is no such key.
    #[error("there is no key {name:?}; list the keys, or generate it")]
    NotFound {
        /// The name.
        name: Box<str>,
    },
    /// There is such a key.
    #[error("there is a key {name:?} already; remove or rename it first")]
    Exists {
        /// The name.
        name: Box<str>,
    },
    /// There are as many keys as there may be.
    #[error("there are {limit} keys already; remove one first")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// A file among the keys is not one that was written there.
    #[error("{path:?} is no Ed25519 key; restore it, or remove the file")]
    Corrupt {
        /// The file.
        path: PathBuf,
    },
    /// The system has no random numbers.
    #[error("the system gives no random numbers to make a key of: {0}")]
    Random(#[source] getrandom::Error),
}
