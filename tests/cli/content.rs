//! The commands on content: `ww add`, `cat`, `ls`, `get`, `pin`, `gc`, `car`.

use std::io::Write;
use std::process::Stdio;

use fixtures::{Place, finish};

use crate::place;

/// A folder with something hidden in it.
fn folder(place: &Place) {
    place.write("d/a", "hello\n");
    place.write("d/sub/b", "x\n");
    place.write("d/.git/config", "secret");
    place.link("d/l", "sub/b");
}

/// The folder without what is hidden, as Kubo's importer (boxo 0.39) names it.
const ROOT: &str = "bafybeigkfrfla46s3o47xef6xtw7ze35hzsb6gf6ys4sigardtfijxbvby";

/// The same in the old form.
const ROOT_OF_OLD: &str = "QmUYxUZhwKkWMeaJGiFFC7xV99bZtiAMiEjvwR94byyMUT";

/// Prints its last line.
#[track_caller]
fn last(place: &Place, args: &[&str]) -> String {
    let told = place.ww(args).ok().stdout();
    told.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn a_folder_is_added_as_ipfs_adds_it() {
    let place = place();
    folder(&place);
    let told = place.ww(&["add", "-r", "d"]).ok().stdout();
    let names: Vec<_> = told
        .lines()
        .map(|line| {
            let line = line.strip_prefix("added ").unwrap();
            line.split_once(' ').unwrap().1
        })
        .collect();
    assert_eq!(names, ["d/a", "d/l", "d/sub/b", "d/sub", "d"]);
    let root = last(&place, &["add", "-rQ", "d"]);
    assert!(told.ends_with(&format!("added {root} d\n")), "{told}");
    assert_eq!(root, ROOT);
    // Nothing of it depends on what is hidden, unless that is asked for.
    assert_ne!(last(&place, &["add", "-rQH", "d"]), root);
    let old = last(&place, &["add", "-rQ", "--cid-version", "0", "d"]);
    assert_eq!(old, ROOT_OF_OLD);
    place.ww(&["add", "d"]).refused(&["-r"]);
}

#[test]
fn only_hash_stores_nothing() {
    let place = place();
    place.write("file", "hello\n");
    let cid = last(&place, &["add", "-nQ", "file"]);
    place.ww(&["cat", &cid]).refused(&[&cid]);
    assert_eq!(last(&place, &["add", "-Q", "file"]), cid);
    assert_eq!(place.ww(&["cat", &cid]).ok().stdout(), "hello\n");
}

#[test]
fn standard_input_is_added_and_a_file_comes_out_as_it_went_in() {
    let place = place();
    let content: Vec<u8> = (0..700_000_u32).map(|n| (n % 251) as u8).collect();
    let mut command = place.command(&["add", "-Q"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&content).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let cid = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    assert!(place.ww(&["cat", &cid]).ok().stdout_bytes() == content);
    place.ww(&["get", &cid, "-o", "copy"]).ok();
    assert!(std::fs::read(place.join("copy")).unwrap() == content);
    place.ww(&["get", &cid, "-o", "copy"]).refused(&["copy"]);
}

#[test]
fn what_was_added_is_listed_printed_and_written_back_rows_89_90() {
    let place = place();
    folder(&place);
    let root = last(&place, &["add", "-rQ", "d"]);
    let listed = place.ww(&["ls", &root]).ok().stdout();
    let shown: Vec<Vec<&str>> = listed
        .lines()
        .map(|line| line.split(' ').collect())
        .collect();
    let rest: Vec<_> = shown.iter().map(|line| (line[1], line[2])).collect();
    assert_eq!(rest, [("6", "a"), ("5", "l"), ("-", "sub/")]);
    assert!(shown.iter().all(|line| line[0].starts_with("baf")));

    let path = format!("/ipfs/{root}/sub/b");
    for path in [&path, path.strip_prefix("/ipfs/").unwrap()] {
        assert_eq!(place.ww(&["cat", path]).ok().stdout(), "x\n");
    }
    place.ww(&["get", &root, "-o", "out"]).ok();
    assert_eq!(place.read("out/a"), "hello\n");
    assert_eq!(place.read("out/l"), "x\n");
    assert!(!place.join("out/.git").exists());
    place.ww(&["get", &root, "-o", "out"]).refused(&["out"]);

    place.ww(&["cat", &root]).refused(&["is not a file"]);
    place.ww(&["ls", &path]).refused(&["is not a directory"]);
    for climbing in ["..", "../..", "sub/../a"] {
        let path = format!("/ipfs/{root}/{climbing}");
        place.ww(&["cat", &path]).refused(&["no names"]);
    }
}

#[test]
fn what_is_pinned_stays_and_the_rest_goes() {
    let place = place();
    place.write("one", "1");
    place.write("two", "2");
    let one = last(&place, &["add", "-Q", "--pin-name", "mine", "one"]);
    let two = last(&place, &["add", "-Q", "--no-pin", "two"]);
    assert_eq!(
        place.ww(&["pin", "ls"]).ok().stdout(),
        format!("{one} recursive mine\n")
    );
    // Under a second name, it stays until both have gone.
    place.ww(&["pin", "add", &one]).ok();
    assert_eq!(
        place.ww(&["gc", "--dry-run"]).ok().stdout(),
        "would remove 1 blocks (1 B), kept 1\n"
    );
    assert_eq!(
        place.ww(&["gc"]).ok().stdout(),
        "removed 1 blocks (1 B), kept 1\n"
    );
    place.ww(&["cat", &two]).refused(&[&two]);
    place.ww(&["pin", "rm", &one]).ok();
    place.ww(&["gc"]).ok();
    assert_eq!(place.ww(&["cat", &one]).ok().stdout(), "1");
    place.ww(&["pin", "rm", &one]).refused(&["is not pinned"]);
    place.ww(&["pin", "rm", &one, "--name", "mine"]).ok();
    place.ww(&["gc"]).ok();
    place.ww(&["cat", &one]).refused(&[&one]);
    assert_eq!(place.ww(&["pin", "ls"]).ok().stdout(), "");
}

#[test]
fn a_broken_block_is_named_and_never_printed() {
    let place = place();
    place.write("file", "the right bytes");
    let cid = last(&place, &["add", "-Q", "file"]);
    assert!(place.ww(&["pin", "verify"]).ok().stdout().contains("ok"));
    let store = place.home().join("store/blocks");
    let shard = std::fs::read_dir(&store).unwrap().next().unwrap().unwrap();
    let block = std::fs::read_dir(shard.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    std::fs::write(block.path(), "the wrong bytes").unwrap();
    let refused = place.ww(&["cat", &cid]).refused(&[&cid, "corrupt"]);
    assert_eq!(refused.stdout(), "");
    let verified = place.ww(&["pin", "verify"]).expect(1);
    assert_eq!(verified.stdout(), format!("{cid} broken\n"));
    // Adding it again repairs it.
    place.ww(&["add", "file"]).ok();
    assert_eq!(place.ww(&["cat", &cid]).ok().stdout(), "the right bytes");
}

#[test]
fn a_car_carries_a_folder_to_another_machine() {
    let (here, there) = (place(), place());
    folder(&here);
    let root = last(&here, &["add", "-rQ", "d"]);
    here.ww(&["car", "export", &root, "-o", "d.car"]).ok();
    here.ww(&["car", "export", &root, "-o", "d.car"])
        .refused(&["d.car", "--force"]);
    here.ww(&["car", "export", &root, "-o", "d.car", "-f"]).ok();
    here.ww(&["car", "export", &root, "-o", "d"])
        .refused(&["folder"]);
    let piped = here.ww(&["car", "export", &root]).ok();
    let car = std::fs::read(here.join("d.car")).unwrap();
    assert!(piped.stdout_bytes() == car);

    there.write("d.car", &car);
    assert_eq!(
        there.ww(&["car", "import", "d.car"]).ok().stdout(),
        format!("{root}\n")
    );
    assert_eq!(
        there.ww(&["cat", &format!("{root}/a")]).ok().stdout(),
        "hello\n"
    );
    there.ww(&["gc"]).ok();
    assert_eq!(
        there.ww(&["cat", &format!("{root}/a")]).ok().stdout(),
        "hello\n"
    );

    // Cut, or changed, it is refused by name and nothing is pinned.
    let elsewhere = place();
    elsewhere.write("cut.car", &car[..car.len() - 3]);
    elsewhere.ww(&["car", "import", "cut.car"]).expect(1);
    let mut changed = car.clone();
    *changed.last_mut().unwrap() ^= 1;
    elsewhere.write("changed.car", &changed);
    elsewhere
        .ww(&["car", "import", "changed.car"])
        .refused(&["corrupt"]);
    assert_eq!(elsewhere.ww(&["pin", "ls"]).ok().stdout(), "");
}

#[test]
fn names_that_could_drive_a_terminal_are_shown_escaped() {
    let place = place();
    place.write("d/\u{1b}[2J", "");
    let root = last(&place, &["add", "-rQ", "d"]);
    let listed = place.ww(&["ls", &root]).ok().stdout();
    assert!(
        listed.contains("\\u{1b}[2J") && !listed.contains('\u{1b}'),
        "{listed:?}"
    );
}

#[test]
fn nobody_is_asked_offline_and_the_daemon_that_is_named_has_to_be_there() {
    let place = place();
    let cid = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
    place
        .ww(&["cat", "--offline", cid])
        .refused(&["not in this store"]);
    let mut command = place.command(&["cat", cid, "--ipfs-url", "http://127.0.0.1:1"]);
    finish(command.env_remove("WW_OFFLINE")).refused(&["127.0.0.1:1", "nothing answers"]);
    place.write("app/boot/main.wasm", b"\0asm\x0d\0\x01\0");
    let mut command = place.command(&["push", "app", "--ipfs-url", "http://127.0.0.1:1"]);
    finish(command.env_remove("WW_OFFLINE")).refused(&["127.0.0.1:1"]);
    let mut command = place.command(&["cat", cid, "--ipfs-url", "no address"]);
    finish(command.env_remove("WW_OFFLINE")).refused(&["no address"]);
}

#[test]
fn what_is_interrupted_leaves_nothing_behind() {
    let place = place();
    place.write("file", vec![7; 3 << 20]);
    place.write("d/file", vec![8; 3 << 20]);
    let file = last(&place, &["add", "-Q", "file"]);
    let folder = last(&place, &["add", "-rQ", "d"]);
    // All chunks of one are the same, so this takes both of them apart.
    let blocks = place.home().join("store/blocks");
    for shard in std::fs::read_dir(blocks).unwrap() {
        for block in std::fs::read_dir(shard.unwrap().path()).unwrap() {
            let block = block.unwrap();
            if block.metadata().unwrap().len() == 256 * 1024 {
                std::fs::remove_file(block.path()).unwrap();
            }
        }
    }
    // Somebody who takes connections and never answers.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", mute.local_addr().unwrap());
    for args in [
        &["get", &file, "-o", "out"][..],
        &["get", &folder, "-o", "out"],
        &["car", "export", &file, "-o", "out"],
    ] {
        let mut command = place.command(args);
        command.env_remove("WW_OFFLINE").args(["--ipfs-url", &url]);
        let before = place.entries();
        let mut running = fixtures::Running::start(&mut command);
        // It has asked; so it has begun to write.
        let _asked = mute.accept().unwrap();
        running.interrupt();
        assert_eq!(running.code(), 130, "{args:?}");
        assert_eq!(place.entries(), before, "{args:?}");
    }
}
