# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The thread that owns the model: tickets, room, failures, and functions between two steps."""

import asyncio
import threading

import pytest

from flan_jax.core import errors
from flan_jax.inference.decode_config import DecodeConfig
from flan_jax.serving.requests import ApiError
from flan_jax.serving.worker import Worker
from tests.serving.tiny_servers import BYTES, Speller

CONFIG = DecodeConfig(max_length=32)


def run(scenario, session=None, max_pending=4):
    """Runs `scenario(worker)` in an event loop."""
    worker = Worker(lambda: session or Speller(), max_pending=max_pending)

    async def main():
        worker.start()
        try:
            return await asyncio.wait_for(scenario(worker), 20)
        finally:
            await asyncio.to_thread(worker.stop, 10)

    return asyncio.run(main())


async def answers(ticket):
    found = {}
    async for number, update in ticket:
        if update.answer is not None:
            found[number] = update.answer.texts[0]
    return found


def test_requests_share_the_session():
    session = Speller(threading.Semaphore(0))

    async def scenario(worker):
        tickets = [worker.admit([BYTES.encode(text)], CONFIG) for text in ("abc", "de")]
        reading = asyncio.gather(*map(answers, tickets))
        while not session.open:
            await asyncio.sleep(0)
        session.gate.release()  # the first of three steps of the one, and the other comes in
        while len(session.open) < 2:
            await asyncio.sleep(0)
        session.gate.release(10)
        return await reading

    assert run(scenario, session) == [{0: "cba"}, {0: "ed"}]


def test_there_is_room_for_so_many_answers():
    async def scenario(worker):
        two = DecodeConfig(max_length=4, num_samples=2, temperature=1.0)
        ticket = worker.admit([[100]], two)
        assert worker.num_pending == 2
        worker.admit([[100], [101]])
        with pytest.raises(ApiError) as raised:
            worker.admit([[100]], CONFIG)
        assert raised.value.status == 429 and raised.value.headers["Retry-After"] == "1"
        ticket.close()
        ticket.close()
        assert worker.num_pending == 2
        worker.admit([[100]], CONFIG)

    run(scenario)


def test_a_closed_ticket_is_cancelled_before_or_after_it_began():
    session = Speller(threading.Semaphore(0))

    async def scenario(worker):
        first = worker.admit([BYTES.encode("abc")], CONFIG)
        while not session.open:
            await asyncio.sleep(0)
        second = worker.admit([BYTES.encode("abc")], CONFIG)
        second.close()
        first.close()
        session.gate.release(100)
        return await answers(worker.admit([BYTES.encode("xy")], CONFIG))

    assert run(scenario, session) == {0: "yx"}
    assert session.cancelled == [0]


def test_a_failure_ends_those_that_run_and_the_session():
    sessions = []

    def new_session():
        sessions.append(Speller())
        return sessions[-1]

    worker = Worker(new_session, max_pending=9)

    async def main():
        worker.start()
        good, bad = worker.admit([BYTES.encode("a" * 30)], CONFIG), None
        bad = worker.admit([BYTES.encode("ok"), BYTES.encode("break")], CONFIG)
        for ticket in (bad, good):
            try:
                await answers(ticket)
            except ApiError as error:
                assert error.status == 500 and "it broke" in str(error)
            else:
                assert ticket is good  # done before the other one came
        found = await answers(worker.admit([BYTES.encode("ab")], CONFIG))
        await asyncio.to_thread(worker.stop, 10)
        return found

    assert asyncio.run(main()) == {0: "ba"}
    assert len(sessions) == 2


def fail(error):
    raise error


def test_a_step_without_numbers_ends_those_that_run_in_one_line(capsys):
    class Nan(Speller):
        def step(self):
            raise errors.FlanError("the logits are NaN")

    sessions = iter([Nan, Speller])
    worker = Worker(lambda: next(sessions)(), max_pending=9)

    async def main():
        worker.start()
        with pytest.raises(ApiError, match="the model failed: the logits are NaN"):
            await answers(worker.admit([BYTES.encode("ab")], CONFIG))
        found = await answers(worker.admit([BYTES.encode("ab")], CONFIG))
        await asyncio.to_thread(worker.stop, 10)
        return found

    assert asyncio.run(main()) == {0: "ba"}
    [line] = capsys.readouterr().err.splitlines()
    assert "(the logits are NaN)" in line


def test_a_session_that_cannot_be_made_ends_the_request_that_needs_it():
    sessions = iter([lambda: fail(MemoryError("no room")), Speller])
    worker = Worker(lambda: next(sessions)(), max_pending=9)

    async def main():
        worker.start()
        with pytest.raises(ApiError, match="the model failed: no room"):
            await answers(worker.admit([BYTES.encode("ab")], CONFIG))
        found = await answers(worker.admit([BYTES.encode("ab")], CONFIG))
        await asyncio.to_thread(worker.stop, 10)
        return found

    assert asyncio.run(main()) == {0: "ba"}


def test_functions_run_in_the_thread_of_the_model():
    async def scenario(worker):
        assert await worker.call(lambda: threading.current_thread().name) == "model"
        with pytest.raises(ApiError, match="the model failed: division by zero"):
            await worker.call(lambda: 1 / 0)
        with pytest.raises(errors.DataError, match="as it is"):
            await worker.call(lambda: fail(errors.DataError("as it is")))
        return await answers(worker.admit([BYTES.encode("ab")], CONFIG))

    assert run(scenario) == {0: "ba"}


def test_who_is_told_to_stop_takes_no_more_and_ends_the_rest():
    session = Speller(threading.Semaphore(0))

    async def scenario(worker):
        ticket = worker.admit([BYTES.encode("ab")], CONFIG)
        worker.end_all()
        with pytest.raises(ApiError) as raised:
            await answers(ticket)
        assert raised.value.status == 503
        with pytest.raises(ApiError, match="being stopped"):
            worker.admit([BYTES.encode("ab")], CONFIG)
        ticket.close()
        session.gate.release(10)

    run(scenario, session)


def test_a_function_that_still_runs_when_all_is_ended_is_not_waited_for():
    gate = threading.Semaphore(0)

    async def scenario(worker):
        calls = [asyncio.create_task(worker.call(gate.acquire)) for _ in range(2)]
        await asyncio.sleep(0)
        worker.end_all()
        for call in calls:
            with pytest.raises(ApiError, match="being stopped"):
                await call
        gate.release()

    run(scenario)


def test_the_context_is_entered_in_the_thread():
    entered = []

    class Context:
        def __enter__(self):
            entered.append(threading.current_thread().name)

        def __exit__(self, *error):
            entered.append("left")

    worker = Worker(Speller, max_pending=1, context=Context)
    worker.start()
    worker.stop(10)
    assert entered == ["model", "left"]
