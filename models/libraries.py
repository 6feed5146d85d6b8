"""Libraries that a machine may lack, or that it cannot load: what to say, and what to do.

In: what Python raised. Out: one line with the remedies. And OpenCV, which often is such a library,
and facenet-pytorch, which takes its time.
"""

from __future__ import annotations

import re
import sys
from types import ModuleType

from models.errors import UsageError


def opencv() -> ModuleType:
    """OpenCV, as `cv2`; `UsageError` if it cannot be loaded."""
    path = sys.path[:]
    try:
        import cv2
    except ImportError as error:
        # Its loader puts its own folder first, where it would stand in for other modules.
        sys.path[:] = path
        raise unloadable(error) from error
    module: ModuleType = cv2
    return module


def facenet() -> ModuleType:
    """facenet-pytorch, without the two seconds in which torchvision loads PyTorch's compiler.

    Of that its `roi_align` wants a function, should somebody compile it; nobody here does.
    """
    compiler = "torch._dynamo.utils"
    if not {"torchvision", compiler} & sys.modules.keys():
        stand_in = ModuleType(compiler)
        stand_in.is_compile_supported = lambda device: False  # type: ignore[attr-defined]
        sys.modules[compiler] = stand_in
        try:
            import torchvision  # noqa: F401 - for what comes next
        finally:
            del sys.modules[compiler]
    import facenet_pytorch

    module: ModuleType = facenet_pytorch
    return module


def unloadable(error: ImportError | OSError) -> UsageError:
    """What to tell of a library that Python, or the system, did not load."""
    reason = " ".join(str(error).split())
    name = (getattr(error, "name", None) or "").partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and "is not a package" in reason:
        return UsageError(f"a file {name}.py stands in the place of the package {name}: rename it")
    if isinstance(error, ModuleNotFoundError):
        package = _PACKAGES.get(name, name)
        return UsageError(f"the Python package {package} is not installed: pip install {package}")
    missing = _MISSING.search(reason)
    library = missing[1] if missing else ""
    what = "OpenCV" if library in _OPENCV else name or "a library"
    remedies = []
    if library in _DEBIAN:
        remedies.append(f"apt install {_DEBIAN[library]}")
    elif library and any(absent in reason for absent in _ABSENT):
        remedies.append(f"install the package of your system that has {library}")
    if library in _OPENCV:
        # Both packages own the folder cv2: to remove the one would break the other.
        remedies.append(
            "pip uninstall -y opencv-python, then pip install opencv-python-headless, "
            "which gives the same cv2"
        )
    if not remedies:
        remedies.append("install it again, for this version of Python and this machine")
    return UsageError(f"{what} cannot be loaded ({reason[:200]}): {', or '.join(remedies)}")


def cannot_load(error: OSError) -> bool:
    """Whether the system tells that it did not find, or could not take, a shared library."""
    if getattr(error, "winerror", None) in _WINDOWS:
        return True
    told = str(error)
    return error.errno is None and (
        told.startswith("dlopen(") or _MISSING.search(told) is not None  # macOS and Linux
    )


_WINDOWS = (126, 127, 193, 1114)
"""Not found, a procedure not found, of another architecture, its start failed."""


# As the loader of Linux tells it: "libGL.so.1: cannot open shared object file: ...".
_MISSING = re.compile(r"(?:^|[\s/(])(lib[\w+.-]*\.so[\w.]*): ")

_ABSENT = ("cannot open shared object file", "Error loading shared library")
"""How Linux, and musl, tell that there is none: others lack a symbol or a version, and belong to
Python's package more often than to the system's."""

_OPENCV = (
    *("libGL.so.1", "libgthread-2.0.so.0", "libglib-2.0.so.0", "libSM.so.6", "libXext.so.6"),
    *("libX11.so.6", "libXrender.so.1", "libxcb.so.1"),
)

_DEBIAN = {
    "libGL.so.1": "libgl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libSM.so.6": "libsm6",
    "libXext.so.6": "libxext6",
    "libX11.so.6": "libx11-6",
    "libXrender.so.1": "libxrender1",
    "libxcb.so.1": "libxcb1",
    "libopenblas.so.0": "libopenblas0",
    "libgomp.so.1": "libgomp1",
    "libstdc++.so.6": "libstdc++6",
    "libsndfile.so.1": "libsndfile1",
    "libportaudio.so.2": "libportaudio2",
}
"""The package of Debian and Ubuntu that has a library."""

_PACKAGES = {
    "cv2": "opencv-python-headless",
    "facenet_pytorch": "facenet-pytorch",
    "PIL": "pillow",
    "silero_vad": "silero-vad",
    "prometheus_client": "prometheus-client",
    "python_multipart": "python-multipart",
    "typing_extensions": "typing-extensions",
}
"""The package that brings a module, where their names differ."""
