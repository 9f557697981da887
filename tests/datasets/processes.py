"""Processes that share nothing with a test, forked from one that has imported these files and done nothing else."""

import multiprocessing

apart = multiprocessing.get_context("forkserver")
apart.set_forkserver_preload([f"tests.datasets.test_{name}" for name in ("cache", "files", "own")])
