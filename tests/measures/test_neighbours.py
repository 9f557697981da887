"""Nearest neighbours against all distances in exact integers and in float64, copies, near-ties and ties."""

import numpy as np
import pytest
import torch

from rdstudy.measures import neighbours
from rdstudy.measures.neighbours import hard_example, nearest, paired_distance

QUERIES, REFERENCES, PIXELS = 13, 101, 7
ENOUGH = 1e8


def _bytes(seed: int, *shape: int, high: int = 256) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, high, shape, dtype=np.uint8))


def _reference(queries: torch.Tensor, references: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Distances and lowest indices, one query at a time; for bytes in exact integers."""
    if queries.dtype == torch.uint8:
        a, b, unit = queries.numpy().astype(np.int64), references.numpy().astype(np.int64), 255
    else:
        a, unit = queries.numpy(), 1
        b = (references.numpy().astype(a.dtype) / a.dtype.type(255)).astype(np.float64)
    squared = np.array([[((one.astype(b.dtype) - other) ** 2).sum() for other in b] for one in a])
    return np.sqrt(squared.min(axis=1)) / unit, squared.argmin(axis=1)


def _assert_exact(queries: torch.Tensor, references: torch.Tensor, memory_bytes: float = ENOUGH) -> None:
    found = nearest(queries, references, memory_bytes=memory_bytes)
    distance, index = _reference(queries, references)
    assert found.index.dtype == torch.int64
    assert found.distance.dtype == torch.float64
    np.testing.assert_array_equal(found.index, index)
    np.testing.assert_allclose(found.distance, distance, rtol=1e-13, atol=0)


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32, torch.float64])
@pytest.mark.parametrize("memory_bytes", [1, 20_000, ENOUGH])
def test_equals_the_search_through_all_pairs_whatever_the_memory(kind, memory_bytes):
    queries = _bytes(1, QUERIES, PIXELS)
    if kind != torch.uint8:
        queries = torch.from_numpy(np.random.default_rng(2).random((QUERIES, PIXELS))).to(kind)
    _assert_exact(queries, _bytes(3, REFERENCES, PIXELS), memory_bytes)


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32, torch.float64])
def test_a_copy_is_at_distance_zero_among_images_as_large_as_the_papers(kind):
    references = _bytes(4, REFERENCES, 3072)
    chosen = torch.tensor([100, 0, 41])
    queries = references[chosen] if kind == torch.uint8 else references[chosen].to(kind) / 255
    found = nearest(queries, references, memory_bytes=ENOUGH)
    assert found.distance.tolist() == [0.0, 0.0, 0.0]
    assert found.index.tolist() == chosen.tolist()


def _near_ties() -> tuple[torch.Tensor, torch.Tensor]:
    """References that differ by one grey level in one pixel of 3,072 bright ones; query i is nearest to number 7 i."""
    base = _bytes(5, 3072, high=200) + 50
    references = base.repeat(REFERENCES, 1)
    references[torch.arange(REFERENCES), torch.arange(REFERENCES)] += 1
    queries = base.repeat(QUERIES, 1)
    queries[:, 2000:] -= 11
    queries[torch.arange(QUERIES), 7 * torch.arange(QUERIES)] += 2
    return queries, references


@pytest.mark.parametrize("kind", [torch.uint8, torch.float64])
@pytest.mark.parametrize("contrast", ["one centre", "black and white"])
def test_near_ties_below_the_resolution_of_float32_come_out_right(kind, contrast):
    queries, references = _near_ties()
    if contrast == "black and white":  # the centre is far from all: norms are large beside the distances
        references = torch.cat([references, torch.zeros_like(references)])
    if kind != torch.uint8:
        queries = queries.to(kind) / 255
    _assert_exact(queries, references)
    assert nearest(queries, references, memory_bytes=ENOUGH).index.tolist() == [7 * i for i in range(QUERIES)]


def test_a_plain_product_in_float32_gets_those_near_ties_wrong():
    """The positive control: the images above are hard enough for a search to fail."""
    queries, references = _near_ties()
    a, b = queries.float(), references.float()
    squared = a.square().sum(1, keepdim=True) - 2 * a @ b.T + b.square().sum(1)
    assert squared.argmin(dim=1).tolist() != [7 * i for i in range(QUERIES)]


@pytest.mark.parametrize("memory_bytes", [1, 3000, ENOUGH])
def test_of_equally_near_references_the_first_is_named(memory_bytes):
    queries = torch.full((2, PIXELS), 100, dtype=torch.uint8)
    references = queries[:1].repeat(REFERENCES, 1)
    references[:, 0] = 90
    references[[17, 53, 71], 0] = torch.tensor([99, 101, 99], dtype=torch.uint8)  # one below, one above: a tie
    found = nearest(queries, references, memory_bytes=memory_bytes)
    assert found.index.tolist() == [17, 17]
    assert nearest(queries, references.flip(0), memory_bytes=memory_bytes).index.tolist() == [29, 29]
    np.testing.assert_allclose(found.distance, 1 / 255, rtol=1e-15)


def test_references_that_are_all_one_image_name_the_first():
    references = _bytes(6, 1, PIXELS).repeat(5000, 1)
    assert nearest(_bytes(7, QUERIES, PIXELS), references, memory_bytes=50_000).index.tolist() == [0] * QUERIES


def test_sorted_references_that_come_ever_nearer_are_all_seen():
    """The worst order for a search that narrows: every block holds a new nearest."""
    references = torch.arange(251, dtype=torch.uint8)[:, None].repeat(1, PIXELS)
    queries = torch.full((3, PIXELS), 255, dtype=torch.uint8)
    found = nearest(queries, references, memory_bytes=1)
    assert found.index.tolist() == [250] * 3
    np.testing.assert_allclose(found.distance, 5 / 255 * PIXELS**0.5, rtol=1e-15)


def test_the_pairs_computed_directly_are_few(monkeypatch):
    """The work is the product's: the pairs left to compare stay a handful a query."""
    counted = []
    original = neighbours._squared

    def count(images, references):
        counted.append(len(images))
        return original(images, references)

    monkeypatch.setattr(neighbours, "_squared", count)
    nearest(_bytes(8, 31, 3072), _bytes(9, 2003, 3072), memory_bytes=1e7)
    assert 31 <= sum(counted) <= 31 * 50


@pytest.fixture(params=["highest", "medium"])
def precision(request):
    """Products in float32, and in what PyTorch may take for it when told that precision matters little."""
    torch.set_float32_matmul_precision(request.param)
    yield
    torch.set_float32_matmul_precision("highest")


@pytest.mark.usefixtures("precision")
@pytest.mark.parametrize("kind", [torch.uint8, torch.float32, torch.float64])
def test_the_bound_is_below_every_distance_and_close_to_it(kind, monkeypatch):
    """The premise of the search, on the bound itself: of pairs far apart, and of a query that is a reference."""
    references = torch.cat([_bytes(14, 61, 3072), _bytes(15, 40, 3072, high=3)])
    queries = references[::10] if kind == torch.uint8 else references[::10].to(kind) / 255
    bounds = []
    product = torch.addmm

    def record(*args, **named):
        bounds.append(product(*args, **named))
        return bounds[-1]

    monkeypatch.setattr(torch, "addmm", record)
    search = neighbours._Search(queries, neighbours._centre(references, kind), memory_bytes=ENOUGH)
    search.visit(references, first=0)
    bound = bounds[0].double() + (1 - search._margin) * search._norm[:, None]
    b = references.to(torch.float64 if kind == torch.uint8 else kind)
    exact = (queries.double()[:, None] - (b if kind == torch.uint8 else b / 255).double()).square().sum(dim=2)
    assert (bound <= exact).all()
    assert (exact - bound).max() < 4 * search._margin * (2 * search._norm.max())


def test_paired_distance_is_the_distance_that_nearest_names():
    references = _bytes(12, REFERENCES, PIXELS)
    queries = torch.rand(QUERIES, PIXELS, generator=torch.Generator().manual_seed(13))
    found = nearest(queries, references, memory_bytes=ENOUGH)
    for memory_bytes in (1, ENOUGH):
        paired = paired_distance(queries, references[found.index], memory_bytes=memory_bytes)
        assert torch.equal(paired, found.distance)


@pytest.mark.parametrize(
    ("queries", "references", "said"),
    [
        (torch.zeros(0, 7), torch.zeros(5, 7, dtype=torch.uint8), "queries of shape"),
        (torch.zeros(3, 7), torch.zeros(0, 7, dtype=torch.uint8), "references of shape"),
        (torch.zeros(3, 7), torch.zeros(5, 5, dtype=torch.uint8), "5 pixels; allowed: 7"),
        (torch.zeros(7), torch.zeros(5, 7, dtype=torch.uint8), "queries of shape"),
        (torch.zeros(3, 7), torch.zeros(5, 7), "references of torch.float32"),
        (torch.zeros(3, 7, dtype=torch.int64), torch.zeros(5, 7, dtype=torch.uint8), "queries of torch.int64"),
        (torch.full((3, 7), float("nan")), torch.zeros(5, 7, dtype=torch.uint8), "finite values in"),
        (torch.full((3, 7), 255.0), torch.zeros(5, 7, dtype=torch.uint8), "between 255.0 and 255.0"),
    ],
)
def test_what_is_no_image_is_refused(queries, references, said):
    with pytest.raises(ValueError, match=said):
        nearest(queries, references, memory_bytes=ENOUGH)


def test_pairs_need_equal_numbers():
    with pytest.raises(ValueError, match="3 images and 5 references"):
        paired_distance(torch.zeros(3, 7), torch.zeros(5, 7, dtype=torch.uint8), memory_bytes=ENOUGH)


@pytest.mark.parametrize(("queries", "rank"), [(1, 1), (9, 9), (10, 9), (11, 10), (20, 18), (100, 90)])
def test_the_hard_example_is_the_query_of_nearest_rank(queries, rank):
    distance = torch.from_numpy(np.random.default_rng(queries).permutation(queries).astype(float))
    assert distance[hard_example(distance)] == rank - 1


def test_the_hard_example_among_equals_is_the_same_every_time_and_the_ends_are_the_ends():
    distance = torch.tensor([3.0, 1.0, 3.0, 2.0, 3.0])
    assert hard_example(distance, quantile=0.6) == 0
    assert hard_example(distance, quantile=1) == 4
    assert hard_example(distance, quantile=1e-9) == 1


@pytest.mark.parametrize(
    ("distance", "quantile", "said"),
    [([], 0.9, "1 query or more"), ([1.0], 0.0, "quantile 0"), ([1.0], 1.1, "quantile"), ([np.nan], 0.9, "not finite")],
)
def test_no_hard_example_of_nothing(distance, quantile, said):
    with pytest.raises(ValueError, match=said):
        hard_example(torch.tensor(distance), quantile=quantile)
