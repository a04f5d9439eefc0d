//! Keys on disk: hostile names, other users, other processes, and what is no key.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::result_large_err
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use cid::multibase::Base;
use content::ContentError;
use content::name::{Key, KeyError, Keys, MAX_KEY_NAME_BYTES, MAX_KEYS, NameError};
use proptest::prelude::*;

fn keys() -> (tempfile::TempDir, PathBuf, Keys) {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("a/keys");
    let keys = Keys::open(&path).unwrap();
    (scratch, path, keys)
}

fn file(path: &Path, name: &str) -> PathBuf {
    path.join(format!("key_{}", Base::Base32Lower.encode(name)))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn keys_are_kept_renamed_and_removed() {
    let (_scratch, path, keys) = keys();
    let [b, a] = ["b", "a"].map(|name| keys.generate(name).unwrap());
    assert_ne!(a.id, b.id);
    let again = Keys::open(&path).unwrap();
    assert_eq!(again.list().unwrap(), [a.clone(), b.clone()]);
    assert_eq!(again.id("a").unwrap(), a.id);

    again.rename("a", "z").unwrap();
    assert_eq!(keys.id("z").unwrap(), a.id);
    assert!(matches!(
        keys.id("a"),
        Err(ContentError::Key(KeyError::NotFound { .. }))
    ));
    keys.remove("b").unwrap();
    assert_eq!(again.list().unwrap().len(), 1);
    for missing in [again.remove("b"), again.rename("b", "c")] {
        assert!(matches!(
            missing,
            Err(ContentError::Key(KeyError::NotFound { .. }))
        ));
    }
    keys.generate("y").unwrap();
    for taken in [
        keys.generate("y").map(drop),
        keys.rename("z", "y"),
        keys.rename("z", "z"),
    ] {
        assert!(matches!(
            taken,
            Err(ContentError::Key(KeyError::Exists { .. }))
        ));
    }
    assert_eq!(keys.id("z").unwrap(), a.id);
}

#[test]
fn self_is_given_from_outside_and_nobody_changes_it() {
    let (_scratch, _path, keys) = keys();
    let refused = keys.get("");
    assert!(matches!(refused, Err(ContentError::Key(KeyError::NoSelf))));
    let own = Key::from_secret(&[1; 32]);
    let keys = keys.with_self(own.clone());
    keys.generate("a").unwrap();
    assert_eq!(keys.id("").unwrap(), own.name());
    assert_eq!(keys.id("self").unwrap(), own.name());
    let names: Vec<_> = keys
        .list()
        .unwrap()
        .into_iter()
        .map(|key| key.name)
        .collect();
    assert_eq!(names, ["self", "a"]);
    for refused in [
        keys.generate("self").map(drop),
        keys.rename("self", "b"),
        keys.rename("a", "self"),
        keys.remove("self"),
    ] {
        assert!(matches!(
            refused,
            Err(ContentError::Key(KeyError::Reserved))
        ));
    }
}

#[test]
fn everything_is_for_the_owner_alone_and_what_is_not_is_refused() {
    let (_scratch, path, keys) = keys();
    keys.generate("a").unwrap();
    let key = file(&path, "a");
    assert_eq!((mode(&path), mode(&key)), (0o700, 0o600));

    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = keys.get("a").unwrap_err();
    assert!(matches!(
        refused,
        ContentError::Name(NameError::FileExposed { mode: 0o644, .. })
    ));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    keys.get("a").unwrap();

    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let refused = Keys::open(&path);
    assert!(matches!(refused, Err(ContentError::StoreNotPrivate { .. })));
}

#[test]
fn a_key_is_what_libp2p_writes_and_nothing_else_is_taken_for_one() {
    let (_scratch, path, keys) = keys();
    let answers = include_str!("answers/ipns/records.txt");
    let line: Vec<_> = answers.lines().next().unwrap().split(' ').collect();
    assert_eq!(line[0], "key");
    let theirs = Base::Base16Lower.decode(line[2]).unwrap();
    let place = file(&path, "theirs");
    let put = |bytes: &[u8]| {
        fs::write(&place, bytes).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o600)).unwrap();
    };
    put(&theirs);
    assert_eq!(keys.id("theirs").unwrap().to_string(), line[1]);

    let mut other_half = theirs.clone();
    *other_half.last_mut().unwrap() ^= 1;
    let longer = [&theirs[..], &[0]].concat();
    for bad in [
        &b""[..],
        b"key",
        &theirs[..67],
        &longer,
        &other_half,
        &[0; 100_000],
    ] {
        put(bad);
        for refused in [keys.get("theirs").map(drop), keys.list().map(drop)] {
            assert!(matches!(
                refused,
                Err(ContentError::Key(KeyError::Corrupt { .. }))
            ));
        }
    }
    fs::remove_file(&place).unwrap();
    keys.generate("a").unwrap();
    symlink(file(&path, "a"), &place).unwrap();
    let refused = keys.get("theirs");
    assert!(matches!(
        refused,
        Err(ContentError::Name(NameError::NotPlain { .. }))
    ));
}

