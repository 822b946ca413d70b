"""What MLflow keeps as a model's code and runs to load it: no object is pickled."""

from tuner.model.served import Served, picture_of
from tuner.tracking.serving.file_model import serve

serve(Served, picture_of)
