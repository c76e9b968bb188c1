"""The demo's program, as a customer would write one: a shop takes an order back.

The demo copies this file and runs the copy; nothing of ours imports it. Where events go stands in
the environment: INTENTPROOF_ENDPOINT and INTENTPROOF_API_KEY.
"""

import sys

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from otel_bridge import IntentProofSpanProcessor, intent_span, proof

EVENTS = 3


class CardDeclined(Exception):
    """The bank says no."""


@proof(intent="Tell the customer that the money is on its way", action="receipt.send")
def send_receipt(to: str, amount: int) -> dict[str, str]:
    """Send a receipt. As a function that is decorated, it says by itself what it was for."""
    return {"message": f"{amount} cents are on their way to {to}"}


def refund_order() -> None:
    """Refund, and send the receipt within: it inherits the correlation id."""
    with intent_span(
        "Return the money for a damaged lamp",
        action="order.refund",
        correlation_id="order-1042",
        inputs={"charge": "ch_771", "amount": 4200},
    ) as refund:
        refund.set_output({"refund": "re_9"})
        send_receipt("customer-88", 4200)


def capture_replacement() -> None:
    """Take payment for another lamp; it fails, and the event says how."""
    with intent_span(
        "Take payment for the replacement",
        action="payment.capture",
        correlation_id="order-1043",
        inputs={"card": "card_5", "amount": 6900},
    ):
        raise CardDeclined("insufficient funds")


def main() -> int:
    """One request of the shop; 0 if all its events were acknowledged."""
    provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
    processor = IntentProofSpanProcessor()
    provider.add_span_processor(processor)
    trace.set_tracer_provider(provider)
    # Says nothing of an intent: telemetry like any other, and not kept as evidence.
    with trace.get_tracer("shop").start_as_current_span("POST /orders/1042/return") as request:
        refund_order()
        try:
            capture_replacement()
        except CardDeclined as declined:
            sys.stdout.write(f"the replacement was not paid: {declined}\n")
    provider.shutdown()
    sent = processor.counters.sent
    trace_id = trace.format_trace_id(request.get_span_context().trace_id)
    sys.stdout.write(f"4 spans ended, {sent} events acknowledged, trace {trace_id}\n")
    return 0 if sent == EVENTS else 1


if __name__ == "__main__":
    sys.exit(main())
