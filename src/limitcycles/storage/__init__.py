"""Files that are whole or not there, Zarr stores, and which source files a job depends on."""
