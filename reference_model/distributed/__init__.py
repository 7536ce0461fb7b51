"""Several processes: launching, sharding and preparing data once for all."""
