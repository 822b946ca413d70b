"""Many heads trained in lock-step: stacked along a leading axis, one compiled call an epoch.

Each head is trained exactly as if it were alone: its own rows, row order, class weights, loss
and learning rate. Nothing here knows about folds, trials or stopping; `folds` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from tuner.arrays import Float32, Ints
from tuner.config import TrainingConfig
from tuner.features.device import free_bytes
from tuner.training.bank.compiled import is_cpu, is_out_of_memory
from tuner.training.bank.rows import ROWS_A_CALL, FeatureRows
from tuner.training.bank.steps import (
    ADAM_EPSILON,
    LossFactors,
    TrainState,
    compiled_functions,
    initial_state,
)
from tuner.training.dropout import dropout_key
from tuner.training.head import Head, HeadWeights, RowOrder, initial_weights

_Begun = tuple[TrainState, list[Any]]

_MOST_HEADS = 256  # in a stack: more of them are no faster on any card
_COPIES = 10  # of a head's parameters in a step: state before and after, gradients, activations


@dataclass
class _Stack:
    """Heads laid out in slots along one leading axis; idle slots are copies."""

    slots: list[int]
    state: TrainState
    factors: LossFactors
    dropout_keys: Any
    n_rows: int = 0  # padded length of evaluation: another would be compiled anew


class StackedHeads:
    """Heads that take the same steps together.

    On an accelerator they lie in one stack, or in as few as its memory holds; a stack for which
    memory runs out is halved. On a CPU each has its own: XLA picks another order of summation
    when a stack grows, so only there a head has the same bits beside any others, and one head's
    weights and moments fit its cache (docs/notes/001).

    Args:
        heads: What each is trained with.
        X: Features, float32 (n_rows, n_features): tensor on the device, or the rows of a bank.
        y: Classes on the device, int32 tensor (n_rows,).
        n_classes: Number of classes.
        steps: Steps an epoch, the same for all.
        training: The fixed recipe.
        heads_per_stack: At most so many in one compiled call; None chooses by device and memory.
        epsilon: Of Adam.
    """

    def __init__(
        self,
        heads: Sequence[Head],
        X: Any,
        y: Any,
        *,
        n_classes: int,
        steps: int,
        training: TrainingConfig,
        heads_per_stack: int | None = None,
        epsilon: float = ADAM_EPSILON,
    ) -> None:
        self._rows = FeatureRows(X, y)
        self._steps, self._batch = steps, training.batch_size
        self._orders = [RowOrder(head.rows, head.key) for head in heads]
        self._functions = compiled_functions(training.dropout, epsilon)
        shape = {
            "n_features": self._rows.n_features,
            "hidden_units": training.hidden_units,
            "n_classes": n_classes,
        }
        size = heads_per_stack or (1 if is_cpu() else heads_that_fit(**shape))
        numbers = range(len(heads))
        self._stacks = [
            _new_stack(list(numbers[first : first + size]), heads, **shape)
            for first in numbers[::size]
        ]

    @property
    def alive(self) -> list[int]:
        """Numbers of the heads still training, in the order of every result."""
        return sorted({head for stack in self._stacks for head in stack.slots})

    def train_epoch(self, learning_rate: NDArray[np.floating]) -> Float32:
        """Train every living head for one epoch.

        Args:
            learning_rate: One per living head, (n_alive,).

        Returns:
            Mean loss of each step, float32 (steps, n_alive).
        """
        alive = self.alive
        rates = dict(zip(alive, learning_rate, strict=True))
        n_rows = self._steps * self._batch
        rows = {h: self._orders[h].take(n_rows).reshape(self._steps, -1) for h in alive}
        trained: list[_Stack] = []
        columns: dict[int, Float32] = {}
        todo = self._stacks
        while todo:
            started = [(stack, self._start(stack, rows, rates)) for stack in todo]
            todo = []
            # Only now, since reading a result waits for it.
            for stack, begun in started:
                ended = _read(begun)
                if isinstance(ended, Exception):
                    todo += _halves(stack, ended)
                    continue
                stack.state, losses = ended
                trained.append(stack)
                columns |= dict(zip(stack.slots, losses.T, strict=True))
        self._stacks = trained
        return np.stack([columns[h] for h in alive], axis=1)

    def _start(
        self, stack: _Stack, rows: Mapping[int, Ints], rates: Mapping[int, float]
    ) -> _Begun | Exception:
        """Begin an epoch of a stack: its next state and its losses, or why memory ran out."""
        of_stack = np.stack([rows[h] for h in stack.slots], axis=1)
        state, losses = stack.state, []
        try:
            for steps in self._rows.step_blocks(
                self._steps, rows_a_step=len(stack.slots) * self._batch
            ):
                found, loss = self._functions.train_epoch(
                    state,
                    *self._rows.pick(of_stack[steps]),
                    stack.factors,
                    ops.convert_to_tensor([rates[h] for h in stack.slots], "float32"),
                    stack.dropout_keys,
                )
                state = TrainState(*found)
                losses.append(loss)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return error
        return state, losses

    def logits(self, rows: Sequence[Ints]) -> list[Float32]:
        """Logits of each living head on its own rows, dropout off.

        Args:
            rows: One int64 array (n_k,) per living head.

        Returns:
            One float32 array (n_k, n_classes) per living head.
        """
        rows_of = dict(zip(self.alive, rows, strict=True))
        found: dict[int, Float32] = {}
        for stack in self._stacks:
            stack.n_rows = max(stack.n_rows, *(len(rows_of[h]) for h in stack.slots))
            padded = np.stack([np.resize(rows_of[h], stack.n_rows) for h in stack.slots])
            values = self._stack_logits(stack, padded)
            found |= {h: values[i, : len(rows_of[h])] for i, h in enumerate(stack.slots)}
        return [found[h] for h in self.alive]

    def _stack_logits(self, stack: _Stack, rows: Ints) -> Float32:
        """Logits of rows (n_slots, n), float32 (n_slots, n, n_classes)."""
        n = max(1, ROWS_A_CALL // len(rows))
        parts = []
        for first in range(0, rows.shape[1], n):
            X, _, local = self._rows.pick(rows[:, first : first + n])
            parts.append(_to_numpy(self._functions.logits(stack.state.weights, X, local)))
        return np.concatenate(parts, axis=1)

    def weights(self, head: int) -> HeadWeights:
        """Weights of one living head as NumPy arrays."""
        stack = next(stack for stack in self._stacks if head in stack.slots)
        slot = stack.slots.index(head)
        return HeadWeights(*(np.array(_to_numpy(part)[slot]) for part in stack.state.weights))

    def keep(self, heads: Sequence[int]) -> None:
        """Drop all other heads, so that finished ones cost nothing, or an idle slot of a stack."""
        kept = [sorted(set(stack.slots) & set(heads)) for stack in self._stacks]
        self._stacks = [
            _compacted(stack, mine) for stack, mine in zip(self._stacks, kept, strict=True) if mine
        ]


def _new_stack(slots: list[int], heads: Sequence[Head], **shape: int) -> _Stack:
    mine = [heads[head] for head in slots]
    drawn = [initial_weights(head.key, **shape) for head in mine]
    weights = HeadWeights(*map(_stacked, zip(*drawn, strict=True)))
    factors = LossFactors(
        gamma=_stacked([head.gamma for head in mine]),
        true_factor=_stacked([head.terms.true_factor for head in mine]),
        other_factor=_stacked([head.terms.other_factor for head in mine]),
        class_weight=_stacked([head.class_weight for head in mine]),
    )
    # Heads of one key (the same fold in several trials) share their dropout masks.
    dropout_keys = ops.convert_to_tensor([dropout_key(head.key) for head in mine], "int32")
    return _Stack(
        slots=slots, state=initial_state(weights), factors=factors, dropout_keys=dropout_keys
    )


def heads_that_fit(*, n_features: int, hidden_units: int, n_classes: int) -> int:
    """How many heads may lie in one stack by the memory that is free now; at least one."""
    free = free_bytes()
    if free is None:
        return _MOST_HEADS
    n_parameters = (n_features + 1) * hidden_units + (hidden_units + 1) * n_classes
    return int(np.clip(free // (_COPIES * 4 * n_parameters), 1, _MOST_HEADS))


def _read(begun: _Begun | Exception) -> tuple[TrainState, Float32] | Exception:
    """State and losses, (steps, n_slots), after an epoch that was begun, or why memory ran out."""
    if isinstance(begun, Exception):
        return begun
    try:
        return begun[0], np.concatenate([_to_numpy(part) for part in begun[1]])
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return error


def _halves(stack: _Stack, error: Exception) -> list[_Stack]:
    """Two stacks of half the heads, to be tried again; one head cannot be halved."""
    heads = sorted(set(stack.slots))
    if len(heads) == 1:
        raise error
    middle = (len(heads) + 1) // 2
    return [_compacted(stack, part) for part in (heads[:middle], heads[middle:])]


def _compacted(stack: _Stack, kept: list[int]) -> _Stack:
    if kept == sorted(set(stack.slots)):
        return stack
    # Halved, not cut to fit: each size is compiled, which takes longer than the idle slots.
    size = len(stack.slots)
    while (size + 1) // 2 >= len(kept) and size > 1:
        size = (size + 1) // 2
    slots = [kept[i % len(kept)] for i in range(size)]
    source = np.array([stack.slots.index(head) for head in slots], dtype=np.int32)

    def take(parts: Sequence[Any]) -> Iterator[Any]:
        return (ops.take(part, source, axis=0) for part in parts)

    weights, moments = (HeadWeights(*take(part)) for part in stack.state[:2])
    return _Stack(
        slots=slots,
        state=TrainState(weights, moments, stack.state.step),
        factors=LossFactors(*take(stack.factors)),
        dropout_keys=ops.take(stack.dropout_keys, source, axis=0),
        n_rows=stack.n_rows,
    )


def _stacked(parts: Iterable[Any]) -> Any:
    return ops.convert_to_tensor(np.stack([np.asarray(part) for part in parts]), "float32")


def _to_numpy(tensor: Any) -> Float32:
    values: Float32 = np.asarray(ops.convert_to_numpy(tensor))
    return values