#[test]
fn what_lies_beside_keys_is_passed_over_and_what_was_not_finished_goes() {
    let (_scratch, path, keys) = keys();
    keys.generate("a").unwrap();
    fs::write(path.join("key_UPPER"), "x").unwrap();
    fs::write(path.join("notes"), "x").unwrap();
    fs::write(path.join(".incomplete-1"), "half a key").unwrap();
    assert_eq!(keys.list().unwrap().len(), 1);
    let again = Keys::open(&path).unwrap();
    assert_eq!(again.list().unwrap().len(), 1);
    assert!(!path.join(".incomplete-1").exists());
    assert!(path.join("notes").exists());
}

#[test]
fn there_is_room_for_so_many_keys_and_no_more() {
    let (_scratch, _path, keys) = keys();
    for number in 0..MAX_KEYS {
        keys.generate(&number.to_string()).unwrap();
    }
    let refused = keys.generate("more");
    assert!(matches!(
        refused,
        Err(ContentError::Key(KeyError::TooMany { .. }))
    ));
    keys.remove("7").unwrap();
    keys.generate("more").unwrap();
}

#[test]
fn processes_that_want_one_name_at_once_get_one_key() {
    let (_scratch, path, _keys) = keys();
    let made = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| Keys::open(&path).unwrap().generate("a")))
            .collect();
        let made = threads.into_iter().map(|thread| thread.join().unwrap());
        made.filter_map(Result::ok).collect::<Vec<_>>()
    });
    assert_eq!(made.len(), 1);
    assert_eq!(Keys::open(&path).unwrap().list().unwrap(), made);
}

#[test]
fn printing_a_key_shows_its_name_and_no_secret() {
    let key = Key::from_secret(&[1; 32]);
    assert_eq!(format!("{key:?}"), format!("Key(Name({}))", key.name()));
}

#[test]
fn hostile_names_are_refused() {
    let (_scratch, path, keys) = keys();
    let long = "n".repeat(MAX_KEY_NAME_BYTES + 1);
    for name in ["a/b", "../a", "a\0b", "a\nb", &long] {
        for refused in [
            keys.generate(name).map(drop),
            keys.get(name).map(drop),
            keys.remove(name),
            keys.rename(name, "b"),
        ] {
            assert!(
                matches!(
                    refused,
                    Err(ContentError::Key(KeyError::NameInvalid { .. }))
                ),
                "{refused:?}"
            );
        }
    }
    let files = fs::read_dir(path).unwrap().count();
    assert_eq!(files, 1, "only the lock");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_name_is_kept_as_it_is_or_refused(name in "\\PC{0,50}|[./~a-zA-Z -]{0,140}") {
        let (_scratch, path, keys) = keys();
        if let Ok(made) = keys.generate(&name) {
            prop_assert_eq!(keys.list().unwrap(), [made.clone()]);
            prop_assert_eq!(made.name, name);
            let files = fs::read_dir(&path).unwrap().map(|file| file.unwrap().file_name());
            let all_plain = files.into_iter().all(|file| {
                let file = file.into_string().unwrap();
                file.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            });
            prop_assert!(all_plain);
        }
    }
}
