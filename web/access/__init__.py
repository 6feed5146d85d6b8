"""Who may come in, and what they may do: how many connections, how fast, tokens, guest links, the
gate before every route, rates, headers for browsers, TLS.
"""
