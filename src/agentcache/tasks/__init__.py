"""Tasks: jobs that a team can watch and cancel. On pages and in the API they are called jobs.

A task is a row beside the job that does it: how far it is, how fast, what it says. The functions that do tasks work in steps;
a step and the note of how far it came are one transaction, so that a killed worker neither loses nor repeats one.
"""
