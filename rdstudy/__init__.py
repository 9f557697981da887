"""Rate-distortion studies of variational autoencoders, thousands of small models wide."""

__version__ = "0.1.0"
