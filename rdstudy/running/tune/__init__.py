"""The only door to Ray: packs as Ray Tune trials. A thin adapter with no arithmetic of its own.

    address.py     where a cluster that runs is to be found
    folders.py     where Ray's files are, and what a kill leaves of them
    connection.py  a cluster that runs, or a Ray of our own that is started and stopped
    nodes.py       what is wrong with the nodes, before any of them has worked for nothing
    trial.py       a pack as a trial
    queue.py       which pack is started next, and again
    listener.py    what trials do, and why they fail
    tracking.py    what experiment trackers write is kept
    executor.py    the run of all packs

Ray reads its environment when it is imported, which is why that is set first.
"""

from rdstudy.running.ray_settings import set_environment

set_environment()
