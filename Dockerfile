# The dashboard, on processors alone.
#   docker build -t live-emotion .
#   docker run -p 8000:8000 -v live-emotion:/data live-emotion
# It prints the link that lets you in. Browsers send cameras by UDP: for those add --network host.
FROM python:3.11-slim

# hadolint ignore=DL3008 # the release's newest, so that it is patched
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 libportaudio2 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 analyser \
    && install -d -o analyser /data

WORKDIR /source
COPY pyproject.toml README.md LICENSE run_live.py ./
COPY models models
COPY realtime realtime
COPY web web
# uv, because pip alone would bring CUDA along: 4 GB.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir uv \
    && uv pip install --system --no-cache --torch-backend=cpu . \
    && rm -rf /source

USER 1000
WORKDIR /data
ENV LIVE_EMOTION_STORE=/data/sessions.sqlite
VOLUME /data
EXPOSE 8000
HEALTHCHECK --start-period=60s --interval=30s --timeout=5s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["live-emotion"]
CMD ["--host", "0.0.0.0", "--no-browser"]
