"""Serves an object to each connection: server.py PATH, or server.py PORT on the loopback interface."""

import asyncio
import sys

import capnp
from lab import Lab


async def serve(stream):
    await capnp.TwoPartyServer(stream, bootstrap=Lab()).on_disconnect()


async def main(address):
    if address.startswith("/"):
        server = await capnp.AsyncIoStream.create_unix_server(serve, address)
    else:
        server = await capnp.AsyncIoStream.create_server(serve, "127.0.0.1", int(address))
    async with server:
        print(server.sockets[0].getsockname(), flush=True)
        await server.serve_forever()


asyncio.run(capnp.run(main(sys.argv[1])))
