"""A config.json that is none, or of a model that is not served."""

import pytest

from support import checkpoints
from support.bad_input import CODE, Case, assert_nothing_stored, upload
from support.checkpoints import BERT, MLP, json_bytes


def with_config(config, files=checkpoints.mlp):
    text = config if isinstance(config, bytes) else json_bytes(config)
    return upload(files() | {"config.json": text})


def bert_config(**changes):
    return with_config(BERT | changes, checkpoints.bert)


def with_modules(text):
    return upload(checkpoints.bert() | {"modules.json": text})


# Well formed; a parser that recurses over it overflows its stack.
DEEP = b"[" * 500_000 + b"]" * 500_000

CONFIG = [
    Case(
        "config-is-not-json",
        with_config(b"{'model_type': mlp}"),
        CODE.INVALID_ARGUMENT,
        ("config.json",),
    ),
    Case(
        "config-is-an-array",
        with_config(b"[]"),
        CODE.INVALID_ARGUMENT,
        ("config.json",),
    ),
    Case(
        "config-is-nested-deeply",
        with_config(b'{"model_type":"mlp","x":' + DEEP + b"}"),
        CODE.INVALID_ARGUMENT,
        ("config.json", "32 levels"),
    ),
    Case(
        "config-is-nested-deeply-and-has-no-end",
        with_config(b'{"model_type":' + b"[" * 100_000),
        CODE.INVALID_ARGUMENT,
        ("config.json",),
    ),
    Case(
        "config-has-a-key-twice",
        with_config(b'{"model_type":"bert",' + json_bytes(MLP)[1:]),
        CODE.INVALID_ARGUMENT,
        ("config.json", "model_type", "twice"),
    ),
    Case(
        "config-is-too-long",
        with_config(MLP | {"x": "x" * (8 << 20)}),
        CODE.INVALID_ARGUMENT,
        ("config.json", str(8 << 20)),
    ),
    Case(
        "modules-are-nested-deeply",
        with_modules(
            b'[{"idx":0,"path":"","type":"x.Transformer","x":' + DEEP + b"}]"
        ),
        CODE.INVALID_ARGUMENT,
        ("modules.json", "32 levels"),
    ),
    Case(
        "modules-have-a-key-twice",
        with_modules(b'[{"path":"","type":"x.Transformer","path":""}]'),
        CODE.INVALID_ARGUMENT,
        ("modules.json", "path", "twice"),
    ),
    Case(
        "pooling-is-nested-deeply",
        upload(checkpoints.bert() | {"1_Pooling/config.json": DEEP}),
        CODE.INVALID_ARGUMENT,
        ("1_Pooling/config.json", "32 levels"),
    ),
    Case(
        "config-is-binary",
        with_config(bytes(range(256))),
        CODE.INVALID_ARGUMENT,
        ("config.json",),
    ),
    Case(
        "family-unknown",
        with_config({"model_type": "gpt_17"}),
        CODE.UNIMPLEMENTED,
        ("config.json", "model_type", "gpt_17"),
    ),
    Case(
        "family-is-a-number",
        with_config({"model_type": 3}),
        CODE.INVALID_ARGUMENT,
        ("config.json", "model_type"),
    ),
    Case(
        "layers-is-a-string",
        with_config(MLP | {"layers": "fc1"}),
        CODE.INVALID_ARGUMENT,
        ("config.json", "layers"),
    ),
    Case(
        "layers-holds-a-number",
        with_config(MLP | {"layers": ["fc1", 2]}),
        CODE.INVALID_ARGUMENT,
        ("config.json", "layers", "index 1"),
    ),
    Case(
        "layers-is-empty",
        with_config(MLP | {"layers": []}),
        CODE.INVALID_ARGUMENT,
        ("config.json", "layers"),
    ),
    Case(
        "layer-twice",
        with_config(MLP | {"layers": ["fc1", "fc1"]}),
        CODE.INVALID_ARGUMENT,
        ("config.json", "layers", "fc1"),
    ),
    Case(
        "activation-unknown",
        with_config(MLP | {"hidden_act": "jelu"}),
        CODE.INVALID_ARGUMENT,
        ("config.json", "hidden_act", "jelu"),
    ),
    Case(
        "hidden-size-negative",
        bert_config(hidden_size=-32),
        CODE.INVALID_ARGUMENT,
        ("config.json", "hidden_size", "-32"),
    ),
    Case(
        "hidden-size-fractional",
        bert_config(hidden_size=32.5),
        CODE.INVALID_ARGUMENT,
        ("config.json", "hidden_size", "32.5"),
    ),
    Case(
        "layer-count-huge",
        bert_config(num_hidden_layers=10**18),
        CODE.INVALID_ARGUMENT,
        ("config.json", "num_hidden_layers"),
    ),
    Case(
        "layer-count-beyond-64-bits",
        bert_config(num_hidden_layers=10**30),
        CODE.INVALID_ARGUMENT,
        ("config.json", "num_hidden_layers"),
    ),
    Case(
        "no-heads",
        bert_config(num_attention_heads=0),
        CODE.INVALID_ARGUMENT,
        ("config.json", "num_attention_heads"),
    ),
    Case(
        "heads-do-not-divide",
        bert_config(num_attention_heads=5),
        CODE.INVALID_ARGUMENT,
        ("config.json", "num_attention_heads", "5"),
    ),
    Case(
        "epsilon-is-text",
        bert_config(layer_norm_eps="small"),
        CODE.INVALID_ARGUMENT,
        ("config.json", "layer_norm_eps"),
    ),
    Case(
        "vocabulary-is-not-the-table",
        bert_config(vocab_size=51),
        CODE.INVALID_ARGUMENT,
        ("embeddings.word_embeddings.weight", "51"),
    ),
    Case(
        "more-layers-than-tensors",
        bert_config(num_hidden_layers=3),
        CODE.INVALID_ARGUMENT,
        ("encoder.layer.2.",),
    ),
    Case(
        "relative-positions",
        bert_config(position_embedding_type="relative_key"),
        CODE.UNIMPLEMENTED,
        ("position_embedding_type", "relative_key"),
    ),
]


@pytest.mark.parametrize("case", CONFIG, ids=str)
def test_a_bad_config(prepared, server, still_serves, case):
    case.check(prepared, server)
    still_serves()


def test_nothing_was_stored(prepared):
    assert_nothing_stored(prepared)
