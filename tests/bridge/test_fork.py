"""Real forks, in processes of their own, against a receiver in this one."""

import json
import os
import subprocess
import sys

import pytest

from tests.bridge.receivers import Received, grpc_receiver, http_receiver

_PROGRAM = """
import json, os, sys
from opentelemetry.sdk.trace import TracerProvider
from otel_bridge import IntentProofSpanProcessor, intent_span

processor = IntentProofSpanProcessor()
provider = TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(processor)
tracer = provider.get_tracer("fork")

def emit(intent):
    with intent_span(intent, tracer=tracer):
        pass

emit("before the fork")
if sys.argv[1] == "sent":
    assert processor.force_flush(10_000)
readable, writable = os.pipe()
child = os.fork()
if child == 0:
    emit("in the child")
    done = processor.force_flush(10_000)
    told = {"stream": processor.stream_id, "done": done, "sent": processor.counters.sent}
    os.write(writable, json.dumps(told).encode())
    os._exit(0)
os.close(writable)
told = json.loads(os.read(readable, 10_000))
os.waitpid(child, 0)
emit("in the parent")
done = processor.force_flush(10_000)
provider.shutdown()
parent = {"stream": processor.stream_id, "done": done, "sent": processor.counters.sent}
print(json.dumps({"child": told, "parent": parent}))
"""


@pytest.mark.parametrize("when", ["sent", "queued"])
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_forked_child_is_a_stream_of_its_own(protocol: str, when: str) -> None:
    """Parent and child each send what is theirs, once, numbered from one in their own stream."""
    received = Received()
    serve = grpc_receiver if protocol == "grpc" else http_receiver
    with serve(received) as base:
        environ = {
            **os.environ,
            "INTENTPROOF_ENDPOINT": base,
            "INTENTPROOF_PROTOCOL": protocol,
            "OTEL_BSP_SCHEDULE_DELAY": "60000",
        }
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, when],
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["child"]["done"]
    assert told["parent"]["done"]
    assert (told["child"]["sent"], told["parent"]["sent"]) == (1, 2)
    seen = sorted((event.intent, event.stream_id, event.sequence) for event in received.events)
    assert seen == [
        ("before the fork", told["parent"]["stream"], 1),
        ("in the child", told["child"]["stream"], 1),
        ("in the parent", told["parent"]["stream"], 2),
    ]
    assert told["parent"]["stream"] != told["child"]["stream"]


def test_importing_the_bridge_is_light() -> None:
    """Neither gRPC nor requests is imported before something is sent."""
    program = (
        "import sys, otel_bridge; otel_bridge.IntentProofSpanProcessor(); "
        "print([name for name in ('grpc', 'requests', 'urllib3') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
