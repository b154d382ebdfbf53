"""Engines of the tests, behind the seam of the others. `here` does tasks in this process, so that a test may change what workers are made of.
`deserted` has workers for so many seconds and then none, as a cluster whose nodes are all gone.
"""

import time


def workers_of(address, needs):
    return 1


def submit(function, take, address, needs):
    name, _, seconds = address.partition("=")
    until = time.monotonic() + float(seconds or 0)
    while (task := take()) is not None:
        while name == "deserted":
            time.sleep(0.02)
            yield int(time.monotonic() < until)
        yield task[0], function(task[1])
