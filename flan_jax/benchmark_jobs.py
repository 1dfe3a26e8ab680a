# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks asked of a loaded model: one after the other, each kept when it is done.

    OUT/predictions/...    (`evals.suite`)
    OUT/scores.csv         rows of all benchmarks, when all are done
    OUT/report.md          the same in tables, beside the paper's
    OUT/.done/             what is done of a job that is not: the same command goes on there

Of several processes each calls these with the same arguments. Where the model is on a mesh all do
the same on it together; otherwise each takes its share of the prompts. The first writes.
"""

import contextlib
import dataclasses
import json
import types
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import flan_jax
from flan_jax import asking
from flan_jax.collection.vocabularies import Vocabulary
from flan_jax.core import errors, files, modules, settings
from flan_jax.core.progress import Progress, say
from flan_jax.core.tree import PyTree
from flan_jax.evals import normalized, report, suite
from flan_jax.evals import scores as scores_lib
from flan_jax.evals.benchmark import GENERATE
from flan_jax.evals.prompting import Prompt
from flan_jax.evals.scores import Score
from flan_jax.evals.suite import Part, SuiteConfig
from flan_jax.inference import journal
from flan_jax.inference.engine import Engine
from flan_jax.inference.scoring import Scorer
from flan_jax.models.model import Model
from flan_jax.parallel import hosts
from flan_jax.predicting import Predictor

SCORES, REPORT, DONE = "scores.csv", "report.md", ".done"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Respondent:
    """A model as benchmarks ask it."""

    new_engine: Callable[[bool], Engine]  # whether its answers have log-probabilities
    new_scorer: Callable[[], Scorer]
    encode: Callable[[str], Sequence[int]]  # from a prompt to its tokens
    encode_choice: Callable[[str], Sequence[int]]
    max_input_length: int  # tokens of a prompt at most
    by_shares: bool  # whether each process answers its share alone


@dataclasses.dataclass(frozen=True, kw_only=True)
class Results:
    """What came of benchmarks."""

    scores: tuple[Score, ...]  # with their means, and the normalized averages
    headlines: tuple[Score, ...]  # a row a benchmark and way
    counts: Mapping[str, Mapping[str, int]]  # by benchmark and protocol

    def summary(self) -> dict[str, float]:
        """Returns the headlines as `<benchmark>/<metric>`: value."""
        return {f"{row.benchmark}/{row.metric}": row.value for row in self.headlines}


def read(config: SuiteConfig) -> list[Part]:
    """Imports the modules that register benchmarks, and reads the chosen ones.

    Raises:
        UsageError, DataError: as of `suite.read`, or a module cannot be imported.
    """
    for module in config.module_imports:
        modules.import_tasks(module, "SuiteConfig.module_imports")
    return suite.read(config)


def respondent(predictor: Predictor) -> Respondent:
    """Returns a loaded model; use it `predictor.on_mesh`."""
    return Respondent(
        new_engine=lambda with_logprobs: predictor.new_engine(with_logprobs=with_logprobs),
        new_scorer=lambda: predictor.scorer,
        encode=lambda prompt: _compact(predictor.encode(prompt)),
        encode_choice=predictor.encode_choice,
        max_input_length=predictor.max_input_length,
        by_shares=predictor.mesh is None and hosts.is_shared(),
    )


def evaluate(
    predictor: Predictor, config: SuiteConfig, out: str, *, paper_model: str | None = None
) -> Results:
    """Asks a loaded model; goes on where an earlier start of the same was stopped.

    Args:
        predictor: the model.
        config: what is asked.
        out: the folder to write.
        paper_model: the model of the paper's tables that the report compares with.

    Raises:
        UsageError: an earlier start had other settings or benchmarks, no question of a benchmark
            fits, or as of `read`.
        PreemptedError: asked to stop; answers so far are kept.
    """
    with hosts.all_or_none():
        parts = read(config)
    folder = Path(out)
    with contextlib.ExitStack() as stack:
        with hosts.all_or_none():
            if hosts.is_first():
                _check_folder(folder, parts, predictor.name)
                stack.enter_context(files.locked(folder, "evaluation"))
        stack.enter_context(predictor.on_mesh())
        model = respondent(predictor)
        deciding = predictor.deciding()
        step = predictor.source.step or 0
        done = _asked(model, parts, config, folder, deciding, step)
        results = gathered(parts, done)
        with hosts.all_or_none():
            if hosts.is_first():
                scores_lib.write_scores(folder / SCORES, results.scores)
                report.write(
                    folder / REPORT, results.scores, baselines=_baselines(parts),
                    paper_model=paper_model, counts=results.counts,
                    num_examples=config.num_examples,
                )  # fmt: skip
    return results


class InTraining:
    """The hook of a training loop: asks the model that is being trained, on its mesh.

    Nothing is kept of an evaluation that is stopped: it is done again.
    """

    def __init__(
        self,
        model: Model,
        vocabulary: Vocabulary,
        config: SuiteConfig,
        folder: Path,
        *,
        max_input_length: int,
        batch_size: int,
    ):
        """Reads the benchmarks.

        Args:
            model: what is trained, with the rules by which it lies on the mesh.
            vocabulary: its own.
            config: what is asked.
            folder: `step_<step>/` below it is written, by the first process.
            max_input_length: tokens of a prompt at most, its EOS included.
            batch_size: answers decoded together.
        """
        self._parts = read(config)
        self._model, self._vocabulary, self._config = model, vocabulary, config
        self._folder = folder
        self._sizes = {"max_input_length": max_input_length, "num_rows": batch_size}

    def __call__(self, params: PyTree, step: int) -> dict[str, float]:
        """Returns the headlines as `<benchmark>/<metric>`: value; each process must call it."""
        model, done = self._respondent(params), []
        out = self._folder / f"step_{step}"
        for part in self._parts:
            asked = suite.prompts(part, model.encode, model.max_input_length)
            with hosts.all_or_none():
                _check_same(suite.digest(part, asked), part)
            found = dict(_results(model, part, asked, self._config, ()))
            done.append(_finish(part, asked, found, self._config, out, step))
        results = gathered(self._parts, done)
        with hosts.all_or_none():
            if hosts.is_first():
                scores_lib.write_scores(out / SCORES, results.scores)
        return results.summary()

    def _respondent(self, params: PyTree) -> Respondent:
        def encode(text: str) -> list[int]:
            return [*self._vocabulary.encode(text), self._vocabulary.eos_id]

        def new_engine(with_logprobs: bool) -> Engine:
            return Engine(
                self._model, params, self._vocabulary, with_logprobs=with_logprobs, **self._sizes
            )

        return Respondent(
            new_engine=new_engine,
            new_scorer=lambda: Scorer(self._model, params, **self._sizes),
            encode=lambda prompt: _compact(encode(prompt)),
            encode_choice=encode,
            max_input_length=self._sizes["max_input_length"],
            by_shares=False,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Done:
    """What is kept of a part that is done."""

    scores: tuple[Score, ...]
    counts: Mapping[str, int]


def gathered(parts: Sequence[Part], done: Sequence[Done]) -> Results:
    """Returns what came of all parts together."""
    rows = [row for each in done for row in each.scores]
    averages, _ = normalized.averages(rows, _baselines(parts))
    return Results(
        scores=tuple([*rows, *averages]),
        headlines=tuple([*(suite.headline(each.scores) for each in done), *averages]),
        counts={
            f"{part.benchmark.name} ({part.protocol})": each.counts
            for part, each in zip(parts, done, strict=True)
        },
    )


def _baselines(parts: Sequence[Part]) -> dict[tuple[str, str], float]:
    return {key: value for part in parts for key, value in suite.baselines(part).items()}


def _asked(
    model: Respondent,
    parts: Sequence[Part],
    config: SuiteConfig,
    folder: Path,
    deciding: Mapping[str, Any],
    step: int,
) -> list[Done]:
    """Returns what came of each part, asked now or by an earlier start."""
    done = []
    total = sum(1 for part in parts for _ in part.questions())
    with Progress("eval", total=total, unit="prompt") as bar:
        for part in parts:
            asked = suite.prompts(part, model.encode, model.max_input_length)
            digest = suite.digest(part, asked)
            facts = _facts(part, config, deciding, digest)
            mark = folder / DONE / _mark(part)
            with hosts.all_or_none():
                _check_same(digest, part)
                kept = _read_done(mark, facts) if hosts.is_first() else None
                _check_any_fits(part, asked, model.max_input_length)
                if kept is not None:
                    journal.discard(_output(folder, part))
            if bool(hosts.agreed(kept is not None)):
                bar.advance(len(asked), part.benchmark.name)
                done.append(_shared(kept))
                continue
            done.append(_ask_part(model, part, asked, config, folder, facts, step, bar, mark))
    return done


def _ask_part(
    model: Respondent,
    part: Part,
    asked: Sequence[Prompt],
    config: SuiteConfig,
    folder: Path,
    facts: Mapping[str, Any],
    step: int,
    bar: Progress,
    mark: Path,
) -> Done:
    """Asks what an earlier start has not, and keeps what came of the part."""
    output = _output(folder, part)
    with contextlib.ExitStack() as stack:
        kept = journal.Journal({}, None)
        with hosts.all_or_none():
            if hosts.is_first():
                output.parent.mkdir(parents=True, exist_ok=True)
                kept = stack.enter_context(journal.opened(output, facts))
        is_done = hosts.shared(np.array([i in kept.done for i in range(len(asked))]))
        earlier = {i for i in range(len(asked)) if is_done[i]}
        unasked = sum(prompt.too_long for prompt in asked)
        bar.advance(len(earlier) + unasked, part.benchmark.name)
        for i, result in _results(model, part, asked, config, earlier):
            if hosts.is_first():
                kept.add(i, result)
            bar.advance(1, part.benchmark.name)
        return _finish(part, asked, kept.done, config, folder, step, mark, facts)


def _results(
    model: Respondent,
    part: Part,
    asked: Sequence[Prompt],
    config: SuiteConfig,
    without: Collection[int],
) -> Iterator[tuple[int, Any]]:
    """Yields (number of the question, what the model gave), in any order."""
    waiting = [i for i, p in enumerate(asked) if not p.too_long and i not in without]
    if part.way != GENERATE:
        questions = [question for _, question in part.questions()]
        choices = {i: [model.encode_choice(c) for c in questions[i].choices] for i in waiting}
        yield from asking.scores(
            model.new_scorer(),
            {i: asked[i].tokens for i in waiting},
            choices,
            by_shares=model.by_shares,
        )
        return
    engine = model.new_engine(part.benchmark.decoding.num_samples > 1)
    decodings = suite.decoding(part, config.seed)
    for group in _batches(part, asked, waiting, engine.model.has_prefix_cache):
        yield from asking.answers(
            engine,
            {i: asked[i].tokens for i in group},
            {i: decodings[i] for i in group},
            by_shares=model.by_shares,
        )


def _batches(
    part: Part, asked: Sequence[Prompt], waiting: Sequence[int], has_prefix_cache: bool
) -> list[list[int]]:
    """Returns which questions are answered together: all, or those that share a beginning.

    A model that can read a shared beginning once is given the questions of a subtask, with as many
    exemplars; for another the more questions it has to choose from, the less padding there is.
    """
    if not has_prefix_cache:
        return [list(waiting)] if waiting else []
    names = [subtask.name for subtask, _ in part.questions()]
    groups: dict[tuple[str, int], list[int]] = {}
    for i in waiting:
        groups.setdefault((names[i], asked[i].num_dropped), []).append(i)
    return list(groups.values())


def _finish(
    part: Part,
    asked: Sequence[Prompt],
    found: Mapping[int, Any],
    config: SuiteConfig,
    out: Path,
    step: int,
    mark: Path | None = None,
    facts: Mapping[str, Any] = types.MappingProxyType({}),
) -> Done:
    """Returns the scores of a part on all processes.

    The first, which has all that was found, makes them and writes its predictions, then the mark.
    """
    done = None
    with hosts.all_or_none():
        if hosts.is_first():
            outcomes = [
                suite.outcome(question, prompt, part.way, found.get(i))
                for i, ((_, question), prompt) in enumerate(
                    zip(part.questions(), asked, strict=True)
                )
            ]
            # First, as a measure that asks another model asks it here for all texts at once.
            rows = tuple(suite.score(part, outcomes, config.model_name, step))
            suite.write_predictions(out, part, asked, outcomes)
            done = Done(scores=rows, counts=suite.counts(asked, outcomes))
            _say_what_did_not_fit(part, done.counts)
            if mark is not None:
                files.write_json(mark, {"facts": facts, **_in_json(done)})
    return _shared(done)


def _say_what_did_not_fit(part: Part, counts: Mapping[str, int]) -> None:
    if counts["dropped"]:
        say(
            f"eval: {part.benchmark.name}: {counts['dropped']} of {counts['prompts']} prompts lost "
            f"their first exemplars, {counts['dropped_exemplars']} in all, to fit"
        )
    if counts["too_long"]:
        say(
            f"eval: {part.benchmark.name}: {counts['too_long']} of {counts['prompts']} questions "
            "do not fit even alone: not cut, not asked, counted as wrong"
        )


def _facts(
    part: Part, config: SuiteConfig, deciding: Mapping[str, Any], digest: str
) -> dict[str, Any]:
    """Returns what decides the scores of a part, as it comes back from a file."""
    benchmark = part.benchmark
    facts = {
        **deciding,
        "benchmark": f"{benchmark.name} version {benchmark.version}",
        "asked": part.protocol,
        "decoding": dataclasses.replace(benchmark.decoding, seed=config.seed),
        "num_examples": config.num_examples,
        "questions and prompts": digest,
        "model_name": config.model_name,
        "code_version": flan_jax.__version__,
    }
    return json.loads(files.dumps(settings.describe(facts)))


def _read_done(mark: Path, facts: Mapping[str, Any]) -> Done | None:
    if not mark.is_file():
        return None
    kept = files.read_json(mark)
    try:
        there, done = kept["facts"], _from_json(kept)
    except (KeyError, TypeError):
        raise errors.DataError(
            f"{mark}: damaged; remove it, and that part is scored again"
        ) from None
    if found := list(settings.differences(there, facts)):
        raise errors.UsageError(
            f"{mark.parent.parent} holds scores of a start with other settings: "
            f"{'; '.join(found)}; give another --out, or remove that folder to begin anew"
        )
    return done


def _in_json(done: Done) -> dict[str, Any]:
    rows = [dataclasses.asdict(dataclasses.replace(row, settings={})) for row in done.scores]
    return {"scores": rows, "counts": done.counts}


def _from_json(kept: Mapping[str, Any]) -> Done:
    return Done(scores=tuple(Score(**row) for row in kept["scores"]), counts=kept["counts"])


def _shared(done: Done | None) -> Done:
    """Returns what process 0 has, on every process; each must call this."""
    if not hosts.is_shared():
        return done
    mine = {} if done is None else _in_json(done)
    return _from_json(json.loads(hosts.gathered(files.dumps(mine))[0]))


def _mark(part: Part) -> str:
    return f"{part.benchmark.name}.{part.name}.json"


def _output(folder: Path, part: Part) -> Path:
    return folder / suite.PREDICTIONS / part.benchmark.name / part.name


def _compact(tokens: Sequence[int]) -> np.ndarray:
    """Returns tokens in four bytes each; a list's take nine times as many."""
    return np.asarray(tokens, np.int32)


