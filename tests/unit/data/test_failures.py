"""A user's mistake is found behind whatever Ray wrapped it in."""

import torch
from ray.exceptions import ActorDiedError, RayTaskError
from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

from data.errors import EncoderUnavailable, InputError
from data.failures import first_cause, input_error, unavailable

MISTAKE = InputError("corpus.jsonl, line 3: no 'text'", "Add the column.")


def reported(error: BaseException) -> tuple[str, str] | None:
    """Problem and remedy of the mistake behind an error."""
    found = input_error(error)
    return (found.problem, found.remedy) if found else None


def task_error(cause: Exception) -> RayTaskError:
    """What ``ray.get`` raises for a task that failed with ``cause``."""
    return RayTaskError("read", f"data.errors.InputError: {cause}", cause, pid=1, ip="127.0.0.1")


EXPECTED = (MISTAKE.problem, MISTAKE.remedy)


def test_a_plain_mistake_is_itself() -> None:
    assert reported(MISTAKE) == EXPECTED


def test_mistake_in_a_task() -> None:
    assert reported(task_error(MISTAKE)) == EXPECTED
    assert reported(task_error(MISTAKE).as_instanceof_cause()) == EXPECTED


def test_mistake_in_an_actors_constructor() -> None:
    assert reported(ActorDiedError(task_error(MISTAKE))) == EXPECTED


def test_mistake_in_a_training_worker() -> None:
    group = WorkerGroupError("workers failed", {0: ValueError("other"), 1: task_error(MISTAKE)})
    assert reported(group) == EXPECTED
    assert reported(ControllerError(group)) == EXPECTED


def test_mistake_that_another_exception_was_raised_from() -> None:
    try:
        raise RuntimeError("job failed") from MISTAKE
    except RuntimeError as error:
        assert reported(error) == EXPECTED


def test_of_two_mistakes_in_a_text_the_one_that_was_raised_is_told() -> None:
    inner = InputError("text 3 is too long", "Cut it.")
    text = f"data.errors.InputError: {inner}\n\nThe above exception was the direct cause of the following one:\n\n"
    assert (
        reported(RayTaskError("embed", f"{text}data.errors.InputError: {MISTAKE}\n", KeyError("x"), 1, "")) == EXPECTED
    )


def test_a_fault_of_ours_is_no_mistake_of_the_user() -> None:
    assert reported(task_error(ValueError("shape"))) is None
    assert reported(KeyError("x")) is None


def test_an_encoder_that_cannot_be_had_is_told_from_a_mistake_however_it_came() -> None:
    down = EncoderUnavailable("the encoder m is unavailable", "Start its server.")
    text = RayTaskError("embed", f"data.errors.EncoderUnavailable: {down}", down, pid=1, ip="127.0.0.1")
    for error in (down, text, text.as_instanceof_cause(), ActorDiedError(text)):
        found = unavailable(error)
        assert found is not None and (found.problem, found.remedy) == (down.problem, down.remedy)
        assert reported(error) == (down.problem, down.remedy)
    assert unavailable(MISTAKE) is None and unavailable(task_error(MISTAKE)) is None


def test_a_device_that_ran_out_of_memory_is_an_encoder_that_cannot_be_had() -> None:
    found = unavailable(RayTaskError("embed", "", torch.OutOfMemoryError("CUDA out of memory.\nmore"), 1, "127.0.0.1"))
    assert found is not None and found.problem == "OutOfMemoryError: CUDA out of memory."
    assert unavailable(RuntimeError("shape")) is None


def test_what_ray_wraps_is_told_by_its_first_cause() -> None:
    text = "ray::embed() (pid=1)\n  File x\nsafetensors.SafetensorError: header cut\n\nThe above ...\nValueError: b"
    assert first_cause(RayTaskError("embed", text, KeyError("x"), 1, "")) == "safetensors.SafetensorError: header cut"
    assert first_cause(ValueError("shapes differ\nmore")) == "ValueError: shapes differ"
    assert first_cause(KeyError()) == "KeyError: no message"
