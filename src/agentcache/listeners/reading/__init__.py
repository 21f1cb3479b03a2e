"""What a document says, as text that can be compared: no page furniture, no clock times, no order of JSON members.

Knows neither Django nor the network. It runs in a process of its own (`program`), for documents are other people's: one that
is made to take for ever, or all memory, takes that process with it and nothing else.
"""
