"""The muscle: leases trials from the service, trains them and reports."""
