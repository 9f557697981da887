"""The declaration of a study: one writer, one reader, since when it is declared, and every later change."""

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from rdstudy.results.declaration import Change, Declaration, DeclaredExperiment, History
from rdstudy.results.store import Store
from rdstudy.study import Measures, Member, Recipe, Resources
from rdstudy.study.claims import Claim, interior_minimum

MEMBERS = tuple(Member("shapes", "cv(7)", beta, 3) for beta in (0.1, 1.0, 3.0))
CLAIM = Claim("minimum", "A minimum inside.", "", [interior_minimum({"depth": 1})])
STARTED = datetime(2026, 1, 1, 12, tzinfo=UTC)


def declaration(*, members: tuple[Member, ...] = MEMBERS[:2], **changes: Any) -> Declaration:
    ids = tuple(member.member_id for member in members)
    values: dict[str, Any] = {
        "name": "mine",
        "title": "Mine",
        "code_version": "1",
        "recipe": dataclasses.asdict(Recipe()),
        "measures": {**dataclasses.asdict(Measures()), "measures_id": "m"},
        "experiments": (DeclaredExperiment("grid", "Grid", "", ids),),
        "claims": (CLAIM,),
        "members": {member.member_id: member.to_dict() for member in members},
    }
    return Declaration(**{**values, **changes})


def declare(store: Store, given: Declaration, hour: int) -> History:
    assert store.declarations.declare(given, at=STARTED.replace(hour=hour)) == ""
    return store.declarations.read(given.name).history


def edit(store: Store, **changes: Any) -> None:
    """Change what is stored by hand; None takes a key away."""
    data = json.loads(store._files.read("studies/mine.json"))
    data = {name: value for name, value in {**data, **changes}.items() if value is not None}
    store._files.write("studies/mine.json", json.dumps(data).encode())


# --- a record ---------------------------------------------------------------------------------------------------------


def test_what_is_written_is_read_with_its_history(store):
    given = declaration(seed=5, command="the command", resources=dataclasses.asdict(Resources(gpus=0.25)))
    history = declare(store, given, 12)
    assert history == History("2026-01-01T12:00:00+00:00")
    read = store.declarations.read("mine")
    assert Declaration.from_json(read.to_json(), path="") == read
    assert read.claims == given.claims
    assert read.settings(Resources) == Resources(gpus=0.25)
    assert [read.member(member_id) for member_id in read.members] == list(MEMBERS[:2])


def test_a_declaration_from_before_there_were_authors_has_none_and_none_is_no_change(store):
    declare(store, declaration(), 12)
    edit(store, authors=None)
    assert store.declarations.read("mine").authors == ""
    assert declare(store, declaration(), 13).changes == ()
    assert declare(store, declaration(authors="A. Person"), 14).changes[-1].parts == ("authors",)
    assert store.declarations.read("mine").authors == "A. Person"


def test_studies_are_kept_by_name(store):
    for name in ("quick", "other"):
        store.declarations.declare(declaration(name=name))
    assert store.declarations.names() == ["other", "quick"]
    assert store.declarations.read("quick").name == "quick"
    with pytest.raises(ValueError, match=r"'slow' is not in .*; allowed: other, quick"):
        store.declarations.read("slow")


def test_what_a_later_version_adds_is_left_out(store):
    declare(store, declaration(), 12)
    data = json.loads(store._files.read("studies/mine.json"))
    data["experiments"][0]["colour"] = data["claims"][0]["colour"] = "red"
    changes = [{"at": "2027-01-01T00:00:00+00:00", "parts": ["recipe"], "colour": "red"}]
    edit(store, **{**data, "colour": "red", "recipe": {**data["recipe"], "warmup": 5}, "changes": changes})
    read = store.declarations.read("mine")
    assert read.settings(Recipe) == Recipe()
    assert read.recipe["warmup"] == 5
    assert read.claims == (CLAIM,)
    assert read.history.changes == (Change("2027-01-01T00:00:00+00:00", ("recipe",)),)


def test_a_member_of_a_later_version_is_kept_and_named_when_it_is_asked_for(store):
    declare(store, declaration(), 12)
    first = MEMBERS[0].member_id
    members = {first: {**MEMBERS[0].to_dict(), "posterior": "flow"}, MEMBERS[1].member_id: MEMBERS[1].to_dict()}
    edit(store, members=members)
    read = store.declarations.read("mine")
    with pytest.raises(ValueError, match=f"model {first} is of another version"):
        read.member(first)


DAMAGE = {
    "cut": lambda text: text[:40],
    "empty": lambda _: b"",
    "another thing": lambda _: b"[]",
    "no utf-8": lambda _: b"\xff\xfe{",
    "deep": lambda _: b"[" * 100_000,
    "no members": lambda text: text.replace(b'"members"', b'"numbers"'),
    "members of a kind": lambda _: b'{"name": "mine", "experiments": [], "members": 5}',
    "another beta": lambda text: text.replace(b'"beta": 0.1', b'"beta": 0.2'),
    "another id": lambda text: text.replace(MEMBERS[0].member_id.encode(), b"0" * 16, 1),
    "infinite seed": lambda text: text.replace(b'"seed": 0', b'"seed": Infinity', 1),
    "infinite width": lambda text: text.replace(b'"width": 512', b'"width": Infinity', 1),
    "beta of 400 digits": lambda text: text.replace(b'"beta": 0.1', b'"beta": ' + b"9" * 400, 1),
    "half a history": lambda text: text.replace(b'"changes"', b'"chances"'),
    "another history": lambda text: text.replace(b'"whole"', b'"holed"'),
}


