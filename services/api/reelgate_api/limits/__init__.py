"""How much may be asked of the gateway: by a key, by a wallet, by everybody together."""
