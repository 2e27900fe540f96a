"""What two or more Reelgate services share: domain, messages, Kie.ai client, database, bus, outbox, logs."""
