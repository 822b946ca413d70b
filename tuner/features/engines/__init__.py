"""Who turns pixels into features: Keras's own graph, or OpenVINO."""
