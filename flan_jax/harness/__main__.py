# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command line of lm-evaluation-harness with our model known to it, and the converter.

    python -m flan_jax.harness --model flan_jax --model_args checkpoint=hf:FOLDER --tasks TASK ...
    python -m flan_jax.harness convert scores.csv results.json
    python -m flan_jax.harness convert results.json scores.csv

The first takes all options of the harness.
"""

import importlib.util
import os
import sys
from collections.abc import Sequence

from flan_jax.core import errors
from flan_jax.core.progress import say


def convert(arguments: Sequence[str]) -> None:
    """Turns a table of scores into results of the harness, or these into a table.

    Raises:
        UsageError: there are not two files, or they are not a .csv and a .json.
        DataError: the first is malformed.
    """
    from flan_jax.evals import lm_eval_json

    kinds = [os.path.splitext(name)[1] for name in arguments]
    if kinds == [".csv", ".json"]:
        lm_eval_json.write_results(*arguments)
    elif kinds == [".json", ".csv"]:
        lm_eval_json.write_table(*arguments)
    else:
        raise errors.UsageError(
            f"convert {' '.join(arguments)}: give a .csv and then a .json file, or the other way"
        )
    say(f"convert: {arguments[1]} is written")


def run(arguments: Sequence[str]) -> None:
    """Runs the converter, or the harness with these arguments."""
    if arguments[:1] == ["convert"]:
        convert(arguments[1:])
        return
    if importlib.util.find_spec("lm_eval") is None:
        raise errors.UsageError(
            "lm-evaluation-harness is not installed; pip install 'flan_jax[lm_eval]'"
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import lm_eval.models  # noqa: F401 - registers the harness's own, which else it would not
    from lm_eval.__main__ import cli_evaluate

    from flan_jax.harness import lm_eval_model  # noqa: F401 - registers ours

    sys.argv = ["lm_eval", *arguments]
    cli_evaluate()


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code of a run."""
    try:
        run(arguments)
    except errors.FlanError as error:
        print(f"flan_jax.harness: error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        print(f"flan_jax.harness: error: {error.strerror or error}{where}", file=sys.stderr)
        return errors.EXIT_FAILED
    return errors.EXIT_OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
