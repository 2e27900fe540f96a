"""The OpenAI videos format, so that OpenAI's own clients drive the gateway."""
