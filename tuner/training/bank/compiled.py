"""The two things that Keras 3 does not offer on all backends: gradients and compiling.

Everything else in `training` is written in `keras.ops` once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

_BACKEND = keras.backend.backend()

if _BACKEND == "tensorflow":
    import tensorflow as tf

    def value_and_grad(function: Callable[..., Any]) -> Callable[..., Any]:
        """Differentiate ``(params, ...) -> (value, aux)`` into ``-> ((value, aux), grads)``."""

        def differentiated(params: Any, *args: Any) -> Any:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(params)
                value, aux = function(params, *args)
            return (value, aux), tape.gradient(value, params)

        return differentiated

    def compile_xla(function: Callable[..., Any]) -> Callable[..., Any]:
        """Compile a function of tensors with XLA, once per set of shapes."""
        # AutoGraph rewrites Python's if and for over tensors; there are none, as JAX has no such
        # thing, and its temporary files stay behind when a process is killed.
        compiled: Callable[..., Any] = tf.function(
            function, jit_compile=True, autograph=False, reduce_retracing=False
        )
        return compiled

elif _BACKEND == "jax":
    import jax

    def value_and_grad(function: Callable[..., Any]) -> Callable[..., Any]:
        """Differentiate ``(params, ...) -> (value, aux)`` into ``-> ((value, aux), grads)``."""
        differentiated: Callable[..., Any] = jax.value_and_grad(function, has_aux=True)
        return differentiated

    def compile_xla(function: Callable[..., Any]) -> Callable[..., Any]:
        """Compile a function of tensors with XLA, once per set of shapes."""
        compiled: Callable[..., Any] = jax.jit(function)
        return compiled

else:
    raise ImportError(
        f"tuner trains on TensorFlow or JAX, but KERAS_BACKEND is {_BACKEND!r}; "
        "set KERAS_BACKEND=tensorflow or KERAS_BACKEND=jax"
    )


def is_cpu() -> bool:
    """Whether the backend computes on the processor."""
    return "cpu" in str(keras.distribution.list_devices()[0]).lower()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the backend, or Python itself, ran out of memory."""
    text = f"{type(error).__name__} {error}"
    return isinstance(error, MemoryError) or any(
        sign in text for sign in ("RESOURCE_EXHAUSTED", "ResourceExhausted", "out of memory")
    )
