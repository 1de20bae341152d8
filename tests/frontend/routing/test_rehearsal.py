"""Which prompts are computed again for a host that has lost its cache, as histories without an engine."""

from frontend.routing.job import Job
from ipc.messages import Accepted, Delta, Finish
from tests.frontend.routing.hosts import History

LONG = "You are a helpful assistant. " * 50  # more than two blocks


def history(replicas: int = 1) -> History:
    made = History(replicas)
    made.route.rehearse()
    return made


def use(history: History, prompt: str) -> None:
    """A request from its beginning to its end."""
    history.ask(prompt)
    history.accept()
    history.complete()


def reload(history: History) -> None:
    history.die(number=9)
    history.ready_again()


def pass_time(history: History) -> None:
    """What is due happens, once."""
    timers, history.timers = history.timers, []
    for _, callback in timers:
        callback()


def running(history: History) -> list[Job]:
    return list(history.route.replicas[0].jobs.values())


def finish(history: History) -> None:
    for request_id in list(history.route.replicas[0].jobs):
        history.say(0, Accepted(request_id, 10), Delta(request_id, [1], "", Finish("length")))


def test_a_new_host_computes_what_was_used_lately_the_most_used_first():
    made = history()
    use(made, LONG + "rare")
    for _ in range(3):
        use(made, "Often. " + LONG)
    reload(made)
    pass_time(made)
    assert made.holds() == ["Often. " + LONG]
    finish(made)
    pass_time(made)
    assert made.holds()[-1] == LONG + "rare"
    finish(made)
    pass_time(made)
    assert not running(made)


def test_a_conversation_that_goes_on_takes_the_place_of_its_beginning():
    made = history()
    use(made, LONG)
    use(made, LONG + "And then? " * 200)
    reload(made)
    pass_time(made)
    finish(made)
    pass_time(made)
    assert made.holds() == [LONG + "And then? " * 200]


def test_a_request_comes_first_and_the_rest_is_computed_after_it():
    made = history()
    use(made, LONG)
    reload(made)
    pass_time(made)
    [rehearsal] = running(made)
    made.ask("A client's.")
    assert rehearsal.ended
    assert made.holds() == ["A client's."]
    pass_time(made)
    assert len(running(made)) == 1
    made.accept()
    made.complete()
    pass_time(made)
    assert [job.is_rehearsal for job in running(made)] == [True]


def test_it_does_not_count_as_work_and_a_prompt_that_killed_its_host_is_not_tried_again():
    made = history()
    use(made, LONG)
    reload(made)
    pass_time(made)
    assert running(made)
    assert made.route.running == 0
    made.die()
    made.ready_again()
    pass_time(made)
    assert not running(made)
    assert not list(made.route.jobs)


def test_what_was_in_a_host_that_died_is_not_rehearsed():
    made = history()
    use(made, "Harmless. " + LONG)
    fatal = made.ask("Fatal. " + LONG)
    made.die()
    made.ready_again()
    fatal.close()
    pass_time(made)
    assert made.holds() == ["Harmless. " + LONG]
    finish(made)
    pass_time(made)
    assert not running(made)


def test_short_prompts_are_not_worth_it_and_few_are_kept():
    made = history()
    use(made, "Hello.")
    for number in range(9):
        use(made, f"{number} {LONG}")
    reload(made)
    seen = []
    for _ in range(12):
        pass_time(made)
        seen += [job.is_rehearsal for job in running(made)]
        finish(made)
    assert len(seen) == 4


def test_a_host_that_is_to_leave_gets_no_more():
    made = history()
    use(made, LONG)
    reload(made)
    pass_time(made)
    made.route.close(True)
    assert not running(made)
    pass_time(made)
    assert not running(made)
