"""Writes a language model of random weights, a few hundred kilobytes, in llama.cpp's own format.

    python tiny.py FILE.gguf [--seed N]

It has the architecture of Llama and a token for each byte. What it says is noise, in the shape that the server's grammar
holds it to: enough to see that promptmill and the server understand each other, on a machine with no model at all.
"""

import argparse

import gguf
import numpy

WIDTH, HEADS, LAYERS, FEED, CONTEXT = 64, 2, 2, 128, 32768
SPECIAL = ["<|unknown|>", "<|begin|>", "<|end|>", "<|turn|>"]
TEMPLATE = (
    "{% for message in messages %}<|turn|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)


def letters():
    """The letter by which byte-level vocabularies name each byte: itself where it can be seen, else one from U+0100 on."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(0x100) if byte not in visible]
    names = {byte: chr(byte) for byte in visible} | {byte: chr(0x100 + place) for place, byte in enumerate(hidden)}
    return [names[byte] for byte in range(0x100)]


def write(path, seed=0):
    random = numpy.random.default_rng(seed)
    pairs = [("e", "n"), ("d", "e"), ("Ġ", "d"), ("i", "n")]
    tokens = letters() + [left + right for left, right in pairs] + SPECIAL
    special = len(tokens) - len(SPECIAL)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny noise")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * special + [gguf.TokenType.CONTROL] * len(SPECIAL))
    writer.add_token_merges([f"{left} {right}" for left, right in pairs])
    writer.add_unk_token_id(special)
    writer.add_bos_token_id(special + 1)
    writer.add_eos_token_id(special + 2)
    writer.add_chat_template(TEMPLATE)

    def matrix(name, *shape):
        writer.add_tensor(name, random.normal(0, 0.1, shape).astype(numpy.float32))

    def norm(name):
        writer.add_tensor(name, numpy.ones(WIDTH, dtype=numpy.float32))

    matrix("token_embd.weight", len(tokens), WIDTH)
    for layer in range(LAYERS):
        norm(f"blk.{layer}.attn_norm.weight")
        norm(f"blk.{layer}.ffn_norm.weight")
        for name in ["attn_q", "attn_k", "attn_v", "attn_output"]:
            matrix(f"blk.{layer}.{name}.weight", WIDTH, WIDTH)
        matrix(f"blk.{layer}.ffn_gate.weight", FEED, WIDTH)
        matrix(f"blk.{layer}.ffn_up.weight", FEED, WIDTH)
        matrix(f"blk.{layer}.ffn_down.weight", WIDTH, FEED)
    norm("output_norm.weight")
    matrix("output.weight", len(tokens), WIDTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    write(asked.file, asked.seed)