def _check_folder(folder: Path, parts: Sequence[Part], checkpoint: str) -> None:
    """Raises a `UsageError` if scores in the folder would be lost, or this job could not go on."""
    out = folder.resolve()
    if Path(checkpoint).resolve() in (out, *out.parents):
        raise errors.UsageError(
            f"--out {str(folder)!r} is in the folder of the checkpoint, which would no longer be "
            "the same when you go on; give one elsewhere"
        )
    done = {mark.name for mark in (folder / DONE).glob("*.json")}
    if not done and (folder / SCORES).exists():
        raise errors.UsageError(
            f"--out {str(folder)!r} holds the {SCORES} of another job; give another folder"
        )
    if others := sorted(done - {_mark(part) for part in parts}):
        names = ", ".join(name.removesuffix(".json") for name in others)
        raise errors.UsageError(
            f"--out {str(folder)!r} holds scores of {names} too, which {SCORES} would lose; ask "
            "for all of them (what is done is not asked again), or give another folder"
        )


def _check_any_fits(part: Part, asked: Sequence[Prompt], max_input_length: int) -> None:
    if all(prompt.too_long for prompt in asked):
        raise errors.UsageError(
            f"no question of {part.benchmark.name} fits into {max_input_length} tokens, not even "
            "alone; raise --max_input_length, or leave that benchmark out"
        )


def _check_same(digest: str, part: Part) -> None:
    """Raises a `UsageError` if process 0 has other questions."""
    mine = int(digest[:7], 16)
    if hosts.agreed(mine) != mine:
        raise errors.UsageError(
            f"the files of {part.benchmark.name} differ from those of process 0; give each the same"
        )
