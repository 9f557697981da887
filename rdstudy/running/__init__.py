"""Trains what a plan says, here or on Ray, and survives what happens meanwhile.

driver.py      the run: packs here or on Ray, until every member has a row or something ends it
worker.py      one pack from settings to stored rows, the same here and in a trial
tune/          the only place that imports Ray
failures.py    what to do about a pack that came to no end
sharing.py     other runs in the same store
leftovers.py   what killed runs left there
usage.py       device-hours and their price
progress.py    how far a run is, in a line
stopping.py    what tells trials to end, outside of the room of Ray
log.py         what a run said, kept in its store
provenance.py  what every row must remember of how it came about
floors.py      versions of libraries below which nothing is run
"""
