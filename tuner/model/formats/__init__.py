"""A model outside of Keras: ONNX, OpenVINO and LiteRT, written, proved equal, and run."""
