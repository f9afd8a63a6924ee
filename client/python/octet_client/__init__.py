"""Client of octet-server.

import octet_client

with octet_client.Client("127.0.0.1:8001") as client:
    rows = client.forward("minilm", [[101, 7592, 102]])
"""

from octet_client.client import Client, Timings
from octet_client.errors import FieldViolation, OctetError

__all__ = ["Client", "FieldViolation", "OctetError", "Timings"]
__version__ = "0.1.0"
