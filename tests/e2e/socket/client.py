"""An independent client of a node: client.py SCHEMAS SOCKET SCENARIO [ARGUMENT...]."""

import asyncio
import json
import pathlib
import sys

import capnp

# What the schemas import beside each other comes with pycapnp.
STANDARD = str(pathlib.Path(capnp.__file__).parents[1])
SCHEMAS = pathlib.Path(sys.argv[1])
capnp.remove_import_hook()
stem, system, ipfs = (
    capnp.load(str(SCHEMAS / name), imports=[STANDARD])
    for name in ["stem.capnp", "system.capnp", "ipfs.capnp"]
)


class Shout(system.Executor.Server):
    async def echo(self, message, **_):
        return message.upper()


class Sink(system.ByteStream.Server):
    def __init__(self):
        self.data, self.closed = b"", 0

    async def push(self, data, **_):
        self.data += data

    async def close(self, **_):
        self.closed += 1


async def connect():
    stream = await capnp.AsyncIoStream.create_unix_connection(sys.argv[2])
    return capnp.TwoPartyClient(stream).bootstrap().cast_as(stem.Membrane)


async def fails(promise, reason, kind="FAILED"):
    try:
        await promise
    except capnp.KjException as error:
        assert reason in error.description, error.description
        assert error.type == kind, (error.type, error.description)
        return error.description
    raise AssertionError(f"it did not fail with {reason}")


async def read_all(stream):
    data = b""
    while True:
        more = (await stream.read(1 << 16)).data
        if not more:
            return data
        data += more


async def output(process):
    text = await read_all((await process.stdout()).stream)
    code = (await process.wait()).exitCode
    assert code == 0, (code, await read_all((await process.stderr()).stream))
    return text.decode()


def component(name):
    return pathlib.Path(name).read_bytes()


async def load(session, name):
    return (await session.executor.load({"bytes": component(name)})).program


async def spawn(program, args=(), **rest):
    return (await program.spawn(list(args), **rest)).process


async def schemas_are_those_that_were_published(membrane):
    ids = {
        stem.Membrane: 0xDB52C25106BC2C5E,
        stem.Session: 0xA10769B2C99DFC5C,
        stem.Epoch: 0xC736E79956026568,
        system.Host: 0x9EA70C8C9AEFB70C,
        system.Executor: 0xBFA37C1E99B4A492,
        system.Process: 0x97D4030D8435F0B1,
        system.ByteStream: 0xCB8707FF6DC46EE0,
        ipfs.Client: 0xD74F0585CE163B98,
        ipfs.UnixFS: 0xED62A696EB305EA7,
    }
    for type_, id_ in ids.items():
        assert type_.schema.node.id == id_, type_
    assert [field for field in stem.Session.schema.fields][:3] == ["host", "executor", "ipfs"]


async def a_session_holds_what_the_operator_grants(membrane):
    session = (await membrane.graft()).session
    assert (session.epoch.seq, session.epoch.head) == (0, b"")
    assert [session._has(name) for name in ["host", "executor", "ipfs"]] == [True, True, False]
    assert len(session.grants) == 0

    peer_id = (await session.host.id()).peerId
    assert peer_id[:2] in (b"\x00\x24", b"\x12\x20"), peer_id
    addrs = (await session.host.addrs()).addrs
    assert any(addr.startswith(b"\x04\x7f\x00\x00\x01\x06") for addr in addrs), list(addrs)
    assert len((await session.host.peers()).peers) == 0
    echoed = await session.host.executor().executor.echo("grüße, 世界")
    assert echoed.response == "grüße, 世界"
    refused = await fails(session.host.connect(peer_id, []), "notGranted: client 2 (rpc-socket) may not call Host.connect")
    assert "`ww run --grant host:id,addrs,peers,executor,connect`" in refused, refused


async def what_is_denied_is_null(membrane):
    session = (await membrane.graft()).session
    assert not session._has("executor") and session._has("host")
    await fails(session.host.peers(), "notGranted: ")


async def what_is_granted_by_another_name_is_listed(membrane):
    session = (await membrane.graft()).session
    [grant] = session.grants
    assert grant.name == "net"
    refused = fails(grant.cap.as_interface(system.Host).connect(b"", []), "connect: ")
    assert "notGranted" not in await refused


