"""What the doctor looks at: each module yields findings, changes nothing, and needs no lock."""

from .clock import clock_findings
from .finding import Finding
from .keyring import key_findings
from .limits import limit_findings
from .places import place_findings
from .ports import port_findings
from .running import Running, find_running, running_findings
from .stamps import stamp_findings
from .standing import standing_findings
from .witnesses import witness_findings

__all__ = [
    "Finding",
    "Running",
    "clock_findings",
    "find_running",
    "key_findings",
    "limit_findings",
    "place_findings",
    "port_findings",
    "running_findings",
    "stamp_findings",
    "standing_findings",
    "witness_findings",
]
