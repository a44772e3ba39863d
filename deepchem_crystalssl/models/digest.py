"""The identity of a trained model: a digest of its weights."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .checkpointed import CheckpointedModel


def weights_digest(model: CheckpointedModel) -> str:
    """Digest of the weights of all components of a model, 16 hexadecimal digits; models that differ have others."""
    digest = hashlib.sha256()
    for name, component in sorted(model.components.items()):
        for key, tensor in component.state_dict().items():
            digest.update(f"{name}.{key}".encode())
            digest.update(tensor.detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
