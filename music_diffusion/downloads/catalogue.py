"""The published checkpoints: where they are and what is known of their content."""

from dataclasses import dataclass

JBDIFF = "https://huggingface.co/jmoso13/jukebox-diffusion/resolve/main/v1/"
DANCE = "https://model-server.zqevans2.workers.dev/"
ZENODO = "https://zenodo.org/record/3987831/files/"
MUSIC = "https://huggingface.co/novateur/WavTokenizer-medium-music-audio-75token/resolve/main/"
VGGISH = "https://github.com/harritaylor/torchvggish/releases/download/v0.1/"


@dataclass(frozen=True)
class Entry:
    """A published file: its name here, its addresses in order, and what is known of its content."""

    file: str
    urls: tuple[str, ...]
    licence: str
    sha256: str | None = None
    size: int | None = None  # exact, in bytes
    about: str = "?"  # the size as its publisher gives it


def _jbdiff(file: str, part: str, sha256: str) -> Entry:
    return Entry(file, (JBDIFF + part,), "see huggingface.co/jmoso13/jukebox-diffusion", sha256)


def _dance(file: str, sha256: str) -> Entry:
    return Entry(f"{file}.ckpt", (f"{DANCE}{file}.ckpt",), "MIT", sha256)


def _wavtokenizer(url: str, sha256: str | None = None) -> Entry:
    return Entry(url.rsplit("/", 1)[1], (url,), "MIT", sha256, about="1.75 GB")


# Not one of these was fetched while this was written. Addresses and hashes come from the projects'
# own code and pages; "second hand" marks what was only quoted elsewhere.
TABLE = {
    "vqvae": Entry(
        "vqvae.pth.tar",
        (
            "https://openaipublic.azureedge.net/jukebox/models/5b/vqvae.pth.tar",
            # second hand
            "https://openaipublic.blob.core.windows.net/jukebox/models/5b/vqvae.pth.tar",
        ),
        "OpenAI noncommercial",
        size=7_726_329,  # second hand, from a log; no hash is published
    ),
    "jbdiff-2": _jbdiff(
        "jbdiff-v1-level2.ckpt",
        "epoch%3D4938-step%3D400000_vqvae_add.ckpt",
        "424917a12814cbfab58aaf7dcdc7ff53663fa965da525eeb3e0b219572307cb1",
    ),
    "jbdiff-1": _jbdiff(
        "jbdiff-v1-level1.ckpt",
        "epoch%3D1404-step%3D455000.ckpt",
        "6f74d02f2cdaec53d2e310184a294b3dda617ef012b2ec83b0bc23595a0bf27f",
    ),
    "jbdiff-0": _jbdiff(
        "jbdiff-v1-level0.ckpt",
        "epoch%3D543-step%3D705000.ckpt",
        "1d4611627d190106351a6ebfc82733baaba5af05144c1f1fa8333057ad8d53dc",
    ),
    "jbdiff-dance": _jbdiff(
        "jbdiff-v1-dance.ckpt",
        "epoch%3D2125-step%3D218000.ckpt",
        "07a121730560d3ca217cd665630412e40d2c3d05b7629c4fc796c51148cdb9ee",
    ),
    "dance-glitch": _dance(
        "gwf-440k", "48caefdcbb7b15e1a0b3d08587446936302535de74b0e05e0d61beba865ba00a"
    ),
    "dance-jmann-small": _dance(
        "jmann-small-190k", "1e2a23a54e960b80227303d0495247a744fa1296652148da18a4da17c3784e9b"
    ),
    "dance-jmann-large": _dance(
        "jmann-large-580k", "6b32b5ff1c666c4719da96a12fd15188fa875d6f79f8dd8e07b4d54676afa096"
    ),
    "dance-maestro": _dance(
        "maestro-150k", "49d9abcae642e47c2082cec0b2dce95a45dc6e961805b6500204e27122d09485"
    ),
    "dance-unlocked": _dance(
        "unlocked-250k", "af337c8416732216eeb52db31dcc0d49a8d48e2b3ecaa524cb854c36b5a3503a"
    ),
    "dance-honk": _dance(
        "honk-140k", "a66847844659d287f55b7adbe090224d55aeafdd4c2b3e1e1c6a02992cb6e792"
    ),
    "wavtokenizer": _wavtokenizer(f"{MUSIC}wavtokenizer_medium_music_audio_320_24k.ckpt"),
    "wavtokenizer-v2": _wavtokenizer(f"{MUSIC}wavtokenizer_medium_music_audio_320_24k_v2.ckpt"),
    # hop 600; speech; the hash is second hand
    "wavtokenizer-600": _wavtokenizer(
        "https://huggingface.co/novateur/WavTokenizer/resolve/main/"
        "WavTokenizer_small_600_24k_4096.ckpt",
        "d44c40fbb83d2d42329ac098e252a31b5708fb7b3bf864d108dd3ed26911d004",
    ),
    "vggish": Entry(
        "vggish-10086976.pth",
        (VGGISH + "vggish-10086976.pth",),
        "Apache-2.0",
        # second hand; its beginning is in the file's name
        "10086976245803799d9194e9a73d9b6c1549c71d1b80106f5cade5608a561f4b",
    ),
    "pann-16k": Entry(
        "Cnn14_16k_mAP=0.438.pth",
        (ZENODO + "Cnn14_16k_mAP%3D0.438.pth",),
        "CC-BY-4.0",
        "e2ee543a27919542c2ea03eabaa70b24dcd4e6c8e05621de6b67a94e4c5058e6",  # second hand
    ),
    "pann-32k": Entry(
        "Cnn14_mAP=0.431.pth",
        (ZENODO + "Cnn14_mAP%3D0.431.pth",),
        "CC-BY-4.0",
        "0dc499e40e9761ef5ea061ffc77697697f277f6a960894903df3ada000e34b31",  # second hand
    ),
    "pann-8k": Entry("Cnn14_8k_mAP=0.416.pth", (ZENODO + "Cnn14_8k_mAP%3D0.416.pth",), "CC-BY-4.0"),
    "sedd-small": Entry(
        "sedd-small.bin",
        ("https://huggingface.co/louaaron/sedd-small/resolve/main/pytorch_model.bin",),
        "MIT",
        about="679 MB",
    ),
    "sedd-medium": Entry(
        "sedd-medium.bin",
        ("https://huggingface.co/louaaron/sedd-medium/resolve/main/pytorch_model.bin",),
        "MIT",
        about="1.7 GB",
    ),
    "musicnn": Entry("musicnn.safetensors", (), "ISC", about="3.2 MB"),  # out of a Python package
}
