"""For all tests: how many examples hypothesis tries, and signals as a terminal gives them.

`ci` is the same on every run, `dev` looks for something new each time, `thorough` looks long. Chosen by the
environment: CI=true, or HYPOTHESIS_PROFILE=NAME. Deadlines are off: emulated machines are slow, and not evenly.
"""

import os
import signal

from hypothesis import HealthCheck, settings

_SLOW_IS_FINE = [HealthCheck.too_slow]

settings.register_profile("dev", deadline=None, suppress_health_check=_SLOW_IS_FINE)
settings.register_profile(
    "ci", deadline=None, suppress_health_check=_SLOW_IS_FINE, derandomize=True, print_blob=True, database=None
)
settings.register_profile("thorough", settings.get_profile("dev"), max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") == "true" else "dev"))

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background of a shell; children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
