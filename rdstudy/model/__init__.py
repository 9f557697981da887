"""The model (paper, 2): networks, likelihood, rate and objective. Knows no data set, study or file.

Axis order: `member, sample, batch`, then features; the functions here take any number of leading axes.
"""
