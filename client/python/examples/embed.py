"""Embeds three sentences and says how close they are.

usage: python embed.py MODEL TOKENIZER_DIRECTORY [HOST:PORT]
"""

import sys

import octet_client
import octet_client.text

model, tokenizer, *server = sys.argv[1:]
texts = ["A cat sits on the mat.", "A kitten rests on a rug.", "Rates rose."]
with octet_client.Client(*server) as client:
    embedder = octet_client.text.Embedder(client, model, tokenizer)
    rows = embedder.encode(texts)
print((rows @ rows.T).round(3))
