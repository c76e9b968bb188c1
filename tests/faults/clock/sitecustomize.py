"""Sets the wall clock of the Python process that finds this on its path; monotonic clocks go on.

The file named by FAULT_CLOCK holds the seconds to add, and is read at each call.
"""

import os
import time
from pathlib import Path

_OFFSET = Path(os.environ["FAULT_CLOCK"])
_time, _time_ns = time.time, time.time_ns

time.time = lambda: _time() + int(_OFFSET.read_text())
time.time_ns = lambda: _time_ns() + int(_OFFSET.read_text()) * 10**9
