"""The bulk ingestion: contacts from a source into a contact list, and an account of every one.

A batch walks one way::

    sources/     one module per kind of input; slices of numbered records
       |
    matching     which of the source's columns is which field
    normalise    a record -> a contact as JSON, or the reason why it is none; its numbers perhaps by `numbering`
    screening    left out: numbers seen before, numbers that must not be called (read by `suppressing`)
    batching     contacts -> batches, by count and by exact bytes
       |         (a bounded queue)
    sending      N senders: a batch in, its outcomes out; retries and splits stay inside
       |         (a bounded queue)
    recorder     report (a fold over outcomes) and files (the run directory)

`run` alone knows this order. Nothing is put back: what a sender takes, it settles.
"""
