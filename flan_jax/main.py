# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command line `flan-jax`: picks a subcommand, turns errors into one line and an exit code.

Nothing heavy is imported before a command runs, so that `--help` answers at once.
"""

import argparse
import contextlib
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from importlib import metadata
from types import FrameType, ModuleType
from typing import NoReturn

import flan_jax
from flan_jax.core import errors

# Command -> module under flan_jax.commands and what it does, in the order of a first visit.
COMMANDS = {
    "quickstart": ("quickstart", "build, finetune, evaluate and draw the embedded mini collection"),
    "inspect": ("inspect", "browse mixtures and tasks, their counts and rendered prompts"),
    "vocab": ("vocab", "train a SentencePiece vocabulary on a mixture's text"),
    "build": ("build", "render and tokenize a mixture into a token store"),
    "contamination": ("contamination", "look for evaluation sets in a token store"),
    "train": ("train", "finetune a model"),
    "compile": ("compile", "ahead of time: does a run fit a TPU slice? no TPU needed"),
    "eval": ("evaluate", "evaluate a checkpoint: scores and every prediction"),
    "compare": ("compare", "compare two evaluations: differences and their significance"),
    "rate": ("rate", "let people compare open-ended answers, blindly and in pairs"),
    "infer": ("infer", "answer prompts from a file"),
    "generate": ("generate", "answer one prompt"),
    "score": ("score", "score given answers to prompts"),
    "chat": ("chat", "talk to a model in the terminal"),
    "serve": ("serve", "a playground in the browser, and OpenAI's completions"),
    "convert": ("convert", "turn checkpoints of T5X, ours and Hugging Face into each other"),
    "sweep": ("sweep", "run a grid of finetunings and evaluations"),
    "report": ("report", "draw curves and tables of a sweep"),
    "launch": ("launch", "start a training on TPUs, in a cluster or here, until it is done"),
    "status": ("status", "tell how a training is getting on"),
    "goodput": ("goodput", "account for the time of a training, with a picture"),
    "doctor": ("doctor", "examine this environment: what is wrong, and the remedy"),
}


_OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"  # how XLA begins to say so
_SLOW_FUSION = "xla_cpu_experimental_ynn_fusion_type"


class _Parser(argparse.ArgumentParser):
    """A parser whose mistakes are one line that names the nearest option."""

    def error(self, message: str) -> NoReturn:
        options = [o for action in self._actions for o in action.option_strings]
        if message.startswith("unrecognized arguments: "):
            bad = message.removeprefix("unrecognized arguments: ").split()[0]
            near = errors.closest(bad.split("=")[0], options)
            message = f"unknown argument {bad!r}" + (f"; did you mean {near[0]}?" if near else "")
        raise errors.UsageError(f"{message} (see {self.prog} --help)")


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """Returns the parser; only the module of `command` is imported to describe its arguments."""
    parser = _Parser(
        prog="flan-jax",
        description="Instruction finetuning in JAX, after Chung et al. 2022.",
        epilog="exit codes: " + "; ".join(f"{k} {v}" for k, v in errors.EXIT_CODES.items()),
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"flan_jax {flan_jax.__version__}")
    subparsers = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=_Parser
    )
    for name, (module, summary) in COMMANDS.items():
        if name != command:
            subparsers.add_parser(name, help=summary)
            continue
        implementation = importlib.import_module(f"flan_jax.commands.{module}")
        subparser = subparsers.add_parser(
            name,
            help=summary,
            description=implementation.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        implementation.add_arguments(subparser)
        subparser.set_defaults(run=implementation.run, parser=subparser)
    return parser


def run(argv: Sequence[str]) -> None:
    """Parses `argv` and runs the command; a user's mistake raises `UsageError`."""
    command = next((a for a in argv if not a.startswith("-")), None)
    if command is not None and command not in COMMANDS:
        raise errors.unknown_name("command", command, COMMANDS, "(see flan-jax --help)")
    # Gin bindings have the form --gin.NAME=VALUE, which no argparse option can describe.
    bindings = [a.removeprefix("--gin.") for a in argv if a.startswith("--gin.")]
    for binding in bindings:
        if "=" not in binding:
            raise errors.UsageError(
                f"--gin.{binding} has no value; write --gin.{binding}=VALUE, without a space"
            )
    others = [a for a in argv if not a.startswith("--gin.")]
    args, unknown = build_parser(command).parse_known_args(others)
    if unknown:
        args.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if bindings and not hasattr(args, "gin_file"):
        raise errors.UsageError(f"flan-jax {command} takes no Gin bindings, got {bindings[0]!r}")
    args.gin_bindings = bindings
    args.run(args)


def _set_environment() -> None:
    """Sets what libraries read when they are first imported; a user's own setting wins."""
    # TensorFlow and XLA print start-up notes that say nothing to a user.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # XLA's newest CPU fusions double the time of a tiny model's step: 62 against 31 ms at the mini
    # recipe on two cores, jaxlib 0.10.2. An unknown flag would end the process, hence the version.
    flags = os.environ.get("XLA_FLAGS", "")
    with contextlib.suppress(metadata.PackageNotFoundError):  # `flan-jax doctor` says so
        if _SLOW_FUSION not in flags and metadata.version("jaxlib").startswith("0.10."):
            os.environ["XLA_FLAGS"] = f"{flags} --{_SLOW_FUSION}=".strip()


@contextlib.contextmanager
def _sigterm_stops() -> Iterator[None]:
    """Makes SIGTERM end the command as Ctrl-C would, but for its exit code.

    Training replaces this by its own handler while there is something to save.
    """

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        del number, frame
        raise errors.PreemptedError(
            "asked to stop; what was finished is kept; start the same command again to go on"
        )

    # Python allows handlers in the main thread only.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextlib.contextmanager
def _device_errors_told() -> Iterator[None]:
    """Turns XLA's word that no memory is left, or the TPU in use, into an error for the user."""
    try:
        yield
    except RuntimeError as error:  # jax.errors.JaxRuntimeError, without importing jax
        first = str(error).partition("\n")[0].rstrip(".")
        if first.startswith(_OUT_OF_MEMORY):
            raise errors.DoesNotFitError(
                f"no memory left on the device ({first}); take a smaller batch, fewer samples or "
                "beams, or shorter texts"
            ) from None
        from flan_jax.parallel import in_use

        if told := in_use.tpu_error(error):
            raise told from None
        raise


@contextlib.contextmanager
def _lost_process_told() -> Iterator[None]:
    """Lets the word come first that another process of the job is lost, where that is the cause."""
    try:
        yield
    except errors.FlanError:
        raise
    except Exception:
        if lifeline := _lifeline():
            lifeline.await_word()
        raise


def _lifeline() -> ModuleType | None:
    """Returns the module that watches other processes, if the command had use for it."""
    return sys.modules.get("flan_jax.parallel.lifeline")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    code = _main(argv)
    if lifeline := _lifeline():
        lifeline.goodbye(code)
    return code


def _main(argv: Sequence[str] | None) -> int:
    try:
        with _sigterm_stops(), _lost_process_told():
            _set_environment()
            with _device_errors_told():
                run(sys.argv[1:] if argv is None else argv)
        return errors.EXIT_OK
    except BrokenPipeError:  # the reader of our output (head, less) went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return errors.EXIT_OK
    except (errors.FlanError, errors.PreemptedError, KeyboardInterrupt, OSError) as error:
        line, code = errors.ending(error)
        print(line, file=sys.stderr)
        return code


if __name__ == "__main__":
    sys.exit(main())
