# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Orbax's checkpoint manager, for processes that may lose disk or each other during a save."""

import threading

import orbax.checkpoint as ocp

from flan_jax.parallel import hosts

_LOOK_S = 0.1  # between two looks whether this process's part of a save has failed


class SaveManager(ocp.CheckpointManager):
    """A manager that tells of a failed save at once, and does not ask by itself for a stop."""

    failure: BaseException | None = None  # of this process's part of a save

    def finish(self) -> None:
        """Waits for what is being saved; of several processes one whose part failed waits no more.

        Orbax has it wait for the others, 300 s long, which wait for that part.
        """
        if not hosts.is_shared():
            self.wait_until_finished()
            return
        over, failures = threading.Event(), []

        def wait() -> None:
            try:
                self.wait_until_finished()
            except BaseException as error:  # noqa: BLE001 - raised again below
                failures.append(error)
            finally:
                over.set()

        threading.Thread(target=wait, name="save", daemon=True).start()
        while not over.wait(_LOOK_S) and self.failure is None:
            pass
        if self.failure is not None:
            raise self.failure
        if failures:
            raise failures[0]

    def _wait_for_checkpointers(self) -> None:
        # Orbax calls it in a thread, after which it waits for the other processes.
        try:
            super()._wait_for_checkpointers()
        except BaseException as error:
            self.failure = error
            raise

    def reached_preemption(self, step: int) -> bool:
        """Returns False: who saves has asked.

        Processes count their questions to agree on a place (`parallel.preemption`), and the
        manager would ask with the step for a count.
        """
        del step
        return False
