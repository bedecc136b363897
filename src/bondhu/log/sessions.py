"""Which decision follows which, and whose they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bondhu.log.rewards import Heard
from bondhu.types import Booleans, Integers, Records


@dataclass(frozen=True)
class Chain:
    """How decisions follow each other."""

    order: Integers  # [T] rows by session, and by time within one
    session: Integers  # [T] number of the run of decisions that a row belongs to
    following: Integers  # [T] row of the next decision of the session; -1: none
    cut: Booleans  # [T] something followed that nobody saw


def chain(records: Records, idle: float, heard: Heard) -> Chain:
    """A decision follows another of its session less than `idle` seconds earlier that no signal ended or cut."""
    count = len(records.time)
    following = np.full(count, -1)
    if idle == 0:
        return Chain(np.arange(count), np.arange(count), following, np.zeros(count, bool))
    name = records.session.codes
    order = np.lexsort((records.time, name))  # stable: decisions of one instant stay in order of arrival
    earlier, later = order[:-1], order[1:]
    linked = (name[earlier] == name[later]) & (records.time[later] - records.time[earlier] < idle)
    linked &= ~(heard.ended | heard.cut)[earlier]
    following[earlier[linked]] = later[linked]
    session = np.empty(count, np.int64)
    session[order] = np.cumsum(np.concatenate([[False], ~linked])[:count])
    return Chain(order, session, following, heard.cut & ~heard.ended)


def people(records: Records, rows: Integers, session: Integers) -> Integers:
    """Number of the person each row belongs to: whoever began its session; the session itself where nobody is known."""
    began = np.flatnonzero(np.diff(session, prepend=-1))
    user, name = (each.take(rows[began]) for each in (records.user, records.session))
    numbers = {each: number for number, each in enumerate({*user.values, *name.values})}
    of_user, of_name = (np.array([numbers[each] for each in column.values], np.int64) for column in (user, name))
    person = np.where(user.among("", None), of_name[name.codes], of_user[user.codes])
    return np.repeat(person, np.diff(began, append=len(rows)))
