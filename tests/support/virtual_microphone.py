"""A microphone without hardware: PulseAudio in user space, its null sink's monitor as the default.

What is played into it is what PortAudio, and so the program, hears.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from checkout import require_or_skip


class VirtualMicrophone:
    """Attributes: `env`, the variables under which a process finds this microphone alone."""

    def __init__(self, folder: Path) -> None:
        for program in ("pulseaudio", "pactl", "pacat"):
            if shutil.which(program) is None:
                require_or_skip(f"{program} (Debian: pulseaudio, pulseaudio-utils)")
        plugins = list(Path("/usr/lib").glob("**/alsa-lib/libasound_module_pcm_pulse.so"))
        if not plugins:
            require_or_skip("ALSA's plugin for PulseAudio (Debian: libasound2-plugins)")
        self.folder = folder
        self._socket = folder / "pulse.socket"
        config = folder / "alsa.conf"
        config.write_text(
            "</usr/share/alsa/alsa.conf>\n"
            "pcm.!default { type pulse }\n"
            "ctl.!default { type pulse }\n"
        )
        self.env = {
            "PULSE_SERVER": f"unix:{self._socket}",
            "PULSE_COOKIE": str(folder / "cookie"),
            "ALSA_CONFIG_PATH": str(config),
        }
        self._daemon: subprocess.Popen[bytes] | None = None
        self._players: list[subprocess.Popen[bytes]] = []

    def plug_in(self) -> None:
        modules = [
            f"module-native-protocol-unix socket={self._socket} auth-anonymous=1",
            "module-null-sink sink_name=cable",
            "module-remap-source source_name=mic master=cable.monitor",
        ]
        loads = [part for module in modules for part in ("-L", module)]
        own = {"HOME", "XDG_RUNTIME_DIR", "PULSE_RUNTIME_PATH", "PULSE_STATE_PATH"}
        path = {"PATH": "/usr/bin:/bin"}
        with (self.folder / "pulseaudio.log").open("ab") as log:
            self._daemon = subprocess.Popen(
                ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", *loads],
                env=path | dict.fromkeys(own, str(self.folder)) | self.env,
                stdout=log,
                stderr=log,
            )
        for _ in range(100):
            listed = subprocess.run(
                ["pactl", "list", "short", "sources"], env=path | self.env, capture_output=True
            )
            if b"\tmic\t" in listed.stdout:
                return
            time.sleep(0.1)
        raise RuntimeError((self.folder / "pulseaudio.log").read_text())

    def pull_out(self) -> None:
        """Vanish, as a microphone whose cable is pulled."""
        for process in (*self._players, self._daemon):
            if process is not None:
                process.kill()
                process.wait()

    def hang(self) -> None:
        """Deliver nothing more, as a device whose driver hangs."""
        assert self._daemon is not None
        self._daemon.send_signal(signal.SIGSTOP)

    def play(self, samples: npt.NDArray[np.float32], rate: int = 16_000) -> None:
        """Begin to speak float32 (n,) samples into the microphone."""
        form = ["--raw", "--format=float32le", "--channels=1", f"--rate={rate}"]
        speech = self.folder / "speech.raw"
        samples.tofile(speech)
        with speech.open("rb") as stdin:
            self._players.append(
                subprocess.Popen(["pacat", "--playback", *form], env=self.env, stdin=stdin)
            )


@contextmanager
def virtual_microphone(folder: Path) -> Iterator[VirtualMicrophone]:
    """A microphone that is plugged in; `folder` is for its files."""
    microphone = VirtualMicrophone(folder)
    microphone.plug_in()
    try:
        yield microphone
    finally:
        microphone.pull_out()
