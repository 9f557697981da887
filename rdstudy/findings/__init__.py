"""Claims held against the tables of a study: effects, intervals, verdicts. Pure functions; no store and no page."""
