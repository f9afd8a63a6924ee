"""What the end-to-end tests share: a server, a client, checkpoints, texts."""
