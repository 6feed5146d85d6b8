"""What sessions found, to be taken away: JSON, tables, captions, a report. Which formats there are,
and what makes each of them, is in `realtime/formats/catalogue.py`.
"""
