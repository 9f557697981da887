"""Odd values, by where they stand: in a study file, in `--set`, among the words of a command."""

RESULTS = "out"  # what a run of the undamaged study left
SECRET = "FUZZSECRET"  # a part of every password that is given

DEFINITIONS = '''
import decimal, fractions, itertools, os, pathlib, sys, warnings
import numpy as np


class Loud:
    """Cannot be shown."""

    def __repr__(self):
        raise RuntimeError("no words")


class Unequal:
    """Cannot be compared."""

    def __eq__(self, other):
        raise RuntimeError("not comparable")

    __hash__ = object.__hash__


class Vague:
    """Equal to everything."""

    def __eq__(self, other):
        return True

    def __hash__(self):
        return 1


class Whole:
    """A whole number that is none."""

    def __index__(self):
        raise OverflowError("too whole")


class Words(str):
    """A str that is more."""

    def __repr__(self):
        return "words\\nand more"


class Shy(Exception):
    """Cannot be told."""

    def __str__(self):
        raise RuntimeError("no words")


def leave(with_what=None):
    sys.exit(with_what)


def give_up(error):
    raise error


def endless():
    while True:
        yield 1


def deep(levels):
    nest = []
    for _ in range(levels):
        nest = [nest]
    return nest
'''
"""At the top of every odd study file: what the values below are made of."""

EXPRESSIONS = (
    *("None", "True", "-1", "0", "1", "7", "2.5", "10**30", "10**5000", "-(10**30)", "2**63", "2**63 - 1", "1 << 40"),
    *(
        'float("nan")',
        'float("inf")',
        '-float("inf")',
        "1e-320",
        "1e308",
        "-0.0",
        "1e400",
        "1j",
        "...",
        "NotImplemented",
    ),
    *(
        '""',
        '"x"',
        '"é"',
        '"\\n"',
        '"a\\nb"',
        '"\\x00"',
        '"\\ud800"',
        '"\\u202e"',
        '"../../x"',
        '"/"',
        '"x" * 100_000',
        '"1"',
    ),
    *(
        "[]",
        "()",
        "{}",
        "set()",
        "[1, 1]",
        "[[1]]",
        "[None]",
        "[True]",
        "[0.1, 0.1000]",
        '["x"]',
        "[1, 1.0]",
        "[True, 1]",
    ),
    *('{"a": 1}', "{1: [2]}", "{None: None}", '{"beta": [1]}', '{"beta": 1}', '{"beta": []}', '{"seed": [None]}'),
    *(
        "range(0)",
        "range(3)",
        "range(10**5)",
        "range(10**12)",
        "itertools.count()",
        "endless()",
        'itertools.repeat("x")',
    ),
    *("iter([1])", "(x for x in [1])", '(1 / 0 for x in "a")', "map(int, ['x'])", "zip([1], [2])", "deep(100_000)"),
    *("object()", "lambda: 1", "int", "print", "b'x'", "bytearray(b'x')", "Loud()", "Unequal()", "Vague()", "Whole()"),
    *('Words("tiny")', "[Loud()]", "[Unequal()]", "[Vague(), Vague()]", "{Loud(): [1]}", "{Vague(): [1]}", "[Whole()]"),
    *(
        "np.float32(0.5)",
        "np.int64(1)",
        "np.array([1, 2])",
        "np.array([0.1, 1])",
        "np.array(1)",
        "np.zeros(0)",
        "np.nan",
    ),
    *(
        "[np.float64(0.1)]",
        "[np.bool_(True)]",
        "np.array([[1]])",
        "np.array(['x'])",
        "np.arange(2)",
        "pathlib.Path('.')",
    ),
    *('decimal.Decimal("0.1")', 'decimal.Decimal("NaN")', "fractions.Fraction(1, 3)", "[fractions.Fraction(1, 3)]"),
    *(
        '["cv(0)"]',
        '["cv(20)", "cv( 20 )"]',
        '["cv(999999999999999999999)"]',
        '["cv(-1)"]',
        '["cd(3)"]',
        '["checkerboard"]',
    ),
    *('["default", "cv(30)"]', '["cv(59)"]', '["cv(60)"]', '["CV(20)"]', '["cv(٢٠)"]', '["cv(20)\\n"]', '["default "]'),
    *('["tetrominoes"]', '["mnist"]', '["tetrominoes "]', '["blobs"]', '["blobs-0123456789abcdef"]', '["gaussian"]'),
    *('["linear"]', '["cnn"]', '["mlp", "cnn", "linear"]', '["gaussian"]', '["no_marginal_kl"]', '"auto"', '"cosine"'),
    *("0.1", "1/3", "0.3", '"1/2"', '"1/0"', '"auto "', "[2**40]", "[10**9]", "[1e-300]", "[1e300]", "[0]", "[-0.0]"),
    *(
        "[falls({'depth': 1}, value='rate', subset='train')]",
        "[falls({'split': 1}, value='rate', subset='train')]",
        "CONTRAST",
    ),
    *(
        "{'split': 'cv(23)'}",
        "{'split': 'cv(7)'}",
        "{'split': 'cv(0)'}",
        "{'beta': 1}",
        "{'dataset': BLOBS}",
        '"rate"',
        '"test"',
    ),
    *("leave()", 'leave("words")', "leave(3)", "leave(0)", "give_up(KeyboardInterrupt())", "give_up(Shy())", "1 / 0"),
)

