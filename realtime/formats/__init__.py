"""What sessions found, to be taken away in files: `findings` are read, each other module writes one
kind of file of them, piece by piece, so that a session of any length needs little memory."""
