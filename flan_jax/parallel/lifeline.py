# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Who of a job's processes is still there: a process that is lost gets a name within seconds.

Process 0 keeps the connections of the meeting (`parallel.preflight`) open with all others for the
whole run; these are the ones that a firewall is known to let through, and none is without watch
while jax starts. Over each go signs of life, every second, with what the process is at. One that
closes without a goodbye was killed or crashed; one that is silent was stopped, or its machine or
network is gone. Process 0 tells the others who it was, and all end with exit code 1: jax alone
would let them wait for each other, in a collective that never ends.

A process that says goodbye with a failure gave its own reason; the others get some seconds to end
by themselves, as they do where they fail together (`hosts.all_or_none`). One that was asked to stop
has saved, as the others still may; they are let write their checkpoint.
"""

import atexit
import ctypes
import dataclasses
import os
import selectors
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from flan_jax.core import errors, events
from flan_jax.core.progress import say
from flan_jax.parallel import messages
from flan_jax.parallel.messages import Channel

TIMEOUT_VARIABLE = "FLAN_JAX_SILENCE_TIMEOUT_S"
_BEAT_S = 1.0
_AWAY_BEATS = 5  # a pause of the watch this long was this process's own
_GRACE_S = 5.0  # for this process to fail too, after another did
_STOP_GRACE_S = 30.0  # to stop too, once this process's checkpoint is written
_WORD_S = 5.0
_PART_S = 2.0
_LAST_WORDS_S = 5.0
# When process 0 is gone, jax's client says so in many lines; the one with the name comes after.
_JAX_SPEAKS_S = 0.2
_AGAIN = "start the same command again to go on from the last checkpoint"


@dataclasses.dataclass
class _Peer:
    """Another process, as seen from this one."""

    channel: Channel
    name: str
    heard: float  # time.monotonic() of the last sign of life
    doing: str = ""
    exit_code: int | None = None  # it said goodbye with
    left: float = 0.0  # when
    told: tuple[str, int] | None = None  # it says who is lost, and the exit code for it

    @property
    def is_open(self) -> bool:
        return self.channel.ended is None

    @property
    def at(self) -> str:
        return f"; it was last at: {self.doing}" if self.doing else ""


class Lifeline:
    """Watches the connections of one process, in a thread; `end` is called with text and code."""

    def __init__(
        self,
        *,
        process_id: int,
        host_names: Sequence[str],
        channels: Mapping[int, Channel],
        silence_timeout_s: float,
        end: Callable[[str, int], None],
        doing: Callable[[], str],
        is_saving: Callable[[], bool],
    ):
        num = len(host_names)
        self._is_hub, self._end, self._doing = process_id == 0, end, doing
        self._timeout_s, self._is_saving = silence_timeout_s, is_saving
        self._beat_s = min(_BEAT_S, silence_timeout_s / _AWAY_BEATS)
        now = time.monotonic()
        self._peers = {
            index: _Peer(channel, f"process {index} of {num} ({host_names[index]})", heard=now)
            for index, channel in channels.items()
        }
        self._lock = threading.RLock()  # of all that follows, but while waiting
        self._exit_code: int | None = None  # this process said goodbye with
        self._is_awaited = False  # somebody waits for a word
        self._selector = selectors.DefaultSelector()
        for peer in self._peers.values():
            self._selector.register(peer.channel, selectors.EVENT_READ, peer)
        self._thread = threading.Thread(target=self._watch, name="lifeline", daemon=True)
        self._thread.start()

    def goodbye(self, exit_code: int) -> None:
        """Tells the others that this process ends, and how; the first word counts."""
        with self._lock:
            if self._exit_code is None:
                self._exit_code = exit_code
                self._tell_all({"bye": exit_code})

    def others(self) -> dict[int, str]:
        """Returns what each process that this one hears was last at."""
        with self._lock:
            return {index: peer.doing for index, peer in self._peers.items()}

    def await_word(self, timeout_s: float) -> None:
        """Waits for a loss to be seen, which ends this process; returns if none is."""
        if not self._is_awaited and self._exit_code is None:
            self._is_awaited = True
            self._thread.join(timeout_s)

    def _watch(self) -> None:
        with self._lock:
            self._tell_all({"doing": self._doing()})
        looked = beaten = time.monotonic()
        while any(peer.is_open or peer.exit_code for peer in self._peers.values()):
            ready = self._selector.select(self._beat_s / 2)
            with self._lock:
                now = time.monotonic()
                looked_at = [key.data for key, _ in ready]
                for peer in looked_at:
                    self._hear(peer, now)
                if now - looked > _AWAY_BEATS * self._beat_s:
                    for peer in self._peers.values():
                        peer.heard = now
                looked = now
                if now - beaten >= self._beat_s:
                    beaten = now
                    self._tell_all({"doing": self._doing()})
                    looked_at = list(self._peers.values())
                for peer in looked_at:
                    if loss := self._loss(peer, now):
                        self._stop(*loss, peer)
                        return

    def _hear(self, peer: _Peer, now: float) -> None:
        for message in peer.channel.receive():
            peer.heard = now
            match message:
                case {"doing": str(doing)}:
                    peer.doing = doing
                case {"bye": int(exit_code)}:
                    peer.exit_code, peer.left = exit_code, now
                case {"lost": str(text), "exit_code": int(exit_code)}:
                    peer.told = (text, exit_code)
        if not peer.is_open:
            self._selector.unregister(peer.channel)

    def _loss(self, peer: _Peer, now: float) -> tuple[str, int] | None:
        """Returns why this process ends, and its exit code, if it does because of a peer."""
        if peer.told is not None:
            text, exit_code = peer.told
            if self._is_hub:
                text = f"the other processes gave this one up: {text}"
            return text, exit_code
        if peer.exit_code is None:
            if not peer.is_open:
                return (
                    f"{peer.name} ended without a word: it was killed, or crashed{peer.at}; see "
                    f"its log, and {_AGAIN}"
                ), errors.EXIT_FAILED
            if now - peer.heard > self._timeout_s:
                return (
                    f"{peer.name} gave no sign of life for {self._timeout_s:.0f} s "
                    f"({TIMEOUT_VARIABLE}): it was stopped, its machine hangs, or the network is "
                    f"gone{peer.at}; {_AGAIN}"
                ), errors.EXIT_FAILED
        elif peer.exit_code and not self._exit_code:
            return self._departure(peer, now)
        return None

    def _departure(self, peer: _Peer, now: float) -> tuple[str, int] | None:
        """Returns the same of a peer that said goodbye with a failure, or asked to stop."""
        grace_s = _GRACE_S if peer.is_open else 0.0  # it did not wait for this one, as jax does
        if peer.exit_code == errors.EXIT_PREEMPTED:
            grace_s = _STOP_GRACE_S
            if self._is_saving():
                peer.left = now
        if now - peer.left < grace_s and not self._is_awaited:
            return None
        if peer.exit_code == errors.EXIT_PREEMPTED:
            return f"{peer.name} was asked to stop; {_AGAIN}", peer.exit_code
        # What another start would not mend is the same for all.
        is_hopeless = peer.exit_code in (errors.EXIT_USAGE, errors.EXIT_DOES_NOT_FIT)
        return (
            f"{peer.name} ended with exit code {peer.exit_code}; its own message says why"
        ), peer.exit_code if is_hopeless else errors.EXIT_FAILED

    def _stop(self, text: str, exit_code: int, because_of: _Peer) -> None:
        """Ends this process, the others told before; one that has failed already just goes."""
        self._tell_all({"lost": text, "exit_code": exit_code})
        if self._exit_code:
            text, exit_code = "", self._exit_code
        if self._is_hub:
            rest = [p for p in self._peers.values() if p.is_open and p is not because_of]
            messages.part([peer.channel for peer in rest], _PART_S)
        elif not because_of.is_open:
            time.sleep(_JAX_SPEAKS_S)
        self._end(text, exit_code)

    def _tell_all(self, message: dict[str, object]) -> None:
        for peer in self._peers.values():
            if peer.is_open:
                peer.channel.send(message)


_lifeline: Lifeline | None = None


def start(
    *,
    process_id: int,
    host_names: Sequence[str],
    channels: Mapping[int, Channel],
    silence_timeout_s: float,
) -> None:
    """Begins to watch the others, until this process ends.

    Args:
        process_id: which this one is.
        host_names: by process.
        channels: connections by process: process 0's with all others, another's with process 0.
        silence_timeout_s: how long a process may give no sign of life.
    """
    global _lifeline
    _delay_aborts()
    _lifeline = Lifeline(
        process_id=process_id,
        host_names=host_names,
        channels=channels,
        silence_timeout_s=silence_timeout_s,
        end=_end,
        doing=_doing,
        is_saving=lambda: events.current().phase == "checkpoint_save",
    )
    atexit.register(_goodbye_at_exit)


def goodbye(exit_code: int) -> None:
    """Tells the others that this process is about to end, and its exit code."""
    if _lifeline is not None:
        _lifeline.goodbye(exit_code)


def others() -> dict[int, str]:
    """Returns what other processes were last at: process 0 knows all, the others process 0."""
    return {} if _lifeline is None else _lifeline.others()


def await_word() -> None:
    """Waits some seconds after an error that a lost process may have caused.

    If one is lost, this process ends meanwhile, and says which.
    """
    if _lifeline is not None:
        _lifeline.await_word(_WORD_S)


def _doing() -> str:
    current = events.current()
    return str(current) if current.phase or current.step is not None else ""


def _goodbye_at_exit() -> None:
    # Before jax's own end, which waits for the others: what is registered last is called first.
    if hasattr(sys, "last_value"):  # an exception that nobody caught
        await_word()
        goodbye(errors.EXIT_FAILED)
    goodbye(errors.EXIT_OK)


def _end(text: str, exit_code: int) -> None:
    """Ends the process at once, whatever its other threads are in."""

    def last_words() -> None:
        if text:
            kind = "stopped" if exit_code == errors.EXIT_PREEMPTED else "error"
            say(f"flan-jax: {kind}: {text}")
        events.ended(exit_code, text)
        events.close()
        sys.stdout.flush()
        sys.stderr.flush()

    # Whoever holds a lock that these need may never give it back.
    thread = threading.Thread(target=last_words, daemon=True)
    thread.start()
    thread.join(_LAST_WORDS_S)
    os._exit(exit_code)


def _delay_aborts() -> None:
    """Lets the lifeline speak before jax's client aborts, as it does when process 0 is gone.

    The C function called on SIGABRT is sleep itself, for as many seconds as the signal's number,
    6: nothing else is safe to call there. The abort goes on afterwards.
    """
    libc = ctypes.CDLL(None)
    libc.signal(signal.SIGABRT, ctypes.cast(libc.sleep, ctypes.c_void_p))
