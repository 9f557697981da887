"""Results: the tables of all studies of a folder or bucket, and what lies beside them.

    store.py        one folder: its identity, and what it holds
    rows.py         the tables as files: who writes them, what survives a crash
    snapshot.py     all tables as they were at one moment, and every question about them
    tables.py       rows <-> the bytes of a Parquet file
    schema.py       which columns there are
    blobs.py        files that are no rows
    checkpoints.py  checkpoints of a pack of training
    presence.py     who is at work
    declaration.py  a study as it was declared, and since when
    studies.py      declarations as files
    files.py        the only door to a disk or a bucket
    address.py      an address without keys

Names of files stand in rows.py, blobs.py and studies.py, columns in schema.py, and nowhere else.
"""
