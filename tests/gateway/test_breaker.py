"""The circuit breaker, with times made by hand."""

from __future__ import annotations

from bondhu.serve.gateway.breaker import CLOSED, Breaker, Rules, entered, failed, left, standing, wait

RULES = Rules(failures=3, seconds=30.0)


def broken(now: float = 100.0) -> Breaker:
    breaker = CLOSED
    for _ in range(3):
        breaker = failed(breaker, now, RULES)
    return breaker


def test_it_opens_after_so_many_failures_in_a_row() -> None:
    twice = failed(failed(CLOSED, 0.0, RULES), 1.0, RULES)
    assert standing(twice, 1.0, RULES) == "closed"
    assert entered(twice, 1.0, RULES) == twice
    thrice = failed(twice, 2.0, RULES)
    assert standing(thrice, 2.0, RULES) == "open"
    assert entered(thrice, 2.0, RULES) is None
    assert wait(thrice, 2.0, RULES) == 30.0
    assert wait(thrice, 12.0, RULES) == 20.0


def test_a_success_in_between_begins_the_count_anew() -> None:
    breaker = failed(failed(CLOSED, 0.0, RULES), 0.0, RULES)
    breaker = failed(CLOSED, 0.0, RULES)  # a success puts CLOSED in its place
    assert breaker.failures == 1
    assert standing(breaker, 0.0, RULES) == "closed"


def test_one_request_tries_it_again_after_a_while() -> None:
    breaker = broken()
    assert standing(breaker, 129.9, RULES) == "open"
    assert standing(breaker, 130.0, RULES) == "half-open"
    probing = entered(breaker, 130.0, RULES)
    assert probing is not None
    assert entered(probing, 131.0, RULES) is None  # the others wait for its outcome


def test_a_probe_that_fails_opens_it_for_as_long_again() -> None:
    probing = entered(broken(), 130.0, RULES)
    assert probing is not None
    again = failed(probing, 131.0, RULES)
    assert standing(again, 160.9, RULES) == "open"
    assert standing(again, 161.0, RULES) == "half-open"


def test_a_probe_that_ends_without_an_outcome_lets_the_next_one_try() -> None:
    probing = entered(broken(), 130.0, RULES)
    assert probing is not None
    assert entered(left(probing), 131.0, RULES) is not None
    assert entered(probing, 160.0, RULES) is not None  # one that never reported back is not waited for for ever


def test_a_closed_one_has_nothing_to_wait_for() -> None:
    assert wait(CLOSED, 5.0, RULES) == 0.0
    assert left(CLOSED) == CLOSED
