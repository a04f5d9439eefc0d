//! Whatever a guest does, in whatever order: the account is what is there, within the quota.

use super::*;
use proptest::prelude::*;

const QUOTA: u64 = 160 * KIB;

/// Few names, so that they meet.
const NAMES: [&str; 6] = ["a", "b", "d", "d/a", "d/e", "d/e/a"];

#[derive(Clone, Debug)]
enum Step {
    Open(usize, bool),
    Enter(usize),
    Close(usize),
    Write(usize, u64, u64),
    Append(usize, u64),
    Size(usize, u64),
    Directory(usize),
    Symlink(usize, usize),
    Link(usize, usize),
    Rename(usize, usize),
    Unlink(usize),
    Remove(usize),
}

fn step() -> impl Strategy<Value = Step> {
    use Step::*;
    let name = || 0..NAMES.len();
    let bytes = || 0..48 * KIB;
    prop_oneof![
        3 => (name(), any::<bool>()).prop_map(|(n, truncate)| Open(n, truncate)),
        1 => name().prop_map(Enter),
        1 => any::<usize>().prop_map(Close),
        3 => (any::<usize>(), bytes(), bytes()).prop_map(|(f, b, o)| Write(f, b, o)),
        1 => (any::<usize>(), bytes()).prop_map(|(f, b)| Append(f, b)),
        1 => (any::<usize>(), bytes()).prop_map(|(f, s)| Size(f, s)),
        2 => name().prop_map(Directory),
        1 => (name(), name()).prop_map(|(t, n)| Symlink(t, n)),
        2 => (name(), name()).prop_map(|(o, n)| Link(o, n)),
        3 => (name(), name()).prop_map(|(o, n)| Rename(o, n)),
        2 => name().prop_map(Unlink),
        1 => name().prop_map(Remove),
    ]
}

async fn take(guest: &mut Guest, open: &mut Vec<Fd>, step: Step) {
    let tmp = lend(&guest.tmp);
    let pick = |index: usize| open.get(index % open.len().max(1)).map(lend);
    // What is refused is the guest's affair; only a trap would not be.
    let outcome = match step {
        Step::Open(name, truncate) => {
            let mut how = OpenFlags::CREATE;
            if truncate {
                how |= OpenFlags::TRUNCATE;
            }
            let opened = guest.open(&tmp, NAMES[name], how).await;
            opened.map(|fd| open.push(fd))
        }
        Step::Enter(name) => {
            let opened = guest.directory(&tmp, NAMES[name]).await;
            opened.map(|fd| open.push(fd))
        }
        Step::Close(index) => {
            if !open.is_empty() {
                let fd = open.swap_remove(index % open.len());
                guest.close(fd);
            }
            Ok(())
        }
        Step::Write(index, bytes, offset) => match pick(index) {
            Some(fd) => guest.write(&fd, bytes, offset).await.map(drop),
            None => Ok(()),
        },
        Step::Append(index, bytes) => match pick(index) {
            Some(fd) => match guest.view().append_via_stream(fd) {
                Ok(stream) => {
                    let bytes = vec![2; usize::try_from(bytes).unwrap()];
                    let output = guest.output(&stream);
                    output.check_write().unwrap();
                    let _ = output.blocking_write_and_flush(bytes.into()).await;
                    guest.table.delete(stream).unwrap();
                    Ok(())
                }
                Err(error) => Err(error),
            },
            None => Ok(()),
        },
        Step::Size(index, size) => match pick(index) {
            Some(fd) => guest.set_size(&fd, size).await,
            None => Ok(()),
        },
        Step::Directory(name) => guest.mkdir(&tmp, NAMES[name]).await,
        Step::Symlink(target, name) => guest.symlink(&tmp, NAMES[target], NAMES[name]).await,
        Step::Link(old, new) => guest.link((&tmp, NAMES[old]), (&tmp, NAMES[new])).await,
        Step::Rename(old, new) => guest.rename((&tmp, NAMES[old]), (&tmp, NAMES[new])).await,
        Step::Unlink(name) => guest.unlink(&tmp, NAMES[name]).await,
        Step::Remove(name) => guest.rmdir(&tmp, NAMES[name]).await,
    };
    if let Err(error) = outcome {
        error.downcast().expect("a trap");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_account_is_what_is_there(steps in prop::collection::vec(step(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut guest = Guest::new(QUOTA).await;
            let mut open = Vec::new();
            for step in steps {
                let shown = format!("{step:?}");
                take(&mut guest, &mut open, step).await;
                let used = guest.quota.used();
                assert!(used <= QUOTA);
                // What has lost its last name and is open counts beside what is there.
                assert!(used >= guest.counted(), "{shown}");
                assert!(used >= guest.allocated(), "{shown}");
            }
            for fd in open {
                guest.close(fd);
            }
            assert_eq!(guest.quota.used(), guest.counted());
        });
    }
}
