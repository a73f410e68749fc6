# The studio in a container, on a CPU; with --build-arg TORCH=cu130, for NVIDIA GPUs.
# docs/docker.md has the commands.
FROM python:3.11-slim-bookworm

ARG TORCH=cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1

WORKDIR /source
COPY requirements.txt requirements-ui.txt ./
RUN pip install --extra-index-url "https://download.pytorch.org/whl/$TORCH" -r requirements.txt \
    && sed 's/\[[a-z]*\]//' requirements.txt > constraints.txt \
    && pip install -c constraints.txt -r requirements-ui.txt

COPY . .
ARG COMMIT=unknown
RUN echo "$COMMIT" > music_diffusion/commit.txt \
    && pip install --no-deps . \
    && useradd --create-home --uid 1000 music \
    && install -d -o 1000 /work /work/runs /work/studio /music

USER 1000
WORKDIR /work
EXPOSE 7860
VOLUME ["/work", "/music"]
ENTRYPOINT ["music-diffusion"]
CMD ["studio", "--host", "0.0.0.0", "--auth", "/run/secrets/studio_users", "--folders", "[runs, /music]"]
