//! Exports a stream. What is written to it must be numbers, each one more than the one before; a read tells what
//! the next is to be. Once it has been given another stream to pump into, a read tells what that says.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use runtime::bytes;
use runtime::capnp;
use runtime::system_capnp::byte_stream::{self, Client};

#[derive(Default)]
struct Stream {
    next: Cell<u32>,
    other: RefCell<Option<Client>>,
}

impl byte_stream::Server for Stream {
    async fn read(
        self: Rc<Self>,
        _params: byte_stream::ReadParams,
        mut results: byte_stream::ReadResults,
    ) -> capnp::Result<()> {
        let other = self.other.borrow().clone();
        let text = match other {
            None => self.next.get().to_string(),
            Some(other) => match bytes::read(&other, 1).await {
                Ok(data) => String::from_utf8_lossy(&data).into_owned(),
                Err(error) => error.chain(),
            },
        };
        results.get().set_data(text.as_bytes());
        Ok(())
    }

    async fn write(
        self: Rc<Self>,
        params: byte_stream::WriteParams,
        _results: byte_stream::WriteResults,
    ) -> capnp::Result<()> {
        let number = String::from_utf8_lossy(params.get()?.get_data()?).into_owned();
        let expected = self.next.get();
        if number != expected.to_string() {
            let wrong = format!("{number} came, and {expected} was to");
            return Err(capnp::Error::failed(wrong));
        }
        self.next.set(expected + 1);
        Ok(())
    }

    /// Keeps the other stream, and writes to it at once: numbers, in order, before it can be known where it
    /// leads, and after.
    async fn pump(
        self: Rc<Self>,
        params: byte_stream::PumpParams,
        mut results: byte_stream::PumpResults,
    ) -> capnp::Result<()> {
        let other = params.get()?.get_into()?;
        let write = |number: u64| {
            let mut request = other.write_request();
            request.get().set_data(number.to_string().as_bytes());
            request.send().promise
        };
        let mut written = Vec::new();
        for number in 0..100 {
            written.push(write(number));
            if number == 50 {
                runtime::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
        for write in written {
            write.await?;
        }
        *self.other.borrow_mut() = Some(other.clone());
        results.get().set_bytes(100);
        Ok(())
    }

    async fn close(
        self: Rc<Self>,
        _params: byte_stream::CloseParams,
        _results: byte_stream::CloseResults,
    ) -> capnp::Result<()> {
        std::future::pending().await
    }
}

fn main() {
    let stream: Client = runtime::capnp_rpc::new_client(Stream::default());
    runtime::serve(stream, |_session| std::future::pending());
}
