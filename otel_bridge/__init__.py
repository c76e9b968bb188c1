"""The bridge from OpenTelemetry to IntentProof: intent spans become events, none lost in silence.

Importing it imports no network library; the first event that is sent does.
"""

from .ended import EndedSpan, WireSpan, map_ended
from .errors import BridgeError, ProofError, SettingError
from .exporter import Counters, Exporter
from .in_memory import InMemoryExporter
from .intent import IntentSpan, intent_span
from .otlp_exporter import OtlpExporter
from .processor import IntentProofSpanProcessor
from .proof import proof
from .settings import OtlpSettings, QueueSettings

__all__ = [
    "BridgeError",
    "Counters",
    "EndedSpan",
    "Exporter",
    "InMemoryExporter",
    "IntentProofSpanProcessor",
    "IntentSpan",
    "OtlpExporter",
    "OtlpSettings",
    "ProofError",
    "QueueSettings",
    "SettingError",
    "WireSpan",
    "intent_span",
    "map_ended",
    "proof",
]
