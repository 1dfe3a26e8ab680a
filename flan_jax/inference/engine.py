# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Answers to prompts: many at once, in whichever order is fastest, each as if it were alone.

Prompts are sorted by length and go through the rows of a lane; a row that is done is given to the
next prompt while the others go on, so one long answer does not hold up a batch. What all prompts
begin with is read once where the model allows. An answer does not depend on any of this, but for
rounding: sums of floats are not in the same order for every shape.
"""

import contextlib
import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from flan_jax.collection.vocabularies import Vocabulary
from flan_jax.core import errors, ranges
from flan_jax.core.progress import Progress
from flan_jax.core.tree import PyTree
from flan_jax.inference import sampling, shapes
from flan_jax.inference.decode import PAD_ID
from flan_jax.inference.decode_config import DecodeConfig
from flan_jax.inference.lane import Lane, Request
from flan_jax.inference.stopping import first_stop
from flan_jax.inference.strategy import Answers
from flan_jax.models.model import Model

STOP, LENGTH = "stop", "length"  # why an answer ended, in the words of OpenAI's API
LEAST_PREFIX = 16  # tokens that all prompts must share for it to be worth a program
STEPS_BETWEEN_STOPS = 8  # positions between two looks for stop texts; they cost time only
_NO_LIMIT = 2**30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of one prompt, by sample, or by beam with the best first."""

    texts: tuple[str, ...]
    tokens: tuple[np.ndarray, ...]  # int32, without the end of sequence
    # float32 by the model's own distribution, of the end of sequence too if it came
    logprobs: tuple[np.ndarray, ...]
    # Log-probabilities, 0 where they were not asked for; of beams, as they rank.
    scores: tuple[float, ...]
    finish_reasons: tuple[str, ...]  # STOP or LENGTH