async def components_run_from_bytes(membrane, hello, print_env):
    executor = (await membrane.graft()).session.executor
    process = (await executor.runBytes(component(hello), ["hello"], [])).process
    assert await output(process) != ""
    assert (await process.status()).status.exited == 0
    process = (await executor.runBytes(component(print_env), ["it", "ä"], ["A=1", "B=x=y"])).process
    args, env = map(json.loads, (await output(process)).splitlines())
    assert args == {"args": ["it", "ä"]} and env == {"env": {"A": "1", "B": "x=y"}}
    await fails(executor.runBytes(component(hello), [], ["malformed"]), "is not NAME=VALUE")
    await fails(executor.runBytes(b"nonsense", [], []), "")


async def a_program_is_loaded_once_and_runs_often(membrane, print_env):
    session = (await membrane.graft()).session
    program = await load(session, print_env)
    cid = (await program.cid()).cid
    assert cid[:1] == b"\x01" and cid[2:4] == b"\x12\x20", cid
    assert (await (await load(session, print_env)).cid()).cid == cid
    imports = (await program.imports()).imports
    assert any(name.startswith("wasi:cli/") for name in imports), list(imports)
    for word in ["one", "two"]:
        process = await spawn(program, ["p", word], env=[f"WORD={word}"])
        args, env = map(json.loads, (await output(process)).splitlines())
        assert (args["args"], env["env"]) == (["p", word], {"WORD": word})
    by_path = (await session.executor.load({"path": "/boot/main.wasm"})).program
    assert len((await by_path.imports()).imports) > 0
    await fails(program.spawn(cwd="/etc"), "only / is offered")
    await fails(session.executor.load({"none": None}), "no source")


async def a_guest_calls_what_its_client_serves(membrane, calls_grant):
    program = await load((await membrane.graft()).session, calls_grant)
    request = program.spawn_request()
    request.init("args", 1)[0] = "calls_grant"
    [grant] = request.init("grants", 1)
    grant.name = "shout"
    grant.cap = system.Executor._new_client(Shout())
    process = (await request.send()).process
    first, second = map(json.loads, (await output(process)).splitlines())
    assert (first["ok"], second["ok"]) == ("HELLO", "HELLO"), (first, second)

    request = program.spawn_request()
    request.init("grants", 1)[0].name = "nothing"
    await fails(request.send(), "grants: no capability is given")


async def limits_have_names(membrane, memhog, spin):
    session = (await membrane.graft()).session
    program = await load(session, memhog)
    for limits, reason in [
        ({"memoryBytes": 1 << 60}, "limit: memory: "),
        ({"depth": 100}, "limit: depth: "),
        ({"streams": 1 << 30}, "limit: streams: "),
    ]:
        await fails(program.spawn(limits=limits), reason, "OVERLOADED")
    process = await spawn(program, ["memhog"], limits={"memoryBytes": 16 << 20})
    assert (await output(process)).startswith("refused after ")
    process = await spawn(await load(session, spin), ["spin"], limits={"fuel": 50_000_000})
    assert (await process.wait()).exitCode > 128
    assert (await process.status()).status.which() == "outOfFuel"


async def a_process_is_fed_read_and_waited_for(membrane, echo, spin, serves, main_err):
    session = (await membrane.graft()).session
    process = await spawn(await load(session, echo), ["echo"])
    stdin, stdout = process.stdin().stream, process.stdout().stream
    waiting = [asyncio.ensure_future(process.wait()) for _ in range(3)]
    await stdin.write(b"hello")
    assert (await stdout.read(2)).data == b"he"
    assert (await stdout.read(100)).data == b"llo"
    assert (await process.status()).status.which() == "running"
    assert (await process.usage()).usage.memoryBytes > 0
    await fails(stdout.read(0), "maxBytes is 0")
    await fails(stdout.write(b""), "for reading only")
    await fails(stdin.read(1), "for writing only")
    pending = asyncio.ensure_future(stdout.read(100))
    await stdin.close()
    await stdin.close()
    assert (await pending).data == b""
    assert (await stdout.read(0xFFFFFFFF)).data == b""
    assert [(await wait).exitCode for wait in waiting] == [0, 0, 0]
    await fails(stdin.write(b"late"), "closed", "DISCONNECTED")

    process = await spawn(await load(session, main_err), ["main_err"])
    told = await read_all(process.stderr().stream)
    assert told != b"" and (await process.wait()).exitCode == 1, told

    process = await spawn(await load(session, spin), ["spin"])
    assert (await process.stdout().stream.read(8)).data == b"spinning"
    await process.kill()
    assert (await process.status()).status.which() == "killed"
    assert (await process.wait()).exitCode == 137

    process = await spawn(await load(session, serves), ["serves"])
    exported = (await process.bootstrap()).cap.as_interface(system.Executor)
    assert (await exported.echo("grüße")).response == "GRÜSSE"
    await process.kill()
    await fails(exported.echo("late"), "", "DISCONNECTED")


