"""People with every kind of token, and what they ask for."""

from __future__ import annotations

TOKEN = "correct-horse-battery-staple"
