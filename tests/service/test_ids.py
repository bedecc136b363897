"""Ids that sort by time, and the number that belongs to each."""

from __future__ import annotations

import threading
import uuid
from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondhu.serve.ids import Draws, Ids, made_at, spelled, uniform_of, written


def test_ids_are_version_7_ascend_and_carry_their_time() -> None:
    ids = Ids()
    made = [*ids(5000, 1.7e9), *ids(3, 1.7e9 - 5), *ids(2, 1.7e9 + 60)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert {(uuid.UUID(each).version, uuid.UUID(each).variant) for each in made} == {(7, uuid.RFC_4122)}
    assert made_at(made[0]) == 1.7e9
    assert made_at(made[-1]) == 1.7e9 + 60
    assert made_at(str(uuid.uuid4())) is None
    assert made_at("order-66") is None


@pytest.mark.parametrize("count", [1, 2, 63, 65, 300])
def test_many_ids_and_few_are_written_alike_across_the_end_of_a_millisecond(count: int) -> None:
    first = (1_700_000_000_000 << 12) + 4096 - count // 2 - 1
    for made in (written(first, count), spelled(first, count)):
        assert [int(each[:8] + each[9:13] + each[15:18], 16) for each in made] == list(range(first, first + count))
        assert {each[14] for each in made} == {"7"}
        assert {each[19] for each in made} <= set("89ab")
        assert {len(each) for each in made} == {36}
        assert len({each[20:] for each in made}) == count


def test_ids_made_in_many_threads_never_collide() -> None:
    ids, made = Ids(), []
    threads = [threading.Thread(target=lambda: made.extend(ids(1, 1.0)[0] for _ in range(500))) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(set(made)) == 4000


@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=5))
def test_the_number_of_an_id_does_not_depend_on_its_company(ids: list[str]) -> None:
    together = Draws("shop", ids).random(len(ids))
    assert together.tolist() == [float(Draws("shop", [each]).random(1)[0]) for each in ids]
    assert ((together >= 0) & (together < 1)).all()


@given(st.text(max_size=20), st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=5))
def test_the_number_of_an_id_is_the_published_hash_of_domain_and_id(domain: str, ids: list[str]) -> None:
    def hashed(identity: str) -> float:
        digest = blake2b(f"{domain}\0{identity}".encode(), digest_size=8).digest()
        return (int.from_bytes(digest) >> 11) * 2.0**-53

    assert [*map(uniform_of(domain), ids)] == [*map(hashed, ids)]


def test_the_number_of_an_id_never_changes() -> None:
    # 53 bits of blake2b(b"shop\0a", digest_size=8): another number would make logged decisions impossible to replay
    assert Draws("shop", ["a"]).random(1).tolist() == [0.7188748304530872]
    assert Draws("other", ["a"]).random(1).tolist() != [0.7188748304530872]
    with pytest.raises(ValueError, match="one number belongs to each"):
        Draws("shop", ["a"]).random(2)


def test_draws_are_uniform_over_ids() -> None:
    drawn = Draws("shop", Ids()(20_000, 1.7e9)).random(20_000)
    counts = np.bincount((drawn * 20).astype(int), minlength=20)
    chi2 = ((counts - 1000) ** 2 / 1000).sum()
    assert chi2 < 50.8  # 19 degrees of freedom, p = 0.0001
