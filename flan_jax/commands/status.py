# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tells how a training is getting on: progress, speed, loss, checkpoints, and whether it lives.

Reads the training's folder only, so it can be asked from any machine that sees it, and answers at
once. It exits with 0 whatever it has to tell; scripts find `health` in the JSON.

    flan-jax status runs/mini
    flan-jax status runs/mini --watch 10
    flan-jax status runs/mini --profile 5
"""

import argparse
import sys
import time
from pathlib import Path

from flan_jax.commands import arguments
from flan_jax.core import errors, files
from flan_jax.core.progress import say

# Of flan_jax/training/profiling.py, which needs jax.
PROFILE_REQUEST, PROFILES_FOLDER = "profile_request.json", "profiles"
_CLEAR = "\x1b[H\x1b[2J"  # a terminal's


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("folder", metavar="MODEL_DIR", help="of a flan-jax train")
    parser.add_argument("--json", action="store_true", help="as JSON, one object a line")
    parser.add_argument(
        "--watch",
        type=arguments.positive,
        metavar="SECONDS",
        help="again each so many seconds, until the training is finished",
    )
    parser.add_argument(
        "--profile",
        type=arguments.at_least(1),
        metavar="N",
        help="ask the training to profile its next N steps",
    )


def run(args: argparse.Namespace) -> None:
    """Shows the status, once or until the training is finished."""
    from flan_jax.launching import run_status, status_lines

    folder = Path(args.folder)
    status = run_status.read(folder, time.time())
    if args.profile:
        _ask_for_profile(folder, status, args.profile)
    try:
        while True:
            if args.json:
                print(files.dumps(run_status.as_json(status)))
            else:
                if args.watch and sys.stdout.isatty():
                    print(_CLEAR, end="")
                print("\n".join(status_lines.shown(status, folder)))
            sys.stdout.flush()
            if not args.watch or status.health == run_status.FINISHED:
                return
            time.sleep(args.watch)
            status = run_status.read(folder, time.time())
    except KeyboardInterrupt:  # the usual end of watching
        return


def _ask_for_profile(folder: Path, status, num_steps: int) -> None:
    from flan_jax.launching import run_status

    if status.health not in (run_status.RUNNING, run_status.WAITING):
        raise errors.UsageError(
            f"--profile {num_steps}: the training in {str(folder)!r} is not running "
            f"({status.health}); ask again when it is"
        )
    files.write_json(folder / PROFILE_REQUEST, {"num_steps": num_steps})
    say(f"asked for a profile of {num_steps} step(s); it comes to {folder / PROFILES_FOLDER}")
