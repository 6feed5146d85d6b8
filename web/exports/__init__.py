"""What sessions found, to be taken away: JSON, tables, captions, a report."""
