"""The model (paper, 2): networks, likelihood, rate and objective. Knows no data set, study or file.

What networks are made of stands in `description` and `architectures`, which need no torch.

Axis order: `member, sample, batch`, then features; the functions here take any number of leading axes.
"""
