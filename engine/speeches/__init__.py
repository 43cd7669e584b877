"""Open speeches, from a caller's request to its last event.

speech.py          the caller's handle; outbox.py its events, unread and read
open_speeches.py   all of an engine: who waits, who is past a limit, who gets which outcome
preparation.py     recordings that are encoded before their speech joins the queue
"""
