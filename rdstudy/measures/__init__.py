"""Measures of a trained model beyond rate and distortion (paper, 2 and 4.5): one file an idea, pure functions.

Usable without a study: a function takes tensors, an encoder or a decoder, and randomness as an argument. Knows no data
set, study or file. All values are in nats. Memory of temporaries is bounded by an argument.
"""
