//! Keeps what it reads from standard input as content, and prints its path; given a path, prints what is there.
//!
//! What it keeps is pinned under the name `keep`, so it stays when the program has ended. A file goes through it
//! in chunks, however long it is. It needs the grant `ipfs`, and nothing else.

use runtime::io::{stdin, stdout};
use runtime::{bytes, ipfs};

fn main() {
    runtime::run(|session| async move {
        let content = session.ipfs()?;
        let Some(path) = std::env::args().nth(1) else {
            let tree = ipfs::add_tree(&content, "keep");
            bytes::copy_in(&mut stdin(), &tree.open("")).await?;
            println!("{}", tree.finish().await?.path());
            return Ok(());
        };
        if path.ends_with('/') {
            let mut entries = ipfs::list(&content, path.trim_end_matches('/'));
            while let Some(entry) = entries.next().await? {
                println!("{} {:?}", entry.cid, entry.name);
            }
            return Ok(());
        }
        bytes::copy_out(&ipfs::open(&content, &path), &mut stdout()).await?;
        Ok(())
    });
}
