//! Names and records: those of the Go implementation are read, ours are theirs byte for byte, and whatever is not
//! signed is refused.
//!
//! The answers come from boxo 0.39, the library that Kubo publishes with: `answers/ipns/ipns.go` makes them and says
//! how to run it. It has also judged records of ours whose bytes are not the same as its own (a time with nine digits
//! where it writes fewer), by hand, and found them valid.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::result_large_err
)]

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use cid::multibase::{self, Base};
use content::name::{Form, Key, MAX_RECORD_BYTES, MAX_SEQUENCE, Name, NameError, Record};
use content::{ContentError, ContentPath};
use ed25519_dalek::{Signer, SigningKey};
use ipld_core::ipld::Ipld;
use proptest::prelude::*;

const ANSWERS: &str = include_str!("answers/ipns/records.txt");
const CONTENT: &str = "/ipfs/bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354";

fn answers(label: &str) -> Vec<(Name, Vec<u8>)> {
    let lines = ANSWERS.lines().filter_map(|line| {
        let words: Vec<_> = line.split(' ').collect();
        let bytes = Base::Base16Lower.decode(words[2]).unwrap();
        (words[0] == label).then(|| (words[1].parse().unwrap(), bytes))
    });
    lines.collect()
}

fn answer(label: &str) -> (Name, Vec<u8>) {
    answers(label).remove(0)
}

fn key(seed: u8) -> Key {
    Key::from_secret(&[seed; 32])
}

/// The end of life of the answers.
fn eol() -> SystemTime {
    humantime::parse_rfc3339("2099-12-31T23:59:58.123456789Z").unwrap()
}

fn minutes() -> Duration {
    Duration::from_secs(5 * 60)
}

fn path(text: &str) -> ContentPath {
    text.parse().unwrap()
}

#[test]
fn a_name_is_read_in_each_of_its_forms_and_printed_in_one() {
    for (seed, (label, form)) in [(1, "base32"), (2, "base32"), (1, "base58"), (2, "base58")]
        .map(|(seed, label)| (seed, (label, answers(label)[usize::from(seed) - 1].clone())))
    {
        let (name, text) = form;
        assert_eq!(key(seed).name(), name, "{label}");
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.parse::<Name>().unwrap(), name, "{label}");
        assert!(name.to_string().starts_with("k51"));
        assert_eq!(name.to_string().parse::<Name>().unwrap(), name);
    }
    for (name, routing) in answers("routing") {
        assert_eq!([b"/ipns/", &name.multihash()[..]].concat(), routing);
    }
}

