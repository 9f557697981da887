"""Laws of a user's own data set: found by name alone, in any process, and another name for other contents."""

import hashlib
import json
import os
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from rdstudy.datasets import dataset_info, own_dataset
from rdstudy.datasets.cache import FOLDER_VARIABLE
from rdstudy.datasets.own import install_own, own_files
from rdstudy.planning.plan import make_plan
from rdstudy.study import Experiment, Study
from tests.datasets.moves import die_at_move
from tests.datasets.processes import apart

RNG = np.random.default_rng(3)
IMAGES = RNG.integers(0, 256, (13, 3, 5, 7), np.uint8)
FACTORS = RNG.random((13, 2))
NAMES = ("size", "hue")
PATIENCE_SECONDS = 30.0


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_is_given_comes_back_by_name():
    name = own_dataset("faces", IMAGES, factors=FACTORS, factor_names=NAMES)
    info = dataset_info(name)
    assert (info.name, info.images, info.image_shape, info.factor_names) == (name, 13, (3, 5, 7), NAMES)
    data = info.load()
    assert np.array_equal(data.images, IMAGES)
    assert data.factors is not None
    assert np.array_equal(data.factors, FACTORS)


def test_factors_are_optional():
    info = dataset_info(own_dataset("faces", IMAGES))
    assert info.factor_names == ()
    assert info.load().factors is None


def test_another_process_finds_it_by_its_name(run_python):
    name = own_dataset("faces", IMAGES, factors=FACTORS, factor_names=NAMES)
    code = f"from rdstudy.datasets import dataset_info; print(dataset_info({name!r}).load().images.astype(int).sum())"
    assert run_python(code) == str(IMAGES.astype(int).sum())


@pytest.fixture
def sent(cache, monkeypatch, tmp_path):
    """A data set of a node, its files, and where this process now has another node's cache."""
    name = own_dataset("faces", IMAGES, factors=FACTORS, factor_names=NAMES)
    files = own_files(name)
    assert {file.parent for file in files.values()} == {cache}
    other = tmp_path / "other"
    monkeypatch.setenv(FOLDER_VARIABLE, str(other))
    with pytest.raises(ValueError, match=r"allowed: .*, or what own_dataset returned on this node"):
        dataset_info(name)
    assert own_files(name) == {}
    return name, files, other


def test_another_node_gets_its_files_and_needs_no_more(sent):
    name, files, other = sent
    install_own(name, lambda file, path: shutil.copy(files[file], path))
    data = dataset_info(name).load()
    assert np.array_equal(data.images, IMAGES)
    assert data.factors is not None
    assert np.array_equal(data.factors, FACTORS)
    assert {path.name for path in other.iterdir()} - set(files) <= {f"own-{name}.npy.lock"}
    install_own(name, lambda *_: pytest.fail("it is there"))
    install_own("tetrominoes", lambda *_: pytest.fail("it is nobody's own"))


@pytest.mark.parametrize("damaged", [".npy", ".json"])
@pytest.mark.parametrize(
    "harm", [lambda content: content[:-1], lambda content: content.replace(b"1", b"2"), lambda _: b""]
)
def test_a_damaged_copy_is_refused_and_leaves_nothing(sent, damaged, harm):
    name, files, other = sent

    def fetch(file, path):
        content = files[file].read_bytes()
        path.write_bytes(harm(content) if file.endswith(damaged) else content)

    with pytest.raises(ValueError, match=r"the copy of data set 'faces-.*' that came here is damaged"):
        install_own(name, fetch)
    assert [path.name for path in other.iterdir()] in ([], [f"own-{name}.npy.lock"])
    install_own(name, lambda file, path: shutil.copy(files[file], path))
    assert np.array_equal(dataset_info(name).load().images, IMAGES)


def test_of_many_who_want_it_one_fetches(sent):
    name, files, _ = sent
    fetched = []

    def fetch(file, path):
        fetched.append(file)
        time.sleep(0.05)
        shutil.copy(files[file], path)

    with ThreadPoolExecutor(7) as pool:
        list(pool.map(lambda _: install_own(name, fetch), range(7)))
    assert sorted(fetched) == sorted(files)
    assert np.array_equal(dataset_info(name).load().images, IMAGES)


def test_a_cache_that_cannot_be_written_is_named(sent, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "file" / "below"))
    with pytest.raises(ValueError, match="set RDSTUDY_CACHE to another"):
        install_own(sent[0], lambda *_: None)


