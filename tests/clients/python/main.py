"""All scenarios of Python."""

import jobs
import messages
import music
import operations
from scenario import run_all

if __name__ == "__main__":
    run_all(music.SCENARIOS + messages.SCENARIOS + jobs.SCENARIOS + operations.SCENARIOS)
