"""Prices of usage: a catalogue of dated list prices, and the arithmetic over them.

`pricing` is pure and `catalogue` reads one JSON file, both on the standard library,
because they also run in the process that carries the call.  The prices are written
by people in `catalogue/*.yaml`; `python -m livekit_exporter.prices.files.compile` checks
them and writes `compiled.json`.
"""
