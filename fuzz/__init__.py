"""Coverage-guided fuzzing of what strangers' bytes reach first: bodies, decoders, the mapping."""
