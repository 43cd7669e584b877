"""Names, shapes of a checkpoint's tensors, from its configuration."""

from engine.checkpoint.codec_config import Json

Shape = tuple[int, ...]
Shapes = dict[str, Shape]

_SPEAKER_DEFAULTS = {  # of the published speaker encoders, absent from their config.json
    "mel_dim": 128,
    "enc_channels": [512, 512, 512, 512, 1536],
    "enc_kernel_sizes": [5, 3, 3, 3, 1],
    "enc_res2net_scale": 8,
    "enc_attention_channels": 128,
    "enc_se_channels": 128,
}


def main_shapes(config: Json) -> Shapes:
    """Tensors of model.safetensors.

    Talker, code predictor, and the speaker encoder of a base checkpoint.
    """
    talker = config["talker_config"]
    shapes = _talker(talker) | _predictor(talker["code_predictor_config"], talker["hidden_size"])
    if config["tts_model_type"] == "base":
        shapes |= _speaker_encoder(_SPEAKER_DEFAULTS | config["speaker_encoder_config"])
    return shapes


def codec_shapes(config: Json) -> Shapes:
    """Tensors of speech_tokenizer/model.safetensors: encoder, decoder of the codec."""
    return _codec_encoder(config["encoder_config"]) | _codec_decoder(config["decoder_config"])


def _talker(t: Json) -> Shapes:
    hidden, text = t["hidden_size"], t["text_hidden_size"]
    return {
        **_decoder_stack("talker.model", t),
        "talker.model.codec_embedding.weight": (t["vocab_size"], hidden),
        "talker.model.text_embedding.weight": (t["text_vocab_size"], text),
        **_linear("talker.text_projection.linear_fc1", text, text, bias=True),
        **_linear("talker.text_projection.linear_fc2", hidden, text, bias=True),
        **_linear("talker.codec_head", t["vocab_size"], hidden),
    }


def _predictor(p: Json, talker_hidden: int) -> Shapes:
    prefix, hidden, vocab = "talker.code_predictor", p["hidden_size"], p["vocab_size"]
    shapes = _decoder_stack(f"{prefix}.model", p)
    for group in range(p["num_code_groups"] - 1):
        shapes[f"{prefix}.model.codec_embedding.{group}.weight"] = (vocab, talker_hidden)
        shapes |= _linear(f"{prefix}.lm_head.{group}", vocab, hidden)
    if hidden != talker_hidden:
        shapes |= _linear(f"{prefix}.small_to_mtp_projection", hidden, talker_hidden, bias=True)
    return shapes


def _decoder_stack(prefix: str, c: Json) -> Shapes:
    hidden, head = c["hidden_size"], c["head_dim"]
    queries, keys = c["num_attention_heads"] * head, c["num_key_value_heads"] * head
    shapes: Shapes = {f"{prefix}.norm.weight": (hidden,)}
    for i in range(c["num_hidden_layers"]):
        layer = f"{prefix}.layers.{i}"
        shapes |= _attention(layer, hidden, queries, keys) | _gated_mlp(layer, hidden, c["intermediate_size"])
        shapes |= {f"{layer}.self_attn.{name}_norm.weight": (head,) for name in "qk"}
        shapes |= {f"{layer}.{name}_layernorm.weight": (hidden,) for name in ("input", "post_attention")}
    return shapes


def _speaker_encoder(e: Json) -> Shapes:
    prefix, widths, kernels = "speaker_encoder", e["enc_channels"], e["enc_kernel_sizes"]
    shapes = _conv(f"{prefix}.blocks.0.conv", widths[0], e["mel_dim"], kernels[0])
    for i in range(1, len(widths) - 1):
        shapes |= _speaker_block(f"{prefix}.blocks.{i}", widths[i - 1], widths[i], kernels[i], e)
    attention, last = e["enc_attention_channels"], widths[-1]
    shapes |= _conv(f"{prefix}.mfa.conv", last, last, kernels[-1])
    shapes |= _conv(f"{prefix}.asp.tdnn.conv", attention, 3 * last, 1)
    shapes |= _conv(f"{prefix}.asp.conv", last, attention, 1)
    return shapes | _conv(f"{prefix}.fc", e["enc_dim"], 2 * last, 1)


