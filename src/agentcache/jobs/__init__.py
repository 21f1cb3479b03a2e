"""Work for later: a job is a row in the control plane's database, done at least once by a worker."""
