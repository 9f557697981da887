"""The one command: `rdstudy run | report | retrain | list | export | fetch | forget`, or `python -m rdstudy ...`.

A command is a module of its own, imported when it is asked for. Completion in a shell, once a session:

    eval "$(register-python-argcomplete rdstudy)"
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from rdstudy.commandline import Parser, answer, open_output
from rdstudy.study.checks import fail_name

_COMMANDS = {
    "run": ("rdstudy.run", "train what a study asks for, and build its page"),
    "report": ("rdstudy.report.__main__", "build the page of a study again, its figures or its tables"),
    "retrain": ("rdstudy.retrain", "train one model again, and say whether it gets the same numbers"),
    "list": ("rdstudy.commands.list", "the models of a results folder by state, with their ids"),
    "export": ("rdstudy.commands.export", "models to MLflow, TensorBoard, Weights & Biases or CSV"),
    "fetch": ("rdstudy.commands.fetch", "download the data of a study before it is run"),
    "forget": ("rdstudy.commands.forget", "remove models from a results folder"),
}
"""Name -> the module that has `main` and `make_parser`, and what it does."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the first argument names, and return its exit status."""
    return answer(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(_whole_parser())  # answers the shell, and ends
    if given and given[0] in _COMMANDS:
        status: int = _module(given[0]).main(given[1:], prog=f"rdstudy {given[0]}")
        return status
    with open_output():
        parser = _parser()
        if given and not given[0].startswith("-"):
            parser.error(str(fail_name("command", given[0], _COMMANDS)))
        parser.parse_args(given)
        parser.print_help()
        return 0


def _module(command: str) -> Any:
    return importlib.import_module(_COMMANDS[command][0])


def _parser() -> Parser:
    """What stands before a command."""
    commands = (f"  {name:<9}{does}" for name, (_, does) in _COMMANDS.items())
    parser = Parser(
        prog="rdstudy",
        usage="rdstudy COMMAND ...",
        description="Rate-distortion studies of variational autoencoders.",
        epilog="\n".join(["commands:", *commands, "", "rdstudy COMMAND --help says more."]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version of the program")
    return parser


class _Version(argparse.Action):
    """Prints the version of the code that runs, which git may be asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from rdstudy.running.provenance import code_version

        print(f"rdstudy {code_version()}")
        parser.exit()


def _whole_parser() -> Parser:
    """All that any command takes, for a shell that completes: it imports every one of them."""
    parser = _parser()
    commands = parser.add_subparsers()
    for name in _COMMANDS:
        commands.add_parser(name, parents=[_module(name).make_parser(name)], add_help=False)
    return parser


if __name__ == "__main__":
    sys.exit(main())
