# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The training loop, the only one: batches, steps, metrics, evaluation, checkpoints.

A step is dispatched before the metrics of the one before it are fetched, so the device always has
work while the host reads, packs and logs; nothing else waits for the device except evaluation and
checkpoints. Everything that decides the numbers is in the checkpoint or in the configuration
(dropout depends on seed and step), so a run that was stopped anywhere and started again ends in
bit-identical parameters.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import Mesh

from flan_jax.core import axes, errors, events, settings
from flan_jax.core.progress import Progress, say
from flan_jax.core.tree import PyTree
from flan_jax.data import loader
from flan_jax.data.loader import TrainInput
from flan_jax.models.model import Model
from flan_jax.parallel import arrays, hosts, preemption, watchdog
from flan_jax.parallel.mesh import make_mesh
from flan_jax.parallel.preemption import PreemptionGuard
from flan_jax.parallel.rules import preset, resolve
from flan_jax.training import checkpoints as checkpoints_lib
from flan_jax.training import layouts, losses, metrics, run_folder, writers
from flan_jax.training.checkpoints import Checkpoints
from flan_jax.training.compilation import compile_ahead
from flan_jax.training.metrics import Clock, Totals
from flan_jax.training.profiling import Profiler
from flan_jax.training.state import (
    TrainState,
    abstract_state,
    create_state,
    num_params,
    state_from_params,
)
from flan_jax.training.step import (
    Metrics,
    StepSpec,
    TrainStep,
    jitted_eval_step,
    jitted_train_step,
)
from flan_jax.training.step_times import StepTimes
from flan_jax.training.train_config import TrainConfig
from flan_jax.training.writers import MetricWriter

HostBatch = Mapping[str, np.ndarray]  # this host's rows, [rows, length] each

# In the metrics, not in the lines for people.
_NOT_SHOWN = ("z_loss", "param_norm", "update_norm", "grad_norm", "steps_per_s", "time_s")


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """How a run ended."""

    step: int  # total step
    params: PyTree
    metrics: dict[str, Any]  # of the last log period ('train') and evaluation ('eval')
    checkpoint: str  # path of the last checkpoint


class TrainIterator(Protocol):
    """Endless training batches that can be resumed; `loader.TrainIterator` is one."""

    member_names: Sequence[str]

    def __next__(self) -> HostBatch:
        """Returns the next batch, this host's rows."""
        ...

    def state(self) -> Any:
        """Returns the place after the batches so far, as JSON values."""
        ...

    def report(self) -> dict[str, Any]:
        """Returns what was given so far, for the log."""
        ...

    def close(self) -> None:
        """Lets go of threads and files."""
        ...


