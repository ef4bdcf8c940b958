"""Catalogues for the price tests: the shipped one, and ones written for a test."""

from collections.abc import Callable

import pytest

from livekit_exporter.prices.catalogue import Catalogue, from_compiled, load
from livekit_exporter.prices.files.compile import compiled, parse


@pytest.fixture(scope="session")
def shipped() -> Catalogue:
    """The catalogue that the package ships."""
    return load()


@pytest.fixture(scope="session")
def written() -> Callable[[str], Catalogue]:
    """Make a catalogue from the text of one price file."""

    def make(text: str) -> Catalogue:
        return from_compiled(compiled([parse(text, "test.yaml")]))

    return make
