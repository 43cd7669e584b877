"""Engines of other processes: one Unix socket each.

`server` answers for the engines of a process, `client` calls it, `replicas` spreads speeches over several processes;
`messages`, `link` and `questions` are what passes between.
"""
