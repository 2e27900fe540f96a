"""Found by Python at its start when this folder is on PYTHONPATH: the wall clock of this process can be moved.

The file that WRONG_CLOCK names holds by how many seconds. time.monotonic() stays as it is, as when an
operator or NTP steps a machine's clock.
"""

import datetime as dt
import os
import time
from pathlib import Path

_FILE = Path(os.environ.get("WRONG_CLOCK", os.devnull))
_time, _time_ns, _datetime = time.time, time.time_ns, dt.datetime


def _step() -> float:
    try:
        return float(_FILE.read_text() or 0)
    except (OSError, ValueError):
        return 0


class _Instances(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _datetime)


class _Moved(_datetime, metaclass=_Instances):
    @classmethod
    def now(cls, tz=None):
        return _datetime.now(tz) + dt.timedelta(seconds=_step())

    @classmethod
    def utcnow(cls):
        return cls.now(dt.UTC).replace(tzinfo=None)


if "WRONG_CLOCK" in os.environ:
    time.time = lambda: _time() + _step()
    time.time_ns = lambda: _time_ns() + int(_step() * 1e9)
    dt.datetime = _Moved
