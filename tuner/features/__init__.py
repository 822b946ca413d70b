"""Views, the frozen backbone and the feature bank."""
