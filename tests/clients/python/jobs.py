"""RQ: jobs in Redis lists, hashes and sorted sets, with a worker in this process."""

from rq import Queue, Retry, SimpleWorker
from rq.registry import FailedJobRegistry, FinishedJobRegistry, ScheduledJobRegistry
from rq.timeouts import TimerDeathPenalty

from scenario import connect, direct

ATTEMPTS = {}


def multiply(left, right):
    return left * right


def fail_always():
    raise ValueError("no luck")


def fail_once(name):
    ATTEMPTS[name] = ATTEMPTS.get(name, 0) + 1
    if ATTEMPTS[name] == 1:
        raise ValueError("not yet")
    return "in the end"


class Worker(SimpleWorker):
    """Runs the jobs in this process, without signals."""

    death_penalty_class = TimerDeathPenalty


def run_jobs():
    """Results, failures, a retry and a dependency; half of the jobs after the server was killed."""
    # RQ stores pickled bytes.
    connection = connect(decode_responses=False)
    queue = Queue("imports", connection=connection)
    jobs = [queue.enqueue(multiply, number, 3) for number in range(40)]
    bad = queue.enqueue(fail_always)
    again = queue.enqueue(fail_once, "again", retry=Retry(max=2))
    dependent = queue.enqueue(multiply, 6, 7, depends_on=jobs[-1])
    direct("chill")
    Worker([queue], connection=connection).work(burst=True, max_jobs=20, logging_level="ERROR")
    assert queue.count == 22, queue.count
    direct("chill")
    direct("restart")
    Worker([queue], connection=connection).work(burst=True, logging_level="ERROR")
    assert [job.return_value() for job in jobs] == [number * 3 for number in range(40)]
    assert dependent.return_value() == 42
    assert again.return_value() == "in the end"
    assert bad.is_failed and bad.id in FailedJobRegistry(queue=queue).get_job_ids()
    assert len(FinishedJobRegistry(queue=queue)) == 42
    assert queue.count == 0 and len(ScheduledJobRegistry(queue=queue)) == 0
    for job in [*jobs, bad, again, dependent]:
        job.delete()


SCENARIOS = [("rq_jobs", run_jobs)]
