"""Commands that ask or change a results folder, a file each; `rdstudy.__main__` names all commands.

    list.py      models by state, with their ids
    forget.py    removes models
    export.py    models to trackers and CSV; trackers.py writes each kind
    fetch.py     downloads the data of a study
    chosen.py    which models a command is about, for `list` and `forget`

They train nothing and draw nothing.
"""
