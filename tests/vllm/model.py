"""Writes a tiny model with random weights, and its tokenizer: a llama of two layers.

    model.py DIRECTORY

Its text means nothing, but each token depends on all before it. It says tokens that its text is not tokenized to ("ab" as
"a" and "b", although "ab" is a token), as trained models seldom do: only the ids continue such a text exactly.
"""

import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

VOCABULARY, CONTEXT = 768, 4096
UNKNOWN, BEGIN, END, TURN, TURN_END = SPECIAL = ["<unk>", "<s>", "</s>", "<|turn|>", "<|end|>"]
TEMPLATE = (
    "{% for message in messages %}<|turn|>{{ message['role'] }}\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)


def tokenizer():
    """Pieces of words, learned from the licence."""
    made = Tokenizer(models.BPE(unk_token=UNKNOWN))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    made.train(["LICENSE"], trainer)
    return made


def is_said(text):
    """Plain text, so that an answer at temperature 0 ends by its length and is never half a character."""
    return text.isascii() and (text.isprintable() or text == "\n")


def main():
    pieces = tokenizer()
    names = {"unk_token": UNKNOWN, "bos_token": BEGIN, "eos_token": END, "pad_token": END}
    fast = PreTrainedTokenizerFast(
        tokenizer_object=pieces, additional_special_tokens=[TURN, TURN_END], clean_up_tokenization_spaces=False, **names
    )
    fast.chat_template = TEMPLATE
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=CONTEXT,
        bos_token_id=fast.bos_token_id,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
        tie_word_embeddings=False,
        initializer_range=0.3,  # sharp attention, so that what was long ago still matters
        dtype="float32",
    )
    model = LlamaForCausalLM(config)
    model.generation_config.do_sample = False
    with torch.no_grad():
        for text, number in fast.get_vocab().items():
            if text in SPECIAL or not is_said(pieces.decode([number], skip_special_tokens=False)):
                model.lm_head.weight[number] = 0
    model.save_pretrained(sys.argv[1])
    fast.save_pretrained(sys.argv[1])
    print(f"{sys.argv[1]}: {len(fast)} tokens, {sum(part.numel() for part in model.parameters())} parameters")


main()
