"""Writes a tiny model with random weights: a llama of two layers whose tokens are single characters.

    model.py FILE

Its text means nothing, but each token depends on all before it, and text -> tokens -> text is exact, so that a text
continued on another engine can be compared with the undisturbed one.
"""

import sys

import gguf
import numpy

LAYERS, WIDTH, HEADS, INNER, CONTEXT = 2, 256, 4, 1024, 8192
SPECIAL = ["<unk>", "<s>", "</s>", "<|user|>", "<|assistant|>", "<|end|>"]
# What the model may say: what JSON escapes, and characters of two, three and four bytes, are among it.
SAID = [*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", *'.,"\\\n', *"é海🜃"]
READ_ONLY = ["▁"]  # a blank, in the way of SentencePiece
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def main():
    random = numpy.random.default_rng(7)
    single_bytes = [f"<0x{byte:02X}>" for byte in range(256)]
    tokens = [*SPECIAL, *single_bytes, *READ_ONLY, *SAID]
    kinds = [gguf.TokenType.CONTROL] * len(SPECIAL) + [gguf.TokenType.BYTE] * 256
    kinds[0] = gguf.TokenType.UNKNOWN
    kinds += [gguf.TokenType.NORMAL] * (len(tokens) - len(kinds))

    writer = gguf.GGUFWriter(sys.argv[1], "llama")
    writer.add_name("random")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(kinds)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)

    def matrix(name, rows, columns, scale=1.0):
        values = random.standard_normal((rows, columns), dtype=numpy.float32) * scale / columns**0.5
        writer.add_tensor(name, values)
        return values

    matrix("token_embd.weight", len(tokens), WIDTH, WIDTH**0.5)
    # Zero for all but what it may say: with 70 others to choose from, the likeliest is never one of these.
    output = random.standard_normal((len(tokens), WIDTH), dtype=numpy.float32)
    output[: -len(SAID)] = 0
    writer.add_tensor("output.weight", output)
    writer.add_tensor("output_norm.weight", numpy.ones(WIDTH, dtype=numpy.float32))
    for layer in range(LAYERS):
        for part in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{part}.weight", numpy.ones(WIDTH, dtype=numpy.float32))
        # sharp attention, so that what was long ago still matters
        for part, scale in (("attn_q", 2.0), ("attn_k", 2.0), ("attn_v", 2.0), ("attn_output", 2.0)):
            matrix(f"blk.{layer}.{part}.weight", WIDTH, WIDTH, scale)
        matrix(f"blk.{layer}.ffn_gate.weight", INNER, WIDTH, 2.0)
        matrix(f"blk.{layer}.ffn_up.weight", INNER, WIDTH, 2.0)
        matrix(f"blk.{layer}.ffn_down.weight", WIDTH, INNER, 2.0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


main()