STATEMENTS = (
    "raise SystemExit",
    "raise SystemExit(0)",
    'sys.exit("some words")',
    "sys.exit(7)",
    "raise KeyboardInterrupt",
    'raise BaseException("base")',
    "raise GeneratorExit",
    "raise StopIteration",
    "raise Shy",
    'raise ValueError("a\\nb")',
    "raise ValueError",
    'raise OSError(2, "x")',
    'raise ExceptionGroup("several", [ValueError(1), TypeError(2)])',
    "raise RecursionError",
    "raise MemoryError",
    "assert False",
    "assert STUDY is None, STUDY",
    'open("missing.txt")',
    'int("x")',
    "import missing_module",
    "from rdstudy.study import Missing",
    "from rdstudy import nothing",
    "import study",
    "from . import sibling",
    "def endless_fall(): endless_fall()\nendless_fall()",
    "x = '",
    "x = (",
    "  x = 1",
    "\tx = 1\n        y = 2",
    "x = 1 +",
    "\x00",
    "é = 1",
    "x = '\\ud800'; print(x)",
    "return",
    "yield 1",
    "await x",
    "from __future__ import annotations",
    "del Study",
    "STUDY = None",
    "STUDY = [STUDY]",
    "STUDY = Study",
    "STUDY = STUDY.experiments[0]",
    "del STUDY",
    "study = STUDY; del STUDY",
    'STUDY.name = "other"',
    "STUDY.experiments[0].grid['beta'] = [1]",
    "STUDY.recipe.steps = 1",
    'object.__setattr__(STUDY, "name", "x/y")',
    "os.chdir('empty')",
    'os.environ.pop("HOME", None)',
    'os.environ["RDSTUDY_CACHE"] = "/dev/null"',
    "warnings.simplefilter('error')",
    "sys.setrecursionlimit(60)",
    "print = None",
    "import numpy as torch",
    "STUDY = STUDY.with_settings(['recipe.steps'])",
    'print("hello from the study file")',
)

BYTES = (
    "\ufeff",
    "\ud800",
    "\x00",
    "\x0c",
    "\r",
    "é",
    "\u202e",
    "\x1a",
    "\u2028",
    "# -*- coding: latin-9 -*-\n",
    "# -*- coding: no -*-\n",
)
"""What is put somewhere into the text: lone surrogates are written as they are, and are then no UTF-8."""

SETTINGS_TEXT = (
    *(
        "",
        " ",
        "=",
        "==",
        "None",
        "True",
        "-1",
        "0",
        "1",
        "7",
        "2.5",
        "1_000",
        "0x10",
        "1e400",
        "1e-400",
        "nan",
        "-inf",
        "9**9",
    ),
    *(
        "10" * 40,
        "1" * 5_000,
        "[" * 5_000,
        "(" * 300,
        "'x'",
        "x",
        "é",
        "١",
        "'\\ud800'",
        "\udce9",
        "a\nb",
        "'a\\nb'",
        "b'x'",
        "1j",
    ),
    *(
        "[]",
        "()",
        "{}",
        "[1]",
        "[None]",
        "['probe']",
        "['probe', 'probe']",
        "['nothing']",
        "probe",
        "{'beta': [1]}",
        "{'beta': 1}",
    ),
    *(
        "{1: [2]}",
        "{'beta': [1e400]}",
        "{'beta': [[1]]}",
        "{'beta': [{1}]}",
        "{'nothing': [1]}",
        "{'seed': []}",
        "{[]: 1}",
        "...",
    ),
    *(
        "1/2",
        "1/0",
        "1/3",
        "0.3",
        "auto",
        "'auto'",
        "1e300",
        "1e-300",
        "9223372036854775807",
        "9223372036854775808",
        "x" * 20_000,
    ),
    *(
        "cosine",
        "'cosine'",
        "he",
        "adam",
        "sgd",
        "sgd(momentum=0.5)",
        "mixture(k=0)",
        "vamp(k=1e9)",
        "gaussian(sigma=-1)",
        "False",
        "set()",
        "{1, 2}",
        "-0.0",
        "0.0",
        "1e10",
        "100000",
        "__import__('os')",
    ),
)

