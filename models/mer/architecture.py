"""From an architecture, as checkpoints tell it, to the backbones of a model.

In: JSON. Out: untrained networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.emotions import MODALITIES
from models.mer.acoustic import AcousticBackbone
from models.mer.paper import HubertBackbone, InceptionBackbone
from models.mer.textual import TextualBackbone
from models.mer.visual import VisualBackbone


def build_backbones(architecture: Mapping[str, Any], tokenizer: str) -> dict[str, Any]:
    """Modality to its backbone; see `models.mer.checkpoint.Checkpoint` for the arguments."""
    visual, acoustic, textual = (architecture[name] for name in MODALITIES)
    return {
        "visual": (
            InceptionBackbone() if visual == InceptionBackbone.architecture else VisualBackbone()
        ),
        "acoustic": (
            AcousticBackbone(acoustic["layers"])
            if acoustic.get("network") == "whisper-base"
            else HubertBackbone(acoustic)
        ),
        "textual": TextualBackbone(textual, tokenizer),
    }
