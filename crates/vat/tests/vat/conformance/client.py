"""Calls an object of the other side in every way: client.py ADDRESS SCENARIO."""

import asyncio
import sys

import capnp
from lab import Client, Gate, Lab, schema


async def fails(promise, reason, kind="FAILED"):
    try:
        await promise
    except capnp.KjException as error:
        assert error.type == kind, error.type
        assert reason in error.description, error.description
    else:
        raise AssertionError("it did not fail")


async def data_of_every_size_comes_back(peer):
    for size in [0, 1, 7, 8, 4_095, 70_000, 4 << 20]:
        data = bytes(range(256)) * (size // 256 + 1)
        assert (await peer.echo(data[:size])).data == data[:size]


async def calls_are_delivered_in_order(peer):
    calls = [peer.next(number) for number in range(300)]
    for call in calls:
        await call


async def many_calls_run_at_once(peer):
    calls = [peer.later(bytes([number])) for number in range(200)]
    for number, call in enumerate(calls):
        assert (await call).data == bytes([number])


async def calls_on_promised_results_are_delivered_in_order(peer):
    waiting = peer.wait()
    calls = [waiting.lab.next(number) for number in range(20)]
    await peer.release()
    for call in calls:
        await call
    deep = peer
    for _ in range(10):
        deep = deep.make().lab
    assert (await deep.echo(b"deep")).data == b"deep"


async def calls_that_fail_say_why(peer):
    await fails(peer.fail("for a good reason: ü"), "for a good reason: ü")
    kept = peer.kept()
    await fails(kept.lab.echo(b""), "nothing is kept")
    await peer.nothing()


async def every_kind_of_failure_arrives(peer):
    for kind in ["failed", "overloaded", "disconnected", "unimplemented"]:
        await fails(peer.fail(kind), f"it is {kind}", kind.upper())


async def calls_are_cancelled(peer):
    for _ in range(20):
        peer.never().lab.echo(b"never").cancel()
    never = peer.never()
    await peer.nothing()
    never.cancel()
    task = asyncio.ensure_future(peer.never())
    await peer.nothing()
    task.cancel()
    await peer.nothing()


async def a_peer_calls_back(peer):
    mine = Lab()
    for count in range(1, 20):
        assert (await peer.ask(mine, b"back")).data == b"back"
        assert mine.calls == count
    assert (await peer.ask(peer.make().lab, b"its own")).data == b"its own"


async def a_peer_passes_a_call_on(peer):
    mine = Lab()
    for count in range(1, 20):
        assert (await peer.forward(mine, b"on")).data == b"on"
        assert mine.calls == count
    assert (await peer.forward(peer.make().lab, b"its own")).data == b"its own"


async def an_object_is_held_until_it_is_let_go_of(peer):
    await peer.keep(Lab())
    kept = peer.kept().lab
    await kept.echo(b"still there")
    await peer.drop()
    await fails(peer.kept(), "nothing is kept")


async def many_objects_travel_in_one_message(peer):
    mine = [Lab() for _ in range(100)]
    request = peer.several_request()
    labs = request.init("labs", len(mine))
    for index, lab in enumerate(mine):
        labs[index] = lab
    back = (await request.send()).labs
    for lab, other in zip(reversed(mine), back, strict=True):
        await other.next(0)
        assert lab.calls == 1


async def calls_do_not_overtake_those_on_promised_results(peer):
    sent = peer.identity(Client(Lab()))
    promised = sent.lab
    calls = [promised.next(number) for number in range(20)]
    back = (await sent).lab
    calls += [promised.next(number) for number in range(20, 40)]
    for call in calls:
        await call
    await back.next(40)


async def calls_do_not_overtake_those_on_a_promise(peer):
    promised = (await peer.promise()).lab
    calls = [promised.next(number) for number in range(20)]
    fulfilled = peer.fulfil(Client(Lab()))
    for number in range(20, 200):
        calls.append(promised.next(number))
        await asyncio.sleep(0)
    await fulfilled
    calls += [promised.next(number) for number in range(200, 220)]
    for call in calls:
        await call


async def calls_on_a_promise_reach_what_the_peer_resolves_it_to(peer):
    promised = (await peer.promise()).lab
    calls = [promised.next(number) for number in range(20)]
    await peer.fulfil(peer.make().lab)
    calls += [promised.next(number) for number in range(20, 40)]
    for call in calls:
        await call


async def calls_on_a_promise_that_breaks_fail_with_the_reason(peer):
    promised = (await peer.promise()).lab
    early = promised.echo(b"early")
    await getattr(peer, "break")("it broke")
    await fails(early, "it broke")
    await fails(promised.echo(b"late"), "it broke")


async def calls_on_a_promise_of_the_callers_wait_for_it(peer):
    for theirs in [False, True]:
        gate, mine = Gate(), Lab()
        promised = Client(gate).wait().lab
        early = [peer.ask(promised, b"early") for _ in range(5)]
        await peer.nothing()
        assert mine.calls == 0
        gate.result.set_result(peer.make().lab if theirs else mine)
        for call in early:
            await call
        await peer.ask(promised, b"late")
        assert mine.calls == (0 if theirs else 6)


async def a_promise_resolves_to_another_promise(peer):
    first = (await peer.promise()).lab
    calls = [first.next(number) for number in range(5)]
    gate = Gate()
    await peer.fulfil(Client(gate).wait().lab)
    calls += [first.next(number) for number in range(5, 10)]
    gate.result.set_result((await peer.promise()).lab)
    calls += [first.next(number) for number in range(10, 15)]
    await peer.fulfil(Client(Lab()))
    calls += [first.next(number) for number in range(15, 20)]
    for call in calls:
        await call


async def both_sides_promise_at_once(peer):
    theirs = (await peer.promise()).lab
    gate = Gate()
    await peer.keep(Client(gate).wait().lab)
    kept = peer.kept().lab
    calls = [kept.next(0), theirs.next(0), kept.next(1), theirs.next(1)]
    gate.result.set_result(peer.make().lab)
    fulfilled = peer.fulfil(Client(Lab()))
    calls += [kept.next(2), theirs.next(2)]
    for call in calls:
        await call
    await fulfilled


async def what_is_streamed_arrives(peer):
    for _ in range(100):
        await peer.push(bytes(10_000))
    assert (await peer.pushed()).bytes == 1_000_000


async def a_stream_reports_what_failed(peer):
    lab = peer.make().lab
    await lab.push(b"something")
    await fails(lab.push(b""), "nothing was pushed")
    await fails(lab.push(b"more"), "nothing was pushed")
    await peer.nothing()


async def it_leaves_in_the_middle_of_everything(peer):
    await peer.keep(Lab())
    promised = (await peer.promise()).lab
    pending = [peer.never(), promised.echo(b""), peer.ask(Client(Gate()).wait().lab, bytes(100_000))]
    await peer.nothing()
    sys.exit()


async def main(address, scenario):
    if address.startswith("/"):
        stream = await capnp.AsyncIoStream.create_unix_connection(address)
    else:
        stream = await capnp.AsyncIoStream.create_connection("127.0.0.1", int(address))
    peer = capnp.TwoPartyClient(stream).bootstrap().cast_as(schema.Lab)
    await asyncio.wait_for(globals()[scenario](peer), 30)


asyncio.run(capnp.run(main(*sys.argv[1:])))
