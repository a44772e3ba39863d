"""Work in a process of its own: what hangs, swells, crashes or fails costs itself only."""

import os
import signal
import sys
import time

import pytest

from deepchem_crystalssl.crystals.isolation import AnswerLost, IsolatedProcess

CODE = """
import os, time
from deepchem_crystalssl.crystals.isolation import answer_questions
def answer(question):
    print("a library prints")
    yield os.getpid()
    if question == "hang": time.sleep(60)
    if question == "swell": held = [bytearray(2**26) for _ in range(1000)]
    if question == "crash": os.abort()
    if question == "leave": os._exit(3)
    if question == "fail": raise KeyError("sites")
    yield {"of": question}
answer_questions(answer)
"""


@pytest.fixture
def process():
    with IsolatedProcess([sys.executable, "-c", CODE], seconds=60.0, memory_bytes=2**29) as process:
        yield process


def test_answers_come_in_order_from_one_process(process):
    first, second = list(process.ask("é")), list(process.ask([1, None]))
    assert first[1] == {"of": "é"} and second == [first[0], {"of": [1, None]}]


@pytest.mark.parametrize(
    "question, why",
    [
        ("hang", "more than 2 s"),
        pytest.param("swell", "more than 0.5 GiB", marks=pytest.mark.skipif(sys.platform != "linux", reason="Linux")),
        ("crash", "ended by SIGABRT"),
        ("leave", "ended with status 3"),
        ("fail", "KeyError: 'sites'"),
    ],
)
def test_a_lost_answer_says_why_and_the_next_question_is_answered(process, question, why):
    process.seconds = 2.0 if question == "hang" else process.seconds
    came = []
    with pytest.raises(AnswerLost, match=why):
        for line in process.ask(question):
            came.append(line)
    assert len(came) == 1  # what came before is kept
    again = list(process.ask("next"))
    assert again[1] == {"of": "next"} and again[0] != came[0]


def test_an_answer_that_is_given_up_leaves_nothing_for_the_next(process):
    next(process.ask("one"))
    assert list(process.ask("two"))[1] == {"of": "two"}


def test_waiting_for_a_question_is_not_limited():
    code = "import deepchem_crystalssl.crystals.isolation as m; m._SPARE_SECONDS = 0\n" + CODE
    with IsolatedProcess([sys.executable, "-c", code], seconds=1.0) as process:
        before = list(process.ask("one"))
        time.sleep(2.5)
        assert list(process.ask("one")) == before


def test_a_process_without_its_parent_ends_itself():
    code = "import deepchem_crystalssl.crystals.isolation as m; m._SPARE_SECONDS = 0\n" + CODE
    with IsolatedProcess([sys.executable, "-c", code], seconds=1.0) as process:
        pid = next(answer := process.ask("hang"))
        child = process._process  # the limit of the parent is not reached: it asks for no further line
        assert child.wait(timeout=10) == -signal.SIGALRM and child.pid == pid
        answer.close()


def test_the_process_ends_with_the_block():
    with IsolatedProcess([sys.executable, "-c", CODE]) as process:
        pid, _ = process.ask("one")
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("the process lives on")