#[test]
fn names_of_other_keys_domains_and_content_are_refused_each_by_its_name() {
    let secp256k1 = [&[0x00, 0x25, 0x08, 0x02, 0x12, 0x21, 0x02][..], &[7; 32]].concat();
    let ecdsa = [&[0x00, 0x06, 0x08, 0x03, 0x12, 0x02, 0x30, 0x00][..]].concat();
    for (multihash, kind) in [(&secp256k1, "Secp256k1"), (&ecdsa, "ECDSA")] {
        let as_cid = [&[0x01, 0x72], &multihash[..]].concat();
        for text in [
            Base::Base58Btc.encode(multihash),
            multibase::encode(Base::Base36Lower, as_cid),
        ] {
            let refused = text.parse::<Name>();
            assert!(
                matches!(&refused, Err(NameError::KeyType { kind: found, .. }) if found.contains(kind)),
                "{refused:?}"
            );
        }
    }
    let rsa = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn".parse::<Name>();
    assert!(matches!(rsa, Err(NameError::KeyType { kind, .. }) if kind.contains("RSA")));
    let domain = "example.org".parse::<Name>();
    assert!(matches!(domain, Err(NameError::DnsLink { .. })));
    assert!(domain.unwrap_err().to_string().contains("DNSLink"));

    let name = key(1).name();
    let weak = [&[0x00, 0x24, 0x08, 0x01, 0x12, 0x20, 0x01][..], &[0; 31]].concat();
    for text in [
        "",
        "localhost",
        "k51",
        "12D3KooW",
        "Qm",
        &CONTENT[6..],
        &Base::Base58Btc.encode(weak),
        &format!("{name}x"),
        &format!("{name}/a"),
        &"1".repeat(100_000),
        &"k".repeat(100_000),
    ] {
        let refused = text.parse::<Name>();
        assert!(
            matches!(refused, Err(NameError::Invalid { .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn a_path_may_begin_with_a_name_or_be_a_bare_cid() {
    let name = key(1).name();
    let named = path(&format!("/ipns/{name}/sub dir/日本"));
    assert_eq!(named.to_string(), format!("/ipns/{name}/sub dir/日本"));
    let peer = String::from_utf8(answer("base58").1).unwrap();
    assert_eq!(
        path(&format!("/ipns/{peer}")).to_string(),
        format!("/ipns/{name}")
    );
    assert_eq!(path(&CONTENT[6..]).to_string(), CONTENT);

    for text in [
        &*format!("/ipns/{name}/.."),
        &format!("/ipns/{name}/"),
        &format!("/ipns/{name}//a"),
        &format!("/ipns/{name}{}", "/a".repeat(65)),
        &format!("/ipns/{name}/{}", "a".repeat(5000)),
        &name.to_string(),
        "/ipld/x",
    ] {
        let refused = text.parse::<ContentPath>();
        assert!(
            matches!(refused, Err(ContentError::PathInvalid { .. })),
            "{text}: {refused:?}"
        );
    }
    let refused = "/ipns/example.org/a".parse::<ContentPath>();
    assert!(matches!(
        refused,
        Err(ContentError::Name(NameError::DnsLink { .. }))
    ));
}

#[test]
fn our_records_are_those_of_boxo_byte_for_byte() {
    let inside = format!("{CONTENT}/sub dir/日本");
    let docs = format!("/ipns/{}/docs", key(2).name());
    let hour = Duration::from_secs(60 * 60);
    for (label, seed, value, sequence, ttl, form) in [
        ("both", 1, CONTENT, 1, minutes(), Form::Both),
        ("both-path", 1, &inside, 1 << 40, hour, Form::Both),
        ("both-name", 1, &docs, 7, Duration::ZERO, Form::Both),
        ("v2-only", 1, CONTENT, 2, minutes(), Form::V2Only),
        ("zero", 2, CONTENT, 0, Duration::ZERO, Form::Both),
    ] {
        let (name, bytes) = answer(label);
        let made = Record::create(&key(seed), &path(value), sequence, eol(), ttl, form).unwrap();
        assert_eq!(made.bytes(), bytes, "{label}");
        let read = Record::verify(&name, &bytes).unwrap();
        assert_eq!(read, made, "{label}");
        assert_eq!(read.value().unwrap().to_string(), value);
        assert_eq!(
            (read.sequence(), read.ttl(), read.eol()),
            (sequence, ttl, eol())
        );
        read.check_live(SystemTime::now()).unwrap();
    }
}

#[test]
fn records_of_boxo_are_read_whatever_is_in_them() {
    for (label, sequence) in [
        ("embedded", 3),
        ("whole-second", 4),
        ("tenths", 4),
        ("metadata", 5),
        ("dnslink", 6),
        ("expired", 9),
    ] {
        let (name, bytes) = answer(label);
        let read = Record::verify(&name, &bytes).unwrap();
        assert_eq!(read.sequence(), sequence, "{label}");
        match label {
            "dnslink" => assert!(matches!(read.value(), Err(NameError::DnsLink { .. }))),
            _ => assert_eq!(read.value().unwrap().to_string(), CONTENT),
        }
        let live = read.check_live(SystemTime::now());
        match label {
            "expired" => assert!(matches!(live, Err(NameError::Expired { .. }))),
            _ => live.unwrap(),
        }
    }
}

#[test]
fn a_record_is_of_one_name_alone() {
    let other = key(2).name();
    let refused = |label| Record::verify(&other, &answer(label).1);
    assert!(matches!(
        refused("both"),
        Err(NameError::SignatureWrong { .. })
    ));
    assert!(matches!(
        refused("v2-only"),
        Err(NameError::SignatureWrong { .. })
    ));
    assert!(matches!(
        refused("embedded"),
        Err(NameError::KeyDiffers { .. })
    ));
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn bytes_field(number: u64, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint(&mut out, number << 3 | 2);
    varint(&mut out, value.len() as u64);
    [&out, value].concat()
}

fn number_field(number: u64, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    varint(&mut out, number << 3);
    varint(&mut out, value);
    out
}

/// What an honest record says.
fn honest() -> BTreeMap<String, Ipld> {
    let bytes = |text: &str| Ipld::Bytes(text.as_bytes().to_vec());
    BTreeMap::from([
        ("Value".to_owned(), bytes(CONTENT)),
        ("Validity".to_owned(), bytes("2099-12-31T23:59:58Z")),
        ("ValidityType".to_owned(), Ipld::Integer(0)),
        ("Sequence".to_owned(), Ipld::Integer(5)),
        ("TTL".to_owned(), Ipld::Integer(1_000_000_000)),
    ])
}

/// A record of version 2 that says anything, with a good signature.
fn signed(data: &[u8]) -> Vec<u8> {
    let signature = SigningKey::from_bytes(&[1; 32]).sign(&[b"ipns-signature:", data].concat());
    [bytes_field(8, &signature.to_bytes()), bytes_field(9, data)].concat()
}

fn verified(bytes: &[u8]) -> Result<Record, NameError> {
    Record::verify(&key(1).name(), bytes)
}

#[test]
fn a_signature_on_nonsense_does_not_make_it_a_record() {
    verified(&signed(
        &serde_ipld_dagcbor::to_vec(&Ipld::Map(honest())).unwrap(),
    ))
    .unwrap();
    let text = |text: &str| Some(Ipld::Bytes(text.as_bytes().to_vec()));
    for (key, value) in [
        ("Value", None),
        ("Value", Some(Ipld::String(CONTENT.into()))),
        ("Validity", None),
        ("Validity", text("")),
        ("Validity", text("tomorrow")),
        ("Validity", text("2099-12-31T23:59:58")),
        ("Validity", text("2099-12-31T23:59:58+01:00")),
        ("Validity", text("2099-13-31T23:59:58Z")),
        ("Validity", text("日本日本日本日本日本日本")),
        (
            "Validity",
            text(&format!("2099-12-31T23:59:58.{}Z", "0".repeat(100))),
        ),
        ("ValidityType", None),
        ("ValidityType", Some(Ipld::Integer(-1))),
        ("Sequence", None),
        ("Sequence", Some(Ipld::Integer(-1))),
        ("Sequence", Some(Ipld::Float(1.0))),
        ("TTL", None),
        ("TTL", Some(Ipld::Integer(-1))),
    ] {
        let mut data = honest();
        data.remove(key);
        data.extend(value.clone().map(|value| (key.to_owned(), value)));
        let refused = verified(&signed(
            &serde_ipld_dagcbor::to_vec(&Ipld::Map(data)).unwrap(),
        ));
        assert!(
            matches!(refused, Err(NameError::RecordMalformed { .. })),
            "{key} {value:?}: {refused:?}"
        );
    }
    for data in [
        &b""[..],
        b"\xa0",
        b"\x80",
        b"\xff",
        &[0x81; 5000],
        b"\xbf\xff",
    ] {
        let refused = verified(&signed(data));
        assert!(
            matches!(refused, Err(NameError::RecordMalformed { .. })),
            "{refused:?}"
        );
    }

    let mut data = honest();
    data.insert("ValidityType".into(), Ipld::Integer(1));
    let refused = verified(&signed(
        &serde_ipld_dagcbor::to_vec(&Ipld::Map(data)).unwrap(),
    ));
    assert!(matches!(refused, Err(NameError::ValidityKind { .. })));
    let mut data = honest();
    data.insert(
        "Sequence".into(),
        Ipld::Integer(i128::from(MAX_SEQUENCE) + 1),
    );
    let refused = verified(&signed(
        &serde_ipld_dagcbor::to_vec(&Ipld::Map(data)).unwrap(),
    ));
    assert!(matches!(refused, Err(NameError::SequenceExhausted { .. })));
}

#[test]
fn a_value_that_is_no_path_is_refused_when_it_is_followed() {
    for value in [
        &b""[..],
        b"\xff",
        b"/ipfs/",
        b"/ipfs/x/../y",
        b"hello",
        b"/ipns/localhost",
    ] {
        let mut data = honest();
        data.insert("Value".into(), Ipld::Bytes(value.to_vec()));
        let data = serde_ipld_dagcbor::to_vec(&Ipld::Map(data)).unwrap();
        let record = verified(&signed(&data)).unwrap();
        assert!(
            matches!(record.value(), Err(NameError::ValueInvalid { .. })),
            "{value:?}"
        );
    }
}

#[test]
fn fields_of_version_1_must_say_what_is_signed() {
    let record = signed(&serde_ipld_dagcbor::to_vec(&Ipld::Map(honest())).unwrap());
    let same = [
        bytes_field(1, CONTENT.as_bytes()),
        bytes_field(2, b"any signature"),
        number_field(3, 0),
        bytes_field(4, b"2099-12-31T23:59:58Z"),
        number_field(5, 5),
        number_field(6, 1_000_000_000),
    ];
    verified(&[&record[..], &same.concat()].concat()).unwrap();
    let lies = [
        bytes_field(1, b"/ipfs/bafkqaaa"),
        Vec::new(),
        number_field(3, 1),
        bytes_field(4, b"2099-12-31T23:59:59Z"),
        number_field(5, 6),
        number_field(6, 0),
    ];
    for (lied, lie) in lies.iter().enumerate().filter(|(_, lie)| !lie.is_empty()) {
        // Beside the others, alone, and left out.
        let others = (0..6).filter(|field| *field != lied);
        let others = others
            .flat_map(|field| same[field].clone())
            .collect::<Vec<_>>();
        let mut forms = vec![
            [&record[..], &others, lie].concat(),
            [&record[..], lie].concat(),
        ];
        if lied != 2 {
            forms.push([&record[..], &others].concat());
        }
        for form in forms {
            let refused = verified(&form);
            assert!(
                matches!(refused, Err(NameError::FieldDiffers { .. })),
                "{lied}: {refused:?}"
            );
        }
    }
    // Twice, or of another type, is no record at all.
    for field in [same[5].clone(), bytes_field(5, b"\x05"), number_field(9, 1)] {
        let form = [&record[..], &same.concat(), &field].concat();
        assert!(matches!(
            verified(&form),
            Err(NameError::RecordMalformed { .. })
        ));
    }
    let unsigned = same.concat();
    assert!(matches!(
        verified(&unsigned),
        Err(NameError::RecordUnsigned { .. })
    ));
    let unknown = [&record[..], &bytes_field(77, b"new")].concat();
    assert_eq!(verified(&unknown).unwrap().sequence(), 5);
}

#[test]
fn what_is_too_big_or_too_late_is_refused_before_it_is_signed_or_read() {
    let record = answer("both").1;
    let padding = MAX_RECORD_BYTES - record.len() - 4;
    let fits = [&record[..], &bytes_field(77, &vec![0; padding])].concat();
    assert!(matches!(
        (fits.len(), verified(&fits)),
        (..=MAX_RECORD_BYTES, Ok(_))
    ));
    let refused = verified(&[&record[..], &bytes_field(77, &vec![0; MAX_RECORD_BYTES])].concat());
    assert!(matches!(refused, Err(NameError::RecordTooBig { .. })));

    let create = |sequence, eol, ttl| {
        Record::create(&key(1), &path(CONTENT), sequence, eol, ttl, Form::Both)
    };
    create(MAX_SEQUENCE, eol(), minutes()).unwrap();
    let refused = create(MAX_SEQUENCE + 1, eol(), minutes());
    assert!(matches!(refused, Err(NameError::SequenceExhausted { .. })));
    let years = |years: u64| Duration::from_secs(years * 365 * 24 * 60 * 60);
    for (eol, ttl) in [
        (SystemTime::UNIX_EPOCH + years(1001), minutes()),
        (SystemTime::UNIX_EPOCH - years(1), minutes()),
        (eol(), years(300)),
    ] {
        assert!(matches!(
            create(1, eol, ttl),
            Err(NameError::TooLong { .. })
        ));
    }
    // The longest path still makes a record.
    let long = path(&format!(
        "{CONTENT}{}",
        format!("/{}", "a".repeat(250)).repeat(16)
    ));
    let made = Record::create(&key(1), &long, 1, eol(), minutes(), Form::Both).unwrap();
    assert_eq!(verified(made.bytes()).unwrap().value().unwrap(), long);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_record_that_was_tampered_with_is_refused_or_says_the_same(
        label in prop::sample::select(vec!["both", "v2-only", "embedded", "metadata"]),
        at in any::<prop::sample::Index>(),
        change in 0..4_u8,
        byte in any::<u8>(),
    ) {
        let (name, honest) = answer(label);
        let said = Record::verify(&name, &honest).unwrap();
        let mut bytes = honest.clone();
        let at = at.index(bytes.len());
        match change {
            0 => bytes[at] = byte,
            1 => bytes[at] ^= 1 << (byte & 7),
            2 => bytes.insert(at, byte),
            _ => drop(bytes.remove(at)),
        }
        if let Ok(read) = Record::verify(&name, &bytes) {
            prop_assert_eq!(read.value().unwrap(), said.value().unwrap());
            prop_assert_eq!(read.sequence(), said.sequence());
            prop_assert_eq!((read.eol(), read.ttl()), (said.eol(), said.ttl()));
        }
    }

    #[test]
    fn hostile_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(verified(&bytes).is_err());
        // Signed by the right key, they still must be read without a panic.
        if let Ok(record) = verified(&signed(&bytes)) {
            let _ = record.value();
        }
    }

    #[test]
    fn hostile_values_and_times_are_read_or_refused(
        value in prop::collection::vec(any::<u8>(), 0..60),
        validity in "[0-9TZ:.+-]{0,40}|\\PC{0,20}",
        sequence in any::<i64>(),
    ) {
        let mut data = honest();
        data.insert("Value".into(), Ipld::Bytes(value));
        data.insert("Validity".into(), Ipld::Bytes(validity.into_bytes()));
        data.insert("Sequence".into(), Ipld::Integer(sequence.into()));
        let data = serde_ipld_dagcbor::to_vec(&Ipld::Map(data)).unwrap();
        if let Ok(record) = verified(&signed(&data)) {
            let _ = record.value();
        }
    }

    #[test]
    fn any_text_is_a_name_or_refused(text in "(k51|12D3|b|Qm)?[a-zA-Z0-9.]{0,70}|\\PC{0,40}") {
        if let Ok(name) = text.parse::<Name>() {
            prop_assert_eq!(name.to_string().parse::<Name>().unwrap(), name);
        }
    }

    #[test]
    fn what_is_signed_is_what_is_read(
        seed in any::<[u8; 32]>(),
        sequence in 0..=MAX_SEQUENCE,
        ttl in 0..=i64::MAX as u64,
        secs in 0..30_000_000_000_u64,
        nanos in 0..1_000_000_000_u32,
        v2_only in any::<bool>(),
    ) {
        let key = Key::from_secret(&seed);
        let form = if v2_only { Form::V2Only } else { Form::Both };
        let eol = SystemTime::UNIX_EPOCH + Duration::new(secs, nanos);
        let ttl = Duration::from_nanos(ttl);
        let made = Record::create(&key, &path(CONTENT), sequence, eol, ttl, form).unwrap();
        let read = Record::verify(&key.name(), made.bytes()).unwrap();
        prop_assert_eq!(&read, &made);
        prop_assert_eq!((read.sequence(), read.eol(), read.ttl()), (sequence, eol, ttl));
    }
}
