"""The text of a prompt for Qwen3-ASR."""

from typing import Any


def build_prompt(processor: Any, context: str, language: str | None) -> str:
    """The prompt up to where the model goes on, with one audio token for all of the audio.

    `processor` is that of Qwen's package; `language` is Qwen's name of a forced one.
    """
    messages = [
        {"role": "system", "content": context},
        {"role": "user", "content": [{"type": "audio", "audio": ""}]},
    ]
    opened: str = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return f"{opened}language {language}<asr_text>" if language else opened