SETTINGS_NAMES = (
    "",
    "seed",
    " seed ",
    "SEED",
    "name",
    "experiments",
    "recipe",
    "recipe.",
    ".steps",
    "recipe.steps.x",
    "recipe.nothing",
)
"""Beside the settings that there are."""

_S3 = "endpoint_override=127.0.0.1:9&scheme=http&region=us-east-1"
PLACES = (
    *(
        RESULTS,
        f"{RESULTS}/",
        f"./{RESULTS}",
        "new",
        "new/er/est",
        "empty",
        "full",
        "file.txt",
        "file.txt/x",
        "loop",
        "dangling",
        "pipe",
    ),
    *(
        f"{RESULTS}/members",
        f"{RESULTS}/store.json",
        "study.py",
        "",
        ".",
        "..",
        "/",
        "/dev/null",
        "/proc",
        "/proc/self/mem",
        "/sys/x",
    ),
    *(
        "~nobody-at-all/x",
        " ",
        "a b",
        "a\nb",
        "é",
        "\udce9",
        "x" * 300,
        "x/" * 3_000,
        "-",
        "--",
        "*",
        "$HOME",
        "%s",
        "{}",
    ),
    *(
        "://",
        "x://y",
        "s3:",
        "s3://",
        "s3:///",
        "http://127.0.0.1:9/x",
        "hdfs://127.0.0.1:9/x",
        "file://",
        "file:",
        "file://x",
        "file:///",
    ),
    *(
        "file:///dev/null",
        "file:///proc/nowhere",
        "file://localhost/proc/x",
        "FILE:///proc/x",
        "S3://bucket/x",
        "viewfs://x",
        "abfs://x",
    ),
    *(
        f"s3://bucket/x?{_S3}",
        f"s3://bucket?{_S3}",
        f"s3://?{_S3}",
        "s3://bucket/x?nothing=1",
        f"s3://bucket/x?{_S3}&retries=x",
    ),
    *(
        f"s3://KEY:{SECRET}@bucket/x?{_S3}",
        f"s3://KEY:{SECRET}@bucket?{_S3}",
        f"s3://KEY:{SECRET}/+=@bucket/x?{_S3}",
        f"s3://KEY:{SECRET}%2F%2B@bucket/x?{_S3}",
        f"s3://KEY:{SECRET}@/x?{_S3}",
        f"s3://:{SECRET}@bucket/x?{_S3}",
        f"s3://KEY:{SECRET}@bucket/x?{_S3}&nothing=1",
        f"s3://KEY:{SECRET}@bucket/x?scheme=ftp&endpoint_override=127.0.0.1:9",
        f"s3://KEY:{SECRET}@bucket/a b?{_S3}",
        f"S3://KEY:{SECRET}@bucket/x?{_S3}",
        f"s3:/KEY:{SECRET}@bucket/x",
        f"http://user:{SECRET}@127.0.0.1:9/x",
        f"hdfs://user:{SECRET}@127.0.0.1:9/x",
        f"x://user:{SECRET}@127.0.0.1:9/x",
    ),
)
"""For results: those in S3 answer to nobody, at a port of loopback at which nobody listens."""

HARMLESS_PLACES = tuple(place for place in PLACES if not place.startswith("/"))
"""Where a page or a picture may go: nothing outside of the working folder, and never over a device."""

STUDY_FILES = (
    "study.py",
    "missing.py",
    "file.txt",
    "",
    ".",
    RESULTS,
    "loop",
    "dangling",
    "pipe",
    "/dev/null",
    "/dev/stdin",
    "é.py",
    "\udce9.py",
    "x" * 300,
    "study.py/x",
    "-",
    "study",
    "./study.py",
    "/proc/self/mem",
)

NUMBERS = ("", "0", "-1", "nan", "inf", "-inf", "1e400", "x", "1e-9", "0.001", "٣", "1_0", " 1 ", "1e308", "\udce9")

ADDRESSES = (
    "x",
    "127.0.0.1:1",
    "ray://",
    "ray://127.0.0.1:1",
    "127.0.0.1:99999999",
    "127.0.0.1:-1",
    "http://127.0.0.1:8265",
    ":1",
    "é:1",
    "[::1]:1",
    "127.0.0.1:٣",
    "a\nb:1",
    "\udce9:1",
    "x" * 3_000 + ":1",
)

NAMES = (
    "",
    "few",
    "fuzz",
    "other",
    "Few",
    " few",
    "é",
    "\udce9",
    "a\nb",
    "../fuzz",
    "*",
    "-",
    "x" * 5_000,
    "fuzz.json",
    "/",
    ".",
    "__proto__",
)
"""Of experiments, studies and members."""
