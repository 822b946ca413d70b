"""The engine that trains on images, with other views in every epoch."""
