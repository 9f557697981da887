"""Packs in this process, one after the other, without Ray: for a debugger, and for one device."""

import contextlib
import pdb
import platform
import sys

import torch

from rdstudy.planning.packs import TrialPack
from rdstudy.running.executor import Observer, Usage, Work
from rdstudy.running.failures import Cause, Failure, PackError
from rdstudy.running.worker import find_device, run_pack


class LocalExecutor:
    """Trains packs in this process.

    Args:
        debugger: whether the first exception is looked at in a debugger, after which the run ends.
    """

    def __init__(self, *, debugger: bool = False) -> None:
        self._debugger = debugger

    def run(self, work: Work, observer: Observer) -> bool:
        """Train one pack after the other; see `Executor.run`."""
        device = find_device(work.resources.gpus)
        observer.begins()
        for pack in work.packs:
            while not self._train(pack, work, observer, device):
                pass
            if observer.should_stop():
                break
        return False

    def _train(self, pack: TrialPack, work: Work, observer: Observer, device: torch.device) -> bool:
        """Train a pack; False where it raised for the first time and is to be tried again."""
        host = platform.node()
        events = run_pack(
            pack,
            work.store,
            device=device,
            resources=work.resources,
            measures=work.measures,
            tried=work.failures.tried.get(pack.pack_id, ()),
        )
        try:
            with contextlib.closing(events):
                for progress in events:
                    observer.progressed(pack.pack_id, host, progress)
                    observer.used(Usage(devices=1.0, busy=1.0))
                    if observer.should_stop():
                        break
        except PackError as error:
            cause = error.__cause__
            failure = Failure(pack.pack_id, Cause.RAISED, error.reason, host, error.pack_id, error.traceback)
            observer.failed(failure, work.failures.failed(failure))
            if self._debugger and cause is not None and cause.__traceback__ is not None:
                with contextlib.redirect_stdout(sys.__stdout__):  # the terminal itself, where lines can be edited
                    pdb.post_mortem(cause.__traceback__)
                raise KeyboardInterrupt from None
            return observer.should_stop()
        return True
