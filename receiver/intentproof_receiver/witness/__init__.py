"""A witness (C2SP tlog-witness): cosigns checkpoints of others' logs that only grew."""
