"""A study held against its data sets and its results: what there is to do, in which packs, and what that takes.

    plan.py       what is wanted, what is stored, what remains
    packs.py      members that are trained together, and the memory that they take
    placement.py  what a pack costs: memory, share of a GPU, seconds; and how large packs are
    schedule.py   packs on devices, and when the last of them ends
    estimate.py   device-hours, wall time and price, from data sheets or from stored rows
    describe.py   all that in words

Starts nothing, imports neither torch nor ray.
"""
