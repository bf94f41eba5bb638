"""What is drawn and filmed of a run: panels and swaps, players for the report's page, curves of long samples.

May import what lies below `eval`; no command of `eval`.
"""