class Engine:
    """One model that answers prompts."""

    def __init__(
        self,
        model: Model,
        params: PyTree,
        vocabulary: Vocabulary,
        *,
        max_input_length: int,
        num_rows: int = 32,
        length_buckets: Sequence[int] = (),
        with_logprobs: bool = True,
    ):
        """Prepares the parameters; nothing is compiled yet.

        Args:
            model: the model.
            params: its parameters.
            vocabulary: turns tokens into text.
            max_input_length: most tokens of a prompt.
            num_rows: answers that are decoded together.
            length_buckets: lengths that prompts are padded to besides `max_input_length`, each a
                compilation; empty: those of `shapes.buckets`.
            with_logprobs: whether answers have log-probabilities, which cost a look at the logits.
        """
        ranges.check("Engine", "[1, inf)", max_input_length=max_input_length, num_rows=num_rows)
        ranges.check("Engine", "[1, inf)", length_buckets=min(length_buckets, default=None))
        self.model, self.params = model.for_decoding(params)
        self.vocabulary, self.eos_id = vocabulary, vocabulary.eos_id
        self.max_input_length, self.num_rows = max_input_length, num_rows
        self.buckets = shapes.buckets(max_input_length, length_buckets)
        self.with_logprobs = with_logprobs

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        config: DecodeConfig | Sequence[DecodeConfig],
        *,
        progress: str | None = None,
    ) -> list[Answer]:
        """Returns the answers in the order of the prompts.

        Args:
            prompts: tokens, as the model was taught to read a prompt.
            config: how they are answered; one for all, or one each.
            progress: name under which it is shown; None: not at all.

        Raises:
            DataError: a prompt is empty or too long (it is named), has tokens unknown to the model,
                or ends with padding where there is an encoder.
            UsageError: not as many configs, or one has tokens unknown to the model.
            FlanError: the model gives logits that are NaN or infinite.
        """
        answers: list[Answer | None] = [None] * len(prompts)
        for index, answer in self.stream(prompts, config, progress=progress):
            answers[index] = answer
        return answers

    def stream(
        self,
        prompts: Sequence[Sequence[int]],
        config: DecodeConfig | Sequence[DecodeConfig],
        *,
        progress: str | None = None,
    ) -> Iterator[tuple[int, Answer]]:
        """Yields (index of the prompt, answer) in the order in which they are done."""
        configs = [config] * len(prompts) if isinstance(config, DecodeConfig) else list(config)
        if len(configs) != len(prompts):
            raise errors.UsageError(
                f"{len(prompts)} prompts but {len(configs)} configs; give one each, or one for all"
            )
        for each in dict.fromkeys(configs):
            self.check_config(each)
        arrays = [self.checked(prompt, f"prompt {i}") for i, prompt in enumerate(prompts)]
        kinds: dict[tuple[int, int], list[int]] = {}
        for i, each in enumerate(configs):
            kinds.setdefault((max(each.num_samples, each.num_beams), each.num_beams), []).append(i)
        with _shown(progress, len(prompts)) as advance:
            for (num_members, num_beams), indices in kinds.items():
                chosen = [(i, arrays[i], configs[i]) for i in indices]
                for done in self._of_a_kind(chosen, num_members, num_beams):
                    advance(1)
                    yield done

    def checked(self, prompt: Sequence[int], name: str) -> np.ndarray:
        """Returns a prompt as int32 tokens.

        Raises:
            DataError: as `generate`; names the prompt by `name`.
        """
        tokens = np.asarray(prompt)
        if tokens.ndim != 1 or not tokens.size:
            raise errors.DataError(f"{name} has no tokens; give at least one")
        if len(tokens) > self.max_input_length:
            raise errors.DataError(
                f"{name} has {len(tokens)} tokens, above the {self.max_input_length} that are "
                "taken; leave it out, or raise the length of inputs"
            )
        rows = self.model.config.vocab_size
        if tokens.min() < 0 or tokens.max() >= rows:
            bad = tokens[(tokens < 0) | (tokens >= rows)][0]
            raise errors.DataError(
                f"{name} has the token {bad}, and the model has {rows}; use its vocabulary"
            )
        if tokens[-1] == PAD_ID and self.model.LAYOUT == "encoder_decoder":
            raise errors.DataError(
                f"{name} ends with the token {PAD_ID}, which is padding; leave that token out"
            )
        return tokens.astype(np.int32)

    def check_config(self, config: DecodeConfig) -> None:
        """Checks what depends on the model.

        Raises:
            UsageError: answers are to begin with a token unknown to the model.
        """
        rows = self.model.config.vocab_size
        for token in config.forced_prefix:
            if not 0 <= token < rows:
                raise errors.UsageError(
                    f"DecodeConfig.forced_prefix has the token {token}, and the model has {rows}; "
                    "use its vocabulary"
                )

    def lane(
        self,
        num_members: int,
        *,
        num_prompts: int | None = None,
        num_beams: int = 1,
        configs: Sequence[DecodeConfig] = (),
        prefix: PyTree = (),
    ) -> Lane:
        """Returns an empty lane for `num_prompts`, or for any number that come and go."""
        most = max(1, self.num_rows // num_members)
        needed = most if num_prompts is None else num_prompts
        return Lane(
            self.model, self.params, eos_id=self.eos_id,
            batch_size=shapes.num_rows(needed, most, self.model.rules),
            unit=shapes.num_parts(self.model.rules),
            num_members=num_members, num_beams=num_beams, buckets=self.buckets,
            with_logprobs=self.with_logprobs, configs=configs, prefix=prefix,
        )  # fmt: skip

    def run(
        self, lane: Lane, num_steps: int, least_active: int = 1
    ) -> Iterator[tuple[int, Answer]]:
        """Runs a lane once; yields the rows that are done, not yet released, and their answers.

        Args:
            lane: a lane with a row at work.
            num_steps: positions to decode at most.
            least_active: as of `Lane.run`.
        """
        stops = {r: q.config.stop for r, q in enumerate(lane.requests) if q and q.config.stop}
        if stops:
            num_steps = min(num_steps, STEPS_BETWEEN_STOPS)
        done = lane.run(num_steps, least_active)
        if stops:
            done = sorted({*done, *self._stop(lane, stops)})
        if done:
            found = lane.answers()
            for row in done:
                yield row, self._answer(lane.requests[row], row, found)

    def _of_a_kind(
        self, chosen: list[tuple[int, np.ndarray, DecodeConfig]], num_members: int, num_beams: int
    ) -> Iterator[tuple[int, Answer]]:
        """Answers prompts that have as many members each."""
        # From short to long: a lane can be widened while it is at work, but not narrowed.
        chosen = sorted(chosen, key=lambda each: len(each[1]))
        num_shared = self._num_shared([tokens for _, tokens, _ in chosen])
        prefix = ()
        if num_shared:
            prefix = self.model.prefix_cache(self.params, chosen[0][1][:num_shared])
        pending = deque(
            (
                i,
                Request(
                    prompt=tokens[num_shared:],
                    config=config,
                    key=sampling.row_key(config.seed, tokens),
                    name=f"prompt {i}",
                ),
            )
            for i, tokens, config in chosen
        )
        lane = self.lane(
            num_members, num_prompts=len(chosen), num_beams=num_beams,
            configs=[config for _, _, config in chosen], prefix=prefix,
        )  # fmt: skip
        names = {}
        while pending or lane.num_active:
            taken = [pending.popleft() for _ in range(min(lane.num_free, len(pending)))]
            names |= {request: i for i, request in taken}
            lane.admit([request for _, request in taken])
            least = self._least_active(lane, pending)
            for row, answer in self.run(lane, _NO_LIMIT, least):
                yield names.pop(lane.requests[row]), answer
                lane.release(row)

    def _least_active(self, lane: Lane, pending: Sequence) -> int:
        """Returns how few rows may be at work before the host looks: enough are free to refill."""
        return max(1, lane.num_active - min(lane.refill, len(pending)) + 1) if pending else 1

    def _stop(self, lane: Lane, stops: dict[int, Sequence[str]]) -> list[int]:
        """Ends answers in which a stop text came; returns the rows of which all are over."""
        tokens, position, ended = lane.so_far()
        over = []
        for row, texts in stops.items():
            if lane.requests[row].config.num_beams > 1:
                continue  # a beam that is not the best yet says nothing; answers are cut at last
            for member in range(tokens.shape[1]):
                ids = tokens[row, member, : position[row]]
                if not ended[row, member] and first_stop(self.vocabulary, ids, texts):
                    lane.stop(row, member)
                    ended[row, member] = True
            if ended[row].all():
                over.append(row)
        return over

    def _answer(self, request: Request, row: int, found: Answers) -> Answer:
        config = request.config
        num = config.num_samples if config.num_beams > 1 else found.tokens.shape[1]
        texts, tokens, logprobs, scores, reasons = [], [], [], [], []
        for member in range(num):
            length = int(found.lengths[row, member])
            ids = found.tokens[row, member, :length]
            ended = bool(length) and ids[-1] == self.eos_id
            kept, reason = (ids[:-1] if ended else ids), STOP if ended else LENGTH
            stop = first_stop(self.vocabulary, kept, config.stop) if config.stop else None
            if stop:
                kept, reason, length = kept[: stop.num_tokens], STOP, stop.num_tokens
            text = stop.text if stop else self.vocabulary.decode(kept.tolist())
            texts.append(text)
            tokens.append(kept)
            reasons.append(reason)
            each = found.logprobs[row, member, :length] if self.with_logprobs else ()
            logprobs.append(np.asarray(each, np.float32))
            if config.num_beams > 1:
                scores.append(float(found.scores[row, member]))
            else:
                scores.append(float(logprobs[-1].sum()))
        return Answer(
            texts=tuple(texts),
            tokens=tuple(tokens),
            logprobs=tuple(logprobs),
            scores=tuple(scores),
            finish_reasons=tuple(reasons),
        )

    def _num_shared(self, prompts: Sequence[np.ndarray]) -> int:
        """Returns how many tokens of all prompts are worth being read once."""
        if not self.model.has_prefix_cache or len(prompts) < 2:
            return 0
        # A prompt's last token is never shared: the first step takes it.
        shortest = min(map(len, prompts)) - 1
        first = prompts[0][:shortest]
        differ = [np.flatnonzero(prompt[:shortest] != first) for prompt in prompts[1:]]
        num = min([shortest, *(int(where[0]) for where in differ if len(where))])
        # Each length is a compilation, and many sets of prompts share nearly as much: of the length
        # the four leading bits are kept, so less than an eighth is read again.
        num -= num % (1 << max(num.bit_length() - 4, 0))
        return num if num >= LEAST_PREFIX else 0


@contextlib.contextmanager
def _shown(name: str | None, total: int) -> Iterator[Callable[[int], None]]:
    """Gives what counts finished prompts, shown under a name if there is one."""
    if name is None:
        yield lambda num: None
        return
    with Progress(name, total=total, unit="prompt") as progress:
        yield progress.advance
