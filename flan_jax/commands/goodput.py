# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Accounts for the time of a training: which share of it made steps, and where the rest went.

Reads the event logs in the training's folder, of all its attempts and processes. Shows tables of
time and of attempts, names steps that took unusually long and hosts that the others waited for,
and draws it all into DIR/goodput.png and .svg.

    flan-jax goodput runs/mini
"""

import argparse
from pathlib import Path

from flan_jax.core import files
from flan_jax.core.progress import say

_STEM = "goodput"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("folder", metavar="DIR", help="a MODEL_DIR of flan-jax train")
    parser.add_argument("--out", metavar="FOLDER", help="folder for the picture (default: DIR)")
    parser.add_argument("--json", metavar="FILE", help="write the numbers there too")


def run(args: argparse.Namespace) -> None:
    """Shows the account and draws it."""
    out = args.out or args.folder
    if args.json:
        files.check_file(args.json, "--json")
    from flan_jax.launching import attempts, goodput, slow_steps, timeline

    folder = Path(args.folder)
    found = attempts.read(folder)
    files.check_folder(out, "--out")
    account = goodput.account(found)
    steps, hosts = slow_steps.slow_steps(found), slow_steps.slow_hosts(found)
    for line in goodput.shown(account):
        print(line)
    if num := attempts.num_without_log(folder, found):
        print(f"{num} more ended before their processes had met; their time is in 'down'")
    for line in slow_steps.shown(steps, hosts):
        print(line)
    if args.json:
        files.write_json(args.json, goodput.as_json(account) | slow_steps.as_json(steps, hosts))
        say(f"wrote {args.json}")
    if account.wall_s:  # else there is nothing to draw yet
        for path in timeline.save(account, Path(out) / _STEM):
            say(f"wrote {path}")
