"""What the programs that tests start have in common: to import this loads their libraries."""

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
