"""What the programs that tests start have in common: to import this loads their libraries."""

from __future__ import annotations

from models.libraries import facenet

facenet()  # before others load torchvision, which then takes two seconds longer

import cv2  # noqa: E402
import numpy.random  # noqa: E402
import onnxruntime  # noqa: E402
import rich.live  # noqa: E402
import rich.progress  # noqa: E402
import swift_f0  # noqa: E402
import tokenizers  # noqa: E402

import models.sounds.tagger  # noqa: E402
import models.stt.moonshine  # noqa: E402
import realtime.analyzers.people  # noqa: E402
import realtime.session  # noqa: E402
import run_live  # noqa: E402
import web.app  # noqa: E402, F401
