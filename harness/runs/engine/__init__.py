"""The engines that ask the model, in this process or on Ray actors, with leases, timeouts and retries.

A batch of the plan travels as follows. `plan_file.due` yields it if one of its requests is not finished. A runner,
`in_process` or `cluster`, notes it as started in `RunProgress` and passes it to a `Worker`, which holds the model and
returns one line per request, failures included. `RunProgress` stores the lines and notes the batch as finished.

A model may also end its process or never return. Then nothing comes back, and the two runners differ:

- On Ray the model has a process of its own. The driver holds each batch as a `Lease`; when an actor dies or has to be
  killed, the lease is put back, in the end one sample at a time, another actor takes over, and the run goes on.
- In process the run ends with the model, resumably. The next session finds in the events what was in flight
  (`find_suspects`), asks each of those alone, and gives up on a sample that ends the process again and again.

In both a sample is recorded as failed only after the model has ended several times with nothing but this sample in
flight (`cluster.TRIES`, `in_process.ENDS_BEFORE_GIVING_UP`), so no sample fails because of another in its batch. A
timeout of a single sample on Ray is an exception: it is recorded the first time.
"""