def _speaker_block(prefix: str, inputs: int, width: int, kernel: int, e: Json) -> Shapes:
    scale, squeeze = e["enc_res2net_scale"], e["enc_se_channels"]
    shapes = _conv(f"{prefix}.tdnn1.conv", width, inputs, 1) | _conv(f"{prefix}.tdnn2.conv", width, width, 1)
    for i in range(scale - 1):
        shapes |= _conv(f"{prefix}.res2net_block.blocks.{i}.conv", width // scale, width // scale, kernel)
    shapes |= _conv(f"{prefix}.se_block.conv1", squeeze, width, 1)
    return shapes | _conv(f"{prefix}.se_block.conv2", width, squeeze, 1)


def _codec_encoder(e: Json) -> Shapes:
    hidden = e["hidden_size"]
    shapes = _codec_encoder_convs(e) | _conv("encoder.downsample.conv", hidden, hidden, 4, bias=False)
    for i in range(e["num_hidden_layers"]):
        shapes |= _codec_encoder_layer(f"encoder.encoder_transformer.layers.{i}", e)
    semantic = e["num_semantic_quantizers"]
    for part, levels in (("semantic", semantic), ("acoustic", e["num_quantizers"] - semantic)):
        shapes |= _encoder_quantizer(f"encoder.quantizer.{part}_residual_vector_quantizer", levels, e)
    return shapes


def _codec_encoder_convs(e: Json) -> Shapes:
    prefix, width = "encoder.encoder.layers", e["num_filters"]
    shapes = _conv(f"{prefix}.0.conv", width, e["audio_channels"], e["kernel_size"])
    index = 1
    for ratio in reversed(e["upsampling_ratios"]):
        for _ in range(e["num_residual_layers"]):
            narrow = width // e["compress"]
            shapes |= _conv(f"{prefix}.{index}.block.1.conv", narrow, width, e["residual_kernel_size"])
            shapes |= _conv(f"{prefix}.{index}.block.3.conv", width, narrow, 1)
            index += 1
        shapes |= _conv(f"{prefix}.{index + 1}.conv", 2 * width, width, 2 * ratio)  # an activation sits between
        index, width = index + 2, 2 * width
    return shapes | _conv(f"{prefix}.{index + 1}.conv", e["hidden_size"], width, e["last_kernel_size"])


def _codec_encoder_layer(layer: str, e: Json) -> Shapes:
    hidden, inner, heads = e["hidden_size"], e["intermediate_size"], e["num_attention_heads"] * e["head_dim"]
    shapes = _attention(layer, hidden, heads, heads) | _layer_scales(layer, hidden)
    shapes |= _linear(f"{layer}.mlp.fc1", inner, hidden) | _linear(f"{layer}.mlp.fc2", hidden, inner)
    for name in ("input", "post_attention"):
        shapes |= _norm(f"{layer}.{name}_layernorm", hidden)
    return shapes


def _encoder_quantizer(prefix: str, levels: int, e: Json) -> Shapes:
    hidden, inner = e["hidden_size"], e["vector_quantization_hidden_dimension"]
    shapes = _conv(f"{prefix}.input_proj", inner, hidden, 1, bias=False)
    shapes |= _conv(f"{prefix}.output_proj", hidden, inner, 1, bias=False)
    for i in range(levels):
        book = f"{prefix}.layers.{i}.codebook"
        shapes[f"{book}.initialized"] = (1,)
        shapes[f"{book}.cluster_usage"] = (e["codebook_size"],)
        shapes[f"{book}.embed_sum"] = (e["codebook_size"], e["codebook_dim"])
    return shapes


def _codec_decoder(d: Json) -> Shapes:
    latent, dim, semantic = d["latent_dim"], d["codebook_dim"], d["num_semantic_quantizers"]
    shapes = _conv("decoder.pre_conv.conv", latent, dim, 3) | _codec_decoder_transformer(d)
    for part, levels in (("first", semantic), ("rest", d["num_quantizers"] - semantic)):
        shapes |= _decoder_quantizer(f"decoder.quantizer.rvq_{part}", levels, d)
    for i, factor in enumerate(d["upsampling_ratios"]):
        shapes |= _upsampler(f"decoder.upsample.{i}", latent, factor)
    return shapes | _vocoder(d["decoder_dim"], latent, d["upsample_rates"])


def _codec_decoder_transformer(d: Json) -> Shapes:
    prefix, hidden, heads = "decoder.pre_transformer", d["hidden_size"], d["num_attention_heads"] * d["head_dim"]
    keys = d["num_key_value_heads"] * d["head_dim"]
    shapes = _linear(f"{prefix}.input_proj", hidden, d["latent_dim"], bias=True)
    shapes |= _linear(f"{prefix}.output_proj", d["latent_dim"], hidden, bias=True)
    shapes[f"{prefix}.norm.weight"] = (hidden,)
    for i in range(d["num_hidden_layers"]):
        layer = f"{prefix}.layers.{i}"
        shapes |= _attention(layer, hidden, heads, keys) | _gated_mlp(layer, hidden, d["intermediate_size"])
        shapes |= _layer_scales(layer, hidden)
        shapes |= {f"{layer}.{name}_layernorm.weight": (hidden,) for name in ("input", "post_attention")}
    return shapes


def _decoder_quantizer(prefix: str, levels: int, d: Json) -> Shapes:
    dim, inner = d["codebook_dim"], d["codebook_dim"] // 2
    shapes = _conv(f"{prefix}.input_proj", inner, dim, 1, bias=False)  # stored, though decoding never uses it
    shapes |= _conv(f"{prefix}.output_proj", dim, inner, 1, bias=False)
    for i in range(levels):
        book = f"{prefix}.vq.layers.{i}._codebook"
        shapes[f"{book}.cluster_usage"] = (d["codebook_size"],)
        shapes[f"{book}.embedding_sum"] = (d["codebook_size"], inner)
    return shapes


def _upsampler(prefix: str, width: int, factor: int) -> Shapes:
    return {
        **_transposed_conv(f"{prefix}.0.conv", width, width, factor),
        f"{prefix}.1.gamma": (width,),
        **_conv(f"{prefix}.1.dwconv.conv", width, 1, 7),
        **_norm(f"{prefix}.1.norm", width),
        **_linear(f"{prefix}.1.pwconv1", 4 * width, width, bias=True),
        **_linear(f"{prefix}.1.pwconv2", width, 4 * width, bias=True),
    }


def _vocoder(width: int, latent: int, rates: list[int]) -> Shapes:
    prefix = "decoder.decoder"
    shapes = _conv(f"{prefix}.0.conv", width, latent, 7)
    for i, rate in enumerate(rates, start=1):
        shapes |= _vocoder_block(f"{prefix}.{i}.block", width, rate)
        width //= 2
    last = len(rates) + 1
    return shapes | _snake(f"{prefix}.{last}", width) | _conv(f"{prefix}.{last + 1}.conv", 1, width, 7)


def _vocoder_block(prefix: str, width: int, rate: int) -> Shapes:
    half = width // 2
    shapes = _snake(f"{prefix}.0", width) | _transposed_conv(f"{prefix}.1.conv", width, half, 2 * rate)
    for unit in (2, 3, 4):
        shapes |= _snake(f"{prefix}.{unit}.act1", half) | _conv(f"{prefix}.{unit}.conv1.conv", half, half, 7)
        shapes |= _snake(f"{prefix}.{unit}.act2", half) | _conv(f"{prefix}.{unit}.conv2.conv", half, half, 1)
    return shapes


def _attention(layer: str, hidden: int, queries: int, keys: int) -> Shapes:
    return {
        **_linear(f"{layer}.self_attn.q_proj", queries, hidden),
        **_linear(f"{layer}.self_attn.k_proj", keys, hidden),
        **_linear(f"{layer}.self_attn.v_proj", keys, hidden),
        **_linear(f"{layer}.self_attn.o_proj", hidden, queries),
    }


def _gated_mlp(layer: str, hidden: int, inner: int) -> Shapes:
    return {
        **_linear(f"{layer}.mlp.gate_proj", inner, hidden),
        **_linear(f"{layer}.mlp.up_proj", inner, hidden),
        **_linear(f"{layer}.mlp.down_proj", hidden, inner),
    }


def _layer_scales(layer: str, hidden: int) -> Shapes:
    return {f"{layer}.{name}_layer_scale.scale": (hidden,) for name in ("self_attn", "mlp")}


def _linear(name: str, outputs: int, inputs: int, *, bias: bool = False) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), **({f"{name}.bias": (outputs,)} if bias else {})}


def _conv(name: str, outputs: int, inputs: int, kernel: int, *, bias: bool = True) -> Shapes:
    return {f"{name}.weight": (outputs, inputs, kernel), **({f"{name}.bias": (outputs,)} if bias else {})}


def _transposed_conv(name: str, inputs: int, outputs: int, kernel: int) -> Shapes:
    return {f"{name}.weight": (inputs, outputs, kernel), f"{name}.bias": (outputs,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _snake(name: str, width: int) -> Shapes:
    return {f"{name}.alpha": (width,), f"{name}.beta": (width,)}
