"""A worker process of the local pool: it takes payloads, a line of JSON each, and answers each with a line. It ends when nobody can give it more."""

import importlib
import json
import os
import signal
import sys
import threading
from functools import reduce
from queue import SimpleQueue
from typing import IO, Any

from segzoo.atomic import remove_parts


def main(module: str, name: str) -> None:
    """Answer on standard output until standard input ends. Whatever else the process prints goes to standard error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's: it closes the pipe
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    waiting: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(waiting,), daemon=True).start()
    function: Any = reduce(getattr, name.split("."), importlib.import_module(module))
    _answer(answers, True)
    while True:
        _answer(answers, function(json.loads(waiting.get())))


def _listen(waiting: "SimpleQueue[bytes]") -> None:
    """Pass on what comes. At the end of the pipe, in the middle of whatever is done, remove what is half written and go."""
    unread = b""
    while data := os.read(0, 1 << 20):  # not sys.stdin, whose lock would keep the interpreter from an orderly end
        *lines, unread = (unread + data).split(b"\n")
        for line in lines:
            waiting.put(line)
    remove_parts()
    os._exit(0)


def _answer(answers: IO[bytes], message: object) -> None:
    answers.write(json.dumps(message).encode() + b"\n")
    answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:3])
