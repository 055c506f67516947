"""An offline control plane of Modal for tests, for the client's version pinned in pyproject.toml.

The real `modal` client speaks gRPC to this server, and every call is executed by the real container runtime
(`python -m modal._container_entrypoint`) in a process of its own: class parameters, `enter` hooks, pickling,
exceptions, volumes' commit and reload run Modal's own code. Simulated are scheduling, images, mounts and GPUs, and what
goes wrong with them: a container that is preempted, crashes or runs out of time, an input that is delivered twice. Only
the RPCs that scoring uses are there; any other answers UNIMPLEMENTED.
"""

from nemo_assets_tests.modal.control_plane.records import Loss
from nemo_assets_tests.modal.control_plane.server import OfflineModal

__all__ = ["Loss", "OfflineModal"]
