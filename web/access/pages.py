"""Pages without anything to do on them, but to erase what was found of oneself.

In: what there is to say. Out: HTML.
"""

from __future__ import annotations

from html import escape


def plain_page(title: str, text: str) -> str:
    """A page that says `text`, one sentence or more; on it a guest can erase what this browser
    published in the call."""
    text = f"{text[0].upper()}{text[1:]}".rstrip(".") + "."
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{escape(title)}</title>
<link rel="stylesheet" href="/static/common/style.css">
<script src="/static/call/erasing.js" type="module"></script>
</head>
<body>
<main class="doc">
<h1>{escape(title)}</h1>
<p id="notice" role="status"></p>
<p>{escape(text)}</p>
<section class="card" id="erasing" aria-labelledby="erasing-title" hidden>
<h2 id="erasing-title">You were in this call</h2>
<p>Your words and your scores are on the host's server.</p>
<button type="button" class="erase">Erase what was found of me</button>
</section>
</main>
</body>
</html>
"""