def train(
    *,
    model: Model,
    data: TrainInput,
    config: TrainConfig,
    eval_batches: Callable[[], Iterable[HostBatch]] | None = None,
    eval_fn: Callable[[PyTree, int], Mapping[str, Any]] | None = None,
    info: Mapping[str, Any] | None = None,
    open_data: Callable[..., TrainIterator] = loader.open_train,
    devices: Sequence[jax.Device] | None = None,
) -> TrainResult:
    """Trains until `config.train_steps`, from the newest checkpoint of the run if there is one.

    Args:
        model: the model.
        data: what to train on, handed to `open_data`.
        config: optimizer, steps, folder and periods.
        eval_batches: gives the validation batches, all of one shape; None: no validation loss.
        eval_fn: called with parameters and total step at each evaluation, for metrics that need
            decoding; its names are logged under 'eval'.
        info: kept in each checkpoint's `config`: operative Gin text (`gin`), code version,
            vocabulary.
        open_data: `(data, state, process_index=, process_count=)` to an iterator.
        devices: what to run on; all of every host when None.

    Raises:
        PreemptedError: SIGTERM came; the state is saved.
        FlanError: the loss, gradient or parameters are not finite any more.
        UsageError: a checkpoint does not fit the model, the folder is another run's or in use, or
            the configuration is impossible.
    """
    info = dict(info or {})
    mesh = make_mesh(config.mesh, devices)
    spec = step_spec(model, config, batch_size=data.batch_size, mesh=mesh)
    model = spec.model
    described = {"model": model, "data": data, "config": config}
    described["vocabulary"] = info.get("vocabulary", {}).get("fingerprint")
    init_key, dropout_key = jax.random.split(jax.random.key(config.seed))
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.set_mesh(mesh))
        stack.enter_context(
            run_folder.claimed(config.model_dir, settings.describe(described), info.get("gin", ""))
        )
        stack.enter_context(events.logged(config.model_dir, jax.process_index()))
        checkpoints = stack.enter_context(
            Checkpoints(
                config.model_dir,
                keep=config.keep,
                best_metric=config.best_metric,
                best_mode=config.best_mode,
            )
        )
        watch = watchdog.Watchdog(
            config.model_dir,
            timeout_s=config.hang_timeout_s,
            name=f"process {jax.process_index()} of {jax.process_count()}",
        )
        stack.enter_context(watch)
        with events.phase("checkpoint_restore"):
            train_state, data_state = _start(model, config, checkpoints, init_key, mesh, info)
        with events.phase("data_loading"), hosts.all_or_none():
            iterator = stack.enter_context(
                contextlib.closing(open_data(data, data_state, **arrays.place(model.rules, mesh)))
            )
        num_members = losses.padded_num_members(len(iterator.member_names))
        spec = dataclasses.replace(spec, num_members=num_members)
        resume_step = int(train_state.step)
        run = _Run(
            config=config,
            spec=spec,
            mesh=mesh,
            iterator=iterator,
            checkpoints=checkpoints,
            writer=MetricWriter(config.model_dir, resume_step=resume_step)
            if hosts.is_first()
            else None,
            guard=stack.enter_context(PreemptionGuard()),
            profiler=stack.enter_context(contextlib.closing(_profiler(config))),
            info={**info, "seed": config.seed, "step_offset": config.step_offset},
            eval_batches=eval_batches,
            eval_fn=eval_fn,
            dropout_key=dropout_key,
            state=train_state,
            step=resume_step,
        )
        return run.train()


def _profiler(config: TrainConfig) -> Profiler:
    return Profiler(config.model_dir, config.profile_first_step, config.profile_steps)


def step_spec(model: Model, config: TrainConfig, *, batch_size: int, mesh: Mesh) -> StepSpec:
    """Returns what the loop compiles its step from, for the fewest mixture members.

    Args:
        model: the model; without rules of its own it gets those that `config` names.
        config: optimizer, loss, parts of a batch and sharding preset.
        batch_size: rows of a batch, over all hosts.
        mesh: where the step will run.

    Raises:
        UsageError: something does not divide over the mesh.
    """
    if model.rules is None:
        model = dataclasses.replace(model, rules=preset(config.rules))
    _check_mesh(model, batch_size, config.num_microbatches, mesh)
    return StepSpec(
        model=model,
        optimizer=config.optimizer,
        loss=config.loss,
        num_microbatches=config.num_microbatches,
    )


