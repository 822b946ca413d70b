#!/usr/bin/env bash
# One would expect a Keras model that MLflow logs to consist of Keras's own archive and MLflow's
# descriptions of it: a model of built-in layers needs nothing else. But as soon as any class is
# registered with Keras in the process (`keras.saving.register_keras_serializable`), by whatever
# library and whether the model uses it or not, MLflow adds `global_custom_objects.cloudpickle` to
# every model that it logs, and reads that pickle whenever such a model is loaded. The module that
# defines the class then has to be there for the loader, for a class that the model never had.
# Source: mlflow/tensorflow/__init__.py, `get_global_custom_objects` and `save_model`, which takes
# all of `keras.saving.get_custom_objects()`; seen with mlflow 3.17.2 and keras 3.15.1.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet mlflow==3.17.2 keras==3.15.1 tensorflow==2.21.0
cd "$place"
cat > stranger.py <<'PY'
import keras


@keras.saving.register_keras_serializable(package="stranger")
class NeverUsed(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return y_pred
PY
cat > see.py <<'PY'
import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
import mlflow.tensorflow
import tensorflow

model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])


def pickles(name):
    mlflow.tensorflow.save_model(model, name)
    return sorted(path.name for path in Path(name).rglob("*pickle*"))


print("mlflow", mlflow.__version__, "keras", keras.__version__, "tensorflow", tensorflow.__version__)
before = pickles("before")
import stranger  # noqa: E402, F401

after = pickles("after")
print("pickles of a model of one Dense layer:", before)
print("the same after a class was registered that it does not use:", after)
del sys.modules["stranger"]
os.remove("stranger.py")
keras.saving.get_custom_objects().clear()
try:
    mlflow.tensorflow.load_model("after")
    loads = True
except ModuleNotFoundError as error:
    loads = False
    print("loaded without the module of that class:", error)
sys.exit((before, after, loads) != ([], ["global_custom_objects.cloudpickle"], False))
PY
PYTHONDONTWRITEBYTECODE=1 "$place/venv/bin/python" see.py 2> "$place/stderr" || { cat "$place/stderr"; echo "this has changed"; exit 1; }
