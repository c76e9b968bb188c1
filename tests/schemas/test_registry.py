"""The registry, in OpenTelemetry's own model, names what the code names."""

from typing import Any

import pytest
import yaml
from intentproof_schemas import names

from tests.schemas.support import REPOSITORY

FOLDER = REPOSITORY / "schemas" / "registry"
STABILITIES = {"development", "alpha", "beta", "release_candidate", "stable"}
LEVELS = {"required", "conditionally_required", "recommended", "opt_in"}
TYPES = {
    "intentproof.intent": "string",
    "intentproof.action": "string",
    "intentproof.correlation_id": "string",
    "intentproof.inputs": "any",
    "intentproof.output": "any",
    "intentproof.event_id": "string",
    "intentproof.stream_id": "string",
    "intentproof.sequence": "int",
    "intentproof.run_id": "string",
    "intentproof.stage": "string",
    "intentproof.span_kind": "enum",
    "intentproof.scope.name": "string",
    "intentproof.scope.version": "string",
    "intentproof.links": "string",
    "intentproof.other": "string",
    "intentproof.duplicate_keys": "int",
    "intentproof.trace_id": "string",
    "intentproof.span_id": "string",
}


def _groups() -> dict[str, dict[str, Any]]:
    document = yaml.safe_load((FOLDER / "intentproof.yaml").read_text("utf-8"))
    assert list(document) == ["groups"]
    return {group["id"]: group for group in document["groups"]}


def _attributes(group: str) -> dict[str, dict[str, Any]]:
    return {attribute["id"]: attribute for attribute in _groups()[group]["attributes"]}


PRODUCED = _attributes("registry.intentproof")
MAPPED = _attributes("registry.intentproof.mapped")


def test_ids_are_those_of_the_code() -> None:
    """Each attribute of names.py is defined once, in the same order and group."""
    assert tuple(PRODUCED) == names.PRODUCER_ATTRIBUTES
    assert tuple(MAPPED) == names.MAPPED_ATTRIBUTES


def test_types_are_those_of_the_contract() -> None:
    """Each attribute has the type of the contract's table."""
    found = {
        key: attribute["type"] if isinstance(attribute["type"], str) else "enum"
        for key, attribute in {**PRODUCED, **MAPPED}.items()
    }
    assert found == TYPES


def test_span_kinds_are_those_of_the_code() -> None:
    """The members of the one enumeration are the kinds that the mapping writes."""
    members = MAPPED[names.SPAN_KIND]["type"]["members"]
    assert tuple(member["value"] for member in members) == names.SPAN_KINDS[1:]
    assert all(member["stability"] in STABILITIES for member in members)


@pytest.mark.parametrize("key", TYPES)
def test_an_attribute_is_told_in_full(key: str) -> None:
    """It has a stability, a sentence, and examples of its type."""
    attribute = {**PRODUCED, **MAPPED}[key]
    assert attribute["stability"] in STABILITIES
    assert attribute["brief"].endswith(".")
    python_type = int if attribute["type"] == "int" else str
    examples = attribute.get("examples", [])
    assert examples or isinstance(attribute["type"], dict)
    assert all(type(example) is python_type for example in examples)


def test_a_group_is_of_a_type_that_weaver_knows() -> None:
    """Two groups define attributes, one says what an intent span carries."""
    groups = _groups()
    assert [group["type"] for group in groups.values()] == [
        "attribute_group",
        "attribute_group",
        "span",
    ]
    assert all(group["brief"].strip().endswith(".") for group in groups.values())


def test_the_span_refers_to_every_attribute_that_a_producer_sets() -> None:
    """The intent is required, the rest is not, and nothing that we write is asked for."""
    span = _groups()["span.intentproof.intent"]
    references = {
        attribute["ref"]: attribute["requirement_level"] for attribute in span["attributes"]
    }
    assert tuple(references) == names.PRODUCER_ATTRIBUTES
    assert [key for key, level in references.items() if level == "required"] == [names.INTENT]
    kinds = {
        level if isinstance(level, str) else next(iter(level)) for level in references.values()
    }
    assert kinds <= LEVELS
    assert span["span_kind"] in names.SPAN_KINDS
    assert span["stability"] in STABILITIES


def test_the_manifest_names_the_registry_and_its_version() -> None:
    """The schema URL ends in a version, as OpenTelemetry asks."""
    manifest = yaml.safe_load((FOLDER / "registry_manifest.yaml").read_text("utf-8"))
    assert manifest["schema_url"].startswith("https://intentproof.dev/")
    assert manifest["schema_url"].rpartition("/")[2].count(".") == 2
    assert manifest["stability"] in STABILITIES
    assert manifest["description"]