def _check_mesh(model: Model, batch_size: int, num_parts: int, mesh: Mesh) -> None:
    """Raises a `UsageError` for what would not divide over the mesh, before anything compiles."""
    if batch_size % num_parts:
        raise errors.UsageError(
            f"batch_size {batch_size} does not divide into num_microbatches {num_parts}; change one"
        )
    shape = model.config
    for what, name, size in (
        ("a batch" if num_parts == 1 else "a microbatch", axes.BATCH, batch_size // num_parts),
        ("attention", axes.HEADS, shape.num_heads),
        # A single key-value head is whole on every device.
        ("keys and values", axes.HEADS if shape.num_kv_heads > 1 else None, shape.num_kv_heads),
        ("hidden states", axes.EMBED, shape.emb_dim),
        ("the MLP", axes.MLP, shape.mlp_dim),
        ("the vocabulary", axes.VOCAB, shape.vocab_size),
    ):
        resolve((name,), model.rules.activations, (size,), mesh, what=what)


def _start(
    model: Model,
    config: TrainConfig,
    checkpoints: Checkpoints,
    key: jax.Array,
    mesh: Mesh,
    info: Mapping[str, Any],
) -> tuple[TrainState, Any]:
    """Returns the state to go on from, and the input's state (None for its beginning)."""
    abstract = abstract_state(model, config.optimizer, mesh)
    other = abstract_state(model.other_layout, config.optimizer, mesh)
    restored = checkpoints.restore_latest(abstract, other)
    if restored is not None:
        if restored.step > config.last_step:
            raise errors.UsageError(
                f"{checkpoints.path(restored.step)} is past the last step, {config.last_step}; "
                "raise train_steps, or start in another model directory"
            )
        say(f"train: going on from {checkpoints.path(restored.step)}")
        state = restored.state
        if jax.tree.structure(state) != jax.tree.structure(abstract):
            state = layouts.convert_state(state, model, config.optimizer, mesh)
        return state, restored.data
    if not config.initial_checkpoint_path:
        return create_state(model, config.optimizer, key, mesh, config.step_offset), None
    path = checkpoints_lib.find(config.initial_checkpoint_path)
    checkpoints_lib.check_vocabulary(path, info.get("vocabulary"))
    say(f"train: parameters from {path}; optimizer and input begin afresh")
    params = layouts.load_params(
        path,
        model,
        abstract.params,
        other.params,
        cast_from=config.initial_checkpoint_dtype,
        excepted=config.initial_checkpoint_except,
        init=lambda: model.init(key),
    )
    return state_from_params(model, config.optimizer, params, mesh, config.step_offset), None


@dataclasses.dataclass(kw_only=True)
class _Run:
    """One call of `train`: what its steps share, and what changes between them."""

    config: TrainConfig
    spec: StepSpec
    mesh: Mesh
    iterator: TrainIterator
    checkpoints: Checkpoints
    writer: MetricWriter | None  # process 0 has it
    guard: PreemptionGuard
    profiler: Profiler
    info: dict[str, Any]
    eval_batches: Callable[[], Iterable[HostBatch]] | None
    eval_fn: Callable[[PyTree, int], Mapping[str, Any]] | None
    dropout_key: jax.Array
    state: TrainState
    step: int  # total step of `state`
    clock: Clock = dataclasses.field(default_factory=Clock)
    times: StepTimes = dataclasses.field(default_factory=StepTimes)
    totals: Totals = dataclasses.field(default_factory=Totals)
    results: dict[str, Any] = dataclasses.field(default_factory=dict)
    step_flops: float = 0.0

    def train(self) -> TrainResult:
        """Makes the steps that are left."""
        first_step, start = self.step, time.monotonic()
        last = self.config.last_step
        say(
            f"train: {num_params(self.state.params):,} parameters, mesh {dict(self.mesh.shape)}, "
            f"rules {self.spec.model.rules.name!r}, {len(self.iterator.member_names)} member(s), "
            f"step {self.step} to {last}, in {self.config.model_dir}"
        )
        self._evaluate_what_was_left_out()
        if self.step < last:
            self._steps()
        with events.phase("checkpoint_save"):
            self.checkpoints.wait()
        path = self.checkpoints.path(self.checkpoints.steps()[-1])
        say(
            f"train: done, {self.step - first_step} steps in {time.monotonic() - start:.1f} s "
            f"(first step {self.clock.first_step_s or 0.0:.1f} s); "
            + "".join(f"{kind}: {_shown(found)}; " for kind, found in self.results.items())
            + path
        )
        return TrainResult(self.step, self.state.params, self.results, path)

    def _steps(self) -> None:
        train_step = jitted_train_step(self.spec, self.mesh)
        pending: tuple[int, Metrics] | None = None  # dispatched, not fetched
        first, last = self.step, self.config.last_step
        self.times.restart()
        with Progress("train", total=last, unit="step", initial=self.step) as progress:
            while self.step < last:
                with self.clock.waiting(), self.times.at(events.GETTING_DATA):
                    batch = self._batch(next(self.iterator))
                if self.step == first:
                    self._first_batch(train_step, batch)
                self.times.begin(self.step + 1)
                self.profiler.before(self.step + 1)
                self.state, fetchable = train_step(self.state, batch, self.dropout_key)
                self.step += 1
                self.profiler.after(self.step, fetchable)
                if pending is not None:
                    self._absorb(*pending, progress)
                pending = (self.step, fetchable)
                preempted = self.guard.requested()
                if preempted or self._due(self.config.eval_period, self.config.checkpoint_period):
                    self._absorb(*pending, progress)
                    pending = None
                    with self.clock.paused():
                        self._evaluate_and_save(preempted)
                    self.times.restart()

    def _first_batch(self, train_step: TrainStep, batch: Mapping[str, jax.Array]) -> None:
        """Compiles, now that the shapes are known, and tells the event log of the run."""
        self.step_flops = self._estimate_flops(batch)
        try:
            with events.phase("compile"), self.guard.interruptible():
                compile_ahead(train_step, self.state, batch, self.dropout_key)
                self.guard.stop_if_asked()
        except errors.PreemptedError:
            raise self._preempted() from None
        self.times.restart()
        events.record(
            "training_start",
            first_step=self.step,
            last_step=self.config.last_step,
            checkpoint_period=self.config.checkpoint_period,
            num_processes=jax.process_count(),
            num_devices=self.mesh.size,
            device_kind=self.mesh.devices.flat[0].device_kind,
            step_flops=self.step_flops,
        )

    def _evaluate_what_was_left_out(self) -> None:
        """Makes the evaluation of the step gone on from, if a stop came before it was done."""
        records = writers.read_metrics(self.config.model_dir)
        self.results = {r["kind"]: r for r in records if r["kind"] in ("train", "eval")}
        is_done = hosts.agreed(self.results.get("eval", {}).get("step") == self.step)
        if self.step > self.config.step_offset and self._evaluation_is_due() and not is_done:
            try:
                with self.guard.interruptible():
                    self._evaluate()
            except errors.PreemptedError:
                raise self._preempted() from None

    def _batch(self, rows: HostBatch) -> dict[str, jax.Array]:
        return arrays.global_batch(rows, self.spec.model.rules, self.mesh)

    def _estimate_flops(self, batch: Mapping[str, jax.Array]) -> float:
        encoder = batch.get("encoder_input_tokens")  # a decoder-only model has none
        return metrics.step_flops(
            self.state.params,
            num_encoder_positions=0 if encoder is None else encoder.size,
            num_decoder_positions=batch["decoder_target_tokens"].size,
            tied_output=self.spec.model.config.logits_via_embedding,
        )

    def _due(self, *periods: int) -> bool:
        """Returns whether one of these periods ends at this step, as all do at the last."""
        done = self.step - self.config.step_offset
        return self.step == self.config.last_step or any(p and done % p == 0 for p in periods)

    def _absorb(self, step: int, fetchable: Metrics, progress: Progress) -> None:
        """Fetches a step's metrics, checks them, and logs at the end of a period."""
        with self.times.at(events.WAITING):
            fetched = jax.device_get(fetchable)
        watchdog.beat()
        self._check(step, fetched)
        self.totals.add(fetched)
        self.clock.count(fetched)
        progress.advance(note=f"loss {fetched['loss'] / max(fetched['weight'], 1.0):.3f}")
        done = step - self.config.step_offset
        if done % self.config.log_period == 0 or step == self.config.last_step:
            train = self.totals.summary(self.iterator.member_names)
            train.update(self.clock.rates(self.step_flops))
            self.totals = Totals()
            self._log(step, "train", train)

    def _check(self, step: int, fetched: Mapping[str, np.ndarray]) -> None:
        wrong = metrics.non_finite(fetched, self.iterator.member_names)
        if wrong is None:
            return
        self.checkpoints.wait()
        steps = self.checkpoints.steps()
        kept = f"is {self.checkpoints.path(steps[-1])}" if steps else "was not reached yet"
        raise errors.FlanError(
            f"training stopped at step {step}: {wrong}; the last good checkpoint {kept}; lower the "
            "learning rate, or look at that member's data"
        )

    def _evaluate_and_save(self, preempted: bool) -> None:
        """Does what is due after the current step, whose metrics are in and finite."""
        evaluated = None
        if self._evaluation_is_due() and not preempted:
            try:
                with self.guard.interruptible():
                    evaluated = self._evaluate()
            except errors.PreemptedError:
                preempted = True
        if preempted or self._due(self.config.checkpoint_period):
            self._log(self.step, "data", self.iterator.report())
            with events.phase("checkpoint_save"):
                self.checkpoints.save(
                    self.state,
                    step=self.step,
                    data=self.iterator.state(),
                    config=self.info,
                    metrics=evaluated,
                )
                if preempted:
                    self.checkpoints.wait()
        if preempted:
            raise self._preempted()

    def _preempted(self) -> errors.PreemptedError:
        waited_s = self.guard.waited_s()
        after = "" if waited_s is None else f", {waited_s:.1f} s after the signal"
        is_saved = self.step in self.checkpoints.steps()
        what = f"saved {self.checkpoints.path(self.step)}" if is_saved else "nothing to save yet"
        return errors.PreemptedError(
            f"asked to stop at step {self.step} of {self.config.last_step}; {what}{after}; start "
            "the same command again to go on"
        )

    def _evaluation_is_due(self) -> bool:
        return self.config.eval_period > 0 and self._due(self.config.eval_period)

    def _evaluate(self) -> dict[str, Any]:
        """Returns the validation loss and what `eval_fn` gives, and logs them."""
        results: dict[str, Any] = {}
        with events.phase("eval"):
            if self.eval_batches is not None:
                results.update(self._validation_loss(self.eval_batches()))
            if self.eval_fn is not None:
                results.update(self.eval_fn(self.state.params, self.step))
        best = self.config.best_metric
        if best is not None and best not in results:
            raise errors.unknown_name("best_metric", best, results, "(of the evaluation)")
        if results:
            self._log(self.step, "eval", results)
            say(f"train: step {self.step}, evaluation: {_shown(results)}")
        return results

    def _validation_loss(self, batches: Iterable[HostBatch]) -> dict[str, Any]:
        eval_step = jitted_eval_step(self.spec, self.mesh)
        totals, pending = Totals(), None
        for rows in batches:
            fetchable = eval_step(self.state.params, self._batch(rows))
            if pending is not None:
                totals.add(jax.device_get(pending))
            pending = fetchable
            preemption.stop_if_asked()
        if pending is None:
            return {}
        totals.add(jax.device_get(pending))
        return totals.summary(self.iterator.member_names)

    def _log(self, step: int, kind: str, found: Mapping[str, Any]) -> None:
        if kind != "data":
            self.results[kind] = dict(found)
        if self.writer is not None:
            self.writer.write(step, kind, found)


def _shown(found: Mapping[str, Any]) -> str:
    """Returns the few numbers that a person wants to see at once."""
    names = [n for n, v in found.items() if isinstance(v, float) and n not in _NOT_SHOWN]
    return ", ".join(f"{name} {found[name]:.4g}" for name in names)
