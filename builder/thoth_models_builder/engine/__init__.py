"""The client of the Docker engine, and the archives it reads and writes."""
