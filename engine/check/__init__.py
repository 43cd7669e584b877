"""Proof of a checkpoint on a machine.

The device path against the plain one.
`run.py` is the order of a check. `figures.py` has the values of the table; `stages.py` runs one speech through talker
and predictor, `probe.py` watches and forces their operations; `language.py` and `codec.py` compare both paths;
`speeches.py`, `speed.py`, `hearing.py`, `package.py` use the engine as served, `report.py` writes table, JSON, HTML.
"""
