"""Scripts that measure speed and quality; docs/benchmarks.md and pages of their own show the tables they print."""
