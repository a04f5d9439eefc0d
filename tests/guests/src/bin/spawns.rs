//! Loads the program at a path of the image (the first argument) and spawns it with grants: this cell's own
//! executor, and once more by another name. Prints what the program is, and what it printed.

use runtime::capnp::capability::FromClientHook as _;
use runtime::{bytes, process};
use serde_json::json;

const OUTPUT_LIMIT: usize = 1024 * 1024;

fn main() {
    runtime::run(|session| async move {
        let executor = session.executor()?;
        let mut request = executor.load_request();
        let path = guests::arg(1, "/bin/graft_empty.wasm".to_owned());
        request.get().init_source().set_path(&path);
        let program = request.send().promise.await?.get()?.get_program()?;

        let cid = program.cid_request().send().promise.await?;
        let imports = program.imports_request().send().promise.await?;
        let mut names = Vec::new();
        for name in imports.get()?.get_imports()? {
            names.push(name?.to_string()?);
        }
        println!(
            "{}",
            json!({ "cid": guests::hex(cid.get()?.get_cid()?), "imports": names })
        );

        let mut request = program.spawn_request();
        let mut grants = request.get().init_grants(2);
        for (index, name) in [(0, "executor"), (1, "friend")] {
            let mut grant = grants.reborrow().get(index);
            grant.set_name(name);
            grant
                .init_cap()
                .set_as_capability(executor.as_client_hook().add_ref());
        }
        let child = request.send().promise.await?.get()?.get_process()?;
        let output = bytes::read_to_end(&process::stdout(&child), OUTPUT_LIMIT).await?;
        print!("{}", String::from_utf8_lossy(&output));
        println!("{}", process::wait(&child).await?);
        Ok(())
    });
}
