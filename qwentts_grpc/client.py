"""The former name of `qwentts_client.client`."""

import sys

from qwentts_client import client
from qwentts_client.client import *  # noqa: F403

sys.modules[__name__] = client