def test_the_name_follows_the_contents():
    other_image = IMAGES.copy()
    other_image[11, 2, 3, 5] ^= 1
    other_factor = FACTORS.copy()
    other_factor[7, 1] /= 2
    names = [
        own_dataset("faces", IMAGES),
        own_dataset("places", IMAGES),
        own_dataset("faces", other_image),
        own_dataset("faces", IMAGES.reshape(13, 3, 7, 5)),
        own_dataset("faces", IMAGES, factors=FACTORS, factor_names=NAMES),
        own_dataset("faces", IMAGES, factors=other_factor, factor_names=NAMES),
        own_dataset("faces", IMAGES, factors=FACTORS, factor_names=NAMES[::-1]),
    ]
    assert len(set(names)) == len(names)
    assert own_dataset("faces", np.asfortranarray(IMAGES)) == names[0]
    assert own_dataset("faces", IMAGES, factors=FACTORS.astype(object).astype(float), factor_names=NAMES) == names[4]


def test_the_name_stays_the_same_for_the_same_contents():
    """Members are named by it: with another hash, all would be trained again."""
    images = np.arange(210, dtype=np.uint8).reshape(2, 3, 5, 7)
    factors = np.array([[0.25, 0.5], [0.75, 1]])
    assert own_dataset("faces", images) == "faces-5f88a230e18c1f6f"
    assert own_dataset("faces", images, factors=factors, factor_names=NAMES) == "faces-0c60740bfc6f6a65"


# --- files that are damaged ---------------------------------------------------------------------------------------


def edited(**fields):
    return lambda content: json.dumps({**json.loads(content), **fields}).encode()


HARMS = {
    "zeroed pixels": (".npy", lambda content: content[:-97] + bytes(97)),
    "a pixel": (".npy", lambda content: content[:-1] + bytes([content[-1] ^ 1])),
    "cut images": (".npy", lambda content: content[:-1]),
    "more than images": (".npy", lambda content: content + b"x"),
    "other shape": (".npy", lambda content: content.replace(b"(13, 3, 5, 7)", b"(13, 3, 7, 5)")),
    "other axes": (".npy", lambda content: content.replace(b"(13, 3, 5, 7)", b"(13, 3, 35)  ")),
    "in columns": (".npy", lambda content: content.replace(b"'fortran_order': False", b"'fortran_order': True ")),
    "no images": (".npy", lambda _: b""),
    "a factor": (".json", edited(factors=[[0.5, 0.5], *FACTORS[1:].tolist()])),
    "a lost factor": (".json", edited(factors=FACTORS[1:].tolist())),
    "factors in a row": (".json", edited(factors=FACTORS.ravel().tolist())),
    "no factors": (".json", edited(factors=None)),
    "a factor's name": (".json", edited(factor_names=["size", "shade"])),
    "factors without names": (".json", edited(factor_names=[])),
    "other count": (".json", edited(images=14)),
    "sides turned": (".json", edited(image_shape=[3, 7, 5])),
    "endless": (".json", lambda content: content.replace(b'"images": 13', b'"images": 1e999')),
    "cut description": (".json", lambda content: content[:-1]),
    "no description": (".json", lambda _: b""),
    "other description": (".json", lambda _: b"[]"),
    "not text": (".json", lambda _: b"\xff"),
}


@pytest.fixture(params=HARMS)
def harmed(request):
    """A data set one of whose files was changed in place after it was used."""
    name = own_dataset("faces", IMAGES, factors=FACTORS, factor_names=NAMES)
    dataset_info(name).load()
    ending, harm = HARMS[request.param]
    (file,) = [file for file in own_files(name).values() if file.suffix == ending]
    whole = file.read_bytes()
    file.write_bytes(harm(whole))
    assert file.read_bytes() != whole
    return name


def is_whole(name: str) -> bool:
    data = dataset_info(name).load()
    assert data.factors is not None
    return np.array_equal(data.images, IMAGES) and np.array_equal(data.factors, FACTORS)


def test_damaged_files_are_never_used_and_the_error_says_what_to_do(harmed):
    with pytest.raises(ValueError, match=r"^data set 'faces-.*': .*(damaged|holds something else)") as caught:
        dataset_info(harmed).load()
    assert "; run the study file on this node, or set RDSTUDY_CACHE" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_files_are_never_handed_out(harmed):
    with pytest.raises(ValueError, match=r"^data set 'faces-.*; run the study file on this node"):
        own_files(harmed)


def test_damaged_files_are_written_again_with_a_warning(harmed, caplog):
    assert own_dataset("faces", IMAGES, factors=FACTORS, factor_names=NAMES) == harmed
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith(f"data set '{harmed}': ")
    assert record.getMessage().endswith(": writing it again")
    assert is_whole(harmed)
    assert len(own_files(harmed)) == 2


def test_damaged_files_are_fetched_again_with_a_warning(harmed, caplog, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(tmp_path / "store"))
        files = own_files(own_dataset("faces", IMAGES, factors=FACTORS, factor_names=NAMES))
    install_own(harmed, lambda file, path: shutil.copy(files[file], path))
    (record,) = caplog.records
    assert record.getMessage().endswith(": fetching it again")
    assert is_whole(harmed)


