"""What the programs that tests start have in common: to import this loads it, networks included."""

import gc
from functools import cache
from importlib import import_module

from models.libraries import facenet

facenet()  # before others load torchvision, which then takes two seconds longer

for name in (
    "cv2",
    "numpy.random",
    "onnxruntime",
    "rich.live",
    "rich.progress",
    "swift_f0",
    "tokenizers",
    "models.sounds.tagger",
    "models.stt.moonshine",
    "realtime.analyzers.people",
    "realtime.session",
    "run_live",
    "web.app",
):
    import_module(name)

# Their networks, too, are loaded once, but for the recogniser, which has threads. That a program
# finds them itself is for the tests that start a Python of their own.
local = import_module("realtime.analyzers.local")
for name in ("load_mer", "load_faces", "load_people", "load_sounds"):
    setattr(local, name, cache(getattr(local, name)))
local.load_mer("embedded")
local.load_faces()
local.load_people()
local.load_sounds()
gc.freeze()  # or each program's first collection would copy all pages that it shares
