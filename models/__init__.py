"""The networks and their weights. Knows nothing of streams."""

import os

from models.account import complete_account

# ONNX Runtime, from 1.29 on, tells its maker about the machine and the models unless it finds this
# when it is imported. Nothing leaves the machine here.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

complete_account()
