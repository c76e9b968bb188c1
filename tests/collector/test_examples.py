"""Every example for Collectors is listed, valid, the same in what it keeps, and works."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.collector.application import (
    DECLARED,
    OBSERVED,
    UNRELATED,
    expected_events,
    send,
    spans_of_one_trace,
    trace_id_of,
    wait_until_stored,
)
from tests.collector.examples import EXAMPLES, FOLDER, Example, run_collector, validate
from tests.collector.processes import ROOT, TENANT, Collector, Receiver

# One half of a pair alone delivers nothing: test_two_tiers.py runs both.
TWO_TIERS = {"agent", "gateway"}
ALONE = [example for name, example in EXAMPLES.items() if name not in TWO_TIERS]
COMPLETE = [
    "collector-config.yaml",
    "collector-config.http.yaml",
    "examples/collector/minimal.yaml",
]

MakeExample = Callable[..., Collector]

pytestmark = [
    pytest.mark.collector,
    pytest.mark.timeout(900),  # the first test may have to build the Collector
]


def settings_of(config: str) -> Mapping[str, Any]:
    settings: Mapping[str, Any] = yaml.safe_load((ROOT / config).read_text())
    return settings


def exporter_of(config: str) -> Mapping[str, Any]:
    (exporter,) = settings_of(config)["exporters"].values()
    options: Mapping[str, Any] = exporter
    return options


def test_every_file_is_in_a_row_of_the_readme() -> None:
    """No example is without a command line in the README's table, so none is untested."""
    listed = {ROOT / config for example in EXAMPLES.values() for config in example.configs}

    assert listed == {*FOLDER.glob("*.yaml"), *ROOT.glob("collector-config*.yaml")}


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_file_says_what_it_loses(file: Path) -> None:
    """The head of a file tells its environment, what is lost and when, and which alert shows it."""
    head = file.read_text().partition("\n\n")[0]

    for part in ("# Environment:", "# What it loses, and when:", "Shown by:"):
        assert part in head


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=lambda example: example.name)
def test_example_is_valid(collector_binary: Path, example: Example) -> None:
    """The Collector accepts each row's files together, with nothing set in the environment."""
    done = validate(collector_binary, *example.configs)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("config", COMPLETE)
def test_complete_files_keep_and_redact_alike(config: str) -> None:
    """What is kept, what is redacted and when memory is short stand the same in complete files."""
    assert settings_of(config)["processors"] == settings_of(COMPLETE[0])["processors"]


@pytest.mark.parametrize("config", COMPLETE)
def test_complete_files_never_give_up(config: str) -> None:
    """No delivery is dropped for its age, and a full queue makes applications wait."""
    exporter = exporter_of(config)

    assert exporter["retry_on_failure"]["max_elapsed_time"] == 0
    assert exporter["sending_queue"]["block_on_overflow"] is True


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yaml")), ids=lambda file: file.stem)
def test_memory_is_asked_first_and_nothing_batches_before_the_queue(file: Path) -> None:
    """Where a file names the pipeline's processors, memory_limiter leads and batch is absent."""
    pipelines = settings_of(str(file)).get("service", {}).get("pipelines", {})
    for pipeline in pipelines.values():
        assert pipeline["processors"][0] == "memory_limiter"
        assert not any(name.startswith("batch") for name in pipeline["processors"])


@pytest.mark.parametrize("name", ["end-to-end", "many tenants, in memory", "gateway"])
def test_answers_do_not_wait_for_a_batch(collector_binary: Path, name: str) -> None:
    """Where the application waits for its answer no batch is made, which `null` would not do."""
    done = run_collector(collector_binary, "print-config", *EXAMPLES[name].configs)
    (exporter,) = yaml.safe_load(done.stdout)["exporters"].values()
    queue = exporter["sending_queue"]

    assert (queue["wait_for_result"], queue["storage"], queue["batch"]) == (True, None, None)


@pytest.mark.long
@pytest.mark.parametrize("example", ALONE, ids=lambda example: example.name)
def test_example_keeps_what_the_contract_maps(
    example_collector: MakeExample, receiver: Receiver, example: Example
) -> None:
    """Declared, GenAI, MCP, OpenInference and OpenLLMetry spans are stored once, others not."""
    spans = spans_of_one_trace(DECLARED, OBSERVED, UNRELATED)
    marked = [OBSERVED[0]] if example.name == "marked tool spans" else []
    observed = [attributes for attributes in OBSERVED if attributes not in marked]
    expected = [
        *expected_events(spans, "declared", [*DECLARED, *marked]),
        *expected_events(spans, "observed", observed),
    ]
    api_key = receiver.key_of(TENANT) if example.forwards_keys else None
    collector = example_collector(example)

    with receiver.serving() as serving, collector.collecting():
        send(spans, collector, api_key=api_key)
        events = wait_until_stored(receiver, serving, trace_id_of(spans), count=len(expected))

    assert events == sorted(expected)
    assert receiver.verify() == 0
