//! Publishing and running through others: an IPFS daemon with Kubo's RPC, and a trustless gateway.

use fixtures::{Environment, Finished, Ww, finish, guests};

use crate::ww;

#[path = "../../crates/content/tests/peers/parts.rs"]
#[allow(dead_code, reason = "the tests of content use more of it")]
pub mod parts;

/// Runs `ww` as somebody who asks this server.
fn asking(ww: &Ww, option: &str, url: &str, args: &[&str]) -> Finished {
    let mut command = ww.command(args);
    finish(command.env_remove("WW_OFFLINE").args([option, url]))
}

// Rows 8, 9, 10, 67: a daemon takes what is pushed, and whoever asks it can run that, without the source.
#[test]
fn what_is_pushed_to_a_daemon_runs_on_another_machine_that_asks_it() {
    let (Some(url), Some(kubo)) = (parts::kubo_url(), parts::kubo()) else {
        return;
    };
    let (here, there) = (ww(), ww());
    let environment = Environment::new(guests::FS_PROBE);
    environment.write("etc/a & b?#%", "strange names travel");
    let folder = environment.path().to_str().unwrap();
    let pushed = asking(&here, "--ipfs-url", &url, &["push", folder]).ok();
    let cid = pushed.stdout().trim().to_owned();
    assert!(
        pushed.stderr().contains("given to the IPFS daemon"),
        "{}",
        pushed.stderr()
    );
    // The same CID as without anybody's help, and it is pinned there.
    assert_eq!(here.run(["push", folder]).ok().stdout().trim(), cid);
    assert!(kubo.pin_ls(&cid.parse().unwrap()).unwrap());

    drop(environment);
    let path = format!("/ipfs/{cid}");
    there
        .run(["run", "--port", "0", &path])
        .refused(&[&cid, "push or fetch"]);
    let strange = "read /etc/a & b?#%";
    let run = ["run", "--port", "0", &path];
    let mut command = there.command(run);
    command
        .env_remove("WW_OFFLINE")
        .args(["--ipfs-url", &url, "--", "/etc/a & b?#%"]);
    let told = finish(&mut command).ok();
    let tried = crate::Attempts::of(&told.stdout());
    assert_eq!(tried.ok(strange), "strange names travel".len());
    assert!(told.stderr().contains("content came"), "{}", told.stderr());

    // What was fetched is here now, and nobody is needed any more.
    there.run(["pin", "add", "--offline", &cid]).ok();
    let again = there.run(["run", "--port", "0", &path]);
    again.ok();
    let listed = asking(&there, "--ipfs-url", &url, &["ls", &path]).ok();
    assert!(listed.stdout().contains(" - boot/"), "{}", listed.stdout());
}

// Rows 9, 46: what another implementation has added runs from its gateway, in both forms of CIDs.
#[test]
fn what_others_have_added_runs_from_a_gateway() {
    let Some(url) = parts::boxo_url() else { return };
    let environment = Environment::new(guests::PLAIN);
    for version in ["1", "0"] {
        let cid = parts::boxo_add(&url, environment.path(), version);
        let path = format!("/ipfs/{cid}");
        let there = ww();
        let run = ["run", "--port", "0", &path];
        assert_eq!(
            asking(&there, "--gateway", &url, &run).ok().stdout(),
            "plain\n"
        );
        // Without anybody, from what was fetched.
        assert_eq!(there.run(run).ok().stdout(), "plain\n");
    }
}
