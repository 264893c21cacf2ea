"""Charts of the claims: one look, the paper's value in each, captions made of the numbers.

`drawing` makes the charts of one claim, `files` writes one to disk. The theme is registered with
Altair as "limitcycles": ``altair.theme.enable("limitcycles")`` gives a notebook the same look.
"""
