"""Results on disk: HDF5 files, snapshots and sidecars, the names of all files, locks, provenance."""
