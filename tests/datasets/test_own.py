"""Laws of a user's own data set: found by name alone, in any process, and another name for other contents."""

import json
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rdstudy.datasets import dataset_info, own_dataset
from rdstudy.datasets.cache import FOLDER_VARIABLE
from rdstudy.datasets.own import install_own, own_files
from rdstudy.plan import make_plan
from rdstudy.run import load_study
from rdstudy.study import Experiment, Study

RNG = np.random.default_rng(3)
IMAGES = RNG.integers(0, 256, (13, 3, 5, 7), np.uint8)
FACTORS = RNG.random((13, 2))
NAMES = ("size", "hue")
README = Path(__file__).parents[2] / "README.md"


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
    assert isinstance(data.images.base, np.memmap)
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
    assert {path.name for path in other.iterdir()} - set(files) <= {f"own-{name}.fetch.lock", f"own-{name}.npy.lock"}
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
    assert [path.name for path in other.iterdir()] in ([], [f"own-{name}.fetch.lock"])
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


def test_images_that_are_lost_are_named_and_come_back(cache):
    name = own_dataset("faces", IMAGES)
    own_files(name)[f"own-{name}.npy"].unlink()
    with pytest.raises(ValueError, match=r"the images of data set 'faces-.*', 13, are not in .*; run the study file"):
        dataset_info(name).load()
    assert own_dataset("faces", IMAGES) == name
    assert np.array_equal(dataset_info(name).load().images, IMAGES)
    assert not list(cache.glob("*.tmp"))


def test_it_is_a_level_of_a_study():
    name = own_dataset("faces", IMAGES, factors=FACTORS, factor_names=NAMES)
    levels: dict[str, list] = {"dataset": [name], "split": ["checkerboard", "cv(7)"], "beta": [1], "seed": [0]}
    plan = make_plan(Study("s", [Experiment("e", levels)]), {})
    assert {member.dataset for member in plan.remaining} == {name}


@pytest.mark.parametrize("name", ["../faces", "", "a b", 7, "x" * 65])
def test_a_name_must_be_a_word(name):
    with pytest.raises(ValueError, match="allowed: a name of up to 64 letters"):
        own_dataset(name, IMAGES)


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (IMAGES / 255, r"images are float64 \(13, 3, 5, 7\); allowed: uint8"),
        (IMAGES[:, 0], r"images are uint8 \(13, 5, 7\); allowed: uint8"),
        (IMAGES.tolist(), "images are list; allowed: uint8"),
        (IMAGES[:1], "two images or more"),
        (IMAGES[..., :0], "of a pixel or more"),
    ],
)
def test_images_must_be_images(images, says, cache):
    with pytest.raises(ValueError, match=f"^own data set 'faces': .*{says}"):
        own_dataset("faces", images)
    assert not cache.exists()


@pytest.mark.parametrize(
    ("factors", "names", "says"),
    [
        (FACTORS, (), r"factors have shape \(13, 2\); allowed with its factor_names: None"),
        (None, NAMES, r"shape None; allowed with its factor_names: \(13, 2\)"),
        (FACTORS[1:], NAMES, r"shape \(12, 2\)"),
        (FACTORS.T, NAMES, r"shape \(2, 13\)"),
        (FACTORS, ("a", "a"), "distinct names"),
        (FACTORS, "ab", "a list of distinct names"),
        (FACTORS + 0.5, NAMES, "leave the unit cube"),
        (FACTORS - 0.5, NAMES, "leave the unit cube"),
        (FACTORS * np.nan, NAMES, "leave the unit cube"),
    ],
)
def test_factors_must_be_factors(factors, names, says):
    with pytest.raises(ValueError, match=f"^own data set 'faces': .*{says}"):
        own_dataset("faces", IMAGES, factors=factors, factor_names=names)


def test_a_half_written_description_is_never_there(cache, monkeypatch):
    def cut_short(self, text):
        self.write_bytes(text.encode()[:7])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.write_text", cut_short)
        with pytest.raises(ValueError, match=r"cannot be written: .*No space left on device; set RDSTUDY_CACHE"):
            own_dataset("faces", IMAGES)
    assert not list(cache.glob("*.json"))
    name = own_dataset("faces", IMAGES)
    assert json.loads(own_files(name)[f"own-{name}.json"].read_text())["images"] == 13


def test_the_readme_reads_a_folder_of_pictures_as_it_stands(tmp_path, monkeypatch):
    """Pictures of any shape and mode, in the order of their names; other files are passed over."""
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL) if "PIL" in block]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(code)
    (tmp_path / "faces").mkdir()
    for name, mode, size, colour in (
        ("b.png", "RGBA", (41, 67), (10, 20, 30, 255)),
        ("a.JPG", "L", (97, 53), 200),
        ("c.png", "RGB", (32, 32), (1, 2, 3)),
    ):
        Image.new(mode, size, colour).save(tmp_path / "faces" / name)
    (tmp_path / "faces" / "notes.txt").write_text("no picture")
    study = load_study("mine.py")
    (name,) = {member.dataset for experiment in study.experiments for member in experiment.members(study)}
    images = dataset_info(name).load().images
    assert images.shape == (3, 3, 32, 32)
    assert (images.std(axis=(2, 3)) == 0).all()
    assert images[:, :, 0, 0].tolist() == [[200] * 3, [10, 20, 30], [1, 2, 3]]
