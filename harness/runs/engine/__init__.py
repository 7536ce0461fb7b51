"""What asks the model: in this process or on Ray actors, with leases, timeouts and retries."""
