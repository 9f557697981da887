"""Words in a panel: they hide no line, no point and no other words, and stay inside."""

import numpy as np

from rdstudy.report import labels

LINE = labels.along(np.array([[0.0, 100.0], [200.0, 100.0]]))


def panel(taken=LINE):
    return labels.Panel(200, 150, taken)


def test_a_line_is_felt_along_its_whole_length():
    gaps = np.diff(np.sort(LINE[:, 0]))
    assert gaps.max() <= 2.1
    assert len(labels.along(np.array([[1.0, np.nan], [3.0, 4.0]]))) == 1


def test_words_hide_no_line_and_no_other_words_and_stay_inside():
    made, points = panel(), np.array([[100.0, 100.0]])
    places = [made.place("β = 0.1", labels.around(points, 0, "β = 0.1", font=11), font=11) for _ in range(4)]
    assert all(place is not None for place in places)
    for left, top, right, bottom in made.boxes:
        assert left >= 0
        assert top >= 0
        assert right <= 200
        assert bottom <= 150
        assert bottom <= 100 or top >= 100
    for at, one in enumerate(made.boxes):
        for other in made.boxes[:at]:
            assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def test_the_corner_of_a_panel_has_room_within():
    corner = np.array([[199.0, 1.0]])
    x, y = panel().place("lowest test", labels.around(corner, 0, "lowest test", font=12), font=12) or (0.0, 0.0)
    width, height = labels.size_of("lowest test", font=12)
    assert x + width / 2 <= 200
    assert y - height / 2 >= 0


def test_words_are_nearer_to_their_own_point_than_to_others():
    points = np.array([[100.0, 50.0], [108.0, 50.0]])
    for centre in labels.around(points, 1, "β = 1", font=11):
        half = np.array(labels.size_of("β = 1", font=11)) / 2
        away = np.linalg.norm(np.maximum(np.abs(points - np.array(centre)) - half, 0), axis=1)
        assert away[1] < away[0]


def test_without_room_there_are_no_words():
    full = np.stack(np.meshgrid(np.arange(0, 200, 3.0), np.arange(0, 150, 3.0)), -1).reshape(-1, 2)
    points = np.array([[100.0, 100.0]])
    assert panel(full).place("log N = 9.7", labels.around(points, 0, "log N = 9.7", font=11), font=11) is None


def test_the_name_of_a_line_is_beside_it():
    made = panel()
    _, y = made.place("log N = 9.7", labels.beside_line(100.0, "log N = 9.7", width=200, font=11), font=11) or (0, 0)
    assert 85 < y < 100
