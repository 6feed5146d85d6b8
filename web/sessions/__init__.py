"""Sessions over HTTP: those that run and those that ended, how one is begun, followed and deleted,
what the model was given, uploads.
"""
