"""The bulk ingestion: contacts from a source into a contact list, and an account of every one.

A batch walks one way::

    sources/     one module per kind of input; slices of numbered records
       |
    preflight    a look at the first rows, before anything is sent
    matching     which of the source's columns is which field
    normalise    a record -> a contact as JSON, or the reason why it is none; its number by `phone_text`, or `numbering`
    screening    left out: numbers seen before, numbers that must not be called (read by `suppressing` and `barring`),
       |         numbers that a run of the same family has sent (`family`)
    batching     contacts -> batches, by count and by exact bytes
       |         (a bounded queue)
    sending      N senders: a batch in, its outcomes out; retries and splits stay inside
       |         (a bounded queue)
    recorder     report (a fold over outcomes) and files (the run directory)

A run directory (`directory`) holds the `journal`, what `run_settings` makes of it again, and what `files`, `reasons`
and `recovery` write and read. `amend` pushes the mended rows of a run, `start` begins and resumes one.

`run` alone knows this order. Nothing is put back: what a sender takes, it settles.
"""
