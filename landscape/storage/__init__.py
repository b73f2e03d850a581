"""Results on disk: HDF5 files, locks, provenance."""
