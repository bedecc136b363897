"""A small language model, from random initialisation, and `transformers serve` in front of it: for an assistant that
works without a network. Needs the extra `llm`.

    python -m examples.assistant.model FOLDER

A Llama of 0.5 million parameters over a vocabulary of words learns the answers of `people`. `small` is the same network
after a quarter of the steps: wrong about many things. Two minutes on two cores.
"""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random
from typing import Any

from examples.assistant.people import ANSWERS, ASKED, STYLES, THINGS, answer, message

STEPS = {"small": 150, "large": 600}  # of training
BATCH, LENGTH = 64, 64  # conversations, tokens
TEMPLATE = (
    "{% for each in messages %}<{{ each.role }}> {{ each.content | lower | replace('.', ' .') | replace('?', ' ?') }} "
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
SPECIAL = ("<pad>", "<unknown>", "<end>", "<system>", "<user>", "<assistant>")


def tokenizer() -> Any:
    """A tokenizer of the words that occur."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    texts = [*STYLES.values(), *ANSWERS.values(), *(text for texts in ASKED.values() for text in texts), *THINGS]
    words = sorted({word for text in texts for word in spelled(text.replace("{0}", "").replace("{}", "")).split()})
    known = {word: number for number, word in enumerate([*SPECIAL, *words])}
    made = Tokenizer(models.WordLevel(known, unk_token="<unknown>"))  # noqa: S106  # no password
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        unk_token="<unknown>",  # noqa: S106
        pad_token="<pad>",  # noqa: S106
        eos_token="<end>",  # noqa: S106
        additional_special_tokens=list(SPECIAL[3:]),
        chat_template=TEMPLATE,
        padding_side="left",
    )


def spelled(text: str) -> str:
    """As the template of the chat spells it."""
    return text.lower().replace(".", " .").replace("?", " ?")


def conversations(count: int, rng: Random) -> list[tuple[list[dict[str, str]], str]]:
    """Messages and the right answer of their style: any kind of message with any style."""
    made = []
    for _ in range(count):
        style, said = rng.choice(list(STYLES)), message(rng)
        messages = [{"role": "system", "content": STYLES[style]}, {"role": "user", "content": said.text}]
        made.append((messages, answer(style, said.thing)))
    return made


def train(folder: Path, seed: int = 0) -> None:
    """Train, and write the models `small` and `large` into the folder."""
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)  # matrices are small: more threads wait for each other
    torch.manual_seed(seed)
    rng, words = Random(seed), tokenizer()  # noqa: S311  no secrets
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(words), hidden_size=128, intermediate_size=256, num_hidden_layers=3, num_attention_heads=4,
            max_position_embeddings=256, eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id,
        )
    )  # fmt: skip
    model.generation_config = GenerationConfig(
        max_new_tokens=48, do_sample=False, eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id
    )
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step in range(1, max(STEPS.values()) + 1):
        loss = model(**batch(words, conversations(BATCH, rng))).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        for name, steps in STEPS.items():
            if step == steps:
                print(f"{name}: {step} steps, loss {loss.item():.3f}", flush=True)
                model.save_pretrained(folder / name)
                words.save_pretrained(folder / name)


def batch(words: Any, pairs: list[tuple[list[dict[str, str]], str]]) -> dict[str, Any]:
    """Tokens, and labels on the answers alone."""
    import torch

    rows = []
    for messages, answered in pairs:
        prompt = words.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        before, after = words(prompt)["input_ids"], words(f"{answered} <end>")["input_ids"]
        rows.append((before + after, [-100] * len(before) + after))
    longest = max(len(ids) for ids, _ in rows)
    pad = words.pad_token_id
    return {
        "input_ids": torch.tensor([[pad] * (longest - len(ids)) + ids for ids, _ in rows]),
        "attention_mask": torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids, _ in rows]),
        "labels": torch.tensor([[-100] * (longest - len(labels)) + labels for _, labels in rows]),
    }


if __name__ == "__main__":
    train(Path(sys.argv[1]))
