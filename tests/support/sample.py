"""Make the recording that the first page offers to those without a camera.

In: the portrait and the voice of `talks`. Out: ``web/static/sample/talk.mp4``. Run: ``python
tests/support/sample.py``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import av
from av.video.frame import PictureType
from checkout import REPO
from talks import WOMAN, film

OUT = REPO / "web" / "static" / "sample" / "talk.mp4"
SIZE = 320, 240
TEXTS = (
    "I am so happy to see you, thank you very much.",
    "The meeting begins at ten in the morning.",
    "Oh my god, that is amazing.",
    "I would like a cup of tea.",
)


def main() -> None:
    """Film it, and make it small: H.264 and AAC, which browsers and the server can play."""
    OUT.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        talk = film(Path(folder, "talk.mp4"), TEXTS, voice=WOMAN, size=SIZE)
        shrink(talk.path, OUT)


def shrink(film: Path, to: Path) -> None:
    """Encode `film` anew at a low rate, with its index first, so that it can be shown at once."""
    with (
        av.open(str(film)) as source,
        av.open(str(to), "w", options={"movflags": "faststart"}) as out,
    ):
        look = {"preset": "veryslow", "crf": "30", "tune": "stillimage"}
        pictures = out.add_stream("libx264", source.streams.video[0].average_rate, options=look)
        pictures.width, pictures.height = SIZE
        pictures.pix_fmt = "yuv420p"
        sound = out.add_stream("aac", 22_050, layout="mono")
        sound.bit_rate = 32_000
        for frame in source.decode(video=0, audio=0):
            if isinstance(frame, av.VideoFrame):
                frame.pict_type = PictureType.NONE  # the encoder chooses anew
                out.mux(pictures.encode(frame))
            else:
                out.mux(sound.encode(frame))
        out.mux([*pictures.encode(None), *sound.encode(None)])


if __name__ == "__main__":
    main()
