"""From a source of sound and pictures to events: what was said and felt, as it happens."""
