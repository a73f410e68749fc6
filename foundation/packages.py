"""Which packages are ours; also known where torch isn't imported yet."""

PACKAGES = (
    *("foundation", "audio", "codec", "sedd", "jbdiff", "datamodules", "callbacks", "metrics"),
    "music_diffusion",
)
