"""Results sent to other programs while a session runs: by OSC, and by Lab Streaming Layer."""
