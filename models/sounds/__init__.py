"""Non-speech sounds: a network that hears them, where each begins and ends, and how
often that is right."""
