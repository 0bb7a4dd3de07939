"""Conversion of audio: what a recording contains, how it is converted, and how the result is judged."""
