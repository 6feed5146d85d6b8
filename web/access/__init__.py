"""Who may come in, and what they may do: tokens, guest links, the gate before every route, rates,
headers for browsers, TLS.
"""