def test_damaged_files_of_which_there_is_no_copy_stay_an_error(harmed):
    def fetch(file, path):
        raise FileNotFoundError(file, path)

    install_own(harmed, fetch)
    with pytest.raises(ValueError, match=r"^data set 'faces-.*; run the study file on this node"):
        dataset_info(harmed).load()


def test_what_the_store_raises_is_not_taken_for_the_caches():
    def fetch(file, path):
        raise ConnectionError("the store is away", file, path)

    with pytest.raises(ConnectionError, match="the store is away"):
        install_own(f"faces-{16 * '0'}", fetch)


def test_files_are_read_once_by_each_process_as_long_as_they_stay(monkeypatch):
    read = []

    def file_digest(file, digest, file_digest=hashlib.file_digest):
        read.append(file.name)
        return file_digest(file, digest)

    monkeypatch.setattr(hashlib, "file_digest", file_digest)
    name = own_dataset("faces", IMAGES)
    for _ in range(3):
        dataset_info(name).load()
        own_files(name)
        own_dataset("faces", IMAGES)
        install_own(name, lambda *_: pytest.fail("it is there"))
    assert len(read) == 1


def die_while_moving(folder: Path, number: int):
    """Keep the images, and die when a file is to be moved into place: the first of them, or the second."""
    die_at_move(number)
    os.environ[FOLDER_VARIABLE] = str(folder)
    own_dataset("faces", IMAGES, factors=FACTORS, factor_names=NAMES)


@pytest.mark.parametrize("number", [1, 2])
def test_a_kill_between_the_files_is_mended_by_the_next(cache, caplog, number):
    process = apart.Process(target=die_while_moving, args=(cache, number))
    process.start()
    process.join(PATIENCE_SECONDS)
    assert process.exitcode == -signal.SIGKILL
    assert list(cache.glob("*.tmp"))
    assert is_whole(own_dataset("faces", IMAGES, factors=FACTORS, factor_names=NAMES))
    assert not list(cache.glob("*.tmp"))
    assert not caplog.records


@pytest.mark.parametrize("again", [True, False], ids=["by the study file", "by a worker"])
def test_leftovers_beside_whole_files_go(cache, again):
    name = own_dataset("faces", IMAGES)
    own = [cache / f"own-{name}{ending}.0a1b.tmp" for ending in (".json", ".npy")]
    kept = [cache / f"own-other{name}.npy.0a1b.tmp", cache / "own-faces.json.tmp"]
    for path in (*own, *kept):
        path.write_bytes(b"half")
    if again:
        own_dataset("faces", IMAGES)
    else:
        install_own(name, lambda *_: pytest.fail("it is there"))
    assert not any(path.exists() for path in own)
    assert all(path.exists() for path in kept)


def test_whole_files_serve_where_nothing_can_be_locked(cache):
    """As on a disk that can only be read; a leftover there stays."""
    name = own_dataset("faces", IMAGES, factors=FACTORS, factor_names=NAMES)
    (cache / f"own-{name}.npy.lock").unlink()
    (cache / f"own-{name}.npy.lock").mkdir()
    (cache / f"own-{name}.json.0a1b.tmp").touch()
    assert own_dataset("faces", IMAGES, factors=FACTORS, factor_names=NAMES) == name
    install_own(name, lambda *_: pytest.fail("it is there"))
    assert is_whole(name)
    with open(own_files(name)[f"own-{name}.npy"], "ab") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match=r"cannot be used: own-faces-.*\.npy is not whole, and .*; set RDSTUDY_CACHE"):
        own_dataset("faces", IMAGES, factors=FACTORS, factor_names=NAMES)


def test_images_that_are_lost_are_named_and_come_back(cache):
    name = own_dataset("faces", IMAGES)
    own_files(name)[f"own-{name}.npy"].unlink()
    with pytest.raises(ValueError, match=r"^data set 'faces-.*': .*\.npy is not there; run the study file"):
        dataset_info(name).load()
    assert own_dataset("faces", IMAGES) == name
    assert np.array_equal(dataset_info(name).load().images, IMAGES)
    assert not list(cache.glob("*.tmp"))


def test_it_is_a_level_of_a_study():
    name = own_dataset("faces", IMAGES, factors=FACTORS, factor_names=NAMES)
    levels: dict[str, list] = {"dataset": [name], "split": ["checkerboard", "cv(7)"], "beta": [1], "seed": [0]}
    plan = make_plan(Study("s", [Experiment("e", levels)]), {})
    assert {member.dataset for member in plan.remaining} == {name}


def test_a_half_written_description_is_never_there(cache, monkeypatch):
    def cut_short(self, text):
        self.write_bytes(text.encode()[:7])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.write_text", cut_short)
        with pytest.raises(ValueError, match=r"cannot be used: .*No space left on device; set RDSTUDY_CACHE"):
            own_dataset("faces", IMAGES)
    assert not list(cache.glob("*.json"))
    name = own_dataset("faces", IMAGES)
    assert json.loads(own_files(name)[f"own-{name}.json"].read_text())["images"] == 13
