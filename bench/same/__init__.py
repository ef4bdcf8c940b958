"""Compare what two versions of the project make of the same inputs, byte for byte."""
