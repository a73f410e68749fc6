"""Small random models of transformers and diffusers, saved as those that are downloaded."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

SMALL = {"num_filters": 4, "hidden_size": 8, "codebook_size": 16, "num_lstm_layers": 1}


def encodec(sample_rate: int = 24000, **settings) -> nn.Module:
    from transformers import EncodecConfig, EncodecModel

    usual = {"upsampling_ratios": [4, 2], "target_bandwidths": [sample_rate / 500]}  # 4 codebooks
    return EncodecModel(EncodecConfig(**SMALL, **(usual | settings), sampling_rate=sample_rate))


def stereo_encodec() -> nn.Module:
    return encodec(
        48000,
        audio_channels=2,
        normalize=True,
        chunk_length_s=1.0,
        overlap=0.01,
        use_causal_conv=False,
        norm_type="time_group_norm",
        upsampling_ratios=[8, 5, 4, 2],
        target_bandwidths=[1.8],
    )


def dac(sample_rate: int = 44100, ratios: tuple[int, ...] = (2, 4)) -> nn.Module:
    from transformers import DacConfig, DacModel

    return DacModel(
        DacConfig(
            encoder_hidden_size=4,
            decoder_hidden_size=16,
            downsampling_ratios=list(ratios),
            n_codebooks=9,
            codebook_size=16,
            codebook_dim=4,
            sampling_rate=sample_rate,
        )
    )


def mimi() -> nn.Module:
    from transformers import MimiConfig, MimiModel

    return MimiModel(
        MimiConfig(
            num_filters=4,
            hidden_size=16,
            codebook_size=16,
            codebook_dim=8,
            vector_quantization_hidden_dimension=8,
            num_quantizers=4,
            upsample_groups=16,
            num_hidden_layers=1,
            intermediate_size=16,
            num_attention_heads=2,
            num_key_value_heads=2,
            head_dim=8,
        )
    )


def xcodec() -> nn.Module:
    from transformers import DacConfig, HubertConfig, XcodecConfig, XcodecModel

    ratios = [8, 5, 4, 2]
    acoustic = DacConfig(encoder_hidden_size=4, decoder_hidden_size=32, downsampling_ratios=ratios)
    semantic = HubertConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        conv_dim=(4,) * 7,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    )
    return XcodecModel(
        XcodecConfig(
            acoustic_model_config=acoustic.to_dict()
            | {"upsampling_ratios": ratios, "hidden_size": 8},
            semantic_model_config=semantic.to_dict(),
            codebook_size=16,
            target_bandwidths=[0.8],
        )
    )


def oobleck(channels: int = 2) -> nn.Module:
    from diffusers import AutoencoderOobleck

    return AutoencoderOobleck(
        encoder_hidden_size=8,
        downsampling_ratios=[2, 4],
        channel_multiples=[1, 2],
        decoder_channels=4,
        decoder_input_channels=4,
        audio_channels=channels,
    )


def save(build: Callable[[], nn.Module], folder: Path, seed: int = 0) -> str:
    """Save a random model, with codebooks that aren't zero."""
    torch.manual_seed(seed)
    model = build()
    for buffer in model.buffers():
        if buffer.dim() == 2 and buffer.is_floating_point():
            buffer.normal_()
    for parameter in model.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    return str(folder)