async def streams_are_pushed_and_pumped(membrane, echo):
    program = await load((await membrane.graft()).session, echo)
    process = await spawn(program, ["echo"])
    stdin, sink = process.stdin().stream, Sink()
    pumped = asyncio.ensure_future(process.stdout().stream.pump(sink))
    chunks = [bytes([number]) * 10_000 for number in range(100)]
    for chunk in chunks:
        await stdin.push(chunk)
    await stdin.close()
    assert (await pumped).bytes == 1_000_000
    assert sink.data == b"".join(chunks) and sink.closed == 1

    first, second = await spawn(program, ["echo"]), await spawn(program, ["echo"])
    pumped = asyncio.ensure_future(first.stdout().stream.pump(second.stdin().stream))
    await first.stdin().stream.write(b"through both")
    await first.stdin().stream.close()
    assert (await pumped).bytes == 12
    assert await output(second) == "through both"


async def what_is_narrowed_can_be_taken_back(membrane):
    watching = asyncio.ensure_future(membrane.watch(0))
    session = (await membrane.graft()).session
    host = system.Host.schema.node.id
    narrow = await membrane.attenuate(session.host, [{"interface": host, "ordinal": 0}])
    narrowed = narrow.cap.as_interface(system.Host)
    assert (await narrowed.id()).peerId == (await session.host.id()).peerId
    await fails(narrowed.addrs(), "attenuated: ")
    await narrow.revoker.revoke("enough of it")
    await fails(narrowed.id(), "revoked: enough of it", "DISCONNECTED")
    await session.host.addrs()
    await fails(membrane.attenuate_request().send(), "no capability is given")
    assert not watching.done()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def clients_have_sessions_of_their_own(membrane, echo):
    other = await connect()
    mine, theirs = (await membrane.graft()).session, (await other.graft()).session
    refused = await fails(mine.host.connect(b"", []), "notGranted: client 2 ")
    assert refused != await fails(theirs.host.connect(b"", []), "notGranted: client 3 ")
    process = await spawn(await load(mine, echo), ["echo"])
    gone = await spawn(await load(theirs, echo), ["echo"])
    del other, theirs, gone
    await process.stdin().stream.write(b"still here")
    assert (await process.stdout().stream.read(100)).data == b"still here"


async def it_waits_until_it_is_killed(membrane, spin, idle):
    session = (await membrane.graft()).session
    program = await load(session, spin)
    held = [await spawn(program, ["spin"]), await spawn(await load(session, idle), ["idle"])]
    reading = held[1].stderr().stream.read(1)
    await fails(program.spawn(["one too many"]), "limit: cells: ", "OVERLOADED")
    print("holding", flush=True)
    await reading


async def there_is_room_for(membrane, spin):
    program = await load((await membrane.graft()).session, spin)
    for process in [await spawn(program, ["spin"]), await spawn(program, ["spin"])]:
        await process.kill()


async def calls_under_way_are_told_that_the_node_stops(membrane, spin):
    session = (await membrane.graft()).session
    process = await spawn(await load(session, spin), ["spin"])
    assert (await process.stdout().stream.read(9)).data == b"spinning\n"
    calls = [process.stdout().stream.read(1), process.wait(), membrane.watch(0)]
    print("holding", flush=True)
    for call in calls:
        await fails(call, "the node is stopping", "DISCONNECTED")
    print("told", flush=True)


async def too_many_are_told_so(membrane, most):
    others = [await connect() for _ in range(int(most) - 1)]
    for other in others:
        await other.graft()
    await fails((await connect()).graft(), f"limit: clients: {most} are connected", "DISCONNECTED")
    await membrane.graft()


async def main(scenario, *arguments):
    membrane = await connect()
    await asyncio.wait_for(globals()[scenario](membrane, *arguments), 100)


asyncio.run(capnp.run(main(*sys.argv[3:])))
