"""Engines of other processes: one Unix socket each.

`server` answers for the engines of a process, `client` calls it, `replicas` spreads speeches over several processes;
`messages` and `link` are what passes between.
"""