# --- its history ------------------------------------------------------------------------------------------------------


def test_a_run_that_changes_nothing_adds_nothing_and_writes_nothing(store, monkeypatch):
    first = declare(store, declaration(), 12)
    before = store._files.read("studies/mine.json")
    with monkeypatch.context() as patch:
        patch.setattr(store._files, "write", lambda name, _: pytest.fail(f"{name} was written"))
        assert declare(store, declaration(), 13) == first
    assert store._files.read("studies/mine.json") == before


def test_what_is_no_part_of_the_question_is_kept_and_is_no_change(store):
    first = declare(store, declaration(), 12)
    assert declare(store, declaration(command="another", resources={"gpus": 1}), 13) == first
    assert store.declarations.read("mine").command == "another"


OTHER_CLAIM = dataclasses.replace(CLAIM, sentence="Another sentence.")
CHANGES: dict[str, tuple[Declaration, dict[str, Any]]] = {
    "title": (declaration(title="Other"), {"parts": ("title",)}),
    "members": (declaration(members=MEMBERS[1:]), {"members_added": 1, "members_removed": 1}),
    "recipe": (declaration(recipe={**dataclasses.asdict(Recipe()), "steps": 7}), {"parts": ("recipe",)}),
    "evaluation": (declaration(evaluation={"final_images": 7}), {"parts": ("evaluation",)}),
    "measures": (declaration(measures={"measures_id": "another"}), {"parts": ("measures",)}),
    "claim added": (declaration(claims=(CLAIM, dataclasses.replace(CLAIM, name="b"))), {"claims_added": ("b",)}),
    "claim changed": (declaration(claims=(OTHER_CLAIM,)), {"claims_changed": ("minimum",)}),
    "claim removed": (declaration(claims=()), {"claims_removed": ("minimum",)}),
    "code": (declaration(code_version="2"), {"code_version": "2"}),
}


@pytest.mark.parametrize("part", CHANGES)
def test_each_change_is_noted_with_its_time_and_its_part(store, part):
    changed, expected = CHANGES[part]
    declare(store, declaration(), 12)
    history = declare(store, changed, 13)
    assert history.first_declared_at == "2026-01-01T12:00:00+00:00"
    assert history.changes == (Change("2026-01-01T13:00:00+00:00", **expected),)
    assert declare(store, changed, 14) == history
    back = declare(store, declaration(), 15)
    assert back.changes[:1] == history.changes
    assert len(back.changes) == 2


def test_an_experiment_that_is_described_in_other_words_is_a_change(store):
    declare(store, declaration(), 12)
    (experiment,) = declaration().experiments
    other = dataclasses.replace(experiment, description="A minimum is expected at β = 1.")
    assert declare(store, declaration(experiments=(other,)), 13).changes[0].parts == ("experiments",)


def test_a_setting_that_came_with_a_later_version_is_no_change_at_its_default(store):
    declare(store, declaration(recipe={"steps": 257_000}), 12)
    assert declare(store, declaration(), 13).changes == ()


def test_since_when_a_claim_says_what_it_says():
    changes = (Change("2", claims_added=("b",)), Change("3", claims_changed=("b",)), Change("4", claims_removed=("c",)))
    history = History("1", changes=changes)
    assert [history.claimed_at(name) for name in "ab"] == ["1", "3"]


def test_a_declaration_of_an_earlier_version_is_known_since_it_was_last_declared(store):
    declare(store, declaration(), 12)
    edit(store, declared_at="2025-12-24T00:00:00+00:00", first_declared_at=None, history=None, changes=None)
    known = History("2025-12-24T00:00:00+00:00", "known")
    assert store.declarations.read("mine").history == known
    assert declare(store, declaration(), 13) == known
    assert declare(store, declaration(title="Other"), 14).kept == "known"


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_declaration_is_one_clear_line_stops_no_run_is_set_aside_and_its_loss_is_said(store, damage):
    declare(store, declaration(), 12)
    damaged = DAMAGE[damage](store._files.read("studies/mine.json"))
    store._files.write("studies/mine.json", damaged)
    with pytest.raises(ValueError, match=r"studies/mine\.json is damaged \(.*\); run the study again$") as raised:
        store.declarations.read("mine")
    assert "\n" not in str(raised.value)
    said = store.declarations.declare(declaration(), at=STARTED.replace(hour=13))
    assert "studies/mine.json is damaged (" in said
    assert said.endswith("set aside as studies/mine.json.damaged; since when the study is declared is lost with it")
    assert store._files.read("studies/mine.json.damaged") == damaged
    lost = History("2026-01-01T13:00:00+00:00", "lost")
    assert store.declarations.read("mine").history == lost
    assert declare(store, declaration(), 14) == lost
    assert store.declarations.names() == ["mine"]
