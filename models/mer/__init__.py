"""The multimodal emotion recognition model: `MERModel`, its backbones and its checkpoints."""

from models.mer.model import MERModel

__all__ = ["MERModel"]
